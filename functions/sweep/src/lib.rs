//! Runs scheduled work, whatever else was lost: polls due logs, renews channels, wakes owed pushes,
//! content and operations, and drains dead-letter queues into records. Nothing here takes longer
//! than a call.
//!
//! It queries the index of due items and never scans. The index lags behind, so an item is read
//! again before anything is done with it.

mod channels;
mod comparisons;
mod content_retention;
mod dead_letters;
mod event_logs;
mod export_acts;
mod owed_files;
mod redrive_letters;
mod restored;
mod retry_suspended;
mod stop_strays;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::rate_limit::CallKind;
use domain::{Cause, ConflictId, ConnectionKey, FileId, LogId, Timestamp};
use futures_util::{StreamExt as _, stream};
use objects::Objects;
use runtime::metrics::MEASURED;
use runtime::{Clock, Deadline, Entropy, Settings, VersionCheck, telemetry};
use store::{
    Connection, ConnectionState, DUE_SHARDS, DueItem, LogPosition, Scope, Store, StoreError,
};
use throttle::{DriveFactory, WaitBudget};
use tracing::Instrument as _;
use worker::queue::{wake_endpoint, wake_resolver};
use worker::version_check::{check_secrets, check_sending, check_table};
use worker::{ConnectError, ContentQueues, Queue, Services, SnapshotQueues, WakeQueues, WorkError};

/// Timeouts of Drive calls. The function has a minute for many items.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(3),
    total: Duration::from_secs(10),
};

/// The dependencies of the function.
#[derive(Clone)]
pub struct Deps {
    /// The table of due items.
    pub store: Store,
    /// Drive with each connection's credentials and rate limit: for channels, and to retry a
    /// suspended connection.
    pub drives: DriveFactory,
    /// The queues of log, push and operation wakes.
    pub wakes: WakeQueues,
    /// The queues of snapshots, for redrives.
    pub snapshots: SnapshotQueues,
    /// The queues that wake `mirror-content`.
    pub contents: ContentQueues,
    /// The bucket that stores content.
    pub objects: Objects,
    /// The bucket that the acts of each day are exported to; `None` exports nothing.
    pub acts: Option<Objects>,
    /// The dead-letter queues to be drained.
    pub dead_letters: Vec<Queue>,
    /// The address for Drive's notifications; `None` if Drive can't reach it, and logs are only
    /// polled.
    pub webhook_url: Option<String>,
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
            aws,
            ..
        } = Services::connect(settings, DRIVE_TIMEOUTS).await?;
        let urls = settings
            .optional("DEAD_LETTER_QUEUE_URLS")
            .unwrap_or_default();
        let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
        let dead_letters = urls.map(|url| Queue::new(sqs.clone(), url)).collect();
        let s3 = objects::client(&aws);
        Ok(Self {
            store,
            drives,
            wakes: WakeQueues::from_settings(&sqs, settings)?,
            snapshots: SnapshotQueues::from_settings(&sqs, settings)?,
            contents: ContentQueues::from_settings(&sqs, settings)?,
            objects: Objects::new(s3.clone(), settings.content_bucket()?),
            acts: settings
                .optional("AUDIT_BUCKET")
                .map(|bucket| Objects::new(s3, bucket)),
            dead_letters,
            webhook_url: settings.optional("WEBHOOK_URL"),
            clock,
            entropy,
        })
    }

    /// Returns the same dependencies on behalf of this cause.
    fn caused_by(&self, cause: Cause) -> Self {
        Self {
            store: self.store.caused_by(cause),
            wakes: self.wakes.caused_by(cause),
            snapshots: self.snapshots.caused_by(cause),
            contents: self.contents.caused_by(cause),
            ..self.clone()
        }
    }
}

/// The number of items in one page of a shard.
const ITEMS_PER_PAGE: u32 = 1_000;
/// The number of items that are processed concurrently.
const AT_ONCE: usize = 16;
/// The time for dead letters, in milliseconds. The rest is drained by the next sweep.
const DRAIN_MILLIS: i64 = 10_000;
/// The longest time that one item takes, in milliseconds: none is begun that could be cut off.
const ITEM_MILLIS: i64 = 12_000;
/// The poll interval of a log without a channel, in milliseconds, with 20 % of jitter.
/// `fetch-changes` paces a log with a channel; for such a log this is the interval at which an
/// ineffective wake is repeated.
const POLL_UNWATCHED_MILLIS: i64 = 60_000;
/// The poll interval of a log whose first listing has not started, in milliseconds.
const POLL_NOT_STARTED_MILLIS: i64 = 2_000;
/// The interval at which access to a left shared drive is checked, in milliseconds, with 20 % of
/// jitter.
const POLL_LEFT_MILLIS: i64 = 60 * 60_000;
/// The interval at which the logs and channels of an inactive connection are checked, in
/// milliseconds.
const INACTIVE_MILLIS: i64 = 15 * 60_000;

/// Returns how long a due item may wait for the rate limiter. An item that is not admitted stays
/// due.
fn wait_budget(deps: &Deps) -> WaitBudget {
    WaitBudget {
        max_wait_millis: 1_000,
        deadline: deps.clock.now().plus_millis(10_000),
    }
}

/// Runs one sweep. It returns no error: a failed item is logged and counted, and is still due at
/// the next sweep. Each item is processed under a cause of its own. What is quickly done comes
/// first: dead letters, and of each page the wakes.
pub async fn handle(deadline: Deadline, deps: &Deps) {
    let span = telemetry::span(deps.entropy.cause());
    // Boxed, to limit the depth of nested futures.
    Box::pin(sweep(deadline, deps)).instrument(span).await;
}

async fn sweep(deadline: Deadline, deps: &Deps) {
    let drained_by = deps.clock.now().plus_millis(DRAIN_MILLIS);
    // First, so that nothing is appended to an event log as if nothing had happened.
    if let Err(error) = Box::pin(restored::look(deadline, deps)).await {
        report("restored", &error);
    }
    dead_letters::drain(Deadline(drained_by.min(deadline.0)), deps).await;
    let mut pushed: BTreeSet<ConnectionKey> = BTreeSet::new();
    // Starts at a random shard, so that a lack of time does not always affect the same one.
    let first = deps.entropy.next();
    for turn in 0..u64::from(DUE_SHARDS) {
        let shard = first.wrapping_add(turn) % u64::from(DUE_SHARDS);
        let shard = u8::try_from(shard).unwrap_or_default();
        if let Err(error) = process_due_shard(shard, &mut pushed, deadline, deps).await {
            report("due", &error);
        }
    }
    if deadline.passed(deps.clock.now().plus_millis(ITEM_MILLIS)) {
        tracing::warn!(
            metric = "sweep_unfinished",
            "sweep ran out of time; the rest is due at the next sweep"
        );
    }
}

/// Processes everything that is due in one shard, to its end: the owed fields of a stopped
/// connection stay due and must not block the items behind them.
async fn process_due_shard(
    shard: u8,
    pushed: &mut BTreeSet<ConnectionKey>,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let mut after = None;
    loop {
        let due = deps
            .store
            .due(shard, now, after.as_deref(), ITEMS_PER_PAGE)
            .await?;
        let mut files: BTreeMap<ConnectionKey, Vec<(FileId, Timestamp)>> = BTreeMap::new();
        let items = due.items.into_iter();
        let (owed, others): (Vec<DueItem>, Vec<DueItem>) =
            items.partition(|item| matches!(item, DueItem::File(..)));
        for item in owed {
            if let DueItem::File(key, file, at) = item {
                files.entry(key).or_default().push((file, at));
            }
        }
        let owing = files.into_iter();
        let owing = owing.map(|(key, files)| (pushed.insert(key.clone()), key, files));
        let owing: Vec<_> = owing.collect();
        stream::iter(owing)
            .for_each_concurrent(AT_ONCE, async |(first, key, files)| {
                let cause = deps.entropy.cause();
                let deps = deps.caused_by(cause);
                let processed = async {
                    if let Err(error) = owed_files::process(&key, &files, first, &deps).await {
                        report("intents", &error);
                    }
                };
                processed.instrument(telemetry::span(cause)).await;
            })
            .await;
        stream::iter(others)
            .for_each_concurrent(AT_ONCE, async |item| {
                if deadline.passed(deps.clock.now().plus_millis(ITEM_MILLIS)) {
                    return;
                }
                let cause = deps.entropy.cause();
                let deps = deps.caused_by(cause);
                let processed = Box::pin(process_item(item, &deps));
                processed.instrument(telemetry::span(cause)).await;
            })
            .await;
        after = due.next;
        if after.is_none() || deadline.passed(deps.clock.now().plus_millis(ITEM_MILLIS)) {
            return Ok(());
        }
    }
}

async fn process_item(item: DueItem, deps: &Deps) {
    let (what, done) = match item {
        // Those of one connection are processed together.
        DueItem::File(..) => return,
        DueItem::Log(key, log) => ("log", Box::pin(poll_log(&key, &log, deps)).await),
        DueItem::Channel(id) => ("channel", Box::pin(channels::process_due(&id, deps)).await),
        DueItem::StrayChannel(id) => (
            "stray_channel",
            Box::pin(stop_strays::process_due(&id, deps)).await,
        ),
        DueItem::Operation(key, id) => {
            let wake = deps.wakes.operation(&key, &id, deps.clock.now());
            ("operation", wake.await.map_err(Into::into))
        }
        DueItem::Webhook(tenant, id) => {
            let wake = wake_endpoint(&deps.wakes.deliver, &tenant, &id, deps.clock.now());
            ("webhook", wake.await.map_err(Into::into))
        }
        DueItem::Conflict(key, id) => (
            "resolver",
            Box::pin(wake_resolver_if_due(&key, &id, deps)).await,
        ),
        DueItem::DeadLetters(key) => (
            "dead_letters",
            Box::pin(redrive_letters::redrive_due(&key, deps)).await,
        ),
        DueItem::Content(key, file) => (
            "content",
            Box::pin(content_retention::wake_if_due(&key, &file, deps)).await,
        ),
        DueItem::Object(tenant, hash) => (
            "object",
            Box::pin(content_retention::collect_object(&tenant, &hash, deps)).await,
        ),
        DueItem::EventLog(key) => ("event_log", Box::pin(event_logs::keep(&key, deps)).await),
        DueItem::Acts(tenant) => (
            "acts",
            Box::pin(export_acts::export_due(&tenant, deps)).await,
        ),
        DueItem::Unknown { pk, sk } => {
            tracing::warn!(pk, sk, metric = "due_unknown", "unknown kind of due item");
            return;
        }
    };
    if let Err(error) = done {
        report(what, &error);
    }
}

/// Wakes the resolver of a conflict that is still to be asked.
async fn wake_resolver_if_due(
    key: &ConnectionKey,
    id: &ConflictId,
    deps: &Deps,
) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let conflict = deps.store.load_conflict(key, id).await?;
    let asked = conflict.and_then(|conflict| conflict.asked);
    if let Some(asked) = asked.filter(|asked| asked.due_at().is_some_and(|at| at <= now)) {
        let endpoint = &asked.question.resolver.endpoint;
        wake_resolver(&deps.wakes.deliver, key, id, endpoint, now).await?;
    }
    Ok(())
}

fn report(what: &str, error: &WorkError) {
    let error = telemetry::chain(error);
    tracing::warn!(
        what,
        error,
        metric = "sweep_failed",
        "could not process due item; will retry at the next sweep"
    );
}

async fn poll_log(key: &ConnectionKey, id: &LogId, deps: &Deps) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let Some(log) = deps
        .store
        .load_log(key, id)
        .await?
        .filter(|log| log.next_poll_at <= now)
    else {
        return Ok(());
    };
    let Some(connection) = deps.store.load_connection(key).await? else {
        // The log was created while its connection was being deleted.
        return Ok(deps.store.delete_log(key, id).await?);
    };
    if connection.state != ConnectionState::Active {
        deps.store
            .postpone_poll(key, id, now.plus_millis(INACTIVE_MILLIS))
            .await?;
        if is_suspended(&connection) && is_own_log(&connection, id) {
            retry_suspended::retry(&connection, &log, deps).await?;
        }
        return Ok(());
    }
    if is_own_log(&connection, id) {
        if let Some(opened_at) = deps.store.oldest_conflict(key).await? {
            let age_millis = now.millis_since(opened_at);
            tracing::trace!(target: MEASURED, metric = "oldest_conflict", age_millis);
        }
        content_retention::scan_by_current_rules(&connection, id, deps).await?;
        if connection.account.id.is_none() {
            take_account(&connection, deps).await;
        }
    }
    deps.wakes.log(key, id, now).await?;
    let interval_millis = match log.position {
        LogPosition::Left { .. } => deps.entropy.jitter().around(POLL_LEFT_MILLIS),
        LogPosition::New | LogPosition::Listing(_) | LogPosition::Following
            if log.cursor.is_some() =>
        {
            deps.entropy.jitter().around(POLL_UNWATCHED_MILLIS)
        }
        LogPosition::New | LogPosition::Listing(_) | LogPosition::Following => {
            POLL_NOT_STARTED_MILLIS
        }
    };
    deps.store
        .postpone_poll(key, id, now.plus_millis(interval_millis))
        .await?;
    comparisons::begin_if_due(&connection, &log, deps).await?;
    if log.channel.is_none() && log.watch_again_at.is_none_or(|at| at <= now) {
        channels::open(&connection, &log, deps).await?;
    }
    Ok(())
}

/// Stores the account of a connection that was made by a release that did not ask for it. If that
/// fails, it is asked for again at the next poll.
async fn take_account(connection: &Connection, deps: &Deps) {
    let taken = async {
        let drive = deps.drives.throttled(connection, wait_budget(deps)).await?;
        let identified = throttle::identify(drive.client());
        let account = drive.call(CallKind::Other, identified).await?;
        Ok::<_, WorkError>(deps.store.take_account(connection, &account).await?)
    };
    if let Err(error) = taken.await {
        report("account", &error);
    }
}

fn is_suspended(connection: &Connection) -> bool {
    match connection.state {
        ConnectionState::Suspended { .. } => true,
        ConnectionState::Active | ConnectionState::Paused | ConnectionState::Deleting => false,
    }
}

/// Returns whether the log is the one that the connection starts with.
fn is_own_log(connection: &Connection, log: &LogId) -> bool {
    match &connection.scope {
        Scope::User => *log == LogId::user(),
        Scope::SharedDrive(drive) => log.as_str() == drive,
    }
}

/// Returns the connection if it exists and is active.
async fn active(key: &ConnectionKey, deps: &Deps) -> Result<Option<Connection>, StoreError> {
    let connection = deps.store.load_connection(key).await?;
    Ok(connection.filter(|connection| connection.state == ConnectionState::Active))
}

/// Tries everything that the function needs, with its own role. Changes nothing.
pub async fn version_check(deps: &Deps, settings: &Settings) -> VersionCheck {
    let mut check = VersionCheck::default();
    check_table(&mut check, &deps.store).await;
    check_secrets(&mut check, &deps.drives, settings).await;
    check_sending(
        &mut check,
        &[
            &deps.wakes.logs,
            &deps.wakes.pushes,
            &deps.wakes.operations,
            &deps.wakes.live,
            &deps.wakes.deliver,
            &deps.snapshots.live,
            &deps.snapshots.bulk,
            &deps.contents.high,
            &deps.contents.bulk,
        ],
    )
    .await;
    check
}
