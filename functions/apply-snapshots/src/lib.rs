//! Merges snapshots into the stored records.
//!
//! History is written first (a crash after the merge would lose it for good), then one conditional
//! write per file: all messages of a file are folded, in order, into one step. If the record was
//! written concurrently, the store returns the current one and the fold is repeated.

mod fold;
mod history;
mod left_drives;
mod list_permissions;
mod log_applied;
mod lookup;
mod reschedule;
#[cfg(test)]
mod tests;
mod too_large;
mod version_check;

pub use self::version_check::version_check;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::left_drives::LeftLogs;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::{Cause, ConnectionKey, Context, Disposition, FileId, FileRecord, LogId, Revision};
use futures_util::future::join_all;
use runtime::{Clock, Deadline, Entropy, Settings, telemetry};
use store::{Attempt, Committed, Connection, Nonce, Store, StoreError, Swapped, compare_and_swap};
use throttle::{CallError, DriveFactory};
use tracing::{Instrument as _, Span};
use worker::{
    ConnectError, Consumer, GroupResult, MessageGroup, Queue, Services, SnapshotMessage,
    SnapshotQueues, WorkError, batch,
};

use crate::fold::fold;
use crate::history::History;
use crate::log_applied::log_applied;
use crate::lookup::{LookedUp, Question};
use crate::too_large::{Applied, TooLarge};

/// Timeouts of Drive calls. The function has 15 s.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(8),
};

/// The dependencies of the function.
#[derive(Clone)]
pub struct Deps {
    /// The table of records.
    pub store: Store,
    /// Drive, called only when a file appears or disappears.
    pub drives: DriveFactory,
    /// The queues that the function consumes.
    pub queues: Vec<Queue>,
    /// The queue that wakes `push-intents` after out-of-scope files were rescheduled.
    pub push_wakes: Queue,
    /// The retention of history, in days; `None` keeps none.
    pub history_days: Option<u32>,
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
    pub async fn load(settings: &Settings) -> Result<Self, ConnectError> {
        let Services {
            store,
            drives,
            sqs,
            clock,
            entropy,
            ..
        } = Services::connect(settings, DRIVE_TIMEOUTS).await?;
        let SnapshotQueues { live, bulk } = SnapshotQueues::from_settings(&sqs, settings)?;
        Ok(Self {
            store,
            drives,
            queues: vec![live, bulk],
            push_wakes: Queue::from_setting(&sqs, settings, "PUSH_WAKES_QUEUE_URL")?,
            history_days: settings.history_days()?,
            clock,
            entropy,
        })
    }

    /// Returns the same dependencies on behalf of this cause.
    fn caused_by(&self, cause: Cause) -> Self {
        Self {
            store: self.store.caused_by(cause),
            push_wakes: self.push_wakes.caused_by(cause),
            ..self.clone()
        }
    }
}

/// The result of a lookup that shares its errors with the other lookups of a batch.
type LookupResult = Result<LookedUp, Arc<CallError>>;

/// The messages of one file, in order, and the group that they arrived in.
struct Work {
    group: MessageGroup,
    /// The cause of the group's writes.
    cause: Cause,
    /// The readable messages; empty if an unreadable one could not be parked.
    messages: Vec<SnapshotMessage>,
    /// The cause of each message.
    causes: Vec<Cause>,
    /// The group's result if an unreadable message could not be parked.
    unread: Option<GroupResult>,
    /// Set if permissions were read from Drive, later than the record was loaded.
    permissions_listed: bool,
    /// Set if Drive did not list the permissions, and the file is applied without them.
    permissions_unlisted: bool,
    /// The error of reading the permissions.
    permissions_error: Option<CallError>,
}

/// The receives of a message after which a file is applied without its permissions.
const LISTING_RECEIVES_MAX: u32 = 3;

impl Work {
    /// Returns whether listing the permissions has failed several times.
    fn is_received_often(&self) -> bool {
        let first = self.group.messages.first();
        first.is_some_and(|first| first.receives >= LISTING_RECEIVES_MAX)
    }
}

/// Handles a batch of snapshots. Each group is one file. Messages that are received again are
/// handled file by file, since one of them may crash the process.
pub async fn handle(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    // Boxed, to limit the depth of nested futures.
    let handle_part = |part| Box::pin(handle_batch(part, deadline, deps));
    batch::isolate_poison_message(event, &deps.queues, handle_part).await
}

fn consumer(deps: &Deps) -> Consumer<'_> {
    Consumer {
        store: &deps.store,
        queues: &deps.queues,
        clock: &deps.clock,
        entropy: &deps.entropy,
        groups_at_once: usize::MAX,
        failure_metric: "apply_failed",
        failure_text: "could not apply snapshots; will retry",
    }
}

/// Handles a batch, each group under its own cause. What is done for all of them together is logged
/// under the first group's.
async fn handle_batch(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let mut works = Vec::new();
    for group in batch::message_groups(event) {
        let cause = consumer(deps).begin(&group);
        let work = read_work(group, cause, deps).instrument(telemetry::span(cause));
        works.push(work.await);
    }
    let span = works.first().map(|work| telemetry::span(work.cause));
    let handled = handle_works(works, deadline, deps);
    handled.instrument(span.unwrap_or_else(Span::none)).await
}

async fn handle_works(mut works: Vec<Work>, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let left = LeftLogs::default();
    let results = match prepare(&mut works, deadline, deps).await {
        Ok(prepared) => process_all(works, &prepared, &left, deadline, deps).await,
        // An unreadable record must not block the other files of the batch.
        Err(_) => {
            let files = works.into_iter().map(async |mut work| {
                match prepare(std::slice::from_mut(&mut work), deadline, deps).await {
                    Ok(prepared) => process_all(vec![work], &prepared, &left, deadline, deps).await,
                    Err(error) => vec![(work.group, consumer(deps).failed(0, &error.into()))],
                }
            });
            join_all(files).await.into_iter().flatten().collect()
        }
    };
    consumer(deps).respond(results).await
}

/// Processes the files of a batch concurrently. All lookups in Drive are made together; files that
/// need none do not wait for them.
async fn process_all(
    works: Vec<Work>,
    prepared: &Prepared,
    left: &LeftLogs,
    deadline: Deadline,
    deps: &Deps,
) -> Vec<(MessageGroup, GroupResult)> {
    let (mut uncertain, mut others) = (Vec::new(), Vec::new());
    for work in works {
        if needs_lookup(&work, prepared, left, deps).await {
            uncertain.push(work);
        } else {
            others.push(work);
        }
    }
    let others = others
        .into_iter()
        .map(|work| process_file(work, None, prepared, left, deadline, deps));
    let lookups = async {
        let files = uncertain.iter().filter_map(|work| {
            let first = work.messages.first()?;
            Some(Question {
                connection: prepared.connections.get(&first.key)?,
                file: &first.file,
                reported_gone: is_reported_gone(&work.messages),
            })
        });
        let mut results = lookup::lookup_all(files, deadline, deps).await;
        let files = uncertain.into_iter().map(|work| {
            let place = work.messages.first();
            let place = place.map(|first| (first.key.clone(), first.file.clone()));
            let lookup = place.and_then(|place| results.remove(&place));
            process_file(work, lookup, prepared, left, deadline, deps)
        });
        join_all(files).await
    };
    let (mut results, looked_up) = tokio::join!(join_all(others), lookups);
    results.extend(looked_up);
    results
}

/// Returns whether a file's messages need a lookup in Drive, given the record loaded for the batch.
async fn needs_lookup(work: &Work, prepared: &Prepared, left: &LeftLogs, deps: &Deps) -> bool {
    let (messages, now) = (work.messages.as_slice(), deps.clock.now());
    let Some(first) = messages
        .first()
        .filter(|_| work.permissions_error.is_none())
    else {
        return false;
    };
    let Some(connection) = prepared.connections.get(&first.key) else {
        return false;
    };
    let record = prepared.record_of(first);
    match left.left_drives(messages, record.is_none(), deps).await {
        Ok(left) => fold(record, messages, &left, (&connection.policies, None), now).is_none(),
        // The error recurs when the file is processed.
        Err(_) => false,
    }
}

/// Returns whether a log or a listing reports the file as gone. A message from a dead letter about
/// an unreadable entry only asks.
fn is_reported_gone(messages: &[SnapshotMessage]) -> bool {
    let reports = |message: &SnapshotMessage| {
        message.snapshot.is_none() && message.origin.dead_letter_name().is_none()
    };
    messages.iter().any(reports)
}

/// Reads a group's messages.
async fn read_work(group: MessageGroup, cause: Cause, deps: &Deps) -> Work {
    let read = consumer(&deps.caused_by(cause))
        .read(&group, SnapshotMessage::from_body)
        .await;
    let ((messages, causes), unread) = match read {
        Ok(read) => {
            let read = read.into_iter();
            let read = read.map(|(received, message)| (message, received.cause.unwrap_or(cause)));
            (read.unzip(), None)
        }
        Err(failed) => ((Vec::new(), Vec::new()), Some(failed)),
    };
    Work {
        group,
        cause,
        messages,
        causes,
        unread,
        permissions_listed: false,
        permissions_unlisted: false,
        permissions_error: None,
    }
}

/// The data shared by the whole batch: one read for all records, one for each connection, one write
/// for history.
struct Prepared {
    connections: BTreeMap<ConnectionKey, Connection>,
    records: BTreeMap<(ConnectionKey, FileId), FileRecord>,
    history: History,
    too_large: TooLarge,
}

impl Prepared {
    /// Returns the record of the message's file.
    fn record_of(&self, message: &SnapshotMessage) -> Option<&FileRecord> {
        let place = (message.key.clone(), message.file.clone());
        self.records.get(&place)
    }
}

async fn prepare(
    works: &mut [Work],
    deadline: Deadline,
    deps: &Deps,
) -> Result<Prepared, StoreError> {
    let mut files: BTreeMap<ConnectionKey, Vec<FileId>> = BTreeMap::new();
    for message in works.iter().flat_map(|work| &work.messages) {
        files
            .entry(message.key.clone())
            .or_default()
            .push(message.file.clone());
    }
    let mut prepared = Prepared {
        connections: BTreeMap::new(),
        records: BTreeMap::new(),
        history: History::default(),
        too_large: TooLarge::default(),
    };
    for (key, files) in files {
        let (connection, records, erased) = tokio::join!(
            deps.store.load_marked_connection(&key),
            deps.store.load_files(&key, &files),
            deps.store.load_erased_persons(&key.tenant)
        );
        let messages = works.iter_mut().flat_map(|work| &mut work.messages);
        fold::replace_erased(messages, &key, &erased?);
        let records = records?
            .into_iter()
            .map(|(file, record)| ((key.clone(), file), record));
        prepared.records.extend(records);
        if let Some((connection, oversized)) = connection? {
            if oversized {
                prepared.too_large.load(&key, &files, deps).await?;
            }
            prepared.connections.insert(key.clone(), connection);
        }
    }
    let wait_budget = lookup::wait_budget(deadline);
    list_permissions::add_permissions(
        works,
        &prepared.connections,
        &prepared.records,
        wait_budget,
        deps,
    )
    .await;
    let messages = works
        .iter()
        .flat_map(|work| work.messages.iter().zip(work.causes.iter().copied()));
    prepared.history = History::collect(messages, &prepared.records);
    // The history of a deleted connection is not saved.
    let exists = |key: &ConnectionKey| prepared.connections.contains_key(key);
    prepared.history.save_new(exists, deps).await?;
    Ok(prepared)
}

async fn process_file(
    work: Work,
    lookup: Option<LookupResult>,
    prepared: &Prepared,
    left: &LeftLogs,
    deadline: Deadline,
    deps: &Deps,
) -> (MessageGroup, GroupResult) {
    let (deps, span) = (deps.caused_by(work.cause), telemetry::span(work.cause));
    let processed = process_work(work, lookup, prepared, left, deadline, &deps);
    processed.instrument(span).await
}

async fn process_work(
    work: Work,
    lookup: Option<LookupResult>,
    prepared: &Prepared,
    left: &LeftLogs,
    deadline: Deadline,
    deps: &Deps,
) -> (MessageGroup, GroupResult) {
    if let Some(failed) = work.unread {
        return (work.group, failed);
    }
    if let Some(error) = work.permissions_error {
        let error = error.into();
        suspend_if_halted(&work.messages, &error, deps).await;
        return (work.group, consumer(deps).failed(0, &error));
    }
    let result = match apply(&work, lookup, prepared, left, deadline, deps).await {
        Ok(()) => GroupResult::Processed,
        Err(error) => {
            suspend_if_halted(&work.messages, &error, deps).await;
            consumer(deps).failed(0, &error)
        }
    };
    (work.group, result)
}

/// Suspends the connection if Drive rejects its credentials. The snapshots are retried until the
/// connection is resumed: the cursor has passed them, so nothing else would deliver them again.
async fn suspend_if_halted(messages: &[SnapshotMessage], error: &WorkError, deps: &Deps) {
    let disposition = error.disposition();
    if let (Some(first), Disposition::Halt { reason }) = (messages.first(), disposition) {
        let (key, now) = (&first.key, deps.clock.now());
        if let Err(error) = worker::suspend(key, &reason, error, &deps.store, now).await {
            let error = telemetry::chain(&error);
            tracing::warn!(connection = %key, error, "could not suspend connection");
        }
    }
}

/// Folds one file's messages into its record until the write succeeds.
async fn apply(
    work: &Work,
    lookup: Option<LookupResult>,
    prepared: &Prepared,
    left: &LeftLogs,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let Some(first) = work.messages.first() else {
        return Ok(());
    };
    // The connection was deleted.
    let Some(connection) = prepared.connections.get(&first.key) else {
        return Ok(());
    };
    let record = prepared.record_of(first);
    let mut messages = work.messages.as_slice();
    let mut lookup = lookup;
    loop {
        let left = left.left_drives(messages, record.is_none(), deps).await?;
        let file = FileWork {
            work,
            messages,
            first,
            connection,
            history: &prepared.history,
            left,
            deadline,
            deps,
        };
        let known = Known {
            record: record.cloned(),
            lookup: lookup.take(),
            consistent: false,
        };
        let applied = match compare_and_swap(known, |known| file.apply_to(known)).await? {
            Swapped::Done(applied) => applied,
            Swapped::Contended(_) => return Err(WorkError::Contended),
        };
        match (applied, messages.split_last()) {
            (Applied::Stored(record), _) if messages.len() == work.messages.len() => {
                prepared.too_large.end(&first.key, &record, deps).await;
                return Ok(());
            }
            (Applied::Stored(_) | Applied::Unchanged, _) | (_, None) => return Ok(()),
            (Applied::TooLarge(version, error), Some((last, earlier))) => {
                let received = work.group.messages.last();
                let received = received.map(|last| (last.sent_at, last.receives));
                let received = received.unwrap_or_default();
                too_large::set_aside(last, version, received, &error, deps).await?;
                // What came before it may fit.
                if earlier.is_empty() {
                    return Ok(());
                }
                messages = earlier;
            }
        }
    }
}

/// The messages of one file, and all that is needed to apply them.
struct FileWork<'a> {
    work: &'a Work,
    /// The messages to apply: all, or the first of them.
    messages: &'a [SnapshotMessage],
    first: &'a SnapshotMessage,
    connection: &'a Connection,
    history: &'a History,
    left: Vec<LogId>,
    deadline: Deadline,
    deps: &'a Deps,
}

/// The known state of a file.
struct Known {
    record: Option<FileRecord>,
    /// The result of a lookup that has not been used yet.
    lookup: Option<LookupResult>,
    /// Set if the record was read consistently.
    consistent: bool,
}

impl FileWork<'_> {
    async fn apply_to(&self, known: Known) -> Result<Attempt<Known, Applied>, WorkError> {
        let (deps, first, messages) = (self.deps, self.first, self.messages);
        let now = deps.clock.now();
        if self.deadline.passed(now) {
            return Err(WorkError::OutOfTime);
        }
        let Known {
            mut record,
            lookup,
            mut consistent,
        } = known;
        let folded = match &lookup {
            Some(_) => None,
            None => self.fold(record.as_ref(), now).await?,
        };
        let transition = match folded {
            Some(transition) => transition,
            None => {
                self.save_repetitions().await?;
                let looked_up = self.look_up(lookup).await?;
                (record, consistent) = (looked_up.record, true);
                history::save_referred(messages, looked_up.transition, deps).await?
            }
        };
        let unlisted = self.work.permissions_unlisted && transition.record.is_present();
        let transition = match unlisted {
            true => transition.then(|record| {
                let context = Context {
                    now,
                    drive_at: None,
                    above: None,
                    policies: &self.connection.policies,
                };
                record.permissions_unlisted(context, deps.entropy.jitter())
            }),
            false => transition,
        };
        let known = |record, consistent| Known {
            record,
            lookup: None,
            consistent,
        };
        if record.as_ref() == Some(&transition.record) {
            // A result without changes is not verified by a conditional write, and the batch's read
            // may be stale: an apparently known removal is checked against a consistent read.
            if !consistent && messages.iter().any(|message| message.snapshot.is_none()) {
                let record = deps.store.load_file(&first.key, &first.file).await?;
                return Ok(Attempt::Stale(known(record, true)));
            }
            return Ok(Attempt::Done(Applied::Unchanged));
        }
        let before = record
            .as_ref()
            .map_or(Revision(0), |record| record.revision);
        let nonce = Nonce(deps.entropy.next());
        let committed = deps.store.commit(&first.key, before, &transition, nonce);
        let committed = match committed.await {
            Err(error @ StoreError::TooLarge { .. }) => {
                let version = transition.record.version;
                return Ok(Attempt::Done(Applied::TooLarge(version, error)));
            }
            committed => committed?,
        };
        match committed {
            Committed::Done => {
                log_applied(record.as_ref(), &transition, messages, deps.clock.now());
                let before = record.as_ref();
                reschedule::reschedule_out_of_scope(self.connection, before, &transition, deps)
                    .await;
                Ok(Attempt::Done(Applied::Stored(Box::new(transition.record))))
            }
            // The concurrent writer may have read the permissions later: they must be read again.
            Committed::Stale(_) if self.work.permissions_listed => Err(WorkError::Contended),
            Committed::Stale(current) => {
                // The skipped snapshots were compared with a stale record.
                self.save_repetitions().await?;
                let current = current.map(|current| *current);
                Ok(Attempt::Stale(known(current, consistent)))
            }
        }
    }

    /// Returns the result of the lookup that was made with the batch's, or else makes one.
    async fn look_up(&self, lookup: Option<LookupResult>) -> Result<LookedUp, WorkError> {
        let lookup = match lookup {
            Some(lookup) => Some(lookup),
            None => {
                let alone = Question {
                    connection: self.connection,
                    file: &self.first.file,
                    reported_gone: is_reported_gone(&self.work.messages),
                };
                let alone = std::iter::once(alone);
                let mut results = lookup::lookup_all(alone, self.deadline, self.deps).await;
                results.pop_first().map(|(_, lookup)| lookup)
            }
        };
        lookup.ok_or(WorkError::Contended)?.map_err(WorkError::from)
    }

    async fn save_repetitions(&self) -> Result<(), StoreError> {
        let (key, file) = (&self.first.key, &self.first.file);
        self.history.save_repetitions(key, file, self.deps).await
    }
}
