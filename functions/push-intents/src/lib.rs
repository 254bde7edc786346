//! Writes owed fields to Drive.
//!
//! A wake names a connection. Its due files go into a `WorkQueue`, and up
//! to a hundred of them into one `PushBatch`: read them in Drive *now*,
//! merge the result, claim in the same conditional write what is still owed, write it on condition
//! that Drive has not changed, confirm. The function may stop after any step: the claim stores
//! enough for the next push, or the next observation, to continue.

mod create;
mod dependencies;
mod file_writes;
mod push_batch;
mod scope;
#[cfg(test)]
mod tests;
mod work_queue;
mod write_permissions;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::rate_limit::CallKind;
use domain::{Cause, ConnectionKey};
use runtime::{Clock, Deadline, Entropy, Settings, VersionCheck};
use store::Store;
use throttle::{CallError, DriveFactory, WaitBudget};
use worker::version_check::{check_receiving, check_secrets, check_sending, check_table};
use worker::{
    ConnectError, Consumer, ContentQueues, Failure, PushWake, Queue, Services, WorkError, queue,
};

use push_batch::PushBatch;
use work_queue::{Next, WorkQueue};

/// Timeouts of Drive calls. The function has 30 s, and a batch needs a read and a write, of up to a
/// hundred files each.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(8),
};
/// The longest duration of a batch until its writes are answered, in milliseconds: a token, a read,
/// the claims, the writes. No batch is started that could be cut off between its claims and their
/// confirmation.
const BATCH_MILLIS: i64 = 18_000;
/// The longest in-process wait for the rate limiter, in milliseconds. Longer waits are left to the
/// sweep, since a waiting function costs as much as a working one.
const WAIT_MILLIS_MAX: u64 = 2_000;
/// The part of [`BATCH_MILLIS`] that starts when the writes are sent.
const WRITE_MILLIS: i64 = 8_000;

/// The dependencies of the function.
#[derive(Clone)]
pub struct Deps {
    /// The table of records.
    pub store: Store,
    /// Drive with each connection's credentials and rate limit.
    pub drives: DriveFactory,
    /// The queue of push wakes: consumed, and written to when time runs out.
    pub push_wakes: Queue,
    /// The queues that wake `mirror-content` for owed content.
    pub contents: ContentQueues,
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
        Ok(Self {
            store,
            drives,
            push_wakes: Queue::from_setting(&sqs, settings, "PUSH_WAKES_QUEUE_URL")?,
            contents: ContentQueues::from_settings(&sqs, settings)?,
            clock,
            entropy,
        })
    }

    /// Returns the same dependencies on behalf of this cause.
    fn caused_by(&self, cause: Cause) -> Self {
        Self {
            store: self.store.caused_by(cause),
            push_wakes: self.push_wakes.caused_by(cause),
            contents: self.contents.caused_by(cause),
            ..self.clone()
        }
    }
}

/// The number of files read by one query of the due index.
const DUE_FILES_PER_QUERY: u32 = 200;
/// The time after which a connection that owes more lets others go first, in milliseconds: it wakes
/// itself, behind the wakes that wait.
const TURN_MILLIS: i64 = 5_000;
/// The longest sleep before the due index is queried again, in milliseconds.
const SLEEP_MILLIS_MAX: u64 = 500;

/// Handles a batch of wakes. Each group is one connection. If its intents can't be pushed, the wake
/// is either retried, or the connection is suspended and the wake dropped, since the records keep
/// the intents.
pub async fn handle(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let consumer = Consumer {
        store: &deps.store,
        queues: std::slice::from_ref(&deps.push_wakes),
        clock: &deps.clock,
        entropy: &deps.entropy,
        groups_at_once: usize::MAX,
        failure_metric: "push_failed",
        failure_text: "could not push intents; will retry",
    };
    let process = |_, wake: PushWake, cause| async move {
        let drained = drain(&wake.key, deadline, &deps.caused_by(cause)).await;
        drained.map_err(Failure::retry_rejected)
    };
    consumer.consume(event, process).await
}

/// Pushes everything that is due for a connection, as far as its turn and the time allow.
async fn drain(key: &ConnectionKey, deadline: Deadline, deps: &Deps) -> Result<(), WorkError> {
    let Some(connection) = deps.store.load_connection(key).await? else {
        return Ok(());
    };
    if !connection.pushes() {
        return Ok(());
    }
    let mut work_queue = WorkQueue::default();
    // What waits for hours is looked for once.
    let (store, now) = (&deps.store, deps.clock.now());
    let (failed, unlisted) = tokio::try_join!(
        store.due_failed_files(key, now, DUE_FILES_PER_QUERY),
        store.due_unlisted_files(key, now, DUE_FILES_PER_QUERY),
    )?;
    work_queue.enqueue(failed);
    work_queue.enqueue(unlisted);
    let turn_ends_at = now.plus_millis(TURN_MILLIS);
    loop {
        let now = deps.clock.now();
        work_queue.enqueue(deps.store.due_files(key, now, DUE_FILES_PER_QUERY).await?);
        let next = work_queue.next(now);
        let ends = now >= turn_ends_at || deadline.passed(now.plus_millis(BATCH_MILLIS));
        if next != Next::Empty && ends {
            queue::wake_push(&deps.push_wakes, key, now).await?;
            return Ok(());
        }
        match next {
            Next::Empty => return Ok(()),
            Next::Wait { millis } => {
                tokio::time::sleep(Duration::from_millis(millis.min(SLEEP_MILLIS_MAX))).await;
            }
            Next::Files(files) => {
                let wait_budget = WaitBudget {
                    max_wait_millis: WAIT_MILLIS_MAX,
                    deadline: deadline.0.plus_millis(-BATCH_MILLIS),
                };
                let drive = deps.drives.throttled(&connection, wait_budget).await?;
                let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
                let admitted = match drive
                    .acquire(&[CallKind::Read, CallKind::Edit], count)
                    .await
                {
                    Ok(admitted) => usize::try_from(admitted).unwrap_or(usize::MAX),
                    // Owed fields stay due, and the sweep wakes the connection again.
                    Err(CallError::Throttled(_)) => return Ok(()),
                    Err(error) => return Err(error.into()),
                };
                let (files, rest) = files.split_at(admitted.min(files.len()));
                work_queue.requeue(rest);
                let batch = PushBatch {
                    connection: &connection,
                    drive: &drive,
                    deadline,
                    deps,
                };
                for (file, due) in batch.run(files).await? {
                    work_queue.requeue_at(file, due, deps.clock.now());
                }
            }
        }
    }
}

/// Tries everything that the function needs, with its own role. Changes nothing.
pub async fn version_check(deps: &Deps, settings: &Settings) -> VersionCheck {
    let mut check = VersionCheck::default();
    check_table(&mut check, &deps.store).await;
    check_secrets(&mut check, &deps.drives, settings).await;
    check_receiving(&mut check, &[&deps.push_wakes]).await;
    check_sending(&mut check, &[&deps.push_wakes, &deps.contents.high]).await;
    check
}
