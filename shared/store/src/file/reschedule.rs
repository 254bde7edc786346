//! Rescheduling of the pushes that wait because their files are out of scope.

use domain::{ConnectionKey, Context, FileId, FileRecord, Policies, Timestamp};
use tokio::task::JoinSet;

use crate::{Committed, Nonce, Store, StoreError};

/// The most files that are read in one call. The files that are out of scope wait longest, so they
/// sort last.
const FILES_MAX: u32 = 1_000;
/// Out-of-scope files wait no longer than this, in milliseconds (5 minutes and a little); after it
/// they are due by themselves.
const OUT_OF_SCOPE_MILLIS: i64 = 301_000;
/// The number of records that are read, then written, at a time.
const AT_ONCE: usize = 50;

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
        let mut rescheduled = 0;
        for files in waiting.chunks(AT_ONCE) {
            rescheduled += self.reschedule_files(key, files, now, &nonce).await?;
        }
        Ok(rescheduled)
    }

    async fn reschedule_files(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
        now: Timestamp,
        nonce: &impl Fn() -> Nonce,
    ) -> Result<u32, StoreError> {
        let records = self.load_files(key, files).await?;
        let mut writes = JoinSet::new();
        for record in records
            .into_values()
            .filter(|record| record.push.out_of_scope)
        {
            let (store, key, nonce) = (self.clone(), key.clone(), nonce());
            writes.spawn(async move { store.reschedule_file(&key, &record, now, nonce).await });
        }
        let mut rescheduled = 0;
        while let Some(written) = writes.join_next().await {
            let written = written.map_err(|_| StoreError::busy("a write did not finish"))?;
            rescheduled += u32::from(written?);
        }
        Ok(rescheduled)
    }

    async fn reschedule_file(
        &self,
        key: &ConnectionKey,
        record: &FileRecord,
        now: Timestamp,
        nonce: Nonce,
    ) -> Result<bool, StoreError> {
        // No policy applies, since nothing is merged.
        let policies = Policies::default();
        let context = Context {
            now,
            drive_at: None,
            policies: &policies,
        };
        let step = record.reschedule_out_of_scope(context);
        let committed = self.commit(key, record.revision, &step, nonce).await?;
        Ok(matches!(committed, Committed::Done))
    }
}
