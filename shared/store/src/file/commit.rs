//! File records: loading them, and committing the next one on condition of the last.

use std::collections::BTreeMap;

use domain::{ConnectionKey, FileId, FileRecord, Revision, Transition};

use crate::file::conflict_item::encode_conflict;
use crate::file::file_item::{decode_file, encode_file};
use crate::table::key::{Item, Key};
use crate::table::store::{Applied, Transacted};
use crate::table::update::{Replaces, Write};
use crate::{Store, StoreError};

/// Identifies one write as the caller's own: random, drawn anew for every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u64);

/// The outcome of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// The record is stored.
    Done,
    /// Another write came first; this is the current record, or none if it is gone. Nothing was
    /// written.
    Stale(Option<Box<FileRecord>>),
}

impl Store {
    /// Reads the record of one file consistently; `None` if there is none.
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

    /// Reads the records of many files with eventual consistency (which is enough, since every
    /// write is conditional). Files without a record are left out; repeated ids are read once.
    ///
    /// # Errors
    /// [`StoreError`]; `Busy` if DynamoDB leaves some keys unprocessed after a few rounds.
    pub async fn load_files(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<BTreeMap<FileId, FileRecord>, StoreError> {
        let keys = files.iter().map(|file| Key::head(key, file)).collect();
        by_file(key, self.get_many(keys, None).await?)
    }

    /// Reads the same as [`Store::load_files`], consistently and at twice the cost.
    ///
    /// # Errors
    /// As [`Store::load_files`].
    pub async fn load_files_consistent(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<BTreeMap<FileId, FileRecord>, StoreError> {
        let keys = files.iter().map(|file| Key::head(key, file)).collect();
        by_file(key, self.get_many_now(keys).await?)
    }

    /// Writes the record of `step` on condition that the stored one has the revision `before` (0:
    /// that there is none), in one transaction with the step's conflict records if it has any. The
    /// stored revision is always later than `before`: the step's own, or the next. The record, its
    /// new edits and the conflicts are stored with this store's cause.
    ///
    /// # Errors
    /// [`StoreError`]; after `Busy` the write may or may not have happened: load the record.
    pub async fn commit(
        &self,
        key: &ConnectionKey,
        before: Revision,
        step: &Transition,
        nonce: Nonce,
    ) -> Result<Committed, StoreError> {
        let step = step.clone().caused_by(self.cause);
        // A first sight comes with revision 0, and a caller may add to a step that changed nothing.
        // A record is never stored under the revision that it replaces: the next writer would not
        // notice.
        let record = FileRecord {
            revision: step.record.revision.max(before.next()),
            ..step.record
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
        let mut writes = vec![Write::Put(head, replaces)];
        for conflict in step.conflicts.values() {
            let item = encode_conflict(key, conflict)?;
            writes.push(Write::Put(item, Replaces::Whatever));
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

/// Interprets a refused condition. It may be refused by our own write, whose response was lost
/// before the SDK retried: the item then carries our nonce.
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
