//! Reads a Drive change log from its cursor and queues the changes as snapshots.
//!
//! The cursor never moves before everything before it is durably queued. A wake says only that a
//! log should be read; the cursor, and whether the log's files are still being listed, are in the
//! log's own item. Interrupted work resumes at the next wake.

mod drive_root;
mod listing;
mod shared_drives;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::operation::{Stop, StopReason, SyncKind, WalkedPage};
use domain::rate_limit::{CallKind, Throttled};
use domain::{Cause, ConnectionKey, Disposition, LogId, Suspicion, Timestamp};
use drive::{Change, ChangePage, ChangeState, Kind, NextToken, Unreadable};
use runtime::{Clock, Deadline, Entropy, Settings, VersionCheck};
use store::{
    ConnectionState, DeadLetter, FailedMessage, Log, LogPosition, LogProgress, Store, StoreError,
    Written,
};
use throttle::{DriveFactory, TenantBudgets, ThrottledDrive, WaitBudget};
use worker::version_check::{check_receiving, check_secrets, check_sending, check_table};
use worker::{
    ConnectError, Consumer, Failure, LogWake, Origin, Queue, ReceivedMessage, Services,
    SnapshotMessage, SnapshotQueues, WorkError, queue,
};

/// Timeouts of Drive calls. A page of a thousand changes may take Drive several seconds; the
/// function has a minute.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(3),
    total: Duration::from_secs(20),
};

/// The dependencies of the function.
#[derive(Clone)]
pub struct Deps {
    /// The table of connections, logs and operations.
    pub store: Store,
    /// Drive with each connection's credentials and rate limit.
    pub drives: DriveFactory,
    /// The queues that receive the snapshots.
    pub snapshots: SnapshotQueues,
    /// What each tenant may have applied before the listings of others.
    pub budgets: TenantBudgets,
    /// The queue of log wakes: consumed, and written to when time runs out.
    pub log_wakes: Queue,
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
            budgets,
            sqs,
            clock,
            entropy,
            ..
        } = Services::connect(settings, DRIVE_TIMEOUTS).await?;
        Ok(Self {
            store,
            drives,
            snapshots: SnapshotQueues::from_settings(&sqs, settings)?,
            budgets,
            log_wakes: Queue::from_setting(&sqs, settings, "LOG_WAKES_QUEUE_URL")?,
            clock,
            entropy,
        })
    }

    /// Returns the same dependencies on behalf of this cause.
    fn caused_by(&self, cause: Cause) -> Self {
        Self {
            store: self.store.caused_by(cause),
            log_wakes: self.log_wakes.caused_by(cause),
            snapshots: self.snapshots.caused_by(cause),
            ..self.clone()
        }
    }
}

/// The poll interval of a log with a channel, in milliseconds. A lost notification makes a change
/// late, never lost.
const POLL_WATCHED_MILLIS: i64 = 15 * 60_000;
/// The time after which a log with more pages lets others go first, in milliseconds: it wakes
/// itself, behind the wakes that wait.
const TURN_MILLIS: i64 = 5_000;
/// The longest processing time of a page, in milliseconds. No page is started that could be cut
/// off.
const PAGE_MILLIS: i64 = 24_000;
/// The longest in-process wait for the rate limiter, in milliseconds.
const WAIT_MILLIS_MAX: u64 = 2_000;
/// The tolerated clock difference, in milliseconds, when a wake is compared with the last read.
const CLOCK_MARGIN_MILLIS: i64 = 1_000;

/// Handles a batch of wakes. Each group is one log, and all of its wakes are covered by one read.
pub async fn handle(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let consumer = Consumer {
        store: &deps.store,
        queues: std::slice::from_ref(&deps.log_wakes),
        clock: &deps.clock,
        entropy: &deps.entropy,
        groups_at_once: usize::MAX,
        failure_metric: "fetch_failed",
        failure_text: "could not read change log; will retry",
    };
    let process = |received: ReceivedMessage, wake: LogWake, cause| async move {
        process_wake(&wake, received.sent_at, deadline, &deps.caused_by(cause)).await
    };
    consumer.consume(event, process).await
}

/// Reads the log of a wake. If that fails, the wake is either retried, or the connection is
/// suspended and the wake dropped, since the cursor keeps everything.
async fn process_wake(
    wake: &LogWake,
    sent_at: Timestamp,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), Failure> {
    let Err(error) = follow_log(wake, sent_at, deadline, deps).await else {
        return Ok(());
    };
    if let Some(throttled) = error.throttled() {
        let postponed = postpone_poll(wake, throttled, deps).await;
        return postponed.map_err(|error| Failure::Retry(error.into()));
    }
    // One 404 is believed neither about the log nor about its cursor.
    let not_found = error
        .drive()
        .is_some_and(|error| *error.kind() == Kind::NotFound);
    if not_found {
        return Err(Failure::Retry(error));
    }
    let rejected = matches!(error.disposition(), Disposition::Park { .. });
    // A rejection of one of a user's shared drives must not stop the other drives.
    if rejected && is_one_of_many(wake, deps).await {
        return Err(Failure::Retry(error));
    }
    // A permanent rejection needs a person, like a revoked grant.
    Err(Failure::suspend_rejected(error))
}

/// Drops the wake of a throttled connection, since the cursor keeps everything, and makes the log
/// due when the rate limiter admits calls again. A wait of any length is therefore not a failed
/// message.
async fn postpone_poll(
    wake: &LogWake,
    throttled: Throttled,
    deps: &Deps,
) -> Result<(), StoreError> {
    let wait_millis = i64::try_from(throttled.wait_millis).unwrap_or(i64::MAX);
    let admitted_at = deps.clock.now().plus_millis(wait_millis);
    let log = deps.store.load_log(&wake.key, &wake.log).await?;
    // A log that is due earlier needs no write: the next wake runs into the rate limiter again.
    if log.is_some_and(|log| log.next_poll_at > admitted_at) {
        deps.store
            .postpone_poll(&wake.key, &wake.log, admitted_at)
            .await?;
    }
    Ok(())
}

/// Returns whether the log is one of a user's shared drives rather than the connection's whole
/// scope.
async fn is_one_of_many(wake: &LogWake, deps: &Deps) -> bool {
    let connection = deps.store.load_connection(&wake.key).await;
    let scope = connection.ok().flatten().map(|found| found.scope);
    wake.log != LogId::user() && scope != Some(store::Scope::SharedDrive(wake.log.to_string()))
}

/// Reads one log to its end, or as far as time allows.
async fn follow_log(
    wake: &LogWake,
    sent_at: Timestamp,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let Some(connection) = deps.store.load_connection(&wake.key).await? else {
        return Ok(());
    };
    if connection.state != ConnectionState::Active {
        return Ok(());
    }
    let Some(log) = deps.store.load_log(&wake.key, &wake.log).await? else {
        return Ok(());
    };
    if is_covered(&log, sent_at) {
        tracing::debug!(
            log = %log.log, metric = "wake_covered",
            "wake already covered by an earlier read"
        );
        return Ok(());
    }
    let wait_budget = WaitBudget {
        max_wait_millis: WAIT_MILLIS_MAX,
        deadline: deadline.0.plus_millis(-PAGE_MILLIS),
    };
    let drive = deps.drives.throttled(&connection, wait_budget).await?;
    let Err(failed) = read_log(log.clone(), &drive, deadline, deps).await else {
        return Ok(());
    };
    let Some(error) = failed.drive() else {
        return Err(failed);
    };
    if shared_drives::leave_if_inaccessible(&log, error, &drive, deps).await? {
        return Ok(());
    }
    let lost = match error.kind() {
        Kind::CursorLost => true,
        Kind::NotFound if error.method() == "changes.list" => is_cursor_missing(wake, deps).await?,
        Kind::NotFound
        | Kind::AuthLost { .. }
        | Kind::RateLimited { .. }
        | Kind::DailyLimit
        | Kind::AccessDenied { .. }
        | Kind::Stale
        | Kind::Permanent { .. }
        | Kind::BadContent(_)
        | Kind::Transient
        | Kind::Unanswered
        | Kind::NotSent => false,
    };
    if lost {
        return resync(&wake.key, &wake.log, &drive, deps).await;
    }
    Err(failed)
}

/// Records that Drive did not find the cursor, and returns whether that is to be believed.
async fn is_cursor_missing(wake: &LogWake, deps: &Deps) -> Result<bool, StoreError> {
    let now = deps.clock.now();
    let log = deps.store.load_log(&wake.key, &wake.log).await?;
    let missing = Suspicion::again(log.and_then(|log| log.missing), now);
    let certain = missing.is_certain(now);
    let kept = (!certain).then_some(missing);
    deps.store
        .record_log_missing(&wake.key, &wake.log, kept)
        .await?;
    tracing::warn!(
        connection = %wake.key, log = %wake.log, times = missing.times, certain,
        metric = "cursor_not_found",
        "Drive does not find the cursor"
    );
    Ok(certain)
}

/// Lists the files of a new log, then reads its changes, as far as time allows. Only the call that
/// reads changes can report that the cursor is lost.
async fn read_log(
    log: Log,
    drive: &ThrottledDrive,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let log = match &log.position {
        LogPosition::New => listing::start(&log, SyncKind::Initial, drive, deps).await?,
        LogPosition::Listing(_) | LogPosition::Following => Some(log),
        LogPosition::Left { .. } => {
            return shared_drives::rejoin_if_accessible(&log, drive, deps).await;
        }
    };
    let Some(log) = log else { return Ok(()) };
    // After the start token was stored: a drive joined later is in the log behind it.
    let comparison_due =
        log.log == LogId::user() && shared_drives::is_comparison_due(&log, deps.clock.now());
    let log = if comparison_due {
        shared_drives::compare_drives(&log, drive, deps).await?
    } else {
        Some(log)
    };
    let Some(log) = log else { return Ok(()) };
    let log = match log.position.clone() {
        LogPosition::Listing(operation) => {
            listing::resume(&log, &operation, drive, deadline, deps).await?
        }
        LogPosition::New | LogPosition::Following | LogPosition::Left { .. } => Some(log),
    };
    let Some(log) = log else { return Ok(()) };
    read_changes(log, drive, deadline, deps).await
}

/// Returns whether the last complete read began after the coalescing window of the wake had ended.
fn is_covered(log: &Log, sent_at: Timestamp) -> bool {
    let ended = queue::coalescing_window_end(sent_at).plus_millis(CLOCK_MARGIN_MILLIS);
    log.position == LogPosition::Following && log.listed_from.is_some_and(|began| ended < began)
}

/// Reads the log page by page. Everything on a page is queued before the cursor moves past it. A
/// page whose next one must not be followed ends the reading for now.
async fn read_changes(
    mut log: Log,
    drive: &ThrottledDrive,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let began = deps.clock.now();
    // The log is due again at the end of the wait.
    if log.stop.is_some_and(|stop| stop.until > began) {
        return Ok(());
    }
    loop {
        let Some(cursor) = log.cursor.clone() else {
            return Ok(());
        };
        let page = drive
            .call_with_retries(CallKind::List, || {
                drive.client().list_changes(&log.log, &cursor)
            })
            .await?;
        if log.missing.take().is_some() {
            deps.store
                .record_log_missing(&log.key, &log.log, None)
                .await?;
        }
        let newest = page.changes.iter().map(|change| change.at).max();
        tracing::info!(
            connection = %log.key, log = %log.log, changes = page.changes.len(),
            skipped = page.skipped, metric = "changes_listed",
            "read a page of changes"
        );
        let (to, walk) = match &page.next {
            NextToken::End(token) => (token.clone(), Ok(None)),
            NextToken::More(token) => {
                let step = WalkedPage {
                    token: Some(cursor.as_str()),
                    next: token.as_str(),
                    entries: page.entries_hash(),
                };
                (token.clone(), log.walk.follow(step).map(Some))
            }
        };
        queue_changes(&log, page, drive, deps).await?;
        let now = deps.clock.now();
        let walk = match walk {
            Ok(walk) => walk,
            Err(reason) => return stop_reading(&log, reason, deps).await,
        };
        let more = walk.is_some();
        let lag_millis = newest.map(|at| now.millis_since(at));
        if let Some(lag_millis) = lag_millis {
            // The alarm on late changes uses this value: a log whose notifications are lost is
            // polled, and late.
            tracing::info!(
                connection = %log.key, log = %log.log, lag_millis, metric = "log_lag",
                "queued changes"
            );
        }
        let progress = LogProgress {
            complete_listing_began: (!more).then_some(began),
            next_poll_at: next_poll(&log, now, deps),
            last_change_at: newest,
            lag_millis,
            walk,
        };
        log = match deps.store.advance(&log, &to, progress).await? {
            Written::Done(log) => log,
            // Another worker moved the cursor and has queued what it read.
            Written::Stale(_) => return Ok(()),
        };
        if !more {
            return Ok(());
        }
        if ends_turn(began, deadline, deps) {
            queue::wake_log(&deps.log_wakes, &log.key, &log.log, deps.clock.now()).await?;
            return Ok(());
        }
    }
}

/// Returns whether the reading of a log that began at this time lets other logs go first.
fn ends_turn(began: Timestamp, deadline: Deadline, deps: &Deps) -> bool {
    let now = deps.clock.now();
    now >= began.plus_millis(TURN_MILLIS) || deadline.passed(now.plus_millis(PAGE_MILLIS))
}

/// Stops the reading of a log whose pages do not end. The cursor stays, and what was read is
/// queued, so that nothing is lost when the log is read again after a wait.
async fn stop_reading(log: &Log, reason: StopReason, deps: &Deps) -> Result<(), WorkError> {
    let jitter = deps.entropy.jitter();
    let stop = Stop::after(log.stop.as_ref(), reason, deps.clock.now(), jitter);
    log_stop(log, &stop);
    deps.store.stop_reading(log, stop).await?;
    Ok(())
}

pub(crate) fn log_stop(log: &Log, stop: &Stop) {
    tracing::warn!(
        connection = %log.key, log = %log.log, reason = stop.reason.label(),
        attempts = stop.attempts, since = %stop.since, until = %stop.until,
        metric = "pages_stopped",
        "Drive's pages do not lead to an end; will read them again later"
    );
}

async fn queue_changes(
    log: &Log,
    page: ChangePage,
    drive: &ThrottledDrive,
    deps: &Deps,
) -> Result<(), WorkError> {
    let mut messages = Vec::with_capacity(page.changes.len());
    for entry in &page.drives {
        shared_drives::handle_drive_change(log, entry, drive, deps).await?;
    }
    if page
        .drives
        .iter()
        .any(|entry| entry.drive == log.log && !entry.removed)
    {
        drive_root::queue_root(log, Origin::Live, &deps.snapshots.live, drive, deps).await?;
    }
    for unreadable in &page.unidentified {
        store_dead_letter(log, unreadable, deps.clock.now(), deps).await?;
    }
    for Change { file, at, state } in page.changes {
        let snapshot = match state {
            ChangeState::Present(snapshot) => Some(snapshot),
            ChangeState::Removed => None,
            ChangeState::Unreadable(unreadable) => {
                store_dead_letter(log, &unreadable, at, deps).await?;
                continue;
            }
        };
        messages.push(SnapshotMessage {
            key: log.key.clone(),
            origin: Origin::Live,
            file,
            at,
            snapshot,
        });
    }
    send_changes(log, &messages, deps).await
}

/// Queues changes. Those above the tenant's rate wait behind the listings, so that a tenant who
/// changes very much at once does not hold up the others. The order of a file's snapshots is that
/// of its versions, whichever queue they come from.
async fn send_changes(
    log: &Log,
    messages: &[SnapshotMessage],
    deps: &Deps,
) -> Result<(), WorkError> {
    if messages.is_empty() {
        return Ok(());
    }
    let want = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    let live = deps.budgets.live_changes(&log.key.tenant, want).await?;
    let live = usize::try_from(live).unwrap_or(usize::MAX);
    let (live, late) = messages.split_at(live.min(messages.len()));
    queue::send_snapshots(&deps.snapshots.live, live).await?;
    if !late.is_empty() {
        tracing::info!(
            connection = %log.key, changes = late.len(), metric = "changes_behind_listings",
            "the tenant's rate of changes is reached; queued the rest behind the listings"
        );
        queue::send_snapshots(&deps.snapshots.bulk, late).await?;
    }
    Ok(())
}

/// Returns the next poll time of a log with a channel, with 20 % of jitter so that ten thousand
/// logs do not poll at once. The sweep paces logs without a channel.
fn next_poll(log: &Log, now: Timestamp, deps: &Deps) -> Option<Timestamp> {
    log.channel.as_ref()?;
    let wait_millis = deps.entropy.jitter().around(POLL_WATCHED_MILLIS);
    Some(now.plus_millis(wait_millis))
}

/// Handles a lost cursor: lists everything again from a new start token. The listed files are
/// merged with the stored records as ordinary snapshots, so nothing stored is forgotten.
async fn resync(
    key: &ConnectionKey,
    log: &LogId,
    drive: &ThrottledDrive,
    deps: &Deps,
) -> Result<(), WorkError> {
    tracing::error!(
        connection = %key, %log, metric = "cursor_lost",
        "Drive rejected the cursor; listing all files again"
    );
    let Some(log) = deps.store.load_log(key, log).await? else {
        return Ok(());
    };
    if listing::start(&log, SyncKind::Resync, drive, deps)
        .await?
        .is_some()
    {
        queue::wake_log(&deps.log_wakes, &log.key, &log.log, deps.clock.now()).await?;
    }
    Ok(())
}

/// Stores a dead letter for an entry that contains no snapshot. The id is derived from the entry's
/// content, so that reading the page again stores it once.
async fn store_dead_letter(
    log: &Log,
    unreadable: &Unreadable,
    at: Timestamp,
    deps: &Deps,
) -> Result<(), StoreError> {
    let id = format!("{}.{}", log.log, queue::digest(&unreadable.body));
    let message = FailedMessage {
        queue: "drive",
        id: &id,
        body: &unreadable.body,
        sent_at: at,
        receives: 1,
    };
    let dead_letter = DeadLetter::from_message(
        message,
        log.key.clone(),
        unreadable.file.clone(),
        &unreadable.reason,
        deps.clock.now(),
    );
    worker::park(&dead_letter, &deps.store).await
}

/// Tries everything that the function needs, with its own role. Changes nothing.
pub async fn version_check(deps: &Deps, settings: &Settings) -> VersionCheck {
    let mut check = VersionCheck::default();
    check_table(&mut check, &deps.store).await;
    check_secrets(&mut check, &deps.drives, settings).await;
    check_receiving(&mut check, &[&deps.log_wakes]).await;
    check_sending(
        &mut check,
        &[&deps.log_wakes, &deps.snapshots.live, &deps.snapshots.bulk],
    )
    .await;
    check
}
