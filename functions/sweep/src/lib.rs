//! The schedule. What must happen at some time happens here, whatever got lost: logs that are due are
//! polled, channels renewed, what is owed is woken, listings are checked for having arrived, and dead
//! letters are drained into records.
//!
//! It queries the index of what is due and never scans. The index lags, so what it names is read again
//! before anything is done.

mod audit;
mod channels;
mod compare;
mod content;
mod dead_letters;
mod examine;
mod leaving;
mod mirroring;
mod operations;
mod repair;
mod suspended;
mod verify;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::{ConnectionKey, LogId};
use drive::DriveError;
use gate::{Gate, GateError, Patience, Services};
use objects::{Objects, ObjectsError};
use runtime::{
    Clock, ContentQueues, Deadline, Entropy, Queue, QueueError, Settings, Wakes, telemetry,
};
use store::{Connection, ConnectionState, DUE_SHARDS, DueItem, Position, Scope, Store, StoreError};

/// How long Drive may take. The function has a minute for many things.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(3),
    total: Duration::from_secs(10),
};

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// What is due, and where it stands.
    pub store: Store,
    /// Drive, as each connection may see it: for channels, for what operations compare, and to try a
    /// suspended connection.
    pub gate: Gate,
    /// Where wakes go.
    pub wakes: Wakes,
    /// Where the mirror of content is woken.
    pub contents: ContentQueues,
    /// Where content is kept.
    pub objects: Objects,
    /// Where what operations found is put right.
    pub snapshots_bulk: Queue,
    /// What SQS gave up is fetched from here.
    pub dead_letters: Vec<Queue>,
    /// Where Drive sends its notifications; `None` where it can't reach us, and logs are only polled.
    pub webhook_url: Option<String>,
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
        let wakes = Wakes {
            logs: queue("LOG_WAKES_QUEUE_URL")?,
            pushes: queue("PUSH_WAKES_QUEUE_URL")?,
        };
        let urls = settings
            .optional("DEAD_LETTER_QUEUE_URLS")
            .unwrap_or_default();
        let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
        let dead_letters = urls.map(|url| Queue::new(services.sqs.clone(), url));
        let aws = runtime::aws::config().await;
        Ok(Self {
            contents: ContentQueues::of_settings(&services.sqs, settings)?,
            objects: Objects::new(objects::client(&aws), settings.content_bucket()?),
            store: services.store.clone(),
            gate: services.gate.clone(),
            wakes,
            snapshots_bulk: queue("SNAPSHOTS_BULK_QUEUE_URL")?,
            dead_letters: dead_letters.collect(),
            webhook_url: settings.optional("WEBHOOK_URL"),
            clock: services.clock.clone(),
            entropy: services.entropy.clone(),
        })
    }
}

/// Items of one page of a shard.
const ITEMS_PER_PAGE: u32 = 1_000;
/// Time kept for the wakes of what is owed and for dead letters, in milliseconds.
const RESERVED_MILLIS: i64 = 12_000;
/// How often a log without a channel is polled, in milliseconds, with 20 % of jitter; one with a channel
/// is paced by `fetch-changes`, and this is how soon a wake that led to nothing is sent again.
const POLL_UNWATCHED_MILLIS: i64 = 60_000;
/// A log whose first listing has not begun is looked at again after this, in milliseconds.
const NOT_BEGUN_MILLIS: i64 = 2_000;
/// A shared drive that was left is asked about again after this, in milliseconds, with 20 % of jitter.
const POLL_LEFT_MILLIS: i64 = 60 * 60_000;
/// The logs and channels of a connection that is not active are looked at again after this, in milliseconds.
const INACTIVE_MILLIS: i64 = 15 * 60_000;

/// Why one thing that was due could not be done. The others are done all the same.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the table did not do it")]
    Store(#[from] StoreError),
    #[error("the queue did not take it")]
    Queue(#[from] QueueError),
    #[error("S3 did not do it")]
    Objects(#[from] ObjectsError),
    #[error("Drive was not asked, or did not do it")]
    Gate(#[from] Arc<GateError>),
}

impl From<GateError> for Stopped {
    fn from(error: GateError) -> Self {
        Self::Gate(Arc::new(error))
    }
}

impl From<DriveError> for Stopped {
    fn from(error: DriveError) -> Self {
        GateError::Drive(error).into()
    }
}

/// How long something due waits in place for its connection's turn; what is not done stays due.
fn patience(deps: &Deps) -> Patience {
    Patience {
        wait_millis_max: 1_000,
        until: deps.clock.now().plus_millis(10_000),
    }
}

/// One sweep. It has no error to give: what failed is logged and counted, and is still due at the next.
pub async fn handle(deadline: Deadline, deps: &Deps) {
    let mut owing: BTreeSet<ConnectionKey> = BTreeSet::new();
    let looking = Deadline(deadline.0.plus_millis(-RESERVED_MILLIS));
    // Begun anywhere, so that no shard is always the one that time does not reach.
    let first = deps.entropy.next();
    for turn in 0..u64::from(DUE_SHARDS) {
        let shard = first.wrapping_add(turn) % u64::from(DUE_SHARDS);
        let shard = u8::try_from(shard).unwrap_or_default();
        if let Err(stopped) = look_through(shard, &mut owing, looking, deps).await {
            report("due", &stopped);
        }
    }
    if looking.passed(deps.clock.now()) {
        tracing::warn!(
            metric = "sweep_unfinished",
            "the rest is due at the next sweep"
        );
    }
    for key in owing {
        if let Err(stopped) = wake_pushes(&key, deps).await {
            report("intents", &stopped);
        }
    }
    dead_letters::drain(deadline, deps).await;
}

/// Looks at everything that is due in one shard, to its end: what a connection that is stopped owes stays
/// due, and must not stand before what comes behind it.
async fn look_through(
    shard: u8,
    owing: &mut BTreeSet<ConnectionKey>,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), Stopped> {
    let now = deps.clock.now();
    let mut after = None;
    loop {
        let due = deps
            .store
            .due(shard, now, after.as_deref(), ITEMS_PER_PAGE)
            .await?;
        for item in due.items {
            if deadline.passed(deps.clock.now()) {
                return Ok(());
            }
            sweep(item, owing, deadline, deps).await;
        }
        after = due.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn sweep(
    item: DueItem,
    owing: &mut BTreeSet<ConnectionKey>,
    deadline: Deadline,
    deps: &Deps,
) {
    let (what, done) = match item {
        DueItem::File(key, _) => {
            owing.insert(key);
            return;
        }
        DueItem::Log(key, log) => ("log", Box::pin(look_at_log(&key, &log, deps)).await),
        DueItem::Channel(id) => ("channel", Box::pin(channels::look_at(&id, deps)).await),
        DueItem::Operation(key, id) => (
            "operation",
            Box::pin(operations::look_at(&key, &id, deadline, deps)).await,
        ),
        DueItem::Content(key, file) => (
            "content",
            Box::pin(content::look_at(&key, &file, deps)).await,
        ),
        DueItem::Object(tenant, hash) => (
            "object",
            Box::pin(content::collect(&tenant, &hash, deps)).await,
        ),
        DueItem::Unknown { pk, sk } => {
            tracing::warn!(
                pk,
                sk,
                metric = "due_unknown",
                "something is due that this code does not know"
            );
            return;
        }
    };
    if let Err(stopped) = done {
        report(what, &stopped);
    }
}

fn report(what: &str, stopped: &Stopped) {
    let error = telemetry::chain(stopped);
    tracing::warn!(
        what,
        error,
        metric = "sweep_failed",
        "will be tried at the next sweep"
    );
}

async fn look_at_log(key: &ConnectionKey, id: &LogId, deps: &Deps) -> Result<(), Stopped> {
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
        // It was made while its connection was being deleted.
        return Ok(deps.store.delete_log(key, id).await?);
    };
    if connection.state != ConnectionState::Active {
        deps.store
            .postpone_poll(key, id, now.plus_millis(INACTIVE_MILLIS))
            .await?;
        if is_suspended(&connection) && is_own(&connection, id) {
            suspended::try_again(&connection, &log, deps).await?;
        }
        return Ok(());
    }
    deps.wakes.log(key, id, now).await?;
    let again_millis = match log.position {
        Position::Left { .. } => deps.entropy.jitter().around(POLL_LEFT_MILLIS),
        Position::New | Position::Listing(_) | Position::Following if log.cursor.is_some() => {
            deps.entropy.jitter().around(POLL_UNWATCHED_MILLIS)
        }
        Position::New | Position::Listing(_) | Position::Following => NOT_BEGUN_MILLIS,
    };
    deps.store
        .postpone_poll(key, id, now.plus_millis(again_millis))
        .await?;
    if log.channel.is_none() && log.watch_again_at.is_none_or(|at| at <= now) {
        channels::open(&connection, &log, deps).await?;
    }
    Ok(())
}

async fn wake_pushes(key: &ConnectionKey, deps: &Deps) -> Result<(), Stopped> {
    if active(key, deps).await?.is_some() {
        deps.wakes.push(key, deps.clock.now()).await?;
    }
    Ok(())
}

fn is_suspended(connection: &Connection) -> bool {
    match connection.state {
        ConnectionState::Suspended { .. } => true,
        ConnectionState::Active | ConnectionState::Paused | ConnectionState::Deleting => false,
    }
}

/// Whether it is the log that the connection has from the start.
fn is_own(connection: &Connection, log: &LogId) -> bool {
    match &connection.scope {
        Scope::User => *log == LogId::user(),
        Scope::SharedDrive(drive) => log.as_str() == drive,
    }
}

/// The connection, if it is there and nothing stops it.
async fn active(key: &ConnectionKey, deps: &Deps) -> Result<Option<Connection>, StoreError> {
    let connection = deps.store.load_connection(key).await?;
    Ok(connection.filter(|connection| connection.state == ConnectionState::Active))
}
