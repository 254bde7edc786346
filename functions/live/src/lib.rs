//! Tells live readers of a connection's event log what it has gained.
//!
//! A wake names a connection and carries no data: events are read from the log, so that a wake that
//! is lost, late or doubled costs nothing but time.

#[cfg(test)]
mod tests;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use runtime::{Clock, Entropy, Settings, SettingsError};
use store::Store;
use worker::{Consumer, LiveWake, Queue};

/// The most connections whose readers are told concurrently.
const CONNECTIONS_AT_ONCE: usize = 10;

/// The dependencies of the function.
#[derive(Clone)]
pub struct Deps {
    /// The table of connections, event logs and readers.
    pub store: Store,
    /// The queue of wakes, which is consumed.
    pub wakes: Queue,
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
    pub async fn load(settings: &Settings) -> Result<Self, SettingsError> {
        let aws = runtime::aws::config().await;
        let sqs = aws_sdk_sqs::Client::new(&aws);
        Ok(Self {
            store: Store::new(aws_sdk_dynamodb::Client::new(&aws), settings.table()?),
            wakes: Queue::from_setting(&sqs, settings, "LIVE_QUEUE_URL")?,
            clock: Clock::system(),
            entropy: Entropy::system(),
        })
    }
}

/// Handles a batch of wakes. Each group is one connection.
pub async fn handle_wakes(event: SqsEvent, deps: &Deps) -> SqsBatchResponse {
    let consumer = Consumer {
        store: &deps.store,
        queues: std::slice::from_ref(&deps.wakes),
        clock: &deps.clock,
        entropy: &deps.entropy,
        groups_at_once: CONNECTIONS_AT_ONCE,
        failure_metric: "live_failed",
        failure_text: "could not tell the readers; the wake is delivered again",
    };
    // Nobody can subscribe yet.
    let process = |_, _: LiveWake, _| async { Ok(()) };
    consumer.consume(event, process).await
}
