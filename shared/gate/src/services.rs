//! What a function that speaks to Drive stands on, made out of its environment.

use drive::{Drives, Timeouts, TransportError};
use runtime::{Clock, Entropy, Queue, Settings, SettingsError};
use store::Store;

use crate::Gate;

/// The table, the queues' client, Drive, time and randomness of one function.
#[derive(Clone)]
pub struct Services {
    /// The table.
    pub store: Store,
    /// Drive, as each connection may see it.
    pub gate: Gate,
    /// The queues.
    pub sqs: aws_sdk_sqs::Client,
    /// The machine's clock.
    pub clock: Clock,
    /// The machine's randomness.
    pub entropy: Entropy,
}

/// Why a function can't start.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting is missing or can't be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The way to Drive can't be set up on this machine.
    #[error("Drive can't be called from here")]
    Transport(#[from] TransportError),
}

impl Services {
    /// Makes everything out of the environment; calls to Drive take at most `timeouts`.
    ///
    /// # Errors
    /// [`ConnectError`] says which setting is missing, or that TLS can't be set up.
    pub async fn connect(settings: &Settings, timeouts: Timeouts) -> Result<Self, ConnectError> {
        let aws = runtime::aws::config().await;
        let clock = Clock::system();
        let now = clock.clone();
        let secrets = aws_sdk_secretsmanager::Client::new(&aws);
        let drives = Drives::connect(&settings.drive_url(), timeouts, secrets, move || now.now())?;
        let store = Store::new(aws_sdk_dynamodb::Client::new(&aws), settings.table()?);
        let entropy = Entropy::system();
        Ok(Self {
            gate: Gate::new(drives, store.clone(), clock.clone(), entropy.clone()),
            store,
            sqs: aws_sdk_sqs::Client::new(&aws),
            clock,
            entropy,
        })
    }

    /// The queue whose URL the setting `name` holds.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] where it is not set.
    pub fn queue(&self, settings: &Settings, name: &'static str) -> Result<Queue, SettingsError> {
        Queue::of_setting(&self.sqs, settings, name)
    }
}
