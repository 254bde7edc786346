//! Files whose state in Drive is too large to be stored. Each has one dead letter, and keeps the
//! record that it had. The dead letter ends when a later state of the file is stored.

use std::collections::BTreeMap;

use domain::{ConnectionKey, DriveVersion, FileId, FileRecord, Timestamp};
use runtime::telemetry;
use store::{DeadLetter, StoreError, Written};
use worker::{SnapshotMessage, WorkError};

use crate::Deps;

/// The name under which the end of a dead letter is recorded.
const BY: &str = "drivesync";

/// The result of applying messages to a file's record.
pub(crate) enum Applied {
    /// The record was stored.
    Stored(Box<FileRecord>),
    /// There was nothing to store.
    Unchanged,
    /// The record would be too large to be stored, because of the file's state of this version.
    TooLarge(DriveVersion, StoreError),
}

/// The waiting dead letters of the files of a batch.
#[derive(Debug, Default)]
pub(crate) struct TooLarge(BTreeMap<(ConnectionKey, FileId), DeadLetter>);

impl TooLarge {
    /// Loads the dead letters of files of a connection.
    pub(crate) async fn load(
        &mut self,
        key: &ConnectionKey,
        files: &[FileId],
        deps: &Deps,
    ) -> Result<(), StoreError> {
        let ids = files.iter().map(DeadLetter::too_large_id);
        let letters = deps.store.waiting_dead_letters(key, ids).await?;
        let by_file = letters.into_iter().filter_map(|letter| {
            let file = letter.file.clone()?;
            Some(((key.clone(), file), letter))
        });
        self.0.extend(by_file);
        Ok(())
    }

    /// Ends the dead letter of a file, if a state was stored that is not older. If that fails, it
    /// can be redriven, which changes nothing.
    pub(crate) async fn end(&self, key: &ConnectionKey, stored: &FileRecord, deps: &Deps) {
        let Some(letter) = self.0.get(&(key.clone(), stored.file.clone())) else {
            return;
        };
        let message = SnapshotMessage::from_body(&letter.body).ok();
        let version = message.and_then(|message| message.origin.referred_version());
        if !stored.is_gone() && version.is_some_and(|version| version > stored.version) {
            return;
        }
        let after = letter.redriven(BY, deps.clock.now());
        match deps.store.save_dead_letter(&after).await {
            Ok(Written::Done(_)) => tracing::info!(
                connection = %key, file = %stored.file, metric = "too_large_ended",
                "the file is stored again"
            ),
            Ok(Written::Stale(_)) => {}
            Err(error) => {
                let error = telemetry::chain(&error);
                tracing::warn!(connection = %key, error, "could not end a dead letter");
            }
        }
    }
}

/// Sets a file aside whose state of this version is too large to be stored.
pub(crate) async fn set_aside(
    message: &SnapshotMessage,
    version: DriveVersion,
    received: (Timestamp, u32),
    error: &StoreError,
    deps: &Deps,
) -> Result<(), WorkError> {
    let (key, file) = (&message.key, &message.file);
    let now = deps.clock.now();
    // First, or the dead letter would not be found when it ends.
    deps.store.mark_oversized(key, now).await?;
    let reference = message.by_reference(version).to_body();
    let place = (key.clone(), file.clone());
    let letter = DeadLetter::too_large(&reference, place, received, error, now);
    Ok(worker::park(&letter, &deps.store).await?)
}
