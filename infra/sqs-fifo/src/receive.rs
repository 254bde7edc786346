//! Receiving, with long polling that waits for a notification instead of polling the state.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::Instant;

use super::engine::{BATCH_MAX, Sqs, State, next_sequence, queue_name};
use super::error::SqsError;
use super::message::{Receipt, Received, sequence_text};
use super::queue::{Entry, Pick, Plan, Queue};
use super::settings::queue_arn;
use super::storage::{self, Move};

/// The options of a receive.
#[derive(Clone, Debug)]
pub struct ReceiveOptions {
    /// The most messages to return, 1 to 10.
    pub max: usize,
    /// The time to wait for a first message. `None`: the queue's setting.
    pub wait: Option<Duration>,
    /// The visibility timeout of the messages, 0 to 43,200 seconds. `None`: the queue's setting.
    pub visibility_seconds: Option<i64>,
    /// A receive whose response was lost can be repeated with the same id; it returns the same
    /// messages with the same handles.
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
    /// See [`Sqs::receive_with`].
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

    /// Receives messages (`ReceiveMessage`): several of one group, in order, and none of a group
    /// with a message in flight. Messages that were received too often move to the dead-letter
    /// queue. Waits in tokio's time, which tests can pause.
    ///
    /// # Errors
    /// The queue does not exist or is deleted during the wait, an option is out of range, or the
    /// database failed.
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
            let queue_seconds = u64::try_from(queue.settings.receive_wait_seconds).unwrap_or(0);
            (
                options.wait.unwrap_or(Duration::from_secs(queue_seconds)),
                queue.notify.clone(),
            )
        };
        let deadline = Instant::now() + wait;
        loop {
            // Registered before the state is read, so that a message that arrives just after is
            // noticed.
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

    /// Receives up to `max` messages that are available now, for a visibility timeout of
    /// `visibility_seconds` (`None`: the queue's setting). Neither waits nor counts as a request,
    /// both of which [`Sqs::receive`] does.
    pub(super) fn take(
        &self,
        queue: &str,
        max: usize,
        visibility_seconds: Option<i64>,
        attempt_id: Option<&str>,
    ) -> Result<Vec<Received>, SqsError> {
        let now = self.now_ms();
        let mut state = self.state();
        let State {
            connection,
            queues,
            last_sequence,
            ..
        } = &mut *state;
        let name = queue_name(queue);
        let queue = queues.get_mut(name).ok_or(SqsError::QueueDoesNotExist)?;
        let visible_at =
            now + visibility_seconds.unwrap_or(queue.settings.visibility_seconds) * 1000;
        // A standard queue has no attempts: a repeated receive delivers other messages.
        let attempt_id = attempt_id.filter(|_| queue.settings.fifo);
        if let Some(receipts) = attempt_id.and_then(|id| queue.attempt(id, now)) {
            for receipt in &receipts {
                queue.set_visible_at(receipt.sequence, visible_at, now);
            }
            let sequences = receipts.iter().map(|r| r.sequence);
            return self.load_received(connection, queue, sequences.collect());
        }
        let redrive = queue.settings.redrive.clone();
        let target = redrive
            .as_ref()
            .and_then(|r| queues.get(&r.dead_letter_queue))
            .map(|q| q.id);
        let queue = queues.get_mut(name).ok_or(SqsError::QueueDoesNotExist)?;
        let plan = queue.plan(max, target.is_some(), now);
        if plan.is_empty() {
            return Ok(Vec::new());
        }
        let dead = dead_letters(&plan, *last_sequence, now);
        let (source, target) = (name, target.unwrap_or_default());
        commit(connection, &plan, &dead, source, target, now)?;
        *last_sequence = dead
            .last()
            .map_or(*last_sequence, |letter| letter.entry.sequence);
        for Pick { entry, .. } in plan.expired.iter().chain(&plan.dead) {
            queue.remove(entry.sequence, now);
        }
        let taken: Vec<i64> = plan.take.iter().map(|pick| pick.entry.sequence).collect();
        for sequence in &taken {
            queue.take(*sequence, visible_at, now);
        }
        let received = self.load_received(connection, queue, taken)?;
        if let Some(id) = attempt_id {
            let receipts = received
                .iter()
                .filter_map(|r| Receipt::parse(&r.receipt_handle));
            queue.remember_attempt(id, receipts.collect(), now);
        }
        if let Some(target) = redrive.and_then(|r| queues.get_mut(&r.dead_letter_queue)) {
            for letter in dead {
                target.push(&letter.group, letter.entry, now);
            }
            target.notify.notify_waiters();
        }
        Ok(received)
    }

    /// Returns received messages with their bodies.
    fn load_received(
        &self,
        connection: &Connection,
        queue: &Queue,
        sequences: Vec<i64>,
    ) -> Result<Vec<Received>, SqsError> {
        let mut received = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            let Some(entry) = queue.entry(sequence) else {
                continue;
            };
            let Some(stored) = storage::load(connection, sequence)? else {
                continue;
            };
            let receive_count = entry.receive_count;
            received.push(Received {
                message_id: stored.message_id,
                receipt_handle: Receipt {
                    queue: queue.id,
                    sequence,
                    receive_count,
                }
                .handle(),
                body: stored.body,
                attributes: stored.attributes,
                system_attributes: stored.system_attributes,
                group_id: stored.group_id,
                deduplication_id: stored.deduplication_id,
                sequence_number: queue.settings.fifo.then(|| sequence_text(sequence)),
                sent_at_ms: stored.sent_at,
                first_received_at_ms: entry.first_received_at,
                receive_count,
                dead_letter_source_arn: stored.source.as_deref().map(queue_arn),
            });
        }
        Ok(received)
    }

    /// Returns the time until a delay or a visibility timeout of a waiting group ends.
    fn next_due_in(&self, queue: &str) -> Option<Duration> {
        let state = self.state();
        let due = state.queues.get(queue_name(queue))?.next_due()?;
        Some(Duration::from_millis(
            u64::try_from(due - self.now_ms()).unwrap_or(0).max(1),
        ))
    }
}

/// A message on its way to the dead-letter queue.
struct DeadLetter {
    from_sequence: i64,
    group: Arc<str>,
    entry: Entry,
}

/// Returns the plan's dead letters with new sequence numbers. They keep their receive counts.
fn dead_letters(plan: &Plan, last_sequence: i64, now: i64) -> Vec<DeadLetter> {
    let mut sequence = last_sequence;
    let letters = plan.dead.iter().map(|Pick { group, entry }| {
        sequence = next_sequence(sequence, now);
        let from_sequence = entry.sequence;
        let entry = Entry {
            sequence,
            sent_at: now,
            visible_at: 0,
            available_at: None,
            ..entry.clone()
        };
        DeadLetter {
            from_sequence,
            group: Arc::clone(group),
            entry,
        }
    });
    letters.collect()
}

/// Writes the effects of a receive in one transaction.
fn commit(
    connection: &mut Connection,
    plan: &Plan,
    dead: &[DeadLetter],
    source: &str,
    target: i64,
    now: i64,
) -> Result<(), SqsError> {
    let transaction = connection.transaction()?;
    for Pick { entry, .. } in &plan.take {
        let first = if entry.first_received_at == 0 {
            now
        } else {
            entry.first_received_at
        };
        storage::record_receive(&transaction, entry.sequence, entry.receive_count + 1, first)?;
    }
    for Pick { entry, .. } in &plan.expired {
        storage::delete(&transaction, entry.sequence)?;
    }
    for DeadLetter {
        from_sequence,
        entry,
        ..
    } in dead
    {
        let (queue, sequence) = (target, entry.sequence);
        let to = Move {
            queue,
            sequence,
            source,
            sent_at: now,
        };
        storage::move_message(&transaction, *from_sequence, &to)?;
    }
    transaction.commit()?;
    Ok(())
}

fn check(options: &ReceiveOptions) -> Result<(), SqsError> {
    let refuse = |value: String, parameter: &str, range: &str| {
        Err(SqsError::InvalidParameterValue(format!(
            "Value {value} for parameter {parameter} is invalid. \
             Reason: Must be {range}, if provided."
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
