//! Merges snapshots into our records.
//!
//! History first (a crash after the merge would lose it for good), then one conditional write per file:
//! all messages of one file are folded, in order, into one step. Where the record has moved meanwhile,
//! the store hands the current one back and the fold is done again.

mod fold;
mod history;
mod look;
mod membership;
mod permissions;
mod scope;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::membership::LeftLogs;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::{ConnectionKey, Disposition, FileId, FileRecord, Revision, Step, Timestamp};
use futures_util::future::join_all;
use gate::{Gate, GateError, NotParked, Services};
use runtime::{
    Clock, Deadline, Entropy, Group, Queue, Settings, SnapshotMessage, Verdict, batch, telemetry,
};
use store::{Committed, Connection, Nonce, Store, StoreError};

use crate::fold::fold;
use crate::history::History;
use crate::look::Asked;

/// How long Drive may take. The function has 15 s.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(8),
};

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The records.
    pub store: Store,
    /// Drive: asked only where a file appears or disappears.
    pub gate: Gate,
    /// The queues it consumes.
    pub queues: Vec<Queue>,
    /// Where it says that something that was held may go on.
    pub push_wakes: Queue,
    /// How long history is kept, in days; `None` keeps none.
    pub history_days: Option<u32>,
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
        let services = Services::connect(settings, DRIVE_TIMEOUTS).await?;
        let queue = |name| services.queue(settings, name);
        let queues = vec![
            queue("SNAPSHOTS_QUEUE_URL")?,
            queue("SNAPSHOTS_BULK_QUEUE_URL")?,
        ];
        Ok(Self {
            store: services.store.clone(),
            gate: services.gate.clone(),
            queues,
            push_wakes: queue("PUSH_WAKES_QUEUE_URL")?,
            history_days: settings.history_days()?,
            clock: services.clock.clone(),
            entropy: services.entropy.clone(),
        })
    }
}

/// Rounds of "merge, write, somebody was faster" before a file's messages go back to the queue.
const ROUNDS_MAX: usize = 8;

/// Why a file's messages could not be applied now.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the table did not do it")]
    Store(#[from] StoreError),
    #[error("Drive was not asked, or did not say")]
    Gate(#[from] Arc<GateError>),
    #[error("others kept writing the same record")]
    Contended,
    #[error("the function is about to be ended")]
    OutOfTime,
}

impl From<GateError> for Stopped {
    fn from(error: GateError) -> Self {
        Self::Gate(Arc::new(error))
    }
}

impl Stopped {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Gate(error) => error.disposition(),
            Self::Store(_) | Self::Contended | Self::OutOfTime => {
                Disposition::Retry { after_millis: None }
            }
        }
    }
}

/// The answer to a question that was asked with others.
type Answer = Result<Asked, Arc<GateError>>;

/// The messages of one file, in order, and the group that they came in.
struct Work {
    group: Group,
    /// `None` where nothing of the group could be read; what could not is parked already.
    messages: Vec<SnapshotMessage>,
    /// How many deliveries were dealt with when parking failed.
    broken: Option<(usize, StoreError)>,
    /// Permissions were read from Drive for it, later than the record was loaded.
    listed: bool,
    /// Why they could not be.
    unlisted: Option<GateError>,
}

/// Handles a batch of snapshots: each group is one file. What came back twice is handled file by file, since one of
/// them may be what ends the process.
pub async fn handle(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    // Boxed: the compiler looks only so deep into futures within futures.
    let together = |part| Box::pin(handle_together(part, deadline, deps));
    batch::handle_apart(event, &deps.queues, together).await
}

async fn handle_together(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let mut works = Vec::new();
    for group in batch::groups(event) {
        works.push(read(group, deps).await);
    }
    let left = LeftLogs::default();
    let judged = match prepare(&mut works, deadline, deps).await {
        Ok(prepared) => judge_all(works, &prepared, &left, deadline, deps).await,
        // One record that can't be read must not hold up the files beside it.
        Err(_) => {
            let files = works.into_iter().map(async |mut work| {
                match prepare(std::slice::from_mut(&mut work), deadline, deps).await {
                    Ok(prepared) => judge_all(vec![work], &prepared, &left, deadline, deps).await,
                    Err(error) => vec![(work.group, failed(0, &error.into()))],
                }
            });
            join_all(files).await.into_iter().flatten().collect()
        }
    };
    batch::respond(judged, &deps.queues, &deps.entropy).await
}

/// Judges the files of a batch beside each other. What Drive must be asked is asked for all of them at once; those
/// of which nothing must be asked do not wait for that.
async fn judge_all(
    works: Vec<Work>,
    prepared: &Prepared,
    left: &LeftLogs,
    deadline: Deadline,
    deps: &Deps,
) -> Vec<(Group, Verdict)> {
    let (mut asking, mut telling) = (Vec::new(), Vec::new());
    for work in works {
        if must_ask(&work, prepared, left, deps).await {
            asking.push(work);
        } else {
            telling.push(work);
        }
    }
    let telling = telling
        .into_iter()
        .map(|work| judge(work, None, prepared, left, deadline, deps));
    let asking = async {
        let files = asking.iter().filter_map(|work| {
            let first = work.messages.first()?;
            Some((prepared.connections.get(&first.key)?, &first.file))
        });
        let mut answers = look::ask_all(files, deadline, deps).await;
        let files = asking.into_iter().map(|work| {
            let place = work.messages.first();
            let place = place.map(|first| (first.key.clone(), first.file.clone()));
            let answer = place.and_then(|place| answers.remove(&place));
            judge(work, answer, prepared, left, deadline, deps)
        });
        join_all(files).await
    };
    let (mut judged, asked) = tokio::join!(join_all(telling), asking);
    judged.extend(asked);
    judged
}

/// Whether a file's messages lead to a question, on top of the record as it was read for the batch.
async fn must_ask(work: &Work, prepared: &Prepared, left: &LeftLogs, deps: &Deps) -> bool {
    let (messages, now) = (work.messages.as_slice(), deps.clock.now());
    let Some(first) = messages.first().filter(|_| work.unlisted.is_none()) else {
        return false;
    };
    let Some(connection) = prepared.connections.get(&first.key) else {
        return false;
    };
    let record = prepared.record_of(first);
    match left.of(messages, record.is_none(), deps).await {
        Ok(left) => fold(record, messages, &left, &connection.policies, now).is_none(),
        // Whoever judges the file meets the error again.
        Err(_) => false,
    }
}

/// Reads a group's messages; what can't be read never can be, and is parked so that the others go on.
async fn read(group: Group, deps: &Deps) -> Work {
    let now = deps.clock.now();
    let (messages, broken) =
        match gate::read_group(&group, SnapshotMessage::from_body, &deps.store, now).await {
            Ok(read) => (read.into_iter().map(|(_, message)| message).collect(), None),
            Err(NotParked { done, error }) => (Vec::new(), Some((done, error))),
        };
    Work {
        group,
        messages,
        broken,
        listed: false,
        unlisted: None,
    }
}

/// What the whole batch shares: one read for all records, one for each connection, one write for history.
struct Prepared {
    connections: BTreeMap<ConnectionKey, Connection>,
    records: BTreeMap<(ConnectionKey, FileId), FileRecord>,
    history: History,
}

impl Prepared {
    /// The record of the file that a message is about.
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
    };
    for (key, files) in files {
        let (connection, records) = tokio::join!(
            deps.store.load_connection(&key),
            deps.store.load_files(&key, &files)
        );
        let records = records?
            .into_iter()
            .map(|(file, record)| ((key.clone(), file), record));
        prepared.records.extend(records);
        if let Some(connection) = connection? {
            prepared.connections.insert(key.clone(), connection);
        }
    }
    let patience = look::patience(deadline);
    permissions::complete(
        works,
        &prepared.connections,
        &prepared.records,
        patience,
        deps,
    )
    .await;
    let messages = works.iter().flat_map(|work| &work.messages);
    prepared.history = History::of(messages, &prepared.records);
    for (key, entries) in &prepared.history.kept {
        // History of a connection that is gone would be nobody's.
        if prepared.connections.contains_key(key) {
            history::keep(key, entries, deps).await?;
        }
    }
    Ok(prepared)
}

async fn judge(
    work: Work,
    answer: Option<Answer>,
    prepared: &Prepared,
    left: &LeftLogs,
    deadline: Deadline,
    deps: &Deps,
) -> (Group, Verdict) {
    if let Some((done, error)) = work.broken {
        return (work.group, failed(done, &error.into()));
    }
    if let Some(error) = work.unlisted {
        let stopped = error.into();
        suspend_if_halted(&work.messages, &stopped, deps).await;
        return (work.group, failed(0, &stopped));
    }
    let verdict = match apply(&work, answer, prepared, left, deadline, deps).await {
        Ok(()) => Verdict::Done,
        Err(stopped) => {
            suspend_if_halted(&work.messages, &stopped, deps).await;
            failed(0, &stopped)
        }
    };
    (work.group, verdict)
}

/// Where Drive takes our credentials no more, the connection waits for a person. The snapshots come back
/// until then: the cursor is past them, so nothing else would bring them.
async fn suspend_if_halted(messages: &[SnapshotMessage], stopped: &Stopped, deps: &Deps) {
    let disposition = stopped.disposition();
    if let (Some(first), Disposition::Halt { reason }) = (messages.first(), disposition) {
        let (key, now) = (&first.key, deps.clock.now());
        if let Err(error) = gate::suspend(key, &reason, stopped, &deps.store, now).await {
            let error = telemetry::chain(&error);
            tracing::warn!(connection = %key, error, "could not suspend");
        }
    }
}

fn failed(done: usize, stopped: &Stopped) -> Verdict {
    let error = telemetry::chain(stopped);
    tracing::warn!(error, metric = "apply_failed", "the snapshots come back");
    let after_millis = stopped.disposition().after_millis();
    Verdict::Failed { done, after_millis }
}

/// Folds one file's messages into its record, until the write is taken.
async fn apply(
    work: &Work,
    answer: Option<Answer>,
    prepared: &Prepared,
    left: &LeftLogs,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), Stopped> {
    let messages = work.messages.as_slice();
    let Some(first) = messages.first() else {
        return Ok(());
    };
    // A connection that is gone: nobody waits for the file.
    let Some(connection) = prepared.connections.get(&first.key) else {
        return Ok(());
    };
    let (mut record, mut answer) = (prepared.record_of(first).cloned(), answer);
    let left = left.of(messages, record.is_none(), deps).await?;
    let mut certain = false;
    for _ in 0..ROUNDS_MAX {
        let now = deps.clock.now();
        if deadline.passed(now) {
            return Err(Stopped::OutOfTime);
        }
        let folded = match &answer {
            Some(_) => None,
            None => fold(record.as_ref(), messages, &left, &connection.policies, now),
        };
        let step = match folded {
            Some(step) => step,
            None => {
                let history = &prepared.history;
                history.keep_all(&first.key, &first.file, deps).await?;
                if answer.is_none() {
                    let alone = [(connection, &first.file)].into_iter();
                    let mut answers = look::ask_all(alone, deadline, deps).await;
                    answer = answers.pop_first().map(|(_, answer)| answer);
                }
                let Some(asked) = answer.take().transpose()? else {
                    break;
                };
                (record, certain) = (asked.record, true);
                asked.step
            }
        };
        if record.as_ref() == Some(&step.record) {
            // Nothing to write is not checked by a condition, and the batch's read may be behind: a removal
            // that seems to be known already is looked at again, in the record as it is.
            if !certain && messages.iter().any(|message| message.snapshot.is_none()) {
                certain = true;
                record = deps.store.load_file(&first.key, &first.file).await?;
                continue;
            }
            return Ok(());
        }
        let before = record
            .as_ref()
            .map_or(Revision(0), |record| record.revision);
        let nonce = Nonce(deps.entropy.next());
        match deps.store.commit(&first.key, before, &step, nonce).await? {
            Committed::Done => {
                report(record.as_ref(), &step, messages, deps.clock.now());
                scope::release(connection, record.as_ref(), &step, deps).await;
                return Ok(());
            }
            // Whoever was faster may have read the permissions later than we did: they are read again.
            Committed::Stale(_) if work.listed => return Err(Stopped::Contended),
            Committed::Stale(current) => {
                // What seemed to repeat the record was compared with an older one.
                let history = &prepared.history;
                history.keep_all(&first.key, &first.file, deps).await?;
                record = current.map(|current| *current);
            }
        }
    }
    Err(Stopped::Contended)
}

fn report(before: Option<&FileRecord>, step: &Step, messages: &[SnapshotMessage], now: Timestamp) {
    let strange = step.record.mirror.strange_permissions();
    if strange > 0 {
        tracing::warn!(
            file = %step.record.file, strange, metric = "strange_permissions",
            "roles or types that we don't know are kept as they are"
        );
    }
    let lag_millis = messages.last().map(|message| now.millis_since(message.at));
    if before.is_some_and(|before| step.record.is_noise_since(before)) {
        tracing::info!(
            file = %step.record.file, version = %step.record.version, lag_millis, metric = "noise",
            "only Drive's version has moved"
        );
        return;
    }
    tracing::info!(
        file = %step.record.file, version = %step.record.version, conflicts = step.conflicts.len(),
        lag_millis, metric = "applied", "applied"
    );
}
