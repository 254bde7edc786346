//! Parked messages that are sent again.

use domain::ConnectionKey;

use super::{
    QueueError, SnapshotQueues, WakeQueues, connection_group, digest, file_group, log_group,
    operation_group,
};
use crate::content_wakes::{ContentQueues, ContentWake, DedupKey, Priority};
use crate::message::{LogWake, PushWake, SnapshotMessage, Unreadable};
use crate::{LiveWake, OperationWake};

/// A parked message that is to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redrive {
    /// A snapshot.
    Snapshot {
        /// The message.
        message: Box<SnapshotMessage>,
        /// The snapshot comes from a listing.
        bulk: bool,
    },
    /// A wake of a log.
    Log(LogWake),
    /// A wake of a connection's intents.
    Push(PushWake),
    /// A wake of an operation.
    Operation(OperationWake),
    /// A wake of a connection's live readers.
    Live(LiveWake),
    /// A wake of a file's content.
    Content {
        /// The message.
        wake: ContentWake,
        /// The priority of the queue that it was received from.
        priority: Priority,
    },
}

impl Redrive {
    /// Reads a body. `bulk` says that it was received from the bulk queue of its kind.
    ///
    /// # Errors
    /// [`Unreadable`] if it is not a valid message: no consumer could read it after a redrive.
    pub fn from_body(body: &str, bulk: bool) -> Result<Self, Unreadable> {
        if let Ok(message) = SnapshotMessage::from_body(body) {
            let message = Box::new(message);
            return Ok(Self::Snapshot { message, bulk });
        }
        if let Ok(wake) = ContentWake::from_body(body) {
            let priority = if bulk { Priority::Bulk } else { Priority::High };
            return Ok(Self::Content { wake, priority });
        }
        // Other wakes are also readable as a push wake, but not the other way round.
        if let Ok(wake) = OperationWake::from_body(body) {
            return Ok(Self::Operation(wake));
        }
        if let Ok(wake) = LiveWake::from_body(body) {
            return Ok(Self::Live(wake));
        }
        match LogWake::from_body(body) {
            Ok(wake) => Ok(Self::Log(wake)),
            Err(_) => PushWake::from_body(body).map(Self::Push),
        }
    }

    /// Returns the connection that it belongs to.
    #[must_use]
    pub fn key(&self) -> &ConnectionKey {
        match self {
            Self::Snapshot { message, .. } => &message.key,
            Self::Log(wake) => &wake.key,
            Self::Push(wake) => &wake.key,
            Self::Operation(wake) => &wake.key,
            Self::Live(wake) => &wake.key,
            Self::Content { wake, .. } => &wake.key,
        }
    }
}

/// Sends a message again, in the group that it belongs to. `attempt` identifies the attempt: within
/// the five minutes of deduplication, only a repetition of the same attempt is discarded.
///
/// # Errors
/// [`QueueError`] if SQS did not confirm it.
pub async fn redrive(
    wakes: &WakeQueues,
    snapshots: &SnapshotQueues,
    contents: &ContentQueues,
    message: &Redrive,
    attempt: &str,
) -> Result<(), QueueError> {
    let (queue, body, group) = match message {
        Redrive::Snapshot { message, bulk } => {
            let queue = if *bulk {
                &snapshots.bulk
            } else {
                &snapshots.live
            };
            let group = file_group(&message.key, &message.file);
            (queue, message.to_body(), group)
        }
        Redrive::Log(wake) => (&wakes.logs, wake.to_body(), log_group(&wake.key, &wake.log)),
        Redrive::Push(wake) => (&wakes.pushes, wake.to_body(), connection_group(&wake.key)),
        Redrive::Operation(wake) => {
            let group = operation_group(&wake.key, &wake.operation);
            (&wakes.operations, wake.to_body(), group)
        }
        Redrive::Live(wake) => (&wakes.live, wake.to_body(), connection_group(&wake.key)),
        Redrive::Content { wake, priority } => {
            let dedup_key = DedupKey::Redrive(attempt.to_owned());
            return contents.send(*priority, &[(wake.clone(), dedup_key)]).await;
        }
    };
    queue.send(body, group, digest(attempt)).await
}
