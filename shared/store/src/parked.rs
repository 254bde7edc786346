//! Dead letters: inputs that can never succeed, with the reason.

use std::collections::BTreeSet;

use domain::{ConnectionKey, FileId};

use crate::key::{Key, connection_pk, file_of};
use crate::parked_item::{decode_parked, encode_parked, parked_key};
use crate::range::Range;
use crate::store::{Applied, ROUNDS_MAX, pause};
use crate::update::Replaces;
use crate::{Page, PageRequest, Parked, ParkedStatus, Store, StoreError, Written};

/// What became of files that Drive listed, as far as our records show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arrival {
    /// They have neither a record nor a parked snapshot.
    pub missing: Vec<FileId>,
    /// They have a record, and it says that the file is not there for us.
    pub gone: Vec<FileId>,
}

impl Store {
    /// Sets an input aside. One that is set aside already, or was and is back, is the same record with its history
    /// grown; the very delivery that is in that history changes nothing, so doing it twice is harmless.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn park(&self, parked: &Parked) -> Result<(), StoreError> {
        for round in 0..ROUNDS_MAX {
            let held = self.load_parked(&parked.key, &parked.id).await?;
            let (item, replaces) = match held {
                None => (encode_parked(parked, 1)?, Replaces::Nothing),
                Some(held) => match held.parked_again(parked) {
                    None => return Ok(()),
                    Some(again) => (
                        encode_parked(&again, held.revision + 1)?,
                        Replaces::Revision(held.revision),
                    ),
                },
            };
            match self.put(item, replaces).await? {
                Applied::Done(_) => return Ok(()),
                Applied::Refused(_) => pause(round).await,
            }
        }
        Err(StoreError::busy("others kept writing the parked input"))
    }

    /// Writes what became of a parked input, if its record is still the one that `after` was made from.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_parked(&self, after: &Parked) -> Result<Written<Parked>, StoreError> {
        let revision = after.revision + 1;
        let item = encode_parked(after, revision)?;
        match self.put(item, Replaces::Revision(after.revision)).await? {
            Applied::Done(_) => Ok(Written::Done(Parked {
                revision,
                ..after.clone()
            })),
            Applied::Refused(current) => {
                let current = current.map(|item| decode_parked(&after.key, item));
                Ok(Written::Stale(current.transpose()?))
            }
        }
    }

    /// A connection's parked inputs, by id, whatever became of them.
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

    /// Which of the files have a parked snapshot that was not sent again since. One query per file: meant for the few that are missing.
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
                let parked = decode_parked(key, item)?;
                if parked.file.as_ref() == Some(file) && parked.status != ParkedStatus::Redriven {
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
