//! Mirrors content between Drive and S3.
//!
//! A wake names a file and carries no data: the file's record states what is owed. A file is a
//! message group, so no other invocation processes it concurrently. A finished file is acknowledged
//! at once, while other files of the batch may take minutes, so that its next wake is not delayed.

// The futures of a file's steps nest deeper than 128 types.
#![recursion_limit = "256"]

mod copy;
mod download;
mod export;
mod file;
mod overwritten;
#[cfg(test)]
mod tests;
mod transfer;
mod trouble;
mod upload;
mod wanted;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::Cause;
use objects::Objects;
use runtime::{Clock, Deadline, Entropy, Settings, VersionCheck};
use store::{ConnectionState, Store};
use throttle::DriveFactory;
use worker::version_check::{
    check_bucket, check_receiving, check_secrets, check_sending, check_table,
};
use worker::{
    ConnectError, Consumer, ContentQueues, ContentWake, Failure, Priority, Queue, ReceivedMessage,
    Services, WorkError, batch,
};

/// Timeouts of Drive calls without content; content has its own (`drive::ContentTimeouts`).
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(3),
    total: Duration::from_secs(20),
};
/// The number of files processed concurrently: each uses at most three parts of its content in
/// memory, usually 24 MiB.
const FILES_AT_ONCE: usize = 4;
/// The dependencies of the function.
#[derive(Clone)]
pub struct Deps {
    /// The table of records and content state.
    pub store: Store,
    /// Drive with each connection's credentials and rate limit.
    pub drives: DriveFactory,
    /// The bucket that stores content.
    pub objects: Objects,
    /// The queues of content wakes: consumed, and written to when time runs out.
    pub contents: ContentQueues,
    /// The queue that wakes `push-intents` to create a conflicted copy.
    pub push_wakes: Queue,
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
        Ok(Self {
            store,
            drives,
            objects: Objects::new(objects::client(&aws), settings.content_bucket()?),
            contents: ContentQueues::from_settings(&sqs, settings)?,
            push_wakes: Queue::from_setting(&sqs, settings, "PUSH_WAKES_QUEUE_URL")?,
            clock,
            entropy,
        })
    }

    /// Returns the same dependencies on behalf of this cause.
    fn caused_by(&self, cause: Cause) -> Self {
        Self {
            store: self.store.caused_by(cause),
            contents: self.contents.caused_by(cause),
            push_wakes: self.push_wakes.caused_by(cause),
            ..self.clone()
        }
    }
}

/// Handles a batch of wakes. Each group is one file.
pub async fn handle(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let queues = deps.contents.all();
    batch::isolate_poison_message(event, &queues, |part| handle_batch(part, deadline, deps)).await
}

async fn handle_batch(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let queues = deps.contents.all();
    let consumer = Consumer {
        store: &deps.store,
        queues: &queues,
        clock: &deps.clock,
        entropy: &deps.entropy,
        groups_at_once: FILES_AT_ONCE,
        failure_metric: "content_failed",
        failure_text: "could not mirror content; will retry",
    };
    let process = |received: ReceivedMessage, wake: ContentWake, cause| async move {
        let priority = deps.contents.priority_of(&received.queue);
        let deps = &deps.caused_by(cause);
        let processed = process_wake(&wake, priority, deadline, deps).await;
        processed.map_err(|error| Failure::park_rejected(&wake.file, error))
    };
    consumer.consume(event, process).await
}

async fn process_wake(
    wake: &ContentWake,
    priority: Priority,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    if deadline.passed(deps.clock.now()) {
        return Err(WorkError::OutOfTime);
    }
    let Some(connection) = deps.store.load_connection(&wake.key).await? else {
        return Ok(());
    };
    // A content scan covers all files once the connection is active, or its content mirrored,
    // again.
    if connection.state != ConnectionState::Active || !connection.content.enabled {
        return Ok(());
    }
    file::process_content(deps, &connection, &wake.file, priority, deadline).await
}

/// Tries everything that the function needs, with its own role. Changes nothing.
pub async fn version_check(deps: &Deps, settings: &Settings) -> VersionCheck {
    let mut check = VersionCheck::default();
    check_table(&mut check, &deps.store).await;
    check_secrets(&mut check, &deps.drives, settings).await;
    check_bucket(&mut check, &deps.objects).await;
    check_receiving(&mut check, &[&deps.contents.high, &deps.contents.bulk]).await;
    check_sending(
        &mut check,
        &[&deps.contents.high, &deps.contents.bulk, &deps.push_wakes],
    )
    .await;
    check
}
