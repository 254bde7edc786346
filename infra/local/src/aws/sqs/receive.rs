//! Receiving with a wait: long polling without a loop that looks again and again.

use std::time::Duration;

use tokio::time::Instant;

use super::engine::{BATCH_MAX, Sqs, queue_name};
use super::error::SqsError;
use super::message::Received;

/// How to receive.
#[derive(Clone, Debug)]
pub struct ReceiveOptions {
    /// At most this many messages, 1 to 10.
    pub max: usize,
    /// How long to wait for a first message. None: as the queue says.
    pub wait: Option<Duration>,
    /// For how long the messages are in flight, 0 to 43,200 seconds. None: as the queue says.
    pub visibility_seconds: Option<i64>,
    /// A receive whose answer was lost can be repeated with the same id: the same messages with the same handles.
    pub attempt_id: Option<String>,
}

impl Default for ReceiveOptions {
    fn default() -> Self {
        Self {
            max: 1,
            wait: None,
            visibility_seconds: None,
            attempt_id: None,
        }
    }
}

impl Sqs {
    /// Receives up to `max` messages, waiting up to `wait` for the first.
    ///
    /// # Errors
    /// As [`Sqs::receive_with`].
    pub async fn receive(
        &self,
        queue: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Received>, SqsError> {
        let options = ReceiveOptions {
            max,
            wait: Some(wait),
            ..ReceiveOptions::default()
        };
        self.receive_with(queue, &options).await
    }

    /// Receives messages (`ReceiveMessage`): several of one group, in order, and none of a group of which one is in flight.
    /// What was received too often goes to the dead-letter queue instead. Waits in tokio's time, so a paused clock works.
    ///
    /// # Errors
    /// The queue does not exist (or ceases to while waiting), an option is out of range, or the database failed.
    pub async fn receive_with(
        &self,
        queue: &str,
        options: &ReceiveOptions,
    ) -> Result<Vec<Received>, SqsError> {
        let received = self.wait_and_take(queue, options).await;
        let bytes = received
            .iter()
            .flatten()
            .map(|message| message.body.len())
            .sum();
        self.count("ReceiveMessage", bytes);
        received
    }

    async fn wait_and_take(
        &self,
        queue: &str,
        options: &ReceiveOptions,
    ) -> Result<Vec<Received>, SqsError> {
        check(options)?;
        let (wait, notify) = {
            let state = self.state();
            let queue = state
                .queues
                .get(queue_name(queue))
                .ok_or(SqsError::QueueDoesNotExist)?;
            let of_queue = u64::try_from(queue.settings.receive_wait_seconds).unwrap_or(0);
            (
                options.wait.unwrap_or(Duration::from_secs(of_queue)),
                queue.notify.clone(),
            )
        };
        let deadline = Instant::now() + wait;
        loop {
            // Registered before the look, so that a message that arrives just after it is not missed.
            let mut notified = std::pin::pin!(notify.notified());
            notified.as_mut().enable();
            let attempt_id = options.attempt_id.as_deref();
            let received = self.take(queue, options.max, options.visibility_seconds, attempt_id)?;
            let now = Instant::now();
            if !received.is_empty() || now >= deadline {
                return Ok(received);
            }
            let until = self
                .next_due_in(queue)
                .map_or(deadline, |due| deadline.min(now + due));
            tokio::select! {
                () = notified => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// In how long a group that waits for a delay or a visibility timeout may have a message.
    fn next_due_in(&self, queue: &str) -> Option<Duration> {
        let state = self.state();
        let due = state.queues.get(queue_name(queue))?.next_due()?;
        Some(Duration::from_millis(
            u64::try_from(due - self.now_ms()).unwrap_or(0).max(1),
        ))
    }
}

fn check(options: &ReceiveOptions) -> Result<(), SqsError> {
    let refuse = |value: String, parameter: &str, range: &str| {
        Err(SqsError::InvalidParameterValue(format!(
            "Value {value} for parameter {parameter} is invalid. Reason: Must be {range}, if provided."
        )))
    };
    if !(1..=BATCH_MAX).contains(&options.max) {
        return refuse(
            options.max.to_string(),
            "MaxNumberOfMessages",
            "between 1 and 10",
        );
    }
    if let Some(wait) = options.wait.filter(|wait| *wait > Duration::from_secs(20)) {
        return refuse(
            wait.as_secs().to_string(),
            "WaitTimeSeconds",
            ">= 0 and <= 20",
        );
    }
    match options
        .visibility_seconds
        .filter(|seconds| !(0..=43_200).contains(seconds))
    {
        Some(seconds) => refuse(
            seconds.to_string(),
            "VisibilityTimeout",
            ">= 0 and <= 43200",
        ),
        None => Ok(()),
    }
}
