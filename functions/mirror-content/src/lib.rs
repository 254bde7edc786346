//! Mirrors content between Drive and S3.
//!
//! A wake names a file and says nothing else: what is owed is in the file's record. A file is a message group, so nobody
//! else works on it meanwhile. One that is dealt with while others of its batch take minutes is acknowledged at once, so
//! that the next wake of it waits for nobody.

mod bring;
mod carry;
mod copy;
mod export;
mod file;
mod pour;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::{ConnectionKey, Disposition};
use drive::DriveError;
use futures_util::{StreamExt as _, stream};
use gate::{Gate, GateError, NotParked, Services};
use objects::{Objects, ObjectsError};
use runtime::{
    Clock, ContentQueues, ContentWake, Deadline, Delivery, Entropy, Group, Lane, Queue, QueueError,
    Settings, Verdict, batch, telemetry,
};
use store::{ConnectionState, Parked, Store, StoreError};

/// How long Drive may take over calls that move no content; content has limits of its own (`drive::ContentTimeouts`).
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(3),
    total: Duration::from_secs(20),
};
/// Files of a batch in work at a time: each holds three parts of its content in memory at most, 24 MiB of the usual ones.
const FILES_AT_ONCE: usize = 4;
/// How often what is done is acknowledged while other files of the batch go on.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(1);

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The records, and what is stored of their content.
    pub store: Store,
    /// Drive, as each connection may see it.
    pub gate: Gate,
    /// Where content is kept.
    pub objects: Objects,
    /// Where wakes come from, and go when there was not time enough.
    pub contents: ContentQueues,
    /// Where the making of a copy is asked for.
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
        let aws = runtime::aws::config().await;
        Ok(Self {
            store: services.store.clone(),
            gate: services.gate.clone(),
            objects: Objects::new(objects::client(&aws), settings.content_bucket()?),
            contents: ContentQueues::of_settings(&services.sqs, settings)?,
            push_wakes: services.queue(settings, "PUSH_WAKES_QUEUE_URL")?,
            clock: services.clock.clone(),
            entropy: services.entropy.clone(),
        })
    }
}

/// Why a file's content could not be dealt with now.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the table did not do it")]
    Store(#[from] StoreError),
    #[error("the queue did not take it")]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error("S3 did not do it")]
    Objects(#[from] ObjectsError),
    #[error("the function is about to be ended")]
    OutOfTime,
    #[error("what Drive sent has another checksum than Drive tells")]
    WrongSum,
    #[error("the same content is being let go of, and can't be named until it has gone")]
    Collecting,
    #[error("somebody else was faster")]
    Overtaken,
    #[error("bytes that the table says are stored are not there")]
    Missing,
}

impl Stopped {
    /// What Drive said, where it was Drive.
    fn drive(&self) -> Option<&DriveError> {
        match self {
            Self::Gate(GateError::Drive(error)) => Some(error),
            Self::Gate(GateError::Held(_) | GateError::Store(_))
            | Self::Store(_)
            | Self::Queue(_)
            | Self::Objects(_)
            | Self::OutOfTime
            | Self::WrongSum
            | Self::Collecting
            | Self::Overtaken
            | Self::Missing => None,
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Store(_)
            | Self::Queue(_)
            | Self::OutOfTime
            | Self::WrongSum
            | Self::Collecting
            | Self::Overtaken
            | Self::Missing => Disposition::Retry { after_millis: None },
            Self::Gate(error) => error.disposition(),
            Self::Objects(error) => error.disposition(),
        }
    }
}

impl From<DriveError> for Stopped {
    fn from(error: DriveError) -> Self {
        Self::Gate(error.into())
    }
}

/// Handles a batch of wakes: each group is one file.
pub async fn handle(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let queues = deps.contents.all();
    batch::handle_apart(event, &queues, |part| look_at_all(part, deadline, deps)).await
}

async fn look_at_all(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let queues = deps.contents.all();
    let looks = stream::iter(batch::groups(event)).map(|group| async {
        let verdict = look(&group, deadline, deps).await;
        (group, verdict)
    });
    let mut looks = looks.buffer_unordered(FILES_AT_ONCE);
    let mut judged = Vec::new();
    let mut done: Vec<Delivery> = Vec::new();
    loop {
        let next = tokio::select! {
            biased;
            next = looks.next() => next,
            () = tokio::time::sleep(ACKNOWLEDGE_EVERY), if !done.is_empty() => {
                batch::acknowledge(&std::mem::take(&mut done), &queues).await;
                continue;
            }
        };
        let Some((group, verdict)) = next else { break };
        match &verdict {
            Verdict::Done => done.extend(group.deliveries.iter().cloned()),
            Verdict::Failed { .. } => {}
        }
        judged.push((group, verdict));
    }
    batch::respond(judged, &queues, &deps.entropy).await
}

/// One file: however many wakes there are of it, they say the same.
async fn look(group: &Group, deadline: Deadline, deps: &Deps) -> Verdict {
    let now = deps.clock.now();
    let read = gate::read_group(group, ContentWake::from_body, &deps.store, now);
    let mut wakes = match read.await {
        Ok(wakes) => wakes,
        Err(NotParked { done, error }) => return failed(done, &error.into()),
    };
    let Some((delivery, wake)) = wakes.pop() else {
        return Verdict::Done;
    };
    let lane = deps.contents.lane_of(&delivery.queue);
    let stopped = match mirror(&wake, lane, deadline, deps).await {
        Ok(()) => return Verdict::Done,
        Err(stopped) => stopped,
    };
    match stopped.disposition() {
        Disposition::Retry { .. } => failed(0, &stopped),
        Disposition::Park { reason } => {
            let (key, file) = (wake.key, Some(wake.file));
            let letter = gate::letter(delivery);
            let parked = Parked::letter(letter, key, file, &reason, deps.clock.now());
            match gate::park(&parked, &deps.store).await {
                Ok(()) => Verdict::Done,
                Err(error) => failed(0, &error.into()),
            }
        }
        Disposition::Halt { reason } => halt(&wake.key, &reason, &stopped, deps).await,
    }
}

async fn mirror(
    wake: &ContentWake,
    lane: Lane,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), Stopped> {
    if deadline.passed(deps.clock.now()) {
        return Err(Stopped::OutOfTime);
    }
    let Some(connection) = deps.store.load_connection(&wake.key).await? else {
        return Ok(());
    };
    // All files are walked through once it is active, or its content is mirrored, again.
    if connection.state != ConnectionState::Active || !connection.content.enabled {
        return Ok(());
    }
    file::mirror(deps, &connection, &wake.file, lane, deadline).await
}

/// Where Drive takes our credentials no more, the connection waits for a person, and the wake is let go: the record keeps
/// everything.
async fn halt(key: &ConnectionKey, reason: &str, stopped: &Stopped, deps: &Deps) -> Verdict {
    match gate::suspend(key, reason, stopped, &deps.store, deps.clock.now()).await {
        Ok(()) => Verdict::Done,
        Err(error) => failed(0, &error.into()),
    }
}

fn failed(done: usize, stopped: &Stopped) -> Verdict {
    let error = telemetry::chain(stopped);
    tracing::warn!(error, metric = "content_failed", "will look again");
    let after_millis = stopped.disposition().after_millis();
    Verdict::Failed { done, after_millis }
}
