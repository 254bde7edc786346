//! Rescheduling of pushes that wait: of files that are out of scope, and of what failed for a
//! reason that can pass.

use domain::{ConnectionKey, Context, FileId, FileRecord, Policies, Timestamp, Transition};
use tokio::task::JoinSet;

use crate::{Committed, Nonce, Store, StoreError};

/// The most files that are read in one call. The files that are out of scope wait longest, so they
/// sort last.
const FILES_MAX: u32 = 1_000;
/// Out-of-scope files wait no longer than this, in milliseconds (5 minutes and a little); after it
/// they are due by themselves.
const OUT_OF_SCOPE_MILLIS: i64 = 301_000;
/// Nothing that failed waits longer than this, in milliseconds: a day and its jitter.
const FAILED_MILLIS: i64 = 2 * 86_400_000;
/// The number of records that are read, then written, at a time.
const AT_ONCE: usize = 50;

/// Makes a waiting push due now.
type Step = fn(&FileRecord, Context<'_>) -> Transition;

impl Store {
    /// Makes the files whose pushes wait because they are out of scope due at `now`, and returns
    /// their number. To be called when the rules, or the folders above files, have changed. Beyond
    /// a thousand waiting files, the others are due by themselves within five minutes, and so is
    /// one that another worker writes at the same time.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn reschedule_out_of_scope(
        &self,
        key: &ConnectionKey,
        now: Timestamp,
        nonce: impl Fn() -> Nonce,
    ) -> Result<u32, StoreError> {
        let until = now.plus_millis(OUT_OF_SCOPE_MILLIS);
        let waiting = self.due_files(key, until, FILES_MAX).await?;
        let step = FileRecord::reschedule_out_of_scope;
        self.reschedule_all(key, &waiting, now, &nonce, step).await
    }

    /// Makes the next attempt at what failed for a reason that can pass due at `now`, and returns
    /// the number of files. To be called when something has changed that may end such reasons.
    /// Beyond a thousand files, the others keep their times.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn hasten_failed(
        &self,
        key: &ConnectionKey,
        now: Timestamp,
        nonce: impl Fn() -> Nonce,
    ) -> Result<u32, StoreError> {
        let until = now.plus_millis(FAILED_MILLIS);
        let waiting = self.due_failed_files(key, until, FILES_MAX).await?;
        self.reschedule_all(key, &waiting, now, &nonce, FileRecord::hasten)
            .await
    }

    async fn reschedule_all(
        &self,
        key: &ConnectionKey,
        waiting: &[FileId],
        now: Timestamp,
        nonce: &impl Fn() -> Nonce,
        step: Step,
    ) -> Result<u32, StoreError> {
        let mut rescheduled = 0;
        for files in waiting.chunks(AT_ONCE) {
            rescheduled += self.reschedule_files(key, files, now, nonce, step).await?;
        }
        Ok(rescheduled)
    }

    async fn reschedule_files(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
        now: Timestamp,
        nonce: &impl Fn() -> Nonce,
        step: Step,
    ) -> Result<u32, StoreError> {
        let records = self.load_files(key, files).await?;
        // No policy applies, since nothing is merged.
        let policies = Policies::default();
        let context = Context {
            now,
            drive_at: None,
            above: None,
            policies: &policies,
        };
        let mut writes = JoinSet::new();
        for record in records.into_values() {
            let next = step(&record, context);
            if next.record == record {
                continue;
            }
            let (store, key, nonce) = (self.clone(), key.clone(), nonce());
            writes.spawn(async move {
                let committed = store.commit(&key, record.revision, &next, nonce).await?;
                Ok::<_, StoreError>(matches!(committed, Committed::Done))
            });
        }
        let mut rescheduled = 0;
        while let Some(written) = writes.join_next().await {
            let written = written.map_err(|_| StoreError::busy("a write did not finish"))?;
            rescheduled += u32::from(written?);
        }
        Ok(rescheduled)
    }
}
