//! Watches the table's stream: appends what changes mean to the event logs, and sends wakes for
//! content.
//!
//! Events: those of a batch are appended once, after its records were read, in the order of the
//! stream. An event has the same id however often its record arrives, so that readers take it once.
//! The log of one connection stops nobody else's: where events can't be appended, a reset is owed.
//!
//! Content: a file's record states what is owed for its content; the stream only triggers the
//! check. A stream record that arrives twice is therefore harmless.
//!
//! An unreadable record is stored as a dead letter and skipped, since a shard is processed in order
//! and would be blocked by it.

mod append;
mod content_scan;
#[cfg(test)]
mod event_tests;
mod memory;
mod read;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lambda_events::event::dynamodb::{Event as StreamEvent, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use domain::event::Event;
use domain::{Cause, ConnectionKey, FileRecord, Timestamp, affects_content};
use runtime::{Clock, Entropy, Settings, SettingsError, VersionCheck, telemetry};
use store::stream::{self, Change, FileChange, ItemKind};
use store::{Connection, Store, StoreError};
use tracing::{Instrument as _, Span};
use worker::version_check::{check_sending, check_table};
use worker::{ContentQueues, ContentWake, DedupKey, Priority, Queue, WorkError};

use crate::append::Told;
use crate::content_scan::RecentOperations;
pub use crate::memory::{EndpointMemory, Memory};

/// The dependencies of the function.
#[derive(Clone)]
pub struct Deps {
    /// The table of connections and dead letters.
    pub store: Store,
    /// The queues that receive the wakes for content.
    pub contents: ContentQueues,
    /// The queue that receives the wakes of live readers.
    pub live: Queue,
    /// The queue that receives the wakes of webhook endpoints.
    pub deliver: Queue,
    /// The webhook endpoints that this instance remembers.
    pub endpoints: EndpointMemory,
    /// What this instance remembers.
    pub memory: Memory,
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
            live: Queue::from_setting(&sqs, settings, "LIVE_QUEUE_URL")?,
            deliver: Queue::from_setting(&sqs, settings, "DELIVER_QUEUE_URL")?,
            endpoints: EndpointMemory::default(),
            memory: Memory::default(),
            clock: Clock::system(),
            entropy: Entropy::system(),
        })
    }

    /// Returns the same dependencies on behalf of this cause.
    fn caused_by(&self, cause: Cause) -> Self {
        Self {
            store: self.store.caused_by(cause),
            live: self.live.caused_by(cause),
            deliver: self.deliver.caused_by(cause),
            ..self.clone()
        }
    }
}

/// Handles a batch of one shard, in order. The response names the first record that was not
/// processed; it and everything after it is delivered again. What follows from a change has the
/// cause that the changed record carries, and everything else has one of its own.
pub async fn handle(event: StreamEvent, deps: &Deps) -> DynamoDbEventResponse {
    let cause = deps.entropy.cause();
    let deps = deps.caused_by(cause);
    let handled = handle_records(event, &deps);
    handled.instrument(telemetry::span(cause)).await
}

async fn handle_records(event: StreamEvent, deps: &Deps) -> DynamoDbEventResponse {
    let mut batch = Batch::default();
    let mut failed = None;
    for record in event.records {
        let sequence = record.change.sequence_number.clone().unwrap_or_default();
        // Boxed, to limit the depth of nested futures.
        if let Err(error) = Box::pin(batch.add(record, &sequence, deps)).await {
            failed = Some(log_failure(sequence, &error));
            break;
        }
    }
    // What the records before the failure tell is sent nevertheless.
    let told = std::mem::take(&mut batch.told);
    let (appended, sent) = tokio::join!(append::append_all(told, deps), batch.send(deps));
    for (sequence, error) in [appended, sent].into_iter().filter_map(Result::err) {
        let sequence = log_failure(sequence, &error);
        if failed
            .as_ref()
            .is_none_or(|failed| is_earlier(&sequence, failed))
        {
            failed = Some(sequence);
        }
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

/// Returns whether one sequence number is before another: those of a shard increase numerically and
/// may grow in length.
fn is_earlier(one: &str, other: &str) -> bool {
    (one.len(), one) < (other.len(), other)
}

/// What a batch tells.
#[derive(Default)]
struct Batch {
    /// The connections that exist, loaded once: consistently, so that everything written after a
    /// setting was enabled follows it.
    connections: BTreeMap<ConnectionKey, Option<Arc<Connection>>>,
    recent_operations: RecentOperations,
    told: BTreeMap<ConnectionKey, Told>,
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
        let Some((key, kind)) = stream::item_of_keys(&record.change.keys) else {
            return Ok(());
        };
        let Some(connection) = self.connection(&key, deps).await? else {
            return Ok(());
        };
        let tells = deps.store.event_days() > 0;
        let mirrors = connection.content.enabled && matches!(kind, ItemKind::File(_));
        if !tells && !mirrors {
            return Ok(());
        }
        let at = read::time_of(&record);
        let table = record
            .event_source_arn
            .as_deref()
            .and_then(store::table_mark);
        let Some(change) = read::read(record, &key, &kind, deps).await? else {
            return Ok(());
        };
        if let Change::Conflict { before, after } = &change {
            append::wake_resolver_of(&key, before.as_deref(), after, deps).await;
        }
        if tells {
            let events = self.events(&change, &kind, &connection, at, deps).await?;
            if !events.is_empty() {
                let told = self.told.entry(key).or_insert_with(|| Told {
                    first: sequence.to_owned(),
                    table,
                    events: Vec::new(),
                });
                told.events.extend(events);
            }
        }
        if let (true, Change::File(change)) = (mirrors, change) {
            self.add_content_wake(*change, &connection, sequence, deps)
                .await?;
        }
        Ok(())
    }

    /// Returns the events of a change that are told.
    async fn events(
        &mut self,
        change: &Change,
        kind: &ItemKind,
        connection: &Connection,
        at: Timestamp,
        deps: &Deps,
    ) -> Result<Vec<Event>, StoreError> {
        let key = &connection.key;
        let mut events = told::events_of(change, at);
        if events.iter().any(|event| event.kind.tells_of_a_file())
            && self.is_listed(key, change, deps).await?
        {
            events.retain(|event| !event.kind.tells_of_a_file());
        }
        if !events.is_empty() && told::is_out_of_scope(change, kind, connection, deps).await? {
            return Ok(Vec::new());
        }
        events.retain(|event| deps.memory.admits(key, event));
        Ok(events)
    }

    /// Returns whether a change of a file was made by a listing that has not ended: readers load
    /// what it found when they learn of its end. The operations are read after the change was
    /// committed, so that a change after the end of its listing is reported.
    async fn is_listed(
        &mut self,
        key: &ConnectionKey,
        change: &Change,
        deps: &Deps,
    ) -> Result<bool, StoreError> {
        let cause = match change {
            Change::File(change) => change.after.as_ref().and_then(|record| record.cause),
            Change::Conflict { .. }
            | Change::Content { .. }
            | Change::Operation { .. }
            | Change::DeadLetter { .. }
            | Change::Connection { .. }
            | Change::Removed => None,
        };
        let Some(cause) = cause else {
            return Ok(false);
        };
        let operations =
            content_scan::operations_of(key, &mut self.recent_operations, deps).await?;
        Ok(operations.iter().any(|operation| {
            operation.lists_all() && !operation.has_ended() && operation.cause == Some(cause)
        }))
    }

    /// Adds what follows from the change of a file's record for its content.
    async fn add_content_wake(
        &mut self,
        change: FileChange,
        connection: &Connection,
        sequence: &str,
        deps: &Deps,
    ) -> Result<(), StoreError> {
        let cause = change.after.as_ref().and_then(|record| record.cause);
        let cause = cause.or(deps.store.cause());
        let (deps, span) = match cause {
            Some(cause) => (&deps.caused_by(cause), telemetry::span(cause)),
            None => (deps, Span::current()),
        };
        content_scan::schedule_for_folder(&change, connection, &mut self.recent_operations, deps)
            .instrument(span)
            .await?;
        if let Some((priority, dedup_key)) = content_wake(&connection.rules, &change) {
            let (key, file) = (change.key, change.file);
            let wake = ContentWake { key, file };
            self.wakes
                .push((sequence.to_owned(), priority, wake, dedup_key, cause));
        }
        Ok(())
    }

    /// Returns the connection, if it exists.
    async fn connection(
        &mut self,
        key: &ConnectionKey,
        deps: &Deps,
    ) -> Result<Option<Arc<Connection>>, StoreError> {
        if let Some(known) = self.connections.get(key) {
            return Ok(known.clone());
        }
        let connection = deps.store.load_connection(key).await?.map(Arc::new);
        self.connections.insert(key.clone(), connection.clone());
        Ok(connection)
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
                    let earlier = first_failed
                        .as_ref()
                        .is_none_or(|(before, _)| is_earlier(first, before));
                    if earlier {
                        first_failed = Some(((*first).clone(), error.into()));
                    }
                }
            }
        }
        first_failed.map_or(Ok(()), Err)
    }
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

/// Tries everything that the function needs, with its own role. Changes nothing.
pub async fn version_check(deps: &Deps) -> VersionCheck {
    let mut check = VersionCheck::default();
    check_table(&mut check, &deps.store).await;
    check_sending(
        &mut check,
        &[
            &deps.contents.high,
            &deps.contents.bulk,
            &deps.live,
            &deps.deliver,
        ],
    )
    .await;
    check
}
