//! Stores messages that can never be processed as dead letters.

use domain::Timestamp;
use store::{DeadLetter, FailedMessage, Store, StoreError};

use crate::queue::Redrive;
use crate::{ContentWake, MessageGroup, Origin, Priority, ReceivedMessage};
use crate::{SnapshotMessage, Unreadable};

/// A message could be neither read nor parked: it and the rest of its group must be returned to
/// the queue.
#[derive(Debug, thiserror::Error)]
#[error("could not park an unreadable message")]
pub(crate) struct NotParked {
    /// The number of messages before it that were processed.
    pub(crate) processed: usize,
    /// The reason why it was not parked.
    #[source]
    pub(crate) error: StoreError,
}

/// Reads the messages of a group, in order. An unreadable message stays unreadable, so it is parked
/// and the others go on.
///
/// # Errors
/// [`NotParked`]
pub(crate) async fn read_group<'g, M>(
    group: &'g MessageGroup,
    read: impl Fn(&str) -> Result<M, Unreadable>,
    store: &Store,
    now: Timestamp,
) -> Result<Vec<(&'g ReceivedMessage, M)>, NotParked> {
    let mut messages = Vec::with_capacity(group.messages.len());
    for (processed, received) in group.messages.iter().enumerate() {
        match read(&received.body) {
            Ok(message) => messages.push((received, message)),
            Err(why) => {
                let dead_letter =
                    DeadLetter::unreadable(failed_message(received), &why.to_string(), now);
                park(&dead_letter, store)
                    .await
                    .map_err(|error| NotParked { processed, error })?;
            }
        }
    }
    Ok(messages)
}

/// Converts a received message into the form that its dead-letter record keeps.
pub(crate) fn failed_message(message: &ReceivedMessage) -> FailedMessage<'_> {
    FailedMessage {
        queue: &message.queue,
        id: &message.id,
        body: &message.body,
        sent_at: message.sent_at,
        receives: message.receives,
    }
}

/// Parks a message. Once this returns `Ok`, its record is stored and the message may be
/// acknowledged.
///
/// # Errors
/// [`StoreError`]
pub async fn park(dead_letter: &DeadLetter, store: &Store) -> Result<(), StoreError> {
    tracing::warn!(
        connection = %dead_letter.key,
        letter = dead_letter.id,
        reason = dead_letter.reason,
        metric = "parked",
        "parked a message"
    );
    if !store.record_dead_letter(dead_letter).await? {
        log_of_deleted(dead_letter);
    }
    Ok(())
}

/// Logs that an input was dropped, since its connection was deleted.
pub fn log_of_deleted(dead_letter: &DeadLetter) {
    tracing::info!(
        connection = %dead_letter.key,
        letter = dead_letter.id,
        metric = "dropped_of_deleted",
        "dropped a message of a connection that was deleted"
    );
}

/// A dead letter can't be sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRedrivable {
    /// Drive's response, which could not be read, names no file.
    #[error("Drive's response names no file to read")]
    NoFileToRead,
    /// The table's record, which could not be read, names no file.
    #[error("it names no file to process")]
    NoFileToProcess,
    /// No consumer can read its message.
    #[error("{0}")]
    Unreadable(String),
    /// Its message names another connection.
    #[error("it concerns another connection")]
    Foreign,
}

/// Returns the message to send for a dead letter.
///
/// # Errors
/// [`NotRedrivable`]
pub fn redrive_message(letter: &DeadLetter) -> Result<Redrive, NotRedrivable> {
    if letter.queue == "drive" {
        // Drive's response could not be read, so the file is read from Drive as it is now.
        let file = letter.file.clone().ok_or(NotRedrivable::NoFileToRead)?;
        let prefix = DeadLetter::snapshot_id(&file, "");
        let name = letter.id.strip_prefix(&prefix).unwrap_or(&letter.id);
        let message = Box::new(SnapshotMessage {
            key: letter.key.clone(),
            origin: Origin::dead_letter(name),
            file,
            at: letter.first_seen_at,
            snapshot: None,
        });
        return Ok(Redrive::Snapshot {
            message,
            bulk: false,
        });
    }
    if letter.queue == "stream" {
        // The stream's record could not be read, so the file's current record is processed.
        let file = letter.file.clone().ok_or(NotRedrivable::NoFileToProcess)?;
        let wake = ContentWake {
            key: letter.key.clone(),
            file,
        };
        let priority = Priority::High;
        return Ok(Redrive::Content { wake, priority });
    }
    let bulk = letter.queue.contains("-bulk");
    let message = Redrive::from_body(&letter.body, bulk)
        .map_err(|why| NotRedrivable::Unreadable(why.to_string()))?;
    // The tenant is in the key: a body must not name another one.
    if *message.key() != letter.key {
        return Err(NotRedrivable::Foreign);
    }
    Ok(message)
}
