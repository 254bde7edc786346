//! Dead letters: inputs that can never succeed, with the reason.

use std::collections::BTreeSet;

use domain::{ConnectionKey, FileId};

use crate::dead_letter::dead_letter_item::{
    dead_letter_key, decode_dead_letter, encode_dead_letter,
};
use crate::table::key::{Key, connection_pk, file_of};
use crate::table::range::Range;
use crate::table::store::{Applied, ROUNDS_MAX, pause};
use crate::table::update::Replaces;
use crate::trail::concealment::in_body;
use crate::{
    DeadLetter, DeadLetterStatus, Page, PageRequest, RedriveSchedule, Store, StoreError, Written,
};

/// The files that Drive listed and that are not stored as present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arrival {
    /// Files with neither a record nor a dead letter.
    pub missing: Vec<FileId>,
    /// Files that are set aside as dead letters, with a record or without.
    pub dead: Vec<FileId>,
    /// Files whose record says that they are gone.
    pub gone: Vec<FileId>,
}

impl Store {
    /// Sets an input aside. One that is or was set aside already keeps its record, whose history
    /// grows. A delivery that is already in the history changes nothing, so the call may be
    /// repeated. Returns false if its connection was deleted: nothing of that is stored any more.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_dead_letter(&self, letter: &DeadLetter) -> Result<bool, StoreError> {
        if self.was_deleted(&letter.key).await? {
            return Ok(false);
        }
        // A message may be older than the erasure of a person whom it names.
        let erased = self.load_erased_persons(&letter.key.tenant).await?;
        let letter = &DeadLetter {
            cause: letter.cause.or(self.cause),
            body: in_body(&letter.body, &erased).unwrap_or_else(|| letter.body.clone()),
            ..letter.clone()
        };
        for round in 0..ROUNDS_MAX {
            let stored = self.load_dead_letter(&letter.key, &letter.id).await?;
            let (item, replaces) = match stored {
                None => (encode_dead_letter(letter, 1)?, Replaces::Nothing),
                Some(stored) => match stored.with_repeat(letter) {
                    None => return Ok(true),
                    Some(again) => (
                        encode_dead_letter(&again, stored.revision + 1)?,
                        Replaces::Revision(stored.revision),
                    ),
                },
            };
            match self.put(item, replaces).await? {
                Applied::Done(_) => {
                    self.schedule_redrive(letter).await?;
                    return Ok(true);
                }
                Applied::Refused(_) => pause(round).await,
            }
        }
        Err(StoreError::busy("concurrent writes of the dead letter"))
    }

    /// Schedules the next look at the connection's dead letters, if this one is sent again by
    /// itself. If that is lost, the next letter or a resumed connection schedules it.
    async fn schedule_redrive(&self, letter: &DeadLetter) -> Result<(), StoreError> {
        let Some(at) = letter.redrive_at() else {
            return Ok(());
        };
        let scheduled = self.load_redrive_schedule(&letter.key).await?;
        if scheduled.is_some_and(|scheduled| scheduled.at <= at) {
            return Ok(());
        }
        let schedule = RedriveSchedule::at(at);
        self.save_redrive_schedule(&letter.key, Some(&schedule))
            .await
    }

    /// Saves a dead letter, if its record is still the one that `after` was made from.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_dead_letter(
        &self,
        after: &DeadLetter,
    ) -> Result<Written<DeadLetter>, StoreError> {
        let revision = after.revision + 1;
        let item = encode_dead_letter(after, revision)?;
        match self.put(item, Replaces::Revision(after.revision)).await? {
            Applied::Done(_) => Ok(Written::Done(DeadLetter {
                revision,
                ..after.clone()
            })),
            Applied::Refused(current) => {
                let current = current.map(|item| decode_dead_letter(&after.key, item));
                Ok(Written::Stale(current.transpose()?))
            }
        }
    }

    /// Lists a connection's dead letters by id, in any state.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_dead_letters(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<DeadLetter>, StoreError> {
        let all = Range::prefix(None, connection_pk(key), "PARKED#");
        let decode = |item| decode_dead_letter(key, item);
        self.list_range("parked", all, page, decode).await
    }

    /// Returns the waiting dead letters of a file's snapshots, by id: those of the first page.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn dead_letters_of_file(
        &self,
        key: &ConnectionKey,
        file: &FileId,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let prefix = format!("PARKED#{}", DeadLetter::snapshot_id(file, ""));
        let range = Range::prefix(None, connection_pk(key), &prefix);
        let decode = |item| decode_dead_letter(key, item);
        let page = PageRequest::first(PageRequest::LIMIT_MAX);
        let page = self.list_range("parked", range, &page, decode).await?;
        // An id may contain dots, so the key alone does not tell the file.
        let of_file = |letter: &DeadLetter| letter.file.as_ref() == Some(file);
        let letters = page.items.into_iter();
        Ok(letters
            .filter(|letter| of_file(letter) && letter.is_waiting())
            .collect())
    }

    /// Reads one dead letter.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_dead_letter(
        &self,
        key: &ConnectionKey,
        id: &str,
    ) -> Result<Option<DeadLetter>, StoreError> {
        if id.len() > ID_BYTES_MAX {
            return Ok(None);
        }
        let item = self.get(&dead_letter_key(key, id)).await?;
        item.map(|item| decode_dead_letter(key, item)).transpose()
    }

    /// Returns the waiting dead letters with these ids, read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn waiting_dead_letters(
        &self,
        key: &ConnectionKey,
        ids: impl Iterator<Item = String>,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let ids = ids.map(|id| dead_letter_key(key, &id));
        let items = self.get_many_now(ids.collect()).await?.into_iter();
        let letters = items.map(|item| decode_dead_letter(key, item));
        let mut letters = letters.collect::<Result<Vec<_>, _>>()?;
        letters.retain(DeadLetter::is_waiting);
        Ok(letters)
    }

    /// Returns those of the files that have the dead letter of a snapshot which was not redriven.
    /// It takes one query of the dead letters, which are few, however many the files are.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn files_with_dead_letters(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<BTreeSet<FileId>, StoreError> {
        let prefix = |file: &FileId| format!("PARKED#{}", DeadLetter::snapshot_id(file, ""));
        let mut wanted: BTreeSet<String> = files.iter().map(prefix).collect();
        let mut found = BTreeSet::new();
        let Some(last) = wanted.last().cloned() else {
            return Ok(found);
        };
        let mut position: Option<String> = None;
        loop {
            // Files that lie behind the position, or were found, are not looked for any more, and
            // the dead letters of files that were not asked about are skipped.
            let next = wanted.iter().find(|prefix| {
                position
                    .as_ref()
                    .is_none_or(|at| at < *prefix || at.starts_with(prefix.as_str()))
            });
            let Some(next) = next else { break };
            let range = Range::between(connection_pk(key), next, &last);
            let range = match position.filter(|at| at > next) {
                Some(at) => range.after(&at)?,
                None => range,
            };
            let slice = self.slice(&range, SLICE).await?;
            position = slice.last_sk()?;
            for item in slice.items {
                let letter = decode_dead_letter(key, item)?;
                // An id may contain dots, so the key alone does not tell the file.
                let file = letter
                    .file
                    .filter(|_| letter.status != DeadLetterStatus::Redriven);
                if let Some(file) = file
                    && wanted.remove(&prefix(&file))
                {
                    found.insert(file);
                }
            }
            if !slice.more || position.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Returns the listed files that have not arrived.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn check_arrival(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<Arrival, StoreError> {
        let heads: BTreeSet<Key> = files.iter().map(|file| Key::head(key, file)).collect();
        let mut missing = heads.clone();
        let mut gone = Vec::new();
        for item in self.get_many(heads, Some("PK, SK, g")).await? {
            let place = Key::of(&item)?;
            // The attribute that `file_item` writes for a file that is gone.
            if item.contains_key("g") {
                gone.push(file_of(key, &place)?);
            }
            missing.remove(&place);
        }
        let missing = missing.iter().map(|place| file_of(key, place));
        let missing: Vec<FileId> = missing.collect::<Result<_, _>>()?;
        let dead = self.files_with_dead_letters(key, files).await?;
        let missing = missing.into_iter();
        let missing = missing.filter(|file| !dead.contains(file)).collect();
        Ok(Arrival {
            missing,
            dead: dead.into_iter().collect(),
            gone,
        })
    }
}

/// No id is longer, and a sort key has at most 1,024 bytes.
const ID_BYTES_MAX: usize = 900;
/// The dead letters that are read at a time.
const SLICE: u32 = 100;
