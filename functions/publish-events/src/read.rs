//! Reads one record of the table's stream.

use aws_lambda_events::event::dynamodb::EventRecord;
use domain::{ConnectionKey, Timestamp};
use store::stream::{self, Change, ItemKind};
use store::{DeadLetter, FailedMessage, StoreError};

use crate::Deps;

/// The queue name that dead letters of the stream carry.
const STREAM: &str = "stream";

/// Reads a stream record; `None` if it is unreadable, and was stored as a dead letter. An item
/// written by newer code is an error: it is retried until that code reads it.
pub(crate) async fn read(
    record: EventRecord,
    key: &ConnectionKey,
    kind: &ItemKind,
    deps: &Deps,
) -> Result<Option<Change>, StoreError> {
    let (before, after) = (
        record.change.old_image.clone(),
        record.change.new_image.clone(),
    );
    match stream::read(key, kind, before, after) {
        Ok(change) => Ok(Some(change)),
        Err(error @ StoreError::Corrupt { .. }) => {
            let reason = error.to_string();
            let body = serde_json::to_string(&record).unwrap_or_default();
            let message = FailedMessage {
                queue: STREAM,
                id: &record.event_id,
                body: &body,
                sent_at: time_of(&record),
                receives: 1,
            };
            let (key, file) = (key.clone(), kind.file().cloned());
            let now = deps.clock.now();
            let dead_letter = DeadLetter::from_message(message, key, file, &reason, now);
            worker::park(&dead_letter, &deps.store).await?;
            Ok(None)
        }
        Err(
            error @ (StoreError::Busy(_)
            | StoreError::Refused(_)
            | StoreError::TooLarge { .. }
            | StoreError::NewerItem { .. }
            | StoreError::InvalidCursor),
        ) => Err(error),
    }
}

/// Returns the time of the write that a record reports, in whole seconds.
pub(crate) fn time_of(record: &EventRecord) -> Timestamp {
    let at = record.change.approximate_creation_date_time;
    Timestamp::from_millis(at.timestamp_millis())
}
