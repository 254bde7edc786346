//! Consumes batches of messages: the frame around every function that a queue invokes.

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::{Cause, ConnectionKey, Disposition, FileId};
use futures_util::{StreamExt as _, stream};
use runtime::{Clock, Entropy, telemetry};
use store::{DeadLetter, Store};
use tracing::Instrument as _;

use crate::dead_letters::{NotParked, failed_message, park, read_group};
use crate::{
    ContentWake, DeliveryWake, GroupResult, LiveWake, LogWake, MessageGroup, OperationWake,
    PushWake, Queue, ReceivedMessage, Unreadable, WorkError, batch, suspend,
};

/// The interval at which processed groups are acknowledged while others are being processed.
const ACKNOWLEDGE_INTERVAL: Duration = Duration::from_secs(1);

/// A consumer of queues.
#[derive(Debug, Clone, Copy)]
pub struct Consumer<'a> {
    /// The table that stores dead letters and connections.
    pub store: &'a Store,
    /// The queues that the function consumes.
    pub queues: &'a [Queue],
    /// The source of the current time.
    pub clock: &'a Clock,
    /// The source of randomness.
    pub entropy: &'a Entropy,
    /// The most groups that are processed concurrently.
    pub groups_at_once: usize,
    /// The `metric` of the log line about a group that failed.
    pub failure_metric: &'static str,
    /// The text of that line.
    pub failure_text: &'static str,
}

/// The treatment of a group that could not be processed.
#[derive(Debug)]
pub enum Failure {
    /// Its messages return to the queue.
    Retry(WorkError),
    /// Nothing has failed: what is left is due after so many milliseconds, for which its messages
    /// return to the queue.
    Later {
        /// The milliseconds.
        after_millis: u64,
    },
    /// Its newest message is parked, for this reason, as a dead letter about the file.
    Park(FileId, String),
    /// The connection is suspended, for this reason. The group is done: the table keeps what is
    /// owed.
    Suspend(String, WorkError),
}

impl Failure {
    /// Returns the treatment of an error where a rejected call does not block the connection: it
    /// is made again later. The connection is suspended only if Drive rejects its credentials.
    #[must_use]
    pub fn retry_rejected(error: WorkError) -> Self {
        match error.disposition() {
            Disposition::Retry { .. } | Disposition::Park { .. } => Self::Retry(error),
            Disposition::Halt { reason } => Self::Suspend(reason, error),
        }
    }

    /// Returns the treatment of an error where a rejected call concerns one file only.
    #[must_use]
    pub fn park_rejected(file: &FileId, error: WorkError) -> Self {
        match error.disposition() {
            Disposition::Retry { .. } => Self::Retry(error),
            Disposition::Park { reason } => Self::Park(file.clone(), reason),
            Disposition::Halt { reason } => Self::Suspend(reason, error),
        }
    }

    /// Returns the treatment of an error where a rejected call needs a person, as rejected
    /// credentials do.
    #[must_use]
    pub fn suspend_rejected(error: WorkError) -> Self {
        match error.disposition() {
            Disposition::Retry { .. } => Self::Retry(error),
            Disposition::Park { reason } | Disposition::Halt { reason } => {
                Self::Suspend(reason, error)
            }
        }
    }
}

/// A wake: a message without data. Equal ones mean the same.
pub trait Wake: Sized + PartialEq {
    /// Reads a message body.
    ///
    /// # Errors
    /// [`Unreadable`] if it is no such wake.
    fn read(body: &str) -> Result<Self, Unreadable>;

    /// Returns the connection that it is about, if it is about one.
    fn key(&self) -> Option<&ConnectionKey>;
}

macro_rules! wakes {
    ($($wake:ty),*) => {
        $(impl Wake for $wake {
            fn read(body: &str) -> Result<Self, Unreadable> {
                Self::from_body(body)
            }

            fn key(&self) -> Option<&ConnectionKey> {
                Some(&self.key)
            }
        })*
    };
}

wakes!(LogWake, PushWake, OperationWake, LiveWake, ContentWake);

impl Wake for DeliveryWake {
    fn read(body: &str) -> Result<Self, Unreadable> {
        Self::from_body(body)
    }

    fn key(&self) -> Option<&ConnectionKey> {
        None
    }
}

impl Consumer<'_> {
    /// Consumes a batch of wakes, its groups concurrently. Of the wakes of a group that are equal,
    /// `process` receives the newest one only; it receives those that differ one after another, all
    /// with the cause of the group. A processed group is acknowledged while others are being
    /// processed, so that its next wake is not delayed by them.
    pub async fn consume<W: Wake, F>(
        &self,
        event: SqsEvent,
        process: impl Fn(ReceivedMessage, W, Cause) -> F,
    ) -> SqsBatchResponse
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let process = &process;
        let processing = stream::iter(batch::message_groups(event)).map(|group| async {
            let cause = self.begin(&group);
            let result = self.process_group(&group, cause, process);
            let result = result.instrument(telemetry::span(cause)).await;
            (group, result)
        });
        let mut processing = processing.buffer_unordered(self.groups_at_once);
        let mut results = Vec::new();
        let mut done: Vec<ReceivedMessage> = Vec::new();
        loop {
            let next = tokio::select! {
                biased;
                next = processing.next() => next,
                () = tokio::time::sleep(ACKNOWLEDGE_INTERVAL), if !done.is_empty() => {
                    batch::acknowledge(&std::mem::take(&mut done), self.queues).await;
                    continue;
                }
            };
            let Some((group, result)) = next else { break };
            if result == GroupResult::Processed {
                done.extend(group.messages.iter().cloned());
            }
            results.push((group, result));
        }
        self.respond(results).await
    }

    /// Returns the cause that a group is processed under: that of its first message, or a new one
    /// if an earlier build sent that message. The causes of the other messages end here, in a log
    /// line that names the one under which their work goes on.
    #[must_use]
    pub fn begin(&self, group: &MessageGroup) -> Cause {
        let mut causes = group.messages.iter().map(|message| message.cause);
        let first = causes.next().flatten();
        let cause = first.unwrap_or_else(|| self.entropy.cause());
        for other in causes.flatten().filter(|other| *other != cause) {
            let _entered = telemetry::span(other).entered();
            tracing::info!(continued_as = %cause, "messages coalesced");
        }
        cause
    }

    async fn process_group<W: Wake, F>(
        &self,
        group: &MessageGroup,
        cause: Cause,
        process: &impl Fn(ReceivedMessage, W, Cause) -> F,
    ) -> GroupResult
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let store = &self.store.caused_by(cause);
        let on_behalf = Consumer { store, ..*self };
        let mut wakes = match on_behalf.read(group, W::read).await {
            Ok(wakes) => wakes,
            Err(failed) => return failed,
        };
        while let Some((received, wake)) = wakes.pop() {
            wakes.retain(|(_, other)| *other != wake);
            let key = wake.key().cloned();
            if let Err(failure) = process(received.clone(), wake, cause).await {
                let handled = on_behalf.handle(failure, key.as_ref(), received).await;
                if handled != GroupResult::Processed {
                    return handled;
                }
            }
        }
        GroupResult::Processed
    }

    /// Reads the messages of a group, and parks those that are unreadable.
    ///
    /// # Errors
    /// The group's result, if one could be neither read nor parked.
    pub async fn read<'g, M>(
        &self,
        group: &'g MessageGroup,
        read: impl Fn(&str) -> Result<M, Unreadable>,
    ) -> Result<Vec<(&'g ReceivedMessage, M)>, GroupResult> {
        let read = read_group(group, read, self.store, self.clock.now()).await;
        read.map_err(|NotParked { processed, error }| self.failed(processed, &error.into()))
    }

    async fn handle(
        &self,
        failure: Failure,
        key: Option<&ConnectionKey>,
        received: &ReceivedMessage,
    ) -> GroupResult {
        let now = self.clock.now();
        let done = match (failure, key) {
            (Failure::Retry(error), _) | (Failure::Suspend(_, error), None) => {
                return self.failed(0, &error);
            }
            (Failure::Later { after_millis }, _) => {
                return GroupResult::Failed {
                    processed: 0,
                    after_millis: Some(after_millis),
                };
            }
            (Failure::Park(file, reason), key) => {
                let message = failed_message(received);
                let dead_letter = match key.cloned() {
                    Some(key) => {
                        DeadLetter::from_message(message, key, Some(file), &reason, now).passing()
                    }
                    None => DeadLetter::unreadable(message, &reason, now),
                };
                park(&dead_letter, self.store).await
            }
            (Failure::Suspend(reason, error), Some(key)) => {
                suspend(key, &reason, &error, self.store, now).await
            }
        };
        match done {
            Ok(()) => GroupResult::Processed,
            Err(error) => self.failed(0, &error.into()),
        }
    }

    /// Logs the failure of a group, and returns its result: the messages from `processed` on
    /// return to the queue.
    #[must_use]
    pub fn failed(&self, processed: usize, error: &WorkError) -> GroupResult {
        tracing::warn!(
            error = telemetry::chain(error),
            metric = self.failure_metric,
            "{}",
            self.failure_text
        );
        GroupResult::Failed {
            processed,
            after_millis: error.disposition().after_millis(),
        }
    }

    /// Builds the response for the batch.
    pub async fn respond(&self, results: Vec<(MessageGroup, GroupResult)>) -> SqsBatchResponse {
        batch::respond(results, self.queues, self.entropy).await
    }
}
