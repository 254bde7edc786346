//! Lambda's event sources: they poll the queues, invoke the functions with batches, delete the
//! messages that were processed, and invoke on a schedule.

mod invocations;
mod stream;

pub use self::invocations::{FUNCTIONS, Invocations};
pub use self::stream::{StreamError, StreamSource};

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use runtime::{Clock, Deadline};
use serde_json::{Value, json};
use sqs_fifo::{REGION, Received, Sqs, queue_arn};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::aws::dynamodb::Dynamodb;
use crate::aws::{Aws, Queue};
use crate::canary::Canary;
use crate::system::Functions;

/// The most messages in a batch, as in the deployment: the limit of FIFO queues.
const BATCH_MAX: usize = 10;
/// The wait of a poll for a first message: the same 20 s as Lambda's pollers.
const POLL_WAIT: Duration = Duration::from_secs(20);
/// The pause after a failed poll.
const FAILED_PAUSE: Duration = Duration::from_millis(500);
/// The period of the schedule. On AWS the shortest period is one minute.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The timeout of a sweep in seconds, as on AWS.
const SWEEP_SECONDS: i64 = 60;

/// Signals the sources to stop.
pub type Shutdown = watch::Receiver<bool>;

type BatchHandler =
    dyn Fn(SqsEvent, Deadline) -> BoxFuture<'static, SqsBatchResponse> + Send + Sync;

/// Starts all sources. The tasks end soon after `shutdown` becomes true; a batch in progress is
/// finished.
#[must_use]
pub fn start(
    aws: &Aws,
    functions: &Functions,
    clock: &Clock,
    invocations: &Invocations,
    shutdown: &Shutdown,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for queue in Queue::ALL {
        for _ in 0..pollers(queue) {
            let poller = Poller {
                sqs: aws.sqs().clone(),
                queue,
                handler: handler(queue, functions),
                canary: functions.canary.clone(),
                clock: clock.clone(),
                invocations: invocations.clone(),
            };
            tasks.spawn(poller.run(shutdown.clone()));
        }
    }
    tasks.spawn(sweeps(
        functions.clone(),
        clock.clone(),
        invocations.clone(),
        shutdown.clone(),
    ));
    let stream = StreamSource::new(aws);
    tasks.spawn(stream::run(
        stream,
        functions.clone(),
        invocations.clone(),
        shutdown.clone(),
    ));
    tasks.spawn(expire_items(aws.dynamodb().clone(), shutdown.clone()));
    tasks
}

/// Returns the number of concurrent batches of a queue: the deployment's maximum concurrency,
/// scaled to two cores.
fn pollers(queue: Queue) -> usize {
    match queue {
        Queue::LogWakes
        | Queue::SnapshotsBulk
        | Queue::PushWakes
        | Queue::Operations
        | Queue::Live => 2,
        Queue::Snapshots => 4,
        // They wait for the network and the disk more than for the CPU.
        Queue::Deliver | Queue::Content | Queue::ContentBulk => 3,
    }
}

/// Returns the name of the function that reads a queue.
fn function(queue: Queue) -> &'static str {
    match queue {
        Queue::LogWakes => "fetch-changes",
        Queue::Snapshots | Queue::SnapshotsBulk => "apply-snapshots",
        Queue::PushWakes => "push-intents",
        Queue::Operations => "run-operations",
        Queue::Live | Queue::Deliver => "live",
        Queue::Content | Queue::ContentBulk => "mirror-content",
    }
}

fn handler(queue: Queue, functions: &Functions) -> Box<BatchHandler> {
    match queue {
        Queue::LogWakes => {
            let deps = functions.fetch_changes.clone();
            Box::new(move |event, deadline| {
                let deps = deps.clone();
                Box::pin(async move { fetch_changes::handle(event, deadline, &deps).await })
            })
        }
        Queue::Snapshots | Queue::SnapshotsBulk => {
            let deps = functions.apply_snapshots.clone();
            Box::new(move |event, deadline| {
                let deps = deps.clone();
                Box::pin(async move { apply_snapshots::handle(event, deadline, &deps).await })
            })
        }
        Queue::PushWakes => {
            let deps = functions.push_intents.clone();
            Box::new(move |event, deadline| {
                let deps = deps.clone();
                Box::pin(async move { push_intents::handle(event, deadline, &deps).await })
            })
        }
        Queue::Operations => {
            let deps = functions.run_operations.clone();
            Box::new(move |event, deadline| {
                let deps = deps.clone();
                Box::pin(async move { run_operations::handle(event, deadline, &deps).await })
            })
        }
        Queue::Live => {
            let deps = functions.live.clone();
            Box::new(move |event, deadline| {
                let deps = deps.clone();
                Box::pin(async move { live::handle_wakes(event, deadline, &deps).await })
            })
        }
        Queue::Deliver => {
            let deps = functions.live.clone();
            Box::new(move |event, deadline| {
                let deps = deps.clone();
                Box::pin(async move { live::handle_deliveries(event, deadline, &deps).await })
            })
        }
        Queue::Content | Queue::ContentBulk => {
            let deps = functions.mirror_content.clone();
            Box::new(move |event, deadline| {
                let deps = deps.clone();
                Box::pin(async move { mirror_content::handle(event, deadline, &deps).await })
            })
        }
    }
}

/// A poller of a queue.
struct Poller {
    sqs: Sqs,
    queue: Queue,
    handler: Box<BatchHandler>,
    canary: Option<Canary>,
    clock: Clock,
    invocations: Invocations,
}

impl Poller {
    async fn run(self, mut shutdown: Shutdown) {
        loop {
            let received = tokio::select! {
                biased;
                () = stopped(&mut shutdown) => return,
                received = self.sqs.receive(self.queue.name(), BATCH_MAX, POLL_WAIT) => received,
            };
            match received {
                Ok(received) if received.is_empty() => {}
                Ok(received) => self.invoke(received).await,
                Err(error) => {
                    tracing::error!(queue = self.queue.name(), %error, "poll failed");
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
            }
        }
    }

    /// Invokes the function. If it panics or is killed, the batch stays in flight and is delivered
    /// again.
    async fn invoke(&self, received: Vec<Received>) {
        let Some(event) = event(self.queue, &received) else {
            tracing::error!(
                queue = self.queue.name(),
                "the batch cannot be converted to a Lambda event"
            );
            return;
        };
        let seconds = self.queue.function_timeout_seconds();
        let function = function(self.queue);
        let invocation = match self
            .canary
            .as_ref()
            .and_then(|canary| canary.draw(function))
        {
            Some(other) => other
                .invoke(event, Duration::from_secs(seconds.into()))
                .boxed(),
            None => {
                let deadline = deadline(self.clock.now(), seconds.into());
                (self.handler)(event, deadline).map(Some).boxed()
            }
        };
        let invoked = self.invocations.run(function, invocation);
        let Ok(Some(response)) = invoked.await else {
            tracing::error!(
                queue = self.queue.name(),
                "the function failed or was killed; its batch is delivered again"
            );
            return;
        };
        let failed = |message: &Received| {
            response
                .batch_item_failures
                .iter()
                .any(|failure| failure.item_identifier == message.message_id)
        };
        let done: Vec<String> = received
            .iter()
            .filter(|m| !failed(m))
            .map(|m| m.receipt_handle.clone())
            .collect();
        if done.is_empty() {
            return;
        }
        match self.sqs.delete(self.queue.name(), &done) {
            Ok(results) => {
                for error in results.into_iter().filter_map(Result::err) {
                    tracing::warn!(queue = self.queue.name(), %error, "message not deleted");
                }
            }
            Err(error) => {
                tracing::error!(queue = self.queue.name(), %error, "batch not deleted")
            }
        }
    }
}

/// Returns a batch as a Lambda event, or `None` if it cannot be converted.
pub fn event(queue: Queue, received: &[Received]) -> Option<SqsEvent> {
    let arn = queue_arn(queue.name());
    let record = |message: &Received| {
        json!({
            "messageId": message.message_id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": message.receive_count.to_string(),
                "SentTimestamp": message.sent_at_ms.to_string(),
                "ApproximateFirstReceiveTimestamp": message.first_received_at_ms.to_string(),
                "SequenceNumber": message.sequence_number,
                "MessageGroupId": message.group_id,
                "MessageDeduplicationId": message.deduplication_id,
            },
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": arn,
            "awsRegion": REGION,
        })
    };
    let records: Vec<_> = received.iter().map(record).collect();
    serde_json::from_value(json!({ "Records": records })).ok()
}

/// Returns the deadline of an invocation that starts now, with the margin that every function
/// keeps.
fn deadline(now: Timestamp, seconds: i64) -> Deadline {
    let at = now.plus_millis(seconds * 1_000).as_millis();
    Deadline::of_invocation(u64::try_from(at).unwrap_or(0))
}

async fn sweeps(
    functions: Functions,
    clock: Clock,
    invocations: Invocations,
    mut shutdown: Shutdown,
) {
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        let deps = functions.sweep.clone();
        let deadline = deadline(clock.now(), SWEEP_SECONDS);
        let other = functions.canary.as_ref();
        let sweep = match other.and_then(|canary| canary.draw("sweep")) {
            Some(other) => {
                let timeout = Duration::from_secs(SWEEP_SECONDS.unsigned_abs());
                other.invoke::<Value>(json!({}), timeout).boxed()
            }
            None => async move {
                sweep::handle(deadline, &deps).await;
                Some(Value::Null)
            }
            .boxed(),
        };
        if !matches!(invocations.run("sweep", sweep).await, Ok(Some(_))) {
            tracing::error!("the sweep failed or was killed; the next one continues");
        }
    }
}

/// Deletes expired items, as DynamoDB does in the background.
async fn expire_items(dynamodb: Dynamodb, mut shutdown: Shutdown) {
    const EVERY: Duration = Duration::from_secs(60);
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = dynamodb.sweep_ttl() {
            tracing::warn!(%error, "expired items not deleted");
        }
    }
}

/// Completes when the system stops.
pub async fn stopped(shutdown: &mut Shutdown) {
    // An error means that the sender was dropped, which is a stop as well.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
