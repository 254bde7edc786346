//! Items together with their places in the indexes: a write puts an item where it belongs, so one that stands elsewhere
//! was damaged, and whoever goes by the index does not find it.

use domain::{ChannelId, ConflictId, ConflictRecord, ConnectionKey, FileId, FileRecord};

use crate::channels::{decode_channel, encode_channel};
use crate::conflict_item::{decode_conflict, encode_conflict};
use crate::file_item::{decode_file, encode_file};
use crate::key::{FILE_SHARDS, Index, Item, Key, connection_pk, file_of, files_pk};
use crate::logs::{decode_log, encode_log};
use crate::operation_item::{decode_operation, encode_operation};
use crate::range::Range;
use crate::{Channel, Log, Operation, Page, PageRequest, Store, StoreError};

/// Something that is stored, and whether the indexes have it where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<T> {
    /// What is stored.
    pub value: T,
    /// Which indexes have it wrong; `None` where all are right. Writing it again puts it right.
    pub misplaced: Option<Misplaced>,
}

/// Which indexes have an item wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misplaced {
    /// One by which what is to be done is found, and perhaps others.
    Waiting,
    /// Only those by which files are listed.
    Listed,
}

impl<T> Kept<T> {
    fn of(value: T, item: &Item, right: &Item) -> Self {
        let wrong = |index: &Index| {
            let differs = |name: &str| item.get(name) != right.get(name);
            differs(index.pk()) || differs(index.sk())
        };
        let misplaced = if [Index::Attention, Index::Due].iter().any(wrong) {
            Some(Misplaced::Waiting)
        } else if [Index::Files, Index::Children].iter().any(wrong) {
            Some(Misplaced::Listed)
        } else {
            None
        };
        Self { value, misplaced }
    }
}

fn kept_file(key: &ConnectionKey, item: Item) -> Result<Kept<FileRecord>, StoreError> {
    let (record, nonce) = decode_file(key, item.clone())?;
    let right = encode_file(key, &record, nonce)?;
    Ok(Kept::of(record, &item, &right))
}

fn kept_operation(key: &ConnectionKey, item: Item) -> Result<Kept<Operation>, StoreError> {
    let operation = decode_operation(key, item.clone())?;
    let right = encode_operation(&operation)?;
    Ok(Kept::of(operation, &item, &right))
}

pub(crate) fn kept_log(key: &ConnectionKey, item: Item) -> Result<Kept<Log>, StoreError> {
    let log = decode_log(key, item.clone())?;
    let right = encode_log(&log)?;
    Ok(Kept::of(log, &item, &right))
}

impl Store {
    /// A connection's files, tombstones too, in no meaningful order, read with eventual consistency.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_kept_files(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<Kept<FileRecord>>, StoreError> {
        let shard = |shard| Range::ids(Index::Files, files_pk(key, shard));
        let parts: Vec<Range> = (0..FILE_SHARDS).map(shard).collect();
        let found = self.walk("kept", &parts, page, |_| Ok(true)).await?;
        let files = found.items.iter().map(|place| file_of(key, place));
        let files: Vec<FileId> = files.collect::<Result<_, _>>()?;
        Ok(Page {
            items: self.load_kept_files(key, &files).await?,
            next_cursor: found.next_cursor,
        })
    }

    /// The records of many files, as [`Store::load_files`] reads them; in no order.
    ///
    /// # Errors
    /// As [`Store::load_files`].
    pub async fn load_kept_files(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<Vec<Kept<FileRecord>>, StoreError> {
        let keys = files.iter().map(|file| Key::head(key, file)).collect();
        let items = self.get_many(keys, None).await?;
        items.into_iter().map(|item| kept_file(key, item)).collect()
    }

    /// The record of one file, read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_kept_file(
        &self,
        key: &ConnectionKey,
        file: &FileId,
    ) -> Result<Option<Kept<FileRecord>>, StoreError> {
        let item = self.get(&Key::head(key, file)).await?;
        item.map(|item| kept_file(key, item)).transpose()
    }

    /// One conflict, read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_kept_conflict(
        &self,
        key: &ConnectionKey,
        id: &ConflictId,
    ) -> Result<Option<Kept<ConflictRecord>>, StoreError> {
        let Some(item) = self.get(&Key::conflict(key, id)).await? else {
            return Ok(None);
        };
        let conflict = decode_conflict(key, item.clone())?;
        let right = encode_conflict(key, &conflict)?;
        Ok(Some(Kept::of(conflict, &item, &right)))
    }

    /// One channel, read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_kept_channel(
        &self,
        id: &ChannelId,
    ) -> Result<Option<Kept<Channel>>, StoreError> {
        let Some(item) = self.get(&Key::channel(id)).await? else {
            return Ok(None);
        };
        let channel = decode_channel(item.clone())?;
        let right = encode_channel(&channel)?;
        Ok(Some(Kept::of(channel, &item, &right)))
    }

    /// A connection's operations, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_kept_operations(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<Kept<Operation>>, StoreError> {
        let all = Range::prefix(None, connection_pk(key), "OP#").descending();
        let decode = |item| kept_operation(key, item);
        self.list_range("operations", all, page, decode).await
    }
}
