//! What the table's stream shows becomes a wake for whoever must act on it.
//!
//! A file's record says itself what is owed for its content; the stream is only the moment to look. So a record of the
//! stream that comes twice is harmless, one that says nothing about content is passed over, and one that can't be read is
//! parked and stepped over, since a shard has one order and would stand still before it.

mod read;
mod walk;

use std::collections::BTreeMap;

use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use domain::{ConnectionKey, FileId, FileRecord, content_moved};
use runtime::{
    Clock, ContentQueues, ContentWake, Entropy, Lane, QueueError, Settings, WakeCause, telemetry,
};
use store::stream::FileChange;
use store::{Connection, Store, StoreError};

use crate::read::Shown;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The connections, and what is parked.
    pub store: Store,
    /// Where wakes for content go.
    pub contents: ContentQueues,
    /// Now.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}

impl Deps {
    /// Makes everything out of the environment.
    ///
    /// # Errors
    /// Says which setting is missing or can't be read.
    pub async fn load(
        settings: &Settings,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let aws = runtime::aws::config().await;
        let sqs = aws_sdk_sqs::Client::new(&aws);
        Ok(Self {
            store: Store::new(aws_sdk_dynamodb::Client::new(&aws), settings.table()?),
            contents: ContentQueues::of_settings(&sqs, settings)?,
            clock: Clock::system(),
            entropy: Entropy::system(),
        })
    }
}

/// Why a record of the stream, and all behind it, must come again.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the table did not do it, or newer code wrote what it shows")]
    Store(#[from] StoreError),
    #[error("the queue did not take it")]
    Queue(#[from] QueueError),
}

/// Whether the content of a connection is mirrored: nothing of what others write is told. It is read consistently, so that
/// whatever is written after the settings were turned on is told, and what was written before is walked through.
///
/// # Errors
/// [`StoreError`]
pub async fn is_mirrored(key: &ConnectionKey, store: &Store) -> Result<bool, StoreError> {
    let connection = store.load_connection(key).await?;
    Ok(connection.is_some_and(|connection| connection.content.enabled))
}

/// Handles a batch of one shard, in order. The answer names the first record that was not dealt with: it and everything
/// behind it comes again.
pub async fn handle(event: Event, deps: &Deps) -> DynamoDbEventResponse {
    let mut batch = Batch::default();
    let mut failed = None;
    for record in event.records {
        let sequence = record.change.sequence_number.clone().unwrap_or_default();
        if let Err(stopped) = batch.take(record, &sequence, deps).await {
            failed = Some(told(sequence, &stopped));
            break;
        }
    }
    // What stands before the failure is told all the same.
    if let Err((sequence, stopped)) = batch.send(deps).await {
        failed = Some(told(sequence, &stopped));
    }
    let mut response = DynamoDbEventResponse::default();
    if let Some(sequence) = failed {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = Some(sequence);
        response.batch_item_failures.push(failure);
    }
    response
}

fn told(sequence: String, stopped: &Stopped) -> String {
    let error = telemetry::chain(stopped);
    tracing::warn!(
        sequence,
        error,
        metric = "publish_failed",
        "the stream is read again from here"
    );
    sequence
}

/// What of a batch is to be told.
#[derive(Default)]
struct Batch {
    connections: BTreeMap<ConnectionKey, Option<Connection>>,
    recent: walk::Recent,
    /// Each with the sequence number of the record that it comes of.
    owed: Vec<(String, Lane, ContentWake, WakeCause)>,
}

impl Batch {
    async fn take(
        &mut self,
        record: EventRecord,
        sequence: &str,
        deps: &Deps,
    ) -> Result<(), Stopped> {
        let Some(place) = store::stream::file_of_keys(&record.change.keys) else {
            return Ok(());
        };
        let Some(connection) = mirrored(&mut self.connections, &place.0, deps).await? else {
            return Ok(());
        };
        match read::read(record, place, deps).await? {
            Shown::Change(change) => {
                walk::begin(&change, connection, &mut self.recent, deps).await?;
                if let Some((lane, cause)) = content_wake(&connection.rules, &change) {
                    let (key, file) = (change.key, change.file);
                    let wake = ContentWake { key, file };
                    self.owed.push((sequence.to_owned(), lane, wake, cause));
                }
            }
            Shown::Parked => {}
        }
        Ok(())
    }

    /// Sends what is owed. An error comes with the sequence number of the first record that was not told.
    async fn send(self, deps: &Deps) -> Result<(), (String, Stopped)> {
        let mut first_failed: Option<(String, Stopped)> = None;
        for lane in [Lane::Prompt, Lane::Bulk] {
            let mine = self.owed.iter().filter(|(_, of, ..)| *of == lane);
            let (sequences, wakes): (Vec<&String>, Vec<_>) = mine
                .map(|(sequence, _, wake, cause)| (sequence, (wake.clone(), cause.clone())))
                .unzip();
            let Some(first) = sequences.first() else {
                continue;
            };
            match deps.contents.send(lane, &wakes).await {
                Ok(()) => tracing::info!(
                    wakes = wakes.len(),
                    lane = ?lane,
                    metric = "content_woken",
                    "content is to be looked at"
                ),
                Err(error) => {
                    // Sequence numbers of a shard grow in value, and may grow in length.
                    let earlier = first_failed
                        .as_ref()
                        .is_none_or(|(before, _)| (first.len(), *first) < (before.len(), before));
                    if earlier {
                        first_failed = Some(((*first).clone(), error.into()));
                    }
                }
            }
        }
        first_failed.map_or(Ok(()), Err)
    }
}

/// The connection, where its content is mirrored; loaded once for a batch.
async fn mirrored<'a>(
    connections: &'a mut BTreeMap<ConnectionKey, Option<Connection>>,
    key: &ConnectionKey,
    deps: &Deps,
) -> Result<Option<&'a Connection>, StoreError> {
    if !connections.contains_key(key) {
        let connection = deps.store.load_connection(key).await?;
        let mirrored = connection.filter(|connection| connection.content.enabled);
        connections.insert(key.clone(), mirrored);
    }
    Ok(connections.get(key).and_then(Option::as_ref))
}

/// The wake that a change of a record asks for: a change at once, a first sight with the mass of its listing.
fn content_wake(rules: &domain::Rules, change: &FileChange) -> Option<(Lane, WakeCause)> {
    let FileChange { before, after, .. } = change;
    let (before, after) = (before.as_ref(), after.as_ref()?);
    // A rule may leave out what lies elsewhere, or bears another name.
    let may_come_into_scope = !rules.is_empty()
        && before.is_some_and(|before: &FileRecord| after.moved_in_drive_since(before));
    if !content_moved(before, after) && !may_come_into_scope {
        return None;
    }
    let lane = match before {
        Some(_) => Lane::Prompt,
        None => Lane::Bulk,
    };
    Some((lane, WakeCause::Record(after.revision)))
}

/// A file, by whose it is.
type Place = (ConnectionKey, FileId);
