//! Watches the table's stream and sends wakes for content.
//!
//! A file's record states what is owed for its content; the stream only triggers the check. A
//! stream record that arrives twice is therefore harmless, and one without any relevance to content
//! is skipped. An unreadable one is stored as a dead letter and skipped, since a shard is processed
//! in order and would be blocked by it.

mod content_scan;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use domain::{Cause, ConnectionKey, FileId, FileRecord, affects_content};
use runtime::{Clock, Entropy, Settings, SettingsError, telemetry};
use store::stream::FileChange;
use store::{Connection, Store, StoreError};
use tracing::{Instrument as _, Span};
use worker::{ContentQueues, ContentWake, DedupKey, Priority, WorkError};

use crate::read::StreamRecord;

/// The dependencies of the function.
#[derive(Clone)]
pub struct Deps {
    /// The table of connections and dead letters.
    pub store: Store,
    /// The queues that receive the wakes for content.
    pub contents: ContentQueues,
    /// The source of the current time.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
}

impl Deps {
    /// Builds the dependencies from the environment.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed.
    pub async fn load(settings: &Settings) -> Result<Self, SettingsError> {
        let aws = runtime::aws::config().await;
        let sqs = aws_sdk_sqs::Client::new(&aws);
        Ok(Self {
            store: Store::new(aws_sdk_dynamodb::Client::new(&aws), settings.table()?)
                .keeping_events_for(settings.event_days()?),
            contents: ContentQueues::from_settings(&sqs, settings)?,
            clock: Clock::system(),
            entropy: Entropy::system(),
        })
    }

    /// Returns the same dependencies on behalf of this cause.
    fn caused_by(&self, cause: Cause) -> Self {
        Self {
            store: self.store.caused_by(cause),
            ..self.clone()
        }
    }
}

/// Returns whether a connection's content is mirrored. The read is consistent: everything written
/// after the setting was enabled triggers a wake, and a content scan covers what was written
/// before.
///
/// # Errors
/// [`StoreError`]
pub async fn is_mirrored(key: &ConnectionKey, store: &Store) -> Result<bool, StoreError> {
    let connection = store.load_connection(key).await?;
    Ok(connection.is_some_and(|connection| connection.content.enabled))
}

/// Handles a batch of one shard, in order. The response names the first record that was not
/// processed; it and everything after it is delivered again. What follows from a change has the
/// cause that the changed record carries, and everything else has one of its own.
pub async fn handle(event: Event, deps: &Deps) -> DynamoDbEventResponse {
    let cause = deps.entropy.cause();
    let deps = deps.caused_by(cause);
    let handled = handle_records(event, &deps);
    handled.instrument(telemetry::span(cause)).await
}

async fn handle_records(event: Event, deps: &Deps) -> DynamoDbEventResponse {
    let mut batch = Batch::default();
    let mut failed = None;
    for record in event.records {
        let sequence = record.change.sequence_number.clone().unwrap_or_default();
        if let Err(error) = batch.add(record, &sequence, deps).await {
            failed = Some(log_failure(sequence, &error));
            break;
        }
    }
    // Wakes of the records before the failure are sent nevertheless.
    if let Err((sequence, error)) = batch.send(deps).await {
        failed = Some(log_failure(sequence, &error));
    }
    let mut response = DynamoDbEventResponse::default();
    if let Some(sequence) = failed {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = Some(sequence);
        response.batch_item_failures.push(failure);
    }
    response
}

fn log_failure(sequence: String, error: &WorkError) -> String {
    let error = telemetry::chain(error);
    tracing::warn!(
        sequence,
        error,
        metric = "publish_failed",
        "could not process the stream; will retry from this record"
    );
    sequence
}

/// The wakes of a batch.
#[derive(Default)]
struct Batch {
    connections: BTreeMap<ConnectionKey, Option<Connection>>,
    recent_operations: content_scan::RecentOperations,
    /// Each with the sequence number of the record that caused it.
    wakes: Vec<(String, Priority, ContentWake, DedupKey, Option<Cause>)>,
}

impl Batch {
    async fn add(
        &mut self,
        record: EventRecord,
        sequence: &str,
        deps: &Deps,
    ) -> Result<(), WorkError> {
        let Some(file_key) = store::stream::file_of_keys(&record.change.keys) else {
            return Ok(());
        };
        let Some(connection) = load_mirrored(&mut self.connections, &file_key.0, deps).await?
        else {
            return Ok(());
        };
        match read::read(record, file_key, deps).await? {
            StreamRecord::Change(change) => {
                let cause = change.after.as_ref().and_then(|record| record.cause);
                let cause = cause.or(deps.store.cause());
                let (deps, span) = match cause {
                    Some(cause) => (&deps.caused_by(cause), telemetry::span(cause)),
                    None => (deps, Span::current()),
                };
                content_scan::schedule_for_folder(
                    &change,
                    connection,
                    &mut self.recent_operations,
                    deps,
                )
                .instrument(span)
                .await?;
                if let Some((priority, dedup_key)) = content_wake(&connection.rules, &change) {
                    let (key, file) = (change.key, change.file);
                    let wake = ContentWake { key, file };
                    self.wakes
                        .push((sequence.to_owned(), priority, wake, dedup_key, cause));
                }
            }
            StreamRecord::Unreadable => {}
        }
        Ok(())
    }

    /// Sends the wakes. An error comes with the sequence number of the first record whose wake was
    /// not sent.
    async fn send(self, deps: &Deps) -> Result<(), (String, WorkError)> {
        let mut first_failed: Option<(String, WorkError)> = None;
        for priority in [Priority::High, Priority::Bulk] {
            let selected = self.wakes.iter().filter(|(_, of, ..)| *of == priority);
            let (sequences, wakes): (Vec<&String>, Vec<_>) = selected
                .map(|(sequence, _, wake, dedup_key, cause)| {
                    (sequence, (wake.clone(), dedup_key.clone(), *cause))
                })
                .unzip();
            let Some(first) = sequences.first() else {
                continue;
            };
            match deps.contents.send_caused(priority, &wakes).await {
                Ok(()) => tracing::info!(
                    wakes = wakes.len(),
                    priority = ?priority,
                    metric = "content_woken",
                    "sent content wakes"
                ),
                Err(error) => {
                    // The sequence numbers of a shard increase numerically and may grow in length.
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

/// Returns the connection if its content is mirrored; loaded once for a batch.
async fn load_mirrored<'a>(
    connections: &'a mut BTreeMap<ConnectionKey, Option<Connection>>,
    key: &ConnectionKey,
    deps: &Deps,
) -> Result<Option<&'a Connection>, StoreError> {
    if !connections.contains_key(key) {
        let connection = deps.store.load_connection(key).await?;
        let connection = connection.filter(|connection| connection.content.enabled);
        connections.insert(key.clone(), connection);
    }
    Ok(connections.get(key).and_then(Option::as_ref))
}

/// Returns the wake that a change of a record requires: prompt for a change, bulk for a first
/// sight, which belongs to a listing.
fn content_wake(rules: &domain::Rules, change: &FileChange) -> Option<(Priority, DedupKey)> {
    let FileChange { before, after, .. } = change;
    let (before, after) = (before.as_ref(), after.as_ref()?);
    // A rename or move may bring the file into the scope of a rule.
    let may_come_into_scope = !rules.is_empty()
        && before.is_some_and(|before: &FileRecord| after.moved_in_drive_since(before));
    if !affects_content(before, after) && !may_come_into_scope {
        return None;
    }
    let priority = match before {
        Some(_) => Priority::High,
        None => Priority::Bulk,
    };
    Some((priority, DedupKey::Record(after.revision)))
}

/// The key of a file: its connection and its id.
type FileKey = (ConnectionKey, FileId);
