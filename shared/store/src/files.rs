//! File records: loading them, and committing the next one on condition of the last.

use std::collections::BTreeMap;

use domain::{ConnectionKey, FileId, FileRecord, Revision, Step};

use crate::conflict_item::encode_conflict;
use crate::file_item::{decode_file, encode_file};
use crate::key::{Item, Key};
use crate::store::{Applied, Transacted};
use crate::update::Replaces;
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
        let item = self.get(&Key::head(key, file)).await?;
        item.map(|item| decode_file(key, item).map(|(record, _)| record))
            .transpose()
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
        let keys = files.iter().map(|file| Key::head(key, file)).collect();
        by_file(key, self.get_many(keys, None).await?)
    }

    /// [`Store::load_files`], read consistently, at twice the price.
    ///
    /// # Errors
    /// As [`Store::load_files`].
    pub async fn load_files_now(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<BTreeMap<FileId, FileRecord>, StoreError> {
        let keys = files.iter().map(|file| Key::head(key, file)).collect();
        by_file(key, self.get_many_now(keys).await?)
    }

    /// Writes the record of `step` on condition that the stored one has the revision `before` (0: that
    /// there is none), in one transaction with the step's conflict records where it has some.
    /// It is stored with a revision later than `before` in any case: the step's own, or the next.
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
        // A first sight comes with revision 0, a caller may add to a step that moved nothing, and nothing
        // is ever stored under the revision that it replaces: the next writer would not notice.
        let record = FileRecord {
            revision: step.record.revision.max(before.next()),
            ..step.record.clone()
        };
        let head = encode_file(key, &record, nonce)?;
        let replaces = match before {
            Revision(0) => Replaces::Nothing,
            Revision(revision) => Replaces::Revision(revision),
        };
        if step.conflicts.is_empty() {
            return match self.put(head, replaces).await? {
                Applied::Done(_) => Ok(Committed::Done),
                Applied::Refused(current) => refused(key, current, nonce),
            };
        }
        let mut writes = vec![replaces.in_transaction(head, &self.table)?];
        for conflict in step.conflicts.values() {
            let item = encode_conflict(key, conflict)?;
            writes.push(Replaces::Whatever.in_transaction(item, &self.table)?);
        }
        match self.transact(writes).await? {
            Transacted::Done => Ok(Committed::Done),
            // Only the record's write has a condition.
            Transacted::Refused(item) => refused(key, item, nonce),
        }
    }
}

fn by_file(
    key: &ConnectionKey,
    items: Vec<Item>,
) -> Result<BTreeMap<FileId, FileRecord>, StoreError> {
    let record = |item| decode_file(key, item).map(|(record, _)| (record.file.clone(), record));
    items.into_iter().map(record).collect()
}

/// A refused condition may be our own write, whose answer was lost before the SDK tried again: the
/// item then bears our mark.
fn refused(
    key: &ConnectionKey,
    current: Option<Item>,
    nonce: Nonce,
) -> Result<Committed, StoreError> {
    let Some(item) = current else {
        return Ok(Committed::Stale(None));
    };
    let (record, writer) = decode_file(key, item)?;
    Ok(if writer == nonce {
        Committed::Done
    } else {
        Committed::Stale(Some(Box::new(record)))
    })
}
