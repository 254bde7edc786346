//! Reads one record of the table's stream.

use aws_lambda_events::event::dynamodb::EventRecord;
use domain::Timestamp;
use store::stream::FileChange;
use store::{DeadLetter, FailedMessage, StoreError};

use crate::{Deps, FileKey};

/// The queue name that dead letters of the stream carry.
const STREAM: &str = "stream";

/// The content of a stream record.
pub(crate) enum StreamRecord {
    /// A file's record before and after the change.
    Change(Box<FileChange>),
    /// An unreadable record; it was stored as a dead letter.
    Unreadable,
}

/// Reads a stream record. An item written by newer code is an error: it is retried until that code
/// reads it.
pub(crate) async fn read(
    record: EventRecord,
    file_key: FileKey,
    deps: &Deps,
) -> Result<StreamRecord, StoreError> {
    let images = (
        record.change.old_image.clone(),
        record.change.new_image.clone(),
    );
    match FileChange::read(file_key.clone(), images.0, images.1) {
        Ok(change) => Ok(StreamRecord::Change(Box::new(change))),
        Err(error @ StoreError::Corrupt { .. }) => {
            let reason = error.to_string();
            let body = serde_json::to_string(&record).unwrap_or_default();
            let sent_at = record
                .change
                .approximate_creation_date_time
                .timestamp_millis();
            let message = FailedMessage {
                queue: STREAM,
                id: &record.event_id,
                body: &body,
                sent_at: Timestamp::from_millis(sent_at),
                receives: 1,
            };
            let (key, file) = file_key;
            let now = deps.clock.now();
            let dead_letter = DeadLetter::from_message(message, key, Some(file), &reason, now);
            worker::park(&dead_letter, &deps.store).await?;
            Ok(StreamRecord::Unreadable)
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
