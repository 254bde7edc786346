//! Items together with their places in the indexes. A write puts an item where it belongs, so an
//! item in another place was damaged, and queries of the index do not find it.

use domain::{ChannelId, ConflictId, ConflictRecord, ConnectionKey, FileId, FileRecord, Operation};

use crate::file::conflict_item::{decode_conflict, encode_conflict};
use crate::file::file_item::{decode_file, encode_file};
use crate::file::lists::all_files;
use crate::log::channels::{decode_channel, encode_channel};
use crate::log::logs::{decode_log, encode_log};
use crate::operation::operation_item::{decode_operation, encode_operation};
use crate::table::item::Encoded;
use crate::table::key::{Index, Item, Key, connection_pk, file_of};
use crate::table::range::Range;
use crate::{Channel, Log, Page, PageRequest, Store, StoreError};

/// A stored value, and whether the indexes have it where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed<T> {
    /// The stored value.
    pub value: T,
    /// The indexes that have it in the wrong place; `None` if all are right. Writing the value
    /// again repairs them.
    pub index_defect: Option<IndexDefect>,
}

/// The indexes that have an item in the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexDefect {
    /// An index by which pending work is found, and perhaps others.
    Work,
    /// Only indexes by which files are listed.
    Listing,
}

impl<T> Indexed<T> {
    fn of(value: T, item: &Item, right: &Encoded) -> Self {
        let wrong = |index: &Index| {
            let differs = |name: &str| item.get(name) != right.item.get(name);
            differs(index.pk()) || differs(index.sk())
        };
        let index_defect = if [Index::Attention, Index::Due].iter().any(wrong) {
            Some(IndexDefect::Work)
        } else if [Index::Files, Index::Children].iter().any(wrong) {
            Some(IndexDefect::Listing)
        } else {
            None
        };
        Self {
            value,
            index_defect,
        }
    }
}

fn indexed_file(key: &ConnectionKey, item: Item) -> Result<Indexed<FileRecord>, StoreError> {
    let (record, nonce) = decode_file(key, item.clone())?;
    let right = encode_file(key, &record, nonce)?;
    Ok(Indexed::of(record, &item, &right))
}

fn indexed_operation(key: &ConnectionKey, item: Item) -> Result<Indexed<Operation>, StoreError> {
    let operation = decode_operation(key, item.clone())?;
    let right = encode_operation(&operation)?;
    Ok(Indexed::of(operation, &item, &right))
}

pub(crate) fn indexed_log(key: &ConnectionKey, item: Item) -> Result<Indexed<Log>, StoreError> {
    let log = decode_log(key, item.clone())?;
    let right = encode_log(&log)?;
    Ok(Indexed::of(log, &item, &right))
}

impl Store {
    /// Lists a connection's files, tombstones included, in no meaningful order, with eventual
    /// consistency.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_files_with_index_state(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<Indexed<FileRecord>>, StoreError> {
        let found = self
            .scan_partitions("kept", &all_files(key), page, |_| Ok(true))
            .await?;
        let files = found.items.iter().map(|place| file_of(key, place));
        let files: Vec<FileId> = files.collect::<Result<_, _>>()?;
        Ok(Page {
            items: self.load_files_with_index_state(key, &files).await?,
            next_cursor: found.next_cursor,
        })
    }

    /// Reads the records of many files as [`Store::load_files`] does, in no order.
    ///
    /// # Errors
    /// As [`Store::load_files`].
    pub async fn load_files_with_index_state(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<Vec<Indexed<FileRecord>>, StoreError> {
        let keys = files.iter().map(|file| Key::head(key, file)).collect();
        let items = self.get_many(keys, None).await?;
        items
            .into_iter()
            .map(|item| indexed_file(key, item))
            .collect()
    }

    /// Reads the record of one file consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_file_with_index_state(
        &self,
        key: &ConnectionKey,
        file: &FileId,
    ) -> Result<Option<Indexed<FileRecord>>, StoreError> {
        let item = self.get(&Key::head(key, file)).await?;
        item.map(|item| indexed_file(key, item)).transpose()
    }

    /// Reads one conflict consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_conflict_with_index_state(
        &self,
        key: &ConnectionKey,
        id: &ConflictId,
    ) -> Result<Option<Indexed<ConflictRecord>>, StoreError> {
        let Some(item) = self.get(&Key::conflict(key, id)).await? else {
            return Ok(None);
        };
        let conflict = decode_conflict(key, item.clone())?;
        let right = encode_conflict(key, &conflict)?;
        Ok(Some(Indexed::of(conflict, &item, &right)))
    }

    /// Reads one channel consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_channel_with_index_state(
        &self,
        id: &ChannelId,
    ) -> Result<Option<Indexed<Channel>>, StoreError> {
        let Some(item) = self.get(&Key::channel(id)).await? else {
            return Ok(None);
        };
        let channel = decode_channel(item.clone())?;
        let right = encode_channel(&channel)?;
        Ok(Some(Indexed::of(channel, &item, &right)))
    }

    /// Lists a connection's operations, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_operations_with_index_state(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<Indexed<Operation>>, StoreError> {
        let all = Range::prefix(None, connection_pk(key), "OP#").descending();
        let decode = |item| indexed_operation(key, item);
        self.list_range("operations", all, page, decode).await
    }
}
