//! Writes to Drive what is owed to it.
//!
//! For each file that is due: read it in Drive *now*, merge what is there, claim in the same conditional
//! write what still stands, write it on condition that Drive has not moved, confirm. Every step may be the
//! last: what the claim remembers is enough for the next push, or the next observation, to go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::{
    ConnectionKey, Disposition, FileId, FileRecord, Moment, Observation, Patch, Refusal, Step,
    Timestamp,
};
use drive::{DriveClient, DriveError, Kind};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use gate::{Gate, Services};
use runtime::{
    Clock, Deadline, Delivery, Entropy, Group, PushWake, Queue, QueueError, Settings, Verdict,
    batch, queue, telemetry,
};
use store::{Committed, Connection, ConnectionState, Letter, Nonce, Parked, Store, StoreError};

/// How long Drive may take. The function has 30 s, and a file needs a read and a write.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(6),
};

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The records.
    pub store: Store,
    /// Drive, as each connection may see it.
    pub gate: Gate,
    /// Where wakes come from, and go when there was not time enough.
    pub push_wakes: Queue,
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
        Ok(Self {
            store: services.store.clone(),
            gate: services.gate.clone(),
            push_wakes: queue("PUSH_WAKES_QUEUE_URL")?,
            clock: services.clock.clone(),
            entropy: services.entropy.clone(),
        })
    }
}

/// Files of one connection that are written at a time. Never two writes to one file.
const FILES_AT_ONCE: usize = 8;
/// Files taken up by one look at what is due.
const FILES_PER_LOOK: u32 = 200;
/// Rounds for one file: lost races, and fields that go one at a time.
const ROUNDS_MAX: usize = 12;
/// A file whose backoff is no longer than this is waited for, in milliseconds; others are left to the sweep.
const PATIENCE_MILLIS: u64 = 2_000;
/// What a round may take at most, in milliseconds: a token, a read and a write. One that could be cut off
/// between its claim and its confirmation is not begun.
const ROUND_MILLIS: i64 = 14_000;

/// Why a connection's intents could not be drained now.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the table did not do it")]
    Store(#[from] StoreError),
    #[error("the queue did not take it")]
    Queue(#[from] QueueError),
    #[error("Drive did not do it")]
    Drive(#[from] DriveError),
}

impl Stopped {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Store(_) | Self::Queue(_) => Disposition::Retry { after_millis: None },
            Self::Drive(error) => error.disposition(),
        }
    }
}

/// Handles a batch of wakes: each group is one connection.
pub async fn handle(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let drains = batch::groups(event).into_iter().map(|group| async {
        let verdict = look(&group, deadline, deps).await;
        (group, verdict)
    });
    let judged = join_all(drains).await;
    batch::respond(
        judged,
        std::slice::from_ref(&deps.push_wakes),
        &deps.entropy,
    )
    .await
}

async fn look(group: &Group, deadline: Deadline, deps: &Deps) -> Verdict {
    let mut newest = None;
    for (done, delivery) in group.deliveries.iter().enumerate() {
        match PushWake::from_body(&delivery.body) {
            Ok(wake) => newest = Some(wake),
            Err(why) => {
                if let Err(error) = park(delivery, &why.to_string(), deps).await {
                    return failed(done, &error.into());
                }
            }
        }
    }
    let Some(wake) = newest else {
        return Verdict::Done;
    };
    match drain(&wake.key, deadline, deps).await {
        Ok(()) => Verdict::Done,
        Err(stopped) => stop(&wake.key, &stopped, deps).await,
    }
}

/// What a failure means for the wake: it comes back, or the connection is suspended and the wake let
/// go, since the intents keep everything.
async fn stop(key: &ConnectionKey, stopped: &Stopped, deps: &Deps) -> Verdict {
    match stopped.disposition() {
        Disposition::Retry { .. } | Disposition::Park { .. } => failed(0, stopped),
        Disposition::Halt { reason } => {
            let error = telemetry::chain(stopped);
            tracing::error!(connection = %key, error, metric = "connection_suspended", "suspending");
            match deps.store.suspend(key, &reason, deps.clock.now()).await {
                Ok(()) => Verdict::Done,
                Err(error) => failed(0, &error.into()),
            }
        }
    }
}

fn failed(done: usize, stopped: &Stopped) -> Verdict {
    let error = telemetry::chain(stopped);
    tracing::warn!(error, metric = "push_failed", "will look again");
    let after_millis = match stopped.disposition() {
        Disposition::Retry { after_millis } => after_millis,
        Disposition::Park { .. } | Disposition::Halt { .. } => None,
    };
    Verdict::Failed { done, after_millis }
}

/// Writes everything that is due for a connection, as far as time allows.
async fn drain(key: &ConnectionKey, deadline: Deadline, deps: &Deps) -> Result<(), Stopped> {
    let Some(connection) = deps.store.load_connection(key).await? else {
        return Ok(());
    };
    if connection.state != ConnectionState::Active {
        return Ok(());
    }
    let mut seen: BTreeSet<FileId> = BTreeSet::new();
    loop {
        let due = deps
            .store
            .due_files(key, deps.clock.now(), FILES_PER_LOOK)
            .await?;
        // The index lags behind the records: a file that was just written may still stand in it.
        let fresh: Vec<FileId> = due
            .into_iter()
            .filter(|file| seen.insert(file.clone()))
            .collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let drive = deps.gate.open(&connection).await?;
        let push = Push {
            connection: &connection,
            drive: &drive,
            deadline,
            stop: AtomicBool::new(false),
            deps,
        };
        let mut pushes = stream::iter(fresh)
            .map(|file| push.file(file))
            .buffer_unordered(FILES_AT_ONCE);
        let mut stopped = None;
        while let Some(pushed) = pushes.next().await {
            // The others in flight are let finish, since what they claimed should be confirmed; none is begun.
            if let Err(error) = pushed {
                push.stop.store(true, Ordering::Relaxed);
                stopped.get_or_insert(error);
            }
        }
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        if deadline.passed(deps.clock.now().plus_millis(ROUND_MILLIS)) {
            queue::wake_push(&deps.push_wakes, key, deps.clock.now()).await?;
            return Ok(());
        }
    }
}

/// One connection's pushing.
struct Push<'a> {
    connection: &'a Connection,
    drive: &'a DriveClient,
    deadline: Deadline,
    /// Set when Drive refused us as a whole: no further file is begun.
    stop: AtomicBool,
    deps: &'a Deps,
}

impl Push<'_> {
    /// Brings one file's owed fields to Drive. `Ok` also where it has to wait: the record says until when.
    async fn file(&self, file: FileId) -> Result<(), Stopped> {
        for _ in 0..ROUNDS_MAX {
            let now = self.deps.clock.now();
            if self.stop.load(Ordering::Relaxed)
                || self.deadline.passed(now.plus_millis(ROUND_MILLIS))
            {
                return Ok(());
            }
            let Some(record) = self
                .deps
                .store
                .load_file(&self.connection.key, &file)
                .await?
            else {
                return Ok(());
            };
            let Some(due) = record.due() else {
                return Ok(());
            };
            match u64::try_from(due.millis_since(now)) {
                Err(_) | Ok(0) => self.round(record).await?,
                // A lost race is tried again at once: the next sweep may be a minute away.
                Ok(wait_millis) if wait_millis <= PATIENCE_MILLIS => {
                    tokio::time::sleep(Duration::from_millis(wait_millis)).await;
                }
                Ok(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Read, claim, write, confirm.
    async fn round(&self, record: FileRecord) -> Result<(), Stopped> {
        let read = match self.drive.read_file(&record.file).await {
            Ok(read) => read,
            Err(error) => return self.unreadable(record, error).await,
        };
        let attempt = self.deps.entropy.attempt();
        let claim = record.claim(
            &read.snapshot,
            attempt,
            self.moment(),
            self.deps.entropy.jitter(),
        );
        let Some(claimed) = self.commit(&record, &claim.step).await? else {
            return Ok(());
        };
        let Some(patch) = claim.patch else {
            return Ok(());
        };
        match self.drive.patch_file(&read, &patch).await {
            Ok(answer) => {
                self.settle(claimed, |record| {
                    record.confirmed(&patch, &answer, self.moment())
                })
                .await?;
                tracing::info!(file = %answer.file, fields = patch.values.len(), metric = "pushed", "written to Drive");
                Ok(())
            }
            Err(error) => self.refused(claimed, &patch, error).await,
        }
    }

    async fn refused(
        &self,
        claimed: FileRecord,
        patch: &Patch,
        error: DriveError,
    ) -> Result<(), Stopped> {
        let refusal = error.refusal();
        let file = claimed.file.clone();
        tracing::warn!(%file, error = telemetry::chain(&error), metric = "push_refused", "not written");
        let jitter = self.deps.entropy.jitter();
        self.settle(claimed, |record| {
            record.refused(patch, &refusal, self.moment(), jitter)
        })
        .await?;
        match refusal {
            // Drive is busy with everyone, or no longer ours to call: the whole connection stops here.
            Refusal::Busy => Err(error.into()),
            Refusal::Stale | Refusal::Permanent(_) | Refusal::Unknown(_) => Ok(()),
        }
    }

    /// Drive does not show us the file. Only the answer about the file itself means that it is gone.
    async fn unreadable(&self, record: FileRecord, error: DriveError) -> Result<(), Stopped> {
        if let Some(gone) = error.gone() {
            let step = record.answered(&Observation::Gone(gone), self.moment());
            self.commit(&record, &step).await?;
            return Ok(());
        }
        match error.kind() {
            // Drive will never show it to us, so nothing of it can be written: given up, for a person to see.
            Kind::Permanent { reason } => {
                let owed = record
                    .intent()
                    .map_or_else(Vec::new, |intent| intent.fields);
                let values = owed
                    .into_iter()
                    .map(|field| (field.clone(), record.app(field)))
                    .collect();
                let patch = Patch {
                    attempt: self.deps.entropy.attempt(),
                    values,
                };
                let refusal = Refusal::Permanent(reason.clone());
                let step =
                    record.refused(&patch, &refusal, self.moment(), self.deps.entropy.jitter());
                self.commit(&record, &step).await?;
                Ok(())
            }
            // Drive fails over this file, perhaps over others too: each has its own backoff, so that one that
            // can't be read holds up no other. No failure is counted: nothing was sent.
            Kind::Transient | Kind::Unanswered => {
                let file = &record.file;
                tracing::warn!(%file, error = telemetry::chain(&error), metric = "push_unread", "not read");
                let nothing = Patch {
                    attempt: self.deps.entropy.attempt(),
                    values: BTreeMap::new(),
                };
                let jitter = self.deps.entropy.jitter();
                let step = record.refused(&nothing, &Refusal::Stale, self.moment(), jitter);
                self.commit(&record, &step).await?;
                Ok(())
            }
            Kind::CursorLost
            | Kind::AuthLost { .. }
            | Kind::RateLimited { .. }
            | Kind::DailyLimit
            | Kind::Stale
            | Kind::NotFound
            | Kind::AccessDenied { .. }
            | Kind::NotSent => Err(error.into()),
        }
    }

    /// Stores what the answer means, on whatever the record has become meanwhile. Where that can't be
    /// done, the claim in the record remembers the attempt for the next one.
    async fn settle(
        &self,
        claimed: FileRecord,
        step: impl Fn(&FileRecord) -> Step,
    ) -> Result<(), Stopped> {
        let mut record = claimed;
        for _ in 0..ROUNDS_MAX {
            let next = step(&record);
            match self.write(&record, &next).await? {
                Committed::Done => return Ok(()),
                Committed::Stale(Some(current)) => record = *current,
                Committed::Stale(None) => return Ok(()),
            }
        }
        Ok(())
    }

    /// One conditional write; `None` where somebody was faster, so that the round begins anew.
    async fn commit(
        &self,
        before: &FileRecord,
        step: &Step,
    ) -> Result<Option<FileRecord>, Stopped> {
        Ok(match self.write(before, step).await? {
            Committed::Done => Some(step.record.clone()),
            Committed::Stale(_) => None,
        })
    }

    async fn write(&self, before: &FileRecord, step: &Step) -> Result<Committed, StoreError> {
        if step.record == *before {
            return Ok(Committed::Done);
        }
        let nonce = Nonce(self.deps.entropy.next());
        self.deps
            .store
            .commit(&self.connection.key, before.revision, step, nonce)
            .await
    }

    fn moment(&self) -> Moment<'_> {
        let now: Timestamp = self.deps.clock.now();
        Moment {
            now,
            // A read tells what Drive holds, not since when.
            drive_at: None,
            policies: &self.connection.policies,
        }
    }
}

async fn park(delivery: &Delivery, reason: &str, deps: &Deps) -> Result<(), StoreError> {
    tracing::warn!(
        message = delivery.id,
        reason,
        metric = "parked",
        "parked a message"
    );
    let letter = Letter {
        queue: &delivery.queue,
        id: &delivery.id,
        body: &delivery.body,
        sent_at: delivery.sent_at,
        receives: delivery.receives,
    };
    deps.store
        .park(&Parked::unreadable(letter, reason, deps.clock.now()))
        .await
}
