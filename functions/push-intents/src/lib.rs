//! Writes to Drive what is owed to it.
//!
//! A wake names a connection. Its files that are due stand in a `line`, a hundred of them go into one
//! `round`: read them in Drive *now*, merge what is there, claim in the same conditional write what still
//! stands, write it on condition that Drive has not moved, confirm. Every step may be the last: what the
//! claim remembers is enough for the next push, or the next observation, to go on.

mod line;
mod make;
mod order;
mod permissions;
mod record;
mod round;
mod scope;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::pace::CallKind;
use domain::{ConnectionKey, Disposition};
use drive::DriveError;
use futures_util::future::join_all;
use gate::{Gate, GateError, NotParked, Patience, Services};
use runtime::{
    Clock, ContentQueues, Deadline, Entropy, Group, PushWake, Queue, QueueError, Settings, Verdict,
    batch, queue, telemetry,
};
use store::{ConnectionState, Store, StoreError};

use line::{Line, Next};
use round::Round;

/// How long Drive may take. The function has 30 s, and a round needs a read and a write, of up to a hundred
/// files each.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(8),
};
/// What a round may take until its writes are answered, in milliseconds: a token, a read, the claims, the
/// writes. One that could be cut off between its claims and their confirmation is not begun.
const ROUND_MILLIS: i64 = 18_000;
/// The longest wait for the connection's turn in place, in milliseconds: a slower pace is left to the sweep, since
/// a function that waits costs as much as one that works.
const PATIENCE_MILLIS: u64 = 2_000;
/// The part of it from when the writes leave.
const WRITE_MILLIS: i64 = 8_000;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The records.
    pub store: Store,
    /// Drive, as each connection may see it.
    pub gate: Gate,
    /// Where wakes come from, and go when there was not time enough.
    pub push_wakes: Queue,
    /// Where content goes that is owed: `mirror-content` carries it.
    pub contents: ContentQueues,
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
            contents: ContentQueues::of_settings(&services.sqs, settings)?,
            clock: services.clock.clone(),
            entropy: services.entropy.clone(),
        })
    }
}

/// Files taken up by one look at what is due.
const FILES_PER_LOOK: u32 = 200;
/// The longest that a drain sleeps before it looks for new files again, in milliseconds.
const NAP_MILLIS: u64 = 500;

/// Why a connection's intents could not be drained now.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the table did not do it")]
    Store(#[from] StoreError),
    #[error("the queue did not take it")]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Gate(#[from] GateError),
}

impl Stopped {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Store(_) | Self::Queue(_) => Disposition::Retry { after_millis: None },
            Self::Gate(error) => error.disposition(),
        }
    }
}

impl From<DriveError> for Stopped {
    fn from(error: DriveError) -> Self {
        Self::Gate(error.into())
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
    let now = deps.clock.now();
    let mut wakes = match gate::read_group(group, PushWake::from_body, &deps.store, now).await {
        Ok(wakes) => wakes,
        Err(NotParked { done, error }) => return failed(done, &error.into()),
    };
    let Some((_, wake)) = wakes.pop() else {
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
            let now = deps.clock.now();
            match gate::suspend(key, &reason, stopped, &deps.store, now).await {
                Ok(()) => Verdict::Done,
                Err(error) => failed(0, &error.into()),
            }
        }
    }
}

fn failed(done: usize, stopped: &Stopped) -> Verdict {
    let error = telemetry::chain(stopped);
    tracing::warn!(error, metric = "push_failed", "will look again");
    let after_millis = stopped.disposition().after_millis();
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
    let mut line = Line::default();
    loop {
        let now = deps.clock.now();
        line.join(deps.store.due_files(key, now, FILES_PER_LOOK).await?);
        let next = line.next(now);
        if next != Next::Nobody && deadline.passed(now.plus_millis(ROUND_MILLIS)) {
            queue::wake_push(&deps.push_wakes, key, now).await?;
            return Ok(());
        }
        match next {
            Next::Nobody => return Ok(()),
            Next::Wait { millis } => {
                tokio::time::sleep(Duration::from_millis(millis.min(NAP_MILLIS))).await;
            }
            Next::Files(files) => {
                let patience = Patience {
                    wait_millis_max: PATIENCE_MILLIS,
                    until: deadline.0.plus_millis(-ROUND_MILLIS),
                };
                let pass = deps.gate.pass(&connection, patience).await?;
                let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
                let admitted = match pass.admit(&[CallKind::Read, CallKind::Edit], count).await {
                    Ok(admitted) => usize::try_from(admitted).unwrap_or(usize::MAX),
                    // What is owed stays due, and the sweep wakes for it.
                    Err(GateError::Held(_)) => return Ok(()),
                    Err(error) => return Err(error.into()),
                };
                let (files, rest) = files.split_at(admitted.min(files.len()));
                line.back(rest);
                let round = Round {
                    connection: &connection,
                    pass: &pass,
                    deadline,
                    deps,
                };
                for (file, due) in round.run(files).await? {
                    line.again(file, due, deps.clock.now());
                }
            }
        }
    }
}
