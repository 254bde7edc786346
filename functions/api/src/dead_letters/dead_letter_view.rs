//! A dead letter as callers see it.

use serde::Serialize;
use store::{DeadLetter, DeadLetterAction, DeadLetterEvent, DeadLetterStatus};
use utoipa::ToSchema;

use crate::dead_letters::dead_letter_id;
use crate::http::view_enum;

/// An input that has been set aside.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterView {
    id: String,
    connection: String,
    status: LetterStatus,
    /// The queue that it was received from; `drive` for an unreadable response of Drive.
    queue: String,
    /// The reason why it can't succeed.
    reason: String,
    /// The message as it was received.
    body: String,
    /// The file that it concerns, if it could be determined.
    file_id: Option<String>,
    first_seen_at: String,
    /// When it was last set aside.
    parked_at: String,
    /// The number of times that it was received before that.
    receives: u32,
    /// The number of times that it was sent again.
    redrives: u32,
    /// Its last twenty events, oldest first.
    history: Vec<LetterEvent>,
    /// The cause of the message that was last set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    cause: Option<String>,
}

view_enum! {
    /// The status of a dead letter.
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    enum LetterStatus = DeadLetterStatus {
        Parked,
        Redriven,
        Dropped,
    }
}

/// An event of a dead letter's history.
#[derive(Debug, Serialize, ToSchema)]
struct LetterEvent {
    at: String,
    /// The status since this event.
    event: LetterStatus,
    /// The reason why it was set aside or dropped.
    reason: Option<String>,
    /// The subject who sent it again or dropped it.
    by: Option<String>,
    /// The number of times that it had been received when it was set aside.
    receives: Option<u32>,
}

impl LetterEvent {
    fn new(event: &DeadLetterEvent) -> Self {
        let (status, reason, by, receives) = match &event.action {
            DeadLetterAction::Parked {
                reason, receives, ..
            } => (
                DeadLetterStatus::Parked,
                Some(reason),
                None,
                Some(*receives),
            ),
            DeadLetterAction::Redriven { by } => (DeadLetterStatus::Redriven, None, Some(by), None),
            DeadLetterAction::Dropped { by, reason } => {
                (DeadLetterStatus::Dropped, Some(reason), Some(by), None)
            }
        };
        Self {
            at: event.at.to_string(),
            event: status.into(),
            reason: reason.cloned(),
            by: by.cloned(),
            receives,
        }
    }
}

impl DeadLetterView {
    /// Returns a dead letter's id as callers see it.
    pub(crate) fn id_of(parked: &DeadLetter) -> String {
        dead_letter_id::encode(&parked.key.connection, &parked.id)
    }

    pub(crate) fn new(parked: &DeadLetter) -> Self {
        Self {
            id: Self::id_of(parked),
            connection: parked.key.connection.to_string(),
            status: parked.status.into(),
            queue: parked.queue.clone(),
            reason: parked.reason.clone(),
            body: parked.body.clone(),
            file_id: parked.file.as_ref().map(ToString::to_string),
            first_seen_at: parked.first_seen_at.to_string(),
            parked_at: parked.parked_at.to_string(),
            receives: parked.receives,
            redrives: parked.redrives,
            history: parked.history.iter().map(LetterEvent::new).collect(),
            cause: parked.cause.map(|cause| cause.to_string()),
        }
    }
}
