//! Mirrors content between Drive and S3.
//!
//! A wake names a file and carries no data: the file's record states what is owed. A file is a
//! message group, so no other invocation processes it concurrently. A finished file is acknowledged
//! at once, while other files of the batch may take minutes, so that its next wake is not delayed.

mod copy;
mod download;
mod export;
mod file;
mod transfer;
mod upload;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::{ConnectionKey, Disposition};
use drive::DriveError;
use futures_util::{StreamExt as _, stream};
use gate::{CallError, DriveFactory, NotParked, Services};
use objects::{Objects, ObjectsError};
use runtime::{
    Clock, ContentQueues, ContentWake, Deadline, Entropy, GroupResult, MessageGroup, Priority,
    Queue, QueueError, ReceivedMessage, Settings, batch, telemetry,
};
use store::{ConnectionState, DeadLetter, Store, StoreError};

/// Timeouts of Drive calls without content; content has its own (`drive::ContentTimeouts`).
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(3),
    total: Duration::from_secs(20),
};
/// The number of files processed concurrently: each uses at most three parts of its content in
/// memory, usually 24 MiB.
const FILES_AT_ONCE: usize = 4;
/// The interval at which finished files are acknowledged while others are being processed.
const ACKNOWLEDGE_INTERVAL: Duration = Duration::from_secs(1);

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
    pub async fn load(
        settings: &Settings,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let services = Services::connect(settings, DRIVE_TIMEOUTS).await?;
        let aws = runtime::aws::config().await;
        Ok(Self {
            store: services.store.clone(),
            drives: services.drives.clone(),
            objects: Objects::new(objects::client(&aws), settings.content_bucket()?),
            contents: ContentQueues::from_settings(&services.sqs, settings)?,
            push_wakes: services.queue(settings, "PUSH_WAKES_QUEUE_URL")?,
            clock: services.clock.clone(),
            entropy: services.entropy.clone(),
        })
    }
}

/// The reason a file's content could not be processed now.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error("DynamoDB request failed")]
    Store(#[from] StoreError),
    #[error("SQS request failed")]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("S3 request failed")]
    Objects(#[from] ObjectsError),
    #[error("the invocation is about to time out")]
    OutOfTime,
    #[error("downloaded content does not match Drive's checksum")]
    ChecksumMismatch,
    #[error("identical content is being deleted and can't be linked until then")]
    Collecting,
    #[error("the item was written concurrently")]
    Contended,
    #[error("stored content is missing from the bucket")]
    Missing,
}

impl WorkError {
    /// Returns Drive's error, if the failure is one.
    fn drive(&self) -> Option<&DriveError> {
        match self {
            Self::Call(CallError::Drive(error)) => Some(error),
            Self::Call(CallError::Throttled(_) | CallError::Store(_))
            | Self::Store(_)
            | Self::Queue(_)
            | Self::Objects(_)
            | Self::OutOfTime
            | Self::ChecksumMismatch
            | Self::Collecting
            | Self::Contended
            | Self::Missing => None,
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Store(_)
            | Self::Queue(_)
            | Self::OutOfTime
            | Self::ChecksumMismatch
            | Self::Collecting
            | Self::Contended
            | Self::Missing => Disposition::Retry { after_millis: None },
            Self::Call(error) => error.disposition(),
            Self::Objects(error) => error.disposition(),
        }
    }
}

impl From<DriveError> for WorkError {
    fn from(error: DriveError) -> Self {
        Self::Call(error.into())
    }
}

/// Handles a batch of wakes. Each group is one file.
pub async fn handle(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let queues = deps.contents.all();
    batch::isolate_poison_message(event, &queues, |part| handle_batch(part, deadline, deps)).await
}

async fn handle_batch(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let queues = deps.contents.all();
    let processing = stream::iter(batch::message_groups(event)).map(|group| async {
        let result = process_group(&group, deadline, deps).await;
        (group, result)
    });
    let mut processing = processing.buffer_unordered(FILES_AT_ONCE);
    let mut results = Vec::new();
    let mut done: Vec<ReceivedMessage> = Vec::new();
    loop {
        let next = tokio::select! {
            biased;
            next = processing.next() => next,
            () = tokio::time::sleep(ACKNOWLEDGE_INTERVAL), if !done.is_empty() => {
                batch::acknowledge(&std::mem::take(&mut done), &queues).await;
                continue;
            }
        };
        let Some((group, result)) = next else { break };
        match &result {
            GroupResult::Processed => done.extend(group.messages.iter().cloned()),
            GroupResult::Failed { .. } => {}
        }
        results.push((group, result));
    }
    batch::respond(results, &queues, &deps.entropy).await
}

/// Processes one file. All of its wakes mean the same.
async fn process_group(group: &MessageGroup, deadline: Deadline, deps: &Deps) -> GroupResult {
    let now = deps.clock.now();
    let read = gate::read_group(group, ContentWake::from_body, &deps.store, now);
    let mut wakes = match read.await {
        Ok(wakes) => wakes,
        Err(NotParked { processed, error }) => return report_failure(processed, &error.into()),
    };
    let Some((received, wake)) = wakes.pop() else {
        return GroupResult::Processed;
    };
    let priority = deps.contents.priority_of(&received.queue);
    let error = match process_wake(&wake, priority, deadline, deps).await {
        Ok(()) => return GroupResult::Processed,
        Err(error) => error,
    };
    match error.disposition() {
        Disposition::Retry { .. } => report_failure(0, &error),
        Disposition::Park { reason } => {
            let (key, file) = (wake.key, Some(wake.file));
            let message = gate::failed_message(received);
            let dead_letter =
                DeadLetter::from_message(message, key, file, &reason, deps.clock.now());
            match gate::park(&dead_letter, &deps.store).await {
                Ok(()) => GroupResult::Processed,
                Err(error) => report_failure(0, &error.into()),
            }
        }
        Disposition::Halt { reason } => suspend(&wake.key, &reason, &error, deps).await,
    }
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

/// Suspends the connection if Drive rejects its credentials, and drops the wake: the record keeps
/// what is owed.
async fn suspend(key: &ConnectionKey, reason: &str, error: &WorkError, deps: &Deps) -> GroupResult {
    match gate::suspend(key, reason, error, &deps.store, deps.clock.now()).await {
        Ok(()) => GroupResult::Processed,
        Err(error) => report_failure(0, &error.into()),
    }
}

fn report_failure(processed: usize, error: &WorkError) -> GroupResult {
    let chain = telemetry::chain(error);
    tracing::warn!(
        error = chain,
        metric = "content_failed",
        "could not mirror content; will retry"
    );
    let after_millis = error.disposition().after_millis();
    GroupResult::Failed {
        processed,
        after_millis,
    }
}
