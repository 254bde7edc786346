//! The event source of the table's stream. Like Lambda's it delivers in order, continues at its
//! last position, and repeats from the first failed record.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use futures_util::FutureExt as _;
use store::stream::invokes;

use super::{FAILED_PAUSE, Invocations, Shutdown, stopped};
use crate::aws::Aws;
use crate::aws::dynamodb::{Dynamodb, DynamodbError, StreamKeys};
use crate::system::Functions;

/// The most records in a batch: the deployment's batch size and the limit of the streams API.
const BATCH_MAX: usize = 1_000;
/// The period of polls; Lambda polls four times a second. The engine keeps untrimmed records, and
/// every write queries the last of them.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// The timeout of the function, as on AWS.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The stream was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The stream cannot be read.
    #[error("the stream cannot be read")]
    Dynamodb(#[from] DynamodbError),
    /// A batch cannot be converted to a Lambda event.
    #[error("the batch cannot be converted to a Lambda event")]
    Form(#[from] serde_json::Error),
    /// The function panicked or reported failures; the failed records are delivered again.
    #[error("the function did not process the whole batch")]
    Unhandled,
}

/// The only reader of the stream.
pub struct StreamSource {
    dynamodb: Dynamodb,
    /// The shard that is read, and the number of shards.
    shard: (u64, u64),
    /// The last processed record. It may be the one that trimming keeps, and is then delivered once
    /// more after a restart.
    after: Option<String>,
    /// The count of writes when the stream was last read to its end.
    read_at: Option<u64>,
}

impl StreamSource {
    /// Returns a source that starts at the oldest record.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self {
            dynamodb: aws.dynamodb().clone(),
            shard: (0, 1),
            after: None,
            read_at: None,
        }
    }

    /// Splits a shard into two, which go on where it was. As on AWS, all writes of one partition
    /// key are in one shard.
    #[must_use]
    pub fn split(self) -> [Self; 2] {
        let (shard, of) = self.shard;
        let part = |shard| Self {
            dynamodb: self.dynamodb.clone(),
            shard: (shard, 2 * of),
            after: self.after.clone(),
            read_at: None,
        };
        [part(shard), part(shard + of)]
    }

    /// Delivers all available records, batch by batch, and trims the processed ones: a record is
    /// trimmed only after its function has responded, so that a killed process reads it again.
    /// `handle` returns `None` if its process ended.
    ///
    /// Only the records that pass the template's filter are delivered, as on AWS.
    ///
    /// # Errors
    /// [`StreamError`]; the rest is delivered by the next poll.
    pub async fn poll<F>(&mut self, handle: impl Fn(Event) -> F) -> Result<(), StreamError>
    where
        F: Future<Output = Option<DynamoDbEventResponse>>,
    {
        loop {
            let writes = self.dynamodb.writes();
            if self.read_at == Some(writes) {
                return Ok(());
            }
            let keys = self
                .dynamodb
                .stream_keys(self.after.as_deref(), BATCH_MAX)?;
            let Some(last) = keys.last().map(|last| last.sequence_number.clone()) else {
                self.read_at = Some(writes);
                return Ok(());
            };
            let wanted = self.wanted(&keys);
            let failed = match wanted.is_empty() {
                true => None,
                false => {
                    let event = self.dynamodb.stream_event(self.after.as_deref(), &wanted)?;
                    let answer = handle(serde_json::from_value(event)?).await;
                    let answer = answer.ok_or(StreamError::Unhandled)?;
                    answer.batch_item_failures.into_iter().next()
                }
            };
            let Some(failed) = failed else {
                self.record_processed(last)?;
                continue;
            };
            let failed = failed.item_identifier.unwrap_or_default();
            let before = keys.iter().map(|record| &record.sequence_number);
            let before = before.take_while(|sequence| **sequence != failed).last();
            if let Some(before) = before.filter(|before| **before != last) {
                self.record_processed(before.clone())?;
            }
            return Err(StreamError::Unhandled);
        }
    }

    /// Returns the sequence numbers of the records of this shard that invoke the function.
    fn wanted(&self, keys: &[StreamKeys]) -> Vec<String> {
        let (shard, of) = self.shard;
        let wanted = keys.iter().filter(|record| {
            let mut hasher = DefaultHasher::new();
            record.partition_key.hash(&mut hasher);
            hasher.finish() % of == shard && invokes(&record.event_name, &record.sort_key)
        });
        wanted
            .map(|record| record.sequence_number.clone())
            .collect()
    }

    fn record_processed(&mut self, through: String) -> Result<(), DynamodbError> {
        self.dynamodb.trim_stream(Some(&through))?;
        self.after = Some(through);
        Ok(())
    }
}

/// Polls the stream until the system stops.
pub(super) async fn run(
    mut source: StreamSource,
    functions: Functions,
    invocations: Invocations,
    mut shutdown: Shutdown,
) {
    let handle = |event: Event| {
        let deps = functions.publish_events.clone();
        let invocations = &invocations;
        let canary = functions.canary.as_ref();
        let other = canary.and_then(|canary| canary.draw("publish-events"));
        async move {
            let work = match other {
                Some(other) => other.invoke(event, TIMEOUT).boxed(),
                None => async move { Some(publish_events::handle(event, &deps).await) }.boxed(),
            };
            invocations.run("publish-events", work).await.ok().flatten()
        }
    };
    loop {
        let pause = match source.poll(&handle).await {
            Ok(()) => POLL_EVERY,
            Err(error) => {
                let error = runtime::telemetry::chain(&error);
                tracing::warn!(error, "stream batch failed; it is delivered again");
                FAILED_PAUSE
            }
        };
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests;
