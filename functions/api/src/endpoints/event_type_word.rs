//! The types of events in JSON.

use domain::event::EventType;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::view_enum::view_enum;

view_enum! {
    /// The type of an event.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
    #[schema(as = EventType)]
    pub(crate) enum EventTypeWord = EventType {
        #[serde(rename = "file:created")]
        FileCreated,
        #[serde(rename = "file:modified")]
        FileModified,
        #[serde(rename = "file:moved")]
        FileMoved,
        #[serde(rename = "file:deleted")]
        FileDeleted,
        #[serde(rename = "file:restored")]
        FileRestored,
        #[serde(rename = "file:access_lost")]
        FileAccessLost,
        #[serde(rename = "file:shared")]
        FileShared,
        #[serde(rename = "content:stored")]
        ContentStored,
        #[serde(rename = "content:failed")]
        ContentFailed,
        #[serde(rename = "conflict:detected")]
        ConflictDetected,
        #[serde(rename = "conflict:changed")]
        ConflictChanged,
        #[serde(rename = "conflict:resolved")]
        ConflictResolved,
        #[serde(rename = "intent:failed")]
        IntentFailed,
        #[serde(rename = "intent:confirmed")]
        IntentConfirmed,
        #[serde(rename = "sync:started")]
        SyncStarted,
        #[serde(rename = "sync:progress")]
        SyncProgress,
        #[serde(rename = "sync:completed")]
        SyncCompleted,
        #[serde(rename = "sync:failed")]
        SyncFailed,
        #[serde(rename = "sync:heartbeat")]
        SyncHeartbeat,
        #[serde(rename = "sync:reset")]
        SyncReset,
        #[serde(rename = "operation:awaiting_confirmation")]
        OperationAwaitingConfirmation,
        #[serde(rename = "connection:suspended")]
        ConnectionSuspended,
        #[serde(rename = "connection:resumed")]
        ConnectionResumed,
        #[serde(rename = "dead_letter:parked")]
        DeadLetterParked,
        #[serde(rename = "webhook:disabled")]
        WebhookDisabled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_the_word_that_events_have() {
        let words = crate::http::openapi::schema("EventType")["enum"].clone();
        let words = words.as_array().unwrap().clone();
        assert_eq!(words.len(), 25);
        for word in words {
            let kind = EventType::from_label(word.as_str().unwrap()).unwrap();
            assert_eq!(
                serde_json::to_value(EventTypeWord::from(kind)).unwrap(),
                word
            );
        }
    }
}
