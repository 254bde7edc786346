//! The immutable history of files: one item for every snapshot that was taken.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ConnectionKey, DriveVersion, FieldMask, FileId, Snapshot, Timestamp};
use serde::{Deserialize, Serialize};

use crate::item::{decode, encode};
use crate::key::{Item, Key, file_pk};
use crate::range::Range;
use crate::value_item::{ByField, MirrorItem, ValueItem, at, by_field, from_fields};
use crate::{Page, PageRequest, Store, StoreError};

/// One snapshot in a file's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// What Drive held.
    pub snapshot: Snapshot,
    /// When Drive's state came about, as Drive says, else when we saw it.
    pub at: Timestamp,
}

impl Store {
    /// Keeps history entries until `expires` (`None`: for good). Writing one again changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]; some of the entries may have been written.
    pub async fn keep_history(
        &self,
        key: &ConnectionKey,
        entries: &[HistoryEntry],
        expires: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            items.push(encode_entry(key, entry, expires)?);
        }
        self.put_many(items).await
    }

    /// A file's history, newest version first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn history(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        page: &PageRequest,
    ) -> Result<Page<HistoryEntry>, StoreError> {
        let all = Range::prefix(None, file_pk(key, file), "SNAP#").descending();
        let decode = |item| decode_entry(file, item);
        self.list_range("history", all, page, decode).await
    }

    /// What a file's history holds of one version of Drive's, read consistently; `None` where it holds nothing of it, or
    /// not any more.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn history_at(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        version: DriveVersion,
    ) -> Result<Option<HistoryEntry>, StoreError> {
        let item = self.get(&Key::snapshot(key, file, version)).await?;
        item.map(|item| decode_entry(file, item)).transpose()
    }
}

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u64,
    #[serde(rename = "k")]
    mask: u32,
    #[serde(rename = "b")]
    fields: ByField<ValueItem>,
    #[serde(rename = "m")]
    mirror: MirrorItem,
    at: i64,
}

fn encode_entry(
    key: &ConnectionKey,
    entry: &HistoryEntry,
    expires: Option<Timestamp>,
) -> Result<Item, StoreError> {
    let snapshot = &entry.snapshot;
    let body = Entry {
        version: snapshot.version.0,
        mask: snapshot.mask.0,
        fields: by_field(&snapshot.fields, ValueItem::from),
        mirror: (&snapshot.mirror).into(),
        at: entry.at.as_millis(),
    };
    let place = Key::snapshot(key, &snapshot.file, snapshot.version);
    let mut item = encode(&place, &body)?;
    if let Some(expires) = expires {
        let seconds = AttributeValue::N(expires.as_seconds().to_string());
        item.insert("expires".to_owned(), seconds);
    }
    Ok(item)
}

fn decode_entry(file: &FileId, item: Item) -> Result<HistoryEntry, StoreError> {
    let (place, entry) = decode::<Entry>(item)?;
    let fields = from_fields(entry.fields, Into::into).map_err(|what| place.corrupt(what))?;
    Ok(HistoryEntry {
        snapshot: Snapshot {
            file: file.clone(),
            version: DriveVersion(entry.version),
            mask: FieldMask(entry.mask),
            fields,
            mirror: entry.mirror.into(),
        },
        at: at(entry.at),
    })
}
