//! Letting go on what was held for being out of scope.

use domain::{ConnectionKey, FileId, FileRecord, Moment, Policies, Timestamp};
use tokio::task::JoinSet;

use crate::{Committed, Nonce, Store, StoreError};

/// Files that are looked through at once: the longest waits are longer than the others', and stand last.
const FILES_MAX: u32 = 1_000;
/// What is held waits no longer than this, in milliseconds, and a little: it would be due by itself after it.
const HELD_MILLIS: i64 = 301_000;
/// Records that are read, then written, at a time.
const AT_ONCE: usize = 50;

impl Store {
    /// Makes what is held for being out of scope due at `now`, and says of how many files: to be called where the
    /// rules, or the folders above files, have changed. Of more than a thousand files that wait, the others are due
    /// by themselves within five minutes, and so is one that somebody else writes at the same moment.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn release_held(
        &self,
        key: &ConnectionKey,
        now: Timestamp,
        nonce: impl Fn() -> Nonce,
    ) -> Result<u32, StoreError> {
        let until = now.plus_millis(HELD_MILLIS);
        let waiting = self.due_files(key, until, FILES_MAX).await?;
        let mut released = 0;
        for files in waiting.chunks(AT_ONCE) {
            released += self.release(key, files, now, &nonce).await?;
        }
        Ok(released)
    }

    async fn release(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
        now: Timestamp,
        nonce: &impl Fn() -> Nonce,
    ) -> Result<u32, StoreError> {
        let records = self.load_files(key, files).await?;
        let mut writes = JoinSet::new();
        for record in records.into_values().filter(|record| record.push.held) {
            let (store, key, nonce) = (self.clone(), key.clone(), nonce());
            writes.spawn(async move { store.release_one(&key, &record, now, nonce).await });
        }
        let mut released = 0;
        while let Some(written) = writes.join_next().await {
            let written = written.map_err(|_| StoreError::busy("a release did not end"))?;
            released += u32::from(written?);
        }
        Ok(released)
    }

    async fn release_one(
        &self,
        key: &ConnectionKey,
        record: &FileRecord,
        now: Timestamp,
        nonce: Nonce,
    ) -> Result<bool, StoreError> {
        // No policy is asked: nothing is merged.
        let policies = Policies::default();
        let moment = Moment {
            now,
            drive_at: None,
            policies: &policies,
        };
        let step = record.released(moment);
        let committed = self.commit(key, record.revision, &step, nonce).await?;
        Ok(matches!(committed, Committed::Done))
    }
}
