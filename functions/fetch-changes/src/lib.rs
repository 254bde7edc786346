//! Follows a Drive change log from the cursor, and queues what it tells as snapshots.
//!
//! The cursor never moves before everything before it is durably queued. A wake says only that a log
//! should be looked at; where we are in it, and whether its files are still being listed, is in the
//! log's own item. Whatever is interrupted goes on from there at the next wake.

mod listing;
mod membership;
mod root;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::pace::{CallKind, Held};
use domain::{ConnectionKey, Disposition, LogId, Timestamp};
use drive::{Change, ChangePage, DriveError, Kind, Next, Seen, Unreadable};
use futures_util::future::join_all;
use gate::{Gate, GateError, NotParked, Pass, Patience, Services};
use runtime::{
    Cause, Clock, Deadline, Entropy, Group, LogWake, Queue, QueueError, Settings, SnapshotMessage,
    Snapshots, Verdict, batch, queue, telemetry,
};
use store::{
    ConnectionState, Letter, Log, OperationKind, Parked, Position, Progress, Store, StoreError,
    Written,
};

/// How long Drive may take. A page of a thousand changes may take Drive a while; the function has a minute.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(3),
    total: Duration::from_secs(20),
};

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// Connections, logs, operations.
    pub store: Store,
    /// Drive, as each connection may see it.
    pub gate: Gate,
    /// Where snapshots go.
    pub snapshots: Snapshots,
    /// Where wakes come from, and go when there was not time enough.
    pub log_wakes: Queue,
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
        let snapshots = Snapshots {
            live: queue("SNAPSHOTS_QUEUE_URL")?,
            bulk: queue("SNAPSHOTS_BULK_QUEUE_URL")?,
        };
        Ok(Self {
            store: services.store.clone(),
            gate: services.gate.clone(),
            snapshots,
            log_wakes: queue("LOG_WAKES_QUEUE_URL")?,
            clock: services.clock.clone(),
            entropy: services.entropy.clone(),
        })
    }
}

/// How often a log with a channel is polled, in milliseconds: a notification that got lost makes a change
/// late, never lost.
const POLL_WATCHED_MILLIS: i64 = 15 * 60_000;
/// What a page may take at most, in milliseconds: one that could be cut off is not begun.
const PAGE_MILLIS: i64 = 24_000;
/// The longest wait for the connection's turn in place, in milliseconds.
const PATIENCE_MILLIS: u64 = 2_000;
/// Clocks that differ by less than this make no wake look older than it is.
const CLOCK_MARGIN_MILLIS: i64 = 1_000;

/// Why a log could not be followed to its end.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the table did not do it")]
    Store(#[from] StoreError),
    #[error("the queue did not take it")]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error("others kept writing the same log")]
    Contended,
}

impl From<DriveError> for Stopped {
    fn from(error: DriveError) -> Self {
        Self::Gate(error.into())
    }
}

impl Stopped {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Store(_) | Self::Queue(_) | Self::Contended => {
                Disposition::Retry { after_millis: None }
            }
            Self::Gate(error) => error.disposition(),
        }
    }
}

/// Handles a batch of wakes: each group is one log, and all of its wakes are one look at it.
pub async fn handle(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let looks = batch::groups(event).into_iter().map(|group| async {
        let verdict = look(&group, deadline, deps).await;
        (group, verdict)
    });
    let judged = join_all(looks).await;
    batch::respond(judged, std::slice::from_ref(&deps.log_wakes), &deps.entropy).await
}

async fn look(group: &Group, deadline: Deadline, deps: &Deps) -> Verdict {
    let now = deps.clock.now();
    let mut wakes = match gate::read_group(group, LogWake::from_body, &deps.store, now).await {
        Ok(wakes) => wakes,
        Err(NotParked { done, error }) => return failed(done, &error.into()),
    };
    let Some((newest, wake)) = wakes.pop() else {
        return Verdict::Done;
    };
    match follow(&wake, newest.sent_at, deadline, deps).await {
        Ok(()) => Verdict::Done,
        Err(Stopped::Gate(GateError::Held(held))) => match later(&wake, held, deps).await {
            Ok(()) => Verdict::Done,
            Err(error) => failed(0, &error.into()),
        },
        Err(stopped) => stop(&wake, &stopped, deps).await,
    }
}

/// The wake is let go, since the cursor keeps everything: the log is due again when it is the connection's turn.
/// So a wait is no failure of a message, however long it is.
async fn later(wake: &LogWake, held: Held, deps: &Deps) -> Result<(), StoreError> {
    let wait_millis = i64::try_from(held.wait_millis).unwrap_or(i64::MAX);
    let turn = deps.clock.now().plus_millis(wait_millis);
    let log = deps.store.load_log(&wake.key, &wake.log).await?;
    // One that is due before that anyway needs no write: the next wake finds out again.
    if log.is_some_and(|log| log.next_poll_at > turn) {
        deps.store.postpone_poll(&wake.key, &wake.log, turn).await?;
    }
    Ok(())
}

/// What a failure means for the wake: it comes back, or the connection is suspended and the wake let
/// go, since the cursor keeps everything.
async fn stop(wake: &LogWake, stopped: &Stopped, deps: &Deps) -> Verdict {
    let key = &wake.key;
    match stopped.disposition() {
        Disposition::Retry { .. } => failed(0, stopped),
        // What Drive refuses of one of a user's shared drives must not stop all the others.
        Disposition::Park { .. } if is_one_of_many(wake, deps).await => failed(0, stopped),
        // A call that Drive refuses for good is a matter for a person, like a revoked grant.
        Disposition::Park { reason } | Disposition::Halt { reason } => {
            let now = deps.clock.now();
            match gate::suspend(key, &reason, stopped, &deps.store, now).await {
                Ok(()) => Verdict::Done,
                Err(error) => failed(0, &error.into()),
            }
        }
    }
}

/// Whether the log is one of a user's shared drives, rather than all that the connection is about.
async fn is_one_of_many(wake: &LogWake, deps: &Deps) -> bool {
    let connection = deps.store.load_connection(&wake.key).await;
    let scope = connection.ok().flatten().map(|found| found.scope);
    wake.log != LogId::user() && scope != Some(store::Scope::SharedDrive(wake.log.to_string()))
}

fn failed(done: usize, stopped: &Stopped) -> Verdict {
    let error = telemetry::chain(stopped);
    tracing::warn!(error, metric = "fetch_failed", "will look again");
    let after_millis = stopped.disposition().after_millis();
    Verdict::Failed { done, after_millis }
}

/// Brings one log up to now, or as far as time allows.
async fn follow(
    wake: &LogWake,
    sent_at: Timestamp,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), Stopped> {
    let Some(connection) = deps.store.load_connection(&wake.key).await? else {
        return Ok(());
    };
    if connection.state != ConnectionState::Active {
        return Ok(());
    }
    let Some(log) = deps.store.load_log(&wake.key, &wake.log).await? else {
        return Ok(());
    };
    if covered(&log, sent_at) {
        tracing::debug!(log = %log.log, metric = "wake_covered", "an earlier look covers this wake");
        return Ok(());
    }
    let patience = Patience {
        wait_millis_max: PATIENCE_MILLIS,
        until: deadline.0.plus_millis(-PAGE_MILLIS),
    };
    let drive = deps.gate.pass(&connection, patience).await?;
    let error = match read(log.clone(), &drive, deadline, deps).await {
        Err(Stopped::Gate(GateError::Drive(error))) => error,
        done => return done,
    };
    if membership::has_ended(&log, &error, &drive, deps).await? {
        return Ok(());
    }
    match error.kind() {
        Kind::CursorLost => resync(&wake.key, &wake.log, &drive, deps).await,
        Kind::RateLimited { .. }
        | Kind::DailyLimit
        | Kind::AuthLost { .. }
        | Kind::AccessDenied { .. }
        | Kind::NotFound
        | Kind::Stale
        | Kind::Permanent { .. }
        | Kind::BadContent(_)
        | Kind::Transient
        | Kind::Unanswered
        | Kind::NotSent => Err(error.into()),
    }
}

/// Lists the files of a log that is new, then reads its changes, as far as time allows. That the cursor is
/// lost is said of no other call than the one that reads changes from it.
async fn read(log: Log, drive: &Pass, deadline: Deadline, deps: &Deps) -> Result<(), Stopped> {
    let log = match &log.position {
        Position::New => listing::begin(&log, OperationKind::InitialSync, drive, deps).await?,
        Position::Listing(_) | Position::Following => Some(log),
        Position::Left { .. } => return membership::return_to(&log, drive, deps).await,
    };
    let Some(log) = log else { return Ok(()) };
    // Once the cursor stands: a drive that is joined after this is in the log behind it.
    let compared = log.log == LogId::user() && membership::is_due(&log, deps.clock.now());
    let log = if compared {
        membership::compare(&log, drive, deps).await?
    } else {
        Some(log)
    };
    let Some(log) = log else { return Ok(()) };
    let log = match log.position.clone() {
        Position::Listing(operation) => {
            listing::go_on(&log, &operation, drive, deadline, deps).await?
        }
        Position::New | Position::Following | Position::Left { .. } => Some(log),
    };
    let Some(log) = log else { return Ok(()) };
    read_changes(log, drive, deadline, deps).await
}

/// Whether the last complete look at the log began after everything that the wake stands for.
fn covered(log: &Log, sent_at: Timestamp) -> bool {
    let ended = queue::bucket_end(sent_at).plus_millis(CLOCK_MARGIN_MILLIS);
    log.position == Position::Following && log.listed_from.is_some_and(|began| ended < began)
}

/// Reads the log page by page. After each page everything on it is queued, then the cursor moves.
async fn read_changes(
    mut log: Log,
    drive: &Pass,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), Stopped> {
    let began = deps.clock.now();
    loop {
        let Some(cursor) = log.cursor.clone() else {
            return Ok(());
        };
        let page = drive
            .ask(CallKind::List, || {
                drive.drive().list_changes(&log.log, &cursor)
            })
            .await?;
        let newest = page.changes.iter().map(|change| change.at).max();
        tracing::info!(
            connection = %log.key, log = %log.log, changes = page.changes.len(), skipped = page.skipped,
            metric = "changes_listed", "page read"
        );
        let more = matches!(page.next, Next::More(_));
        let to = match &page.next {
            Next::More(token) | Next::End(token) => token.clone(),
        };
        queue_changes(&log, page, drive, deps).await?;
        let now = deps.clock.now();
        let lag_millis = newest.map(|at| now.millis_since(at));
        if let Some(lag_millis) = lag_millis {
            // The alarm on late changes reads this: a log whose notifications are lost is polled, and late.
            tracing::info!(connection = %log.key, log = %log.log, lag_millis, metric = "log_lag", "queued");
        }
        let progress = Progress {
            complete_listing_began: (!more).then_some(began),
            next_poll_at: next_poll(&log, now, deps),
            last_change_at: newest,
            lag_millis,
        };
        log = match deps.store.advance(&log, &to, progress).await? {
            Written::Done(log) => log,
            // Another worker moved the cursor: what it read, it queued.
            Written::Stale(_) => return Ok(()),
        };
        if !more {
            return Ok(());
        }
        if deadline.passed(deps.clock.now().plus_millis(PAGE_MILLIS)) {
            queue::wake_log(&deps.log_wakes, &log.key, &log.log, deps.clock.now()).await?;
            return Ok(());
        }
    }
}

async fn queue_changes(
    log: &Log,
    page: ChangePage,
    drive: &Pass,
    deps: &Deps,
) -> Result<(), Stopped> {
    let mut messages = Vec::with_capacity(page.changes.len());
    for entry in &page.drives {
        membership::heed(log, entry, drive, deps).await?;
    }
    if page
        .drives
        .iter()
        .any(|entry| entry.drive == log.log && !entry.removed)
    {
        root::queue(log, Cause::Live, &deps.snapshots.live, drive, deps).await?;
    }
    for unreadable in &page.nameless {
        park_entry(log, unreadable, deps.clock.now(), deps).await?;
    }
    for Change { file, at, seen } in page.changes {
        let snapshot = match seen {
            Seen::Present(snapshot) => Some(snapshot),
            Seen::Removed => None,
            Seen::Unreadable(unreadable) => {
                park_entry(log, &unreadable, at, deps).await?;
                continue;
            }
        };
        messages.push(SnapshotMessage {
            key: log.key.clone(),
            cause: Cause::Live,
            file,
            at,
            snapshot,
        });
    }
    Ok(queue::send_snapshots(&deps.snapshots.live, &messages).await?)
}

/// When a log with a channel is looked at next without being told to, with 20 % of jitter, so that ten
/// thousand logs are not one burst. One without a channel is paced by the sweep.
fn next_poll(log: &Log, now: Timestamp, deps: &Deps) -> Option<Timestamp> {
    log.channel.as_ref()?;
    let wait_millis = deps.entropy.jitter().around(POLL_WATCHED_MILLIS);
    Some(now.plus_millis(wait_millis))
}

/// The cursor is lost: everything is listed again from a new start token. What is listed meets our
/// records as snapshots like any other, so nothing that we hold is forgotten.
async fn resync(
    key: &ConnectionKey,
    log: &LogId,
    drive: &Pass,
    deps: &Deps,
) -> Result<(), Stopped> {
    tracing::error!(connection = %key, %log, metric = "cursor_lost", "Drive forgot our cursor");
    let Some(log) = deps.store.load_log(key, log).await? else {
        return Ok(());
    };
    if listing::begin(&log, OperationKind::Resync, drive, deps)
        .await?
        .is_some()
    {
        queue::wake_log(&deps.log_wakes, &log.key, &log.log, deps.clock.now()).await?;
    }
    Ok(())
}

/// An entry of Drive's that has no snapshot in it. What it says names it, so that reading the page again
/// parks it once.
async fn park_entry(
    log: &Log,
    unreadable: &Unreadable,
    at: Timestamp,
    deps: &Deps,
) -> Result<(), StoreError> {
    let reason = &unreadable.reason;
    tracing::warn!(connection = %log.key, log = %log.log, reason, metric = "parked", "parked an entry");
    let id = format!("{}.{}", log.log, queue::digest(&unreadable.body));
    let letter = Letter {
        queue: "drive",
        id: &id,
        body: &unreadable.body,
        sent_at: at,
        receives: 1,
    };
    let parked = Parked::letter(
        letter,
        log.key.clone(),
        unreadable.file.clone(),
        reason,
        deps.clock.now(),
    );
    deps.store.park(&parked).await
}
