//! The table's stream to its function, as Lambda hands it over: in order, from where it was left, again from the first
//! record that failed.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use domain::ConnectionKey;
use store::{Store, StoreError, stream};

use super::{FAILED_PAUSE, Shutdown, stopped};
use crate::aws::Aws;
use crate::aws::dynamodb::{Dynamodb, DynamodbError, StreamKeys};
use crate::functions::Functions;

/// Records of one batch: the most that Lambda reads at once here, and that the API of streams gives.
const BATCH_MAX: usize = 1_000;
/// How often the stream is looked at: Lambda looks four times a second. The engine keeps what nobody trims, and every
/// write looks for the last of it.
const EVERY: Duration = Duration::from_millis(100);

/// Why the stream was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The table's database failed.
    #[error("the stream could not be read")]
    Dynamodb(#[from] DynamodbError),
    /// The connections could not be read.
    #[error("the table could not be asked")]
    Store(#[from] StoreError),
    /// A batch has no form that Lambda would give it.
    #[error("a batch is no event")]
    Form(#[from] serde_json::Error),
    /// The function crashed, or failed some of the batch: it comes again.
    #[error("the function did not deal with all of it")]
    Unhandled,
}

/// The one reader of the stream.
pub struct StreamSource {
    dynamodb: Dynamodb,
    /// Says which connections' records are wanted.
    store: Store,
    /// The last record that was dealt with. It is the last that stays when all are trimmed, and comes once more after a
    /// restart.
    after: Option<String>,
    /// What the count of writes was when the stream was last read to its end.
    read_at: Option<u64>,
}

impl StreamSource {
    /// Reads from the oldest record that is there.
    #[must_use]
    pub fn new(aws: &Aws, store: Store) -> Self {
        Self {
            dynamodb: aws.dynamodb().clone(),
            store,
            after: None,
            read_at: None,
        }
    }

    /// Hands over everything that is there, batch by batch, and trims what was dealt with: a record goes only after its
    /// function has answered, so that what a killed process had read is read again. `handle` gives `None` where its
    /// process ended.
    ///
    /// Records of connections whose content is not mirrored are not handed over: on AWS the function passes over them
    /// itself, here they would cost as much as the writes.
    ///
    /// # Errors
    /// [`StreamError`]: the rest comes with the next turn.
    pub async fn turn<F>(&mut self, handle: impl Fn(Event) -> F) -> Result<(), StreamError>
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
            let wanted = self.wanted(&keys).await?;
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
                self.dealt_with(last)?;
                continue;
            };
            let failed = failed.item_identifier.unwrap_or_default();
            let before = keys.iter().map(|record| &record.sequence_number);
            let before = before.take_while(|sequence| **sequence != failed).last();
            if let Some(before) = before.filter(|before| **before != last) {
                self.dealt_with(before.clone())?;
            }
            return Err(StreamError::Unhandled);
        }
    }

    fn dealt_with(&mut self, through: String) -> Result<(), DynamodbError> {
        self.dynamodb.trim_stream(Some(&through))?;
        self.after = Some(through);
        Ok(())
    }

    /// The records of files whose connection's content is mirrored.
    async fn wanted(&self, keys: &[StreamKeys]) -> Result<Vec<String>, StoreError> {
        let files = keys.iter().filter_map(|record| {
            let (key, _) = stream::file_of_key(&record.partition_key, &record.sort_key)?;
            Some((key, record))
        });
        let files: Vec<(ConnectionKey, &StreamKeys)> = files.collect();
        let connections: BTreeSet<ConnectionKey> =
            files.iter().map(|(key, _)| key.clone()).collect();
        let mut mirrored = BTreeSet::new();
        for key in connections {
            if publish_events::is_mirrored(&key, &self.store).await? {
                mirrored.insert(key);
            }
        }
        let wanted = files.iter().filter(|(key, _)| mirrored.contains(key));
        Ok(wanted
            .map(|(_, record)| record.sequence_number.clone())
            .collect())
    }
}

/// Reads the stream until the system stops.
pub(super) async fn run(mut source: StreamSource, functions: Functions, mut shutdown: Shutdown) {
    let handle = |event: Event| {
        let deps = functions.publish_events.clone();
        // In a task of its own: if it panics, the batch is read again, as after a crash on AWS.
        let work = tokio::spawn(async move { publish_events::handle(event, &deps).await });
        async move { work.await.ok() }
    };
    loop {
        let pause = match source.turn(&handle).await {
            Ok(()) => EVERY,
            Err(error) => {
                let error = runtime::telemetry::chain(&error);
                tracing::warn!(error, "the stream is read again");
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
