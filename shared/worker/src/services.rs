//! The services of a function that calls Drive, created from its environment.

pub mod version_check;

use drive::{Drives, Timeouts, TransportError};
use runtime::aws::SdkConfig;
use runtime::{Clock, Entropy, Settings, SettingsError};
use store::Store;
use throttle::{DriveFactory, TenantBudgets};

use crate::Queue;

/// The clients and sources that one function works with.
#[derive(Clone)]
pub struct Services {
    /// The table.
    pub store: Store,
    /// Opens Drive for each connection.
    pub drives: DriveFactory,
    /// What each tenant may use.
    pub budgets: TenantBudgets,
    /// The client of the queues.
    pub sqs: aws_sdk_sqs::Client,
    /// The configuration of the AWS clients, for further ones.
    pub aws: SdkConfig,
    /// The system clock.
    pub clock: Clock,
    /// The system's source of randomness.
    pub entropy: Entropy,
}

/// The reason why a function can't start.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting is missing or invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The HTTP client for Drive can't be set up on this machine.
    #[error("could not set up the HTTP client for Drive")]
    Transport(#[from] TransportError),
}

impl Services {
    /// Creates all services from the environment. `timeouts` bound the calls to Drive.
    ///
    /// # Errors
    /// [`ConnectError`] names the missing setting, or says that TLS can't be set up.
    pub async fn connect(settings: &Settings, timeouts: Timeouts) -> Result<Self, ConnectError> {
        let aws = runtime::aws::config().await;
        let clock = Clock::system();
        let now = clock.clone();
        let secrets = aws_sdk_secretsmanager::Client::new(&aws);
        let drives = Drives::connect(&settings.drive_url(), timeouts, secrets, move || now.now())?;
        let store = Store::new(aws_sdk_dynamodb::Client::new(&aws), settings.table()?)
            .keeping_ended_for(settings.ended_retention_days()?)
            .keeping_acts_for(settings.audit_days()?)
            .keeping_events_for(settings.event_days()?)
            .with_stream(settings.optional("TABLE_STREAM_ARN").as_deref());
        let entropy = Entropy::system();
        let limits = settings.tenant_limits()?;
        let drives = DriveFactory::new(drives, store.clone(), clock.clone(), entropy.clone());
        Ok(Self {
            drives: drives.within(limits),
            budgets: TenantBudgets::new(store.clone(), clock.clone(), entropy.clone(), limits),
            store,
            sqs: aws_sdk_sqs::Client::new(&aws),
            aws,
            clock,
            entropy,
        })
    }

    /// Opens the queue whose URL is in the setting `name`.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if it is not set.
    pub fn queue(&self, settings: &Settings, name: &'static str) -> Result<Queue, SettingsError> {
        Queue::from_setting(&self.sqs, settings, name)
    }
}
