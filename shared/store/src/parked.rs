//! Dead letters: inputs that can never succeed, with the reason.

use std::collections::BTreeSet;

use domain::{ConnectionKey, FileId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::item::{decode, encode};
use crate::key::{Item, Key, connection_pk, file_of};
use crate::range::Range;
use crate::update::Replaces;
use crate::value_item::at;
use crate::{Page, PageRequest, Store, StoreError};

/// An input that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Names it: the same input always has the same id. Of a snapshot: `f.<file>.<something>`.
    pub id: String,
    /// The connection.
    pub key: ConnectionKey,
    /// The queue that it came by.
    pub queue: String,
    /// Why it can't succeed.
    pub reason: String,
    /// The message's body, as it came.
    pub body: String,
    /// When the input was first delivered or sent.
    pub first_seen_at: Timestamp,
    /// When it was set aside.
    pub parked_at: Timestamp,
    /// How often it was received.
    pub receives: u32,
    /// The file that it is about, if it could be told.
    pub file: Option<FileId>,
}

impl Parked {
    /// The id of a parked snapshot of `file`, made unique by `suffix` (a version, a digest).
    #[must_use]
    pub fn snapshot_id(file: &FileId, suffix: &str) -> String {
        format!("f.{file}.{suffix}")
    }
}

/// What became of files that Drive listed, as far as our records show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arrival {
    /// They have neither a record nor a parked snapshot.
    pub missing: Vec<FileId>,
    /// They have a record, and it says that the file is not there for us.
    pub gone: Vec<FileId>,
}

impl Store {
    /// Sets an input aside; doing it again replaces the record.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn park(&self, parked: &Parked) -> Result<(), StoreError> {
        let body = Body {
            queue: parked.queue.clone(),
            reason: parked.reason.clone(),
            body: parked.body.clone(),
            first_seen_at: parked.first_seen_at.as_millis(),
            parked_at: parked.parked_at.as_millis(),
            receives: parked.receives,
            file: parked.file.as_ref().map(|file| file.as_str().to_owned()),
        };
        let item = encode(&parked_key(&parked.key, &parked.id), &body)?;
        self.put(item, Replaces::Whatever).await?;
        Ok(())
    }

    /// A connection's parked inputs, by id.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_parked(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<Parked>, StoreError> {
        let all = Range::prefix(None, connection_pk(key), "PARKED#");
        let decode = |item| decode_parked(key, item);
        self.list_range("parked", all, page, decode).await
    }

    /// One parked input.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_parked(
        &self,
        key: &ConnectionKey,
        id: &str,
    ) -> Result<Option<Parked>, StoreError> {
        if id.len() > ID_BYTES_MAX {
            return Ok(None);
        }
        let item = self.get(&parked_key(key, id)).await?;
        item.map(|item| decode_parked(key, item)).transpose()
    }

    /// Deletes a parked input: it was sent again.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_parked(&self, key: &ConnectionKey, id: &str) -> Result<(), StoreError> {
        if id.len() > ID_BYTES_MAX {
            return Ok(());
        }
        self.delete(&parked_key(key, id)).await
    }

    /// Which of the files have a parked snapshot. One query per file: meant for the few that are missing.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn parked_files(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<BTreeSet<FileId>, StoreError> {
        let mut parked = BTreeSet::new();
        for file in files {
            if self.is_parked(key, file).await? {
                parked.insert(file.clone());
            }
        }
        Ok(parked)
    }

    /// What of the files, which Drive listed, has not arrived.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn arrival(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<Arrival, StoreError> {
        let heads: BTreeSet<Key> = files.iter().map(|file| Key::head(key, file)).collect();
        let mut missing = heads.clone();
        let mut gone = Vec::new();
        for item in self.get_many(heads, Some("PK, SK, g")).await? {
            let place = Key::of(&item)?;
            // As `file_item` has it.
            if item.contains_key("g") {
                gone.push(file_of(key, &place)?);
            }
            missing.remove(&place);
        }
        let missing = missing.iter().map(|place| file_of(key, place));
        let missing: Vec<FileId> = missing.collect::<Result<_, _>>()?;
        let parked = self.parked_files(key, &missing).await?;
        let missing = missing.into_iter();
        let missing = missing.filter(|file| !parked.contains(file)).collect();
        Ok(Arrival { missing, gone })
    }

    async fn is_parked(&self, key: &ConnectionKey, file: &FileId) -> Result<bool, StoreError> {
        let prefix = format!("PARKED#{}", Parked::snapshot_id(file, ""));
        let mut rest = Range::prefix(None, connection_pk(key), &prefix);
        loop {
            let slice = self.slice(&rest, SLICE).await?;
            let last = slice.items.last().map(Key::of).transpose()?;
            for item in slice.items {
                // An id may hold dots, so what begins like this file's may be another's.
                if decode_parked(key, item)?.file.as_ref() == Some(file) {
                    return Ok(true);
                }
            }
            match last.filter(|_| slice.more) {
                Some(last) => rest = rest.behind(&last.sk)?,
                None => return Ok(false),
            }
        }
    }
}

/// No id of ours is longer, and a sort key has at most 1,024 bytes.
const ID_BYTES_MAX: usize = 900;
/// Parked snapshots of one file that are read at a time.
const SLICE: u32 = 10;

fn parked_key(key: &ConnectionKey, id: &str) -> Key {
    Key::of_connection(key, "PARKED", id)
}

#[derive(Serialize, Deserialize)]
struct Body {
    queue: String,
    reason: String,
    body: String,
    first_seen_at: i64,
    parked_at: i64,
    receives: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

fn decode_parked(key: &ConnectionKey, item: Item) -> Result<Parked, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let file = body.file.map(|file| FileId::parse(&file)).transpose();
    let (Some(id), Ok(file)) = (place.sk.strip_prefix("PARKED#"), file) else {
        return Err(place.corrupt("its key or its file can't be read"));
    };
    Ok(Parked {
        id: id.to_owned(),
        key: key.clone(),
        queue: body.queue,
        reason: body.reason,
        body: body.body,
        first_seen_at: at(body.first_seen_at),
        parked_at: at(body.parked_at),
        receives: body.receives,
        file,
    })
}
