//! What Lambda does around our functions: it polls the queues, hands over batches, deletes what was
//! dealt with, and calls on a schedule.

mod stream;

pub use self::stream::{StreamError, StreamSource};

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::Timestamp;
use futures_util::future::BoxFuture;
use runtime::{Clock, Deadline};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::aws::dynamodb::Dynamodb;
use crate::aws::sqs::{Received, Sqs, queue_arn};
use crate::aws::{Aws, Queue};
use crate::functions::Functions;

/// Messages in a batch, as the deployment has it: the most that FIFO queues allow.
const BATCH_MAX: usize = 10;
/// How long one poll waits for a first message: Lambda's pollers wait 20 s as well.
const POLL_WAIT: Duration = Duration::from_secs(20);
/// The pause after a poll that failed.
const FAILED_PAUSE: Duration = Duration::from_millis(500);
/// How often the schedule calls here. On AWS a schedule calls once a minute at most.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a sweep may take, as on AWS.
const SWEEP_SECONDS: i64 = 60;

/// Tells the sources to stop.
pub type Shutdown = watch::Receiver<bool>;

type BatchHandler =
    dyn Fn(SqsEvent, Deadline) -> BoxFuture<'static, SqsBatchResponse> + Send + Sync;

/// Starts every source. The tasks end soon after `shutdown` says so; a batch in work is finished.
#[must_use]
pub fn start(aws: &Aws, functions: &Functions, clock: &Clock, shutdown: &Shutdown) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for queue in Queue::ALL {
        for _ in 0..pollers(queue) {
            let source = Source {
                sqs: aws.sqs().clone(),
                queue,
                handler: handler(queue, functions),
                clock: clock.clone(),
            };
            tasks.spawn(source.run(shutdown.clone()));
        }
    }
    tasks.spawn(sweeps(functions.clone(), clock.clone(), shutdown.clone()));
    let stream = StreamSource::new(aws, functions.publish_events.store.clone());
    tasks.spawn(stream::run(stream, functions.clone(), shutdown.clone()));
    tasks.spawn(keep_house(aws.dynamodb().clone(), shutdown.clone()));
    tasks
}

/// How many batches of a queue are in work at a time: the deployment's maximum concurrency, for two cores.
fn pollers(queue: Queue) -> usize {
    match queue {
        Queue::LogWakes | Queue::SnapshotsBulk | Queue::PushWakes => 2,
        Queue::Snapshots => 4,
        // Content waits for the network and the disk more than for a core.
        Queue::Content | Queue::ContentBulk => 3,
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
        Queue::Content | Queue::ContentBulk => {
            let deps = functions.mirror_content.clone();
            Box::new(move |event, deadline| {
                let deps = deps.clone();
                Box::pin(async move { mirror_content::handle(event, deadline, &deps).await })
            })
        }
    }
}

/// One poller of one queue.
struct Source {
    sqs: Sqs,
    queue: Queue,
    handler: Box<BatchHandler>,
    clock: Clock,
}

impl Source {
    async fn run(self, mut shutdown: Shutdown) {
        loop {
            let received = tokio::select! {
                biased;
                () = stopped(&mut shutdown) => return,
                received = self.sqs.receive(self.queue.name(), BATCH_MAX, POLL_WAIT) => received,
            };
            match received {
                Ok(received) if received.is_empty() => {}
                Ok(received) => self.hand_over(received).await,
                Err(error) => {
                    tracing::error!(queue = self.queue.name(), %error, "a poll failed");
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
            }
        }
    }

    /// Calls the function in a task of its own: if it panics, the batch stays in flight and comes back,
    /// as after a crash on AWS.
    async fn hand_over(&self, received: Vec<Received>) {
        let Some(event) = event(self.queue, &received) else {
            tracing::error!(
                queue = self.queue.name(),
                "a batch has no form that Lambda would give it"
            );
            return;
        };
        let seconds = i64::from(self.queue.function_timeout_seconds());
        let deadline = deadline(self.clock.now(), seconds);
        let Ok(response) = tokio::spawn((self.handler)(event, deadline)).await else {
            tracing::error!(
                queue = self.queue.name(),
                "the function crashed; its batch comes back"
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
                    tracing::warn!(queue = self.queue.name(), %error, "a message was not deleted");
                }
            }
            Err(error) => {
                tracing::error!(queue = self.queue.name(), %error, "a batch was not deleted")
            }
        }
    }
}

/// The event as Lambda hands it to a function; `None` where a batch has no such form.
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
            "awsRegion": "us-east-1",
        })
    };
    let records: Vec<_> = received.iter().map(record).collect();
    serde_json::from_value(json!({ "Records": records })).ok()
}

/// The deadline of an invocation that starts now, with the margin that every function keeps.
fn deadline(now: Timestamp, seconds: i64) -> Deadline {
    let at = now.plus_millis(seconds * 1_000).as_millis();
    Deadline::of_invocation(u64::try_from(at).unwrap_or(0))
}

async fn sweeps(functions: Functions, clock: Clock, mut shutdown: Shutdown) {
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        let deps = functions.sweep.clone();
        let deadline = deadline(clock.now(), SWEEP_SECONDS);
        let swept = tokio::spawn(async move { sweep::handle(deadline, &deps).await }).await;
        if swept.is_err() {
            tracing::error!("the sweep crashed; the next one goes on");
        }
    }
}

/// What DynamoDB does by itself on AWS: expired items go.
async fn keep_house(dynamodb: Dynamodb, mut shutdown: Shutdown) {
    const EVERY: Duration = Duration::from_secs(60);
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = dynamodb.sweep_ttl() {
            tracing::warn!(%error, "expired items were not removed");
        }
    }
}

/// Completes when the system stops.
pub async fn stopped(shutdown: &mut Shutdown) {
    // An error means that whoever could say so is gone: that is a stop too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
