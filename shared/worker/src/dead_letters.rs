//! Stores messages that can never be processed as dead letters.

use domain::Timestamp;
use store::{DeadLetter, FailedMessage, Store, StoreError};

use crate::{MessageGroup, ReceivedMessage, Unreadable};

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
        message = dead_letter.id,
        reason = dead_letter.reason,
        metric = "parked",
        "parked a message"
    );
    store.record_dead_letter(dead_letter).await
}
