//! Reading one record of the stream.

use aws_lambda_events::event::dynamodb::EventRecord;
use domain::Timestamp;
use store::stream::FileChange;
use store::{Letter, Parked, StoreError};

use crate::{Deps, Place};

/// The name that stands for the stream where a letter's queue is named.
const STREAM: &str = "stream";

/// What a record of the stream showed.
pub(crate) enum Shown {
    /// A file's record, before and after.
    Change(Box<FileChange>),
    /// Nothing that can be read, ever; it was parked.
    Parked,
}

/// Reads a record of the stream. What newer code wrote is an error, so that it comes again until that code reads it.
pub(crate) async fn read(
    record: EventRecord,
    place: Place,
    deps: &Deps,
) -> Result<Shown, StoreError> {
    let images = (
        record.change.old_image.clone(),
        record.change.new_image.clone(),
    );
    match FileChange::read(place.clone(), images.0, images.1) {
        Ok(change) => Ok(Shown::Change(Box::new(change))),
        Err(error @ StoreError::Corrupt { .. }) => {
            let reason = error.to_string();
            tracing::warn!(
                event = record.event_id,
                reason,
                metric = "parked",
                "parked a record of the stream"
            );
            let body = serde_json::to_string(&record).unwrap_or_default();
            let sent_at = record
                .change
                .approximate_creation_date_time
                .timestamp_millis();
            let letter = Letter {
                queue: STREAM,
                id: &record.event_id,
                body: &body,
                sent_at: Timestamp::from_millis(sent_at),
                receives: 1,
            };
            let (key, file) = place;
            let now = deps.clock.now();
            let parked = Parked::letter(letter, key, Some(file), &reason, now);
            deps.store.park(&parked).await?;
            Ok(Shown::Parked)
        }
        Err(
            error @ (StoreError::Busy(_)
            | StoreError::Refused(_)
            | StoreError::NewerItem { .. }
            | StoreError::InvalidCursor),
        ) => Err(error),
    }
}
