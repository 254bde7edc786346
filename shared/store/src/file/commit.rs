//! File records: loading them, and committing the next one on condition of the last.

use std::collections::BTreeMap;

use domain::{ConnectionKey, Field, FileId, FileRecord, Revision, Transition, Value};

use crate::file::conflict_item::{self, decode_conflict, encode_conflict};
use crate::file::file_item::{decode_file, encode_file};
use crate::table::item::Encoded;
use crate::table::key::{Item, Key};
use crate::table::store::{Applied, Transacted};
use crate::table::update::{Replaces, Write};
use crate::trail::acts::policy_act;
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
    /// new edits and the conflicts are stored with this store's cause. What a policy decided is an
    /// act of the audit trail, in the same transaction.
    ///
    /// A transaction takes a hundred writes. Of more conflicts, the first are written before it, in
    /// transactions of their own. They may be written again. If the record's condition does not
    /// hold afterwards, the caller decides again from the record that stands and writes them anew;
    /// what is not in conflict then is a record without a conflict, which an audit closes: the
    /// file's own record is right.
    ///
    /// # Errors
    /// [`StoreError`]; after `Busy` the write may or may not have happened: load the record. After
    /// [`StoreError::TooLarge`] nothing was written.
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
        let mut head = encode_file(key, &record, nonce)?;
        if let (false, Some(expires)) = (head.expires(), self.retention.of_file(&record)) {
            head.expire(expires);
        }
        named(&head, &record)?;
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
        let conflicts = step.conflicts.values();
        let conflicts = conflicts.map(|conflict| {
            let mut item = encode_conflict(key, conflict)?;
            let (_, ended_at) = conflict_item::state(&conflict.status);
            if let Some(expires) = self.retention.of_conflict(ended_at) {
                item.expire(expires);
            }
            Ok::<_, StoreError>(item)
        });
        let mut parts = in_transactions(conflicts.collect::<Result<_, _>>()?);
        let with_record = parts.pop().unwrap_or_default();
        for conflict in parts.iter().flatten().chain(&with_record) {
            conflict.check_size()?;
        }
        // The answer and the act of a request are stored with the record.
        let alone = self.without_riders();
        for part in parts {
            let written = alone.transact(puts(part).collect()).await?;
            if let Transacted::Refused(Some(item)) = written {
                // Only a newer format refuses it.
                decode_conflict(key, item)?;
            }
        }
        let record = Write::Put(head, replaces);
        let writes = std::iter::once(record).chain(puts(with_record));
        let policy = policy_act(key, step.conflicts.values());
        let written = self.transact_with(writes.collect(), policy.as_ref());
        match written.await? {
            Transacted::Done => Ok(Committed::Done),
            // Only the record's write has a condition.
            Transacted::Refused(item) => refused(key, item, nonce),
        }
    }

    /// Returns the size of a file's record as it is stored, in bytes.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn record_bytes(key: &ConnectionKey, record: &FileRecord) -> Result<usize, StoreError> {
        Ok(encode_file(key, record, Nonce(0))?.bytes())
    }

    /// Returns whether an edit leaves enough room in the file's record. One that makes the record
    /// smaller always does.
    ///
    /// # Errors
    /// [`StoreError`] if a record can't be encoded.
    pub fn has_room(
        key: &ConnectionKey,
        before: &FileRecord,
        after: &FileRecord,
    ) -> Result<bool, StoreError> {
        let bytes = Self::record_bytes(key, after)?;
        Ok(bytes <= RECORD_BYTES_MAX || bytes <= Self::record_bytes(key, before)?)
    }
}

/// The largest record that an edit may make, in bytes. An item may have 400,000: the rest is for
/// what Drive reports, and for what is being sent.
pub const RECORD_BYTES_MAX: usize = 350_000;
/// The most conflict records in one transaction, beside the file's record: DynamoDB takes a hundred
/// writes.
const CONFLICTS_MAX: usize = 90;
/// The most bytes of conflict records in one transaction, beside the file's record: DynamoDB takes
/// 4 MB.
const CONFLICT_BYTES_MAX: usize = 3_000_000;

/// Divides conflict records into as few transactions as possible. The last one has room for the
/// file's record.
fn in_transactions(conflicts: Vec<Encoded>) -> Vec<Vec<Encoded>> {
    let mut parts: Vec<Vec<Encoded>> = Vec::new();
    let mut bytes = 0;
    for conflict in conflicts {
        bytes += conflict.bytes();
        match parts.last_mut() {
            Some(part) if part.len() < CONFLICTS_MAX && bytes <= CONFLICT_BYTES_MAX => {
                part.push(conflict);
            }
            Some(_) | None => {
                bytes = conflict.bytes();
                parts.push(vec![conflict]);
            }
        }
    }
    parts
}

fn puts(conflicts: Vec<Encoded>) -> impl Iterator<Item = Write> {
    let puts = conflicts.into_iter();
    puts.map(|conflict| Write::Put(conflict, Replaces::Whatever))
}

/// Checks that a record fits into the table. The error names what takes the most.
fn named(head: &Encoded, record: &FileRecord) -> Result<(), StoreError> {
    let Err(StoreError::TooLarge {
        bytes, bytes_max, ..
    }) = head.check_size()
    else {
        return head.check_size();
    };
    let length = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Null | Value::Flag(_) => 0,
    };
    let fields = record.fields.iter().map(|(field, sides)| {
        let most = [&sides.base, &sides.app, sides.drive()].map(length);
        (most.into_iter().max().unwrap_or_default(), field)
    });
    let what = match fields.max() {
        Some((most, field)) if most * 4 > bytes => {
            format!(
                "the file's record, of which `{}` takes {most},",
                label(field)
            )
        }
        Some(_) | None => "the file's record".to_owned(),
    };
    Err(StoreError::TooLarge {
        what,
        bytes,
        bytes_max,
    })
}

/// Returns a field's label, shortened: the key of a property may be of any length.
fn label(field: &Field) -> String {
    let label = field.label();
    let fits = label.floor_char_boundary(100);
    label.get(..fits).unwrap_or_default().to_owned()
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
