//! The immutable history of files: one item for every snapshot that was applied.

use std::collections::BTreeMap;

use domain::{Cause, ConnectionKey, DriveVersion, FieldSetVersion, FileId, Snapshot, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::{ByField, MetadataItem, ValueItem, at, by_field, from_fields};
use crate::table::item::{CauseItem, EXPIRES, Encoded, decode, encode, has_expired};
use crate::table::key::{Item, Key, file_pk};
use crate::table::range::Range;
use crate::table::store::Applied;
use crate::table::update::{Replaces, Update};
use crate::{Page, PageRequest, Store, StoreError};

/// The number of states that are read first to find that of a time: most files have few since.
const STATES_READ_FIRST: u32 = 5;
/// The number of states that are then read at a time.
const STATES_READ: u32 = 100;

/// One snapshot in a file's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Drive's state.
    pub snapshot: Snapshot,
    /// The time of that state as Drive reports it, else the time at which it was observed.
    pub at: Timestamp,
    /// The cause of the entry: what made the state known here. `None`: that of the store that saves
    /// it.
    pub cause: Option<Cause>,
}

impl Store {
    /// Saves history entries until `expires` (`None`: for ever). Saving one again changes nothing
    /// but that time: it keeps its first cause. Returns the number of entries that are too large to
    /// be saved and were left out. A record of the same values does not fit either, which its
    /// commit reports.
    ///
    /// # Errors
    /// [`StoreError`]; some of the entries may have been written.
    pub async fn save_history(
        &self,
        key: &ConnectionKey,
        entries: &[HistoryEntry],
        expires: Option<Timestamp>,
    ) -> Result<usize, StoreError> {
        let mut items = BTreeMap::new();
        let mut left_out = 0;
        for entry in entries {
            let entry = HistoryEntry {
                cause: entry.cause.or(self.cause),
                ..entry.clone()
            };
            let item = encode_entry(key, &entry, expires)?;
            match item.check_size() {
                Ok(()) => {
                    items.insert(item.key.clone(), item);
                }
                Err(_) => left_out += 1,
            }
        }
        // One change at a time is the usual case: it needs no read.
        if items.len() == 1
            && let Some((_, item)) = items.pop_first()
        {
            if let Applied::Refused(stored) = self.put(item.clone(), Replaces::Nothing).await? {
                self.update_entry(item, stored.as_ref()).await?;
            }
            return Ok(left_out);
        }
        // A batch can only put whole items. What is stored already is updated instead, one by one:
        // newer code may have added attributes to it.
        for stored in self.get_many_now(items.keys().cloned().collect()).await? {
            if let Some(item) = items.remove(&Key::of(&stored)?) {
                self.update_entry(item, Some(&stored)).await?;
            }
        }
        let items = items.into_values().map(|item| item.item);
        self.put_many(items.collect()).await?;
        Ok(left_out)
    }

    /// Keeps states that are about to be replaced: a state that was saved long ago and never
    /// changed may have expired, or would soon. What is stored until `expires_min` stays as it is;
    /// the others are kept until `expires`. One that is not stored any more is saved again, as
    /// `replaced` has it.
    ///
    /// # Errors
    /// [`StoreError`]; some of the entries may have been written.
    pub async fn keep_history(
        &self,
        key: &ConnectionKey,
        replaced: &[HistoryEntry],
        expires_min: Timestamp,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let mut items = BTreeMap::new();
        for entry in replaced {
            let item = encode_entry(key, entry, Some(expires))?;
            if item.check_size().is_ok() {
                items.insert(item.key.clone(), item);
            }
        }
        // Read eventually: a state is written again at the worst.
        for stored in self.get_many(items.keys().cloned().collect(), None).await? {
            if let Some(item) = items.remove(&Key::of(&stored)?)
                && has_expired(&stored, expires_min)
            {
                let kept = Update::of(item.key).set_number(EXPIRES, expires.as_seconds());
                self.update(kept).await?;
            }
        }
        for item in items.into_values() {
            self.put(item, Replaces::Nothing).await?;
        }
        Ok(())
    }

    /// Saves an entry that is stored already.
    async fn update_entry(
        &self,
        mut item: Encoded,
        stored: Option<&Item>,
    ) -> Result<(), StoreError> {
        if let Some(cause) = stored.and_then(|stored| stored.get(CAUSE)) {
            item.item.insert(CAUSE.to_owned(), cause.clone());
        }
        self.put(item, Replaces::Whatever).await.map(drop)
    }

    /// Lists a file's history, newest version first, without what has expired by `now`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn history(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<HistoryEntry>, StoreError> {
        let all = Range::prefix(None, file_pk(key, file), "SNAP#").descending();
        let decode = |item| match has_expired(&item, now) {
            true => Ok(None),
            false => decode_entry(file, item).map(Some),
        };
        let page = self.list_range("history", all, page, decode).await?;
        Ok(Page {
            items: page.items.into_iter().flatten().collect(),
            next_cursor: page.next_cursor,
        })
    }

    /// Returns the state that a file had at a time, by its history: the latest version of that time
    /// or before. `None` if the history has none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn state_at(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<HistoryEntry>, StoreError> {
        let mut page = PageRequest::first(STATES_READ_FIRST);
        loop {
            let found = self.history(key, file, &page, now).await?;
            if let Some(entry) = found.items.into_iter().find(|entry| entry.at <= at) {
                return Ok(Some(entry));
            }
            match found.next_cursor {
                None => return Ok(None),
                cursor => {
                    page = PageRequest {
                        limit: STATES_READ,
                        cursor,
                    }
                }
            }
        }
    }

    /// Reads a file's history entry of one Drive version consistently; `None` if it was never saved
    /// or has expired by `now`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_history_entry(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        version: DriveVersion,
        now: Timestamp,
    ) -> Result<Option<HistoryEntry>, StoreError> {
        let item = self.get(&Key::snapshot(key, file, version)).await?;
        let item = item.filter(|item| !has_expired(item, now));
        item.map(|item| decode_entry(file, item)).transpose()
    }
}

/// The attribute of an entry's cause.
const CAUSE: &str = "cause";

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u64,
    #[serde(rename = "k")]
    mask: u32,
    #[serde(rename = "b")]
    fields: ByField<ValueItem>,
    #[serde(rename = "m")]
    mirror: MetadataItem,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<CauseItem>,
}

pub(crate) fn encode_entry(
    key: &ConnectionKey,
    entry: &HistoryEntry,
    expires: Option<Timestamp>,
) -> Result<Encoded, StoreError> {
    let snapshot = &entry.snapshot;
    let body = Entry {
        version: snapshot.version.0,
        mask: snapshot.field_set.0,
        fields: by_field(&snapshot.fields, ValueItem::from),
        mirror: (&snapshot.metadata).into(),
        at: entry.at.as_millis(),
        cause: entry.cause.map(CauseItem),
    };
    let place = Key::snapshot(key, &snapshot.file, snapshot.version);
    let mut item = encode(&place, &body)?;
    if let Some(expires) = expires {
        item.expire(expires);
    }
    Ok(item)
}

pub(crate) fn decode_entry(file: &FileId, item: Item) -> Result<HistoryEntry, StoreError> {
    let (place, entry) = decode::<Entry>(item)?;
    let fields = from_fields(entry.fields, Into::into).map_err(|what| place.corrupt(what))?;
    Ok(HistoryEntry {
        snapshot: Snapshot {
            file: file.clone(),
            version: DriveVersion(entry.version),
            field_set: FieldSetVersion(entry.mask),
            fields,
            metadata: entry.mirror.into(),
        },
        at: at(entry.at),
        cause: entry.cause.map(|item| item.0),
    })
}
