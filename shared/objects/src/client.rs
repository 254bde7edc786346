//! The bucket and its client.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Builder, Region};
use aws_sdk_s3::types::StorageClass as SdkClass;
use domain::StorageClass;

/// Builds an S3 client with timeouts for parts of content, which are longer than those of small
/// calls.
///
/// An attempt may take 60 s (8 MiB at 140 kB/s) and a call with its two retries 150 s. The SDK's
/// stalled stream protection, which is on by default, aborts a stalled body.
#[must_use]
pub fn client(config: &SdkConfig) -> Client {
    Client::from_conf(builder(config).build())
}

/// Builds the same client for a bucket in another region.
#[must_use]
pub fn client_in(config: &SdkConfig, region: String) -> Client {
    let config = builder(config).region(Region::new(region));
    Client::from_conf(config.build())
}

fn builder(config: &SdkConfig) -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .read_timeout(Duration::from_secs(20))
        .operation_attempt_timeout(Duration::from_secs(60))
        .operation_timeout(Duration::from_secs(150))
        .build();
    Builder::from(config)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(3))
}

/// Converts a storage class for the SDK; `None` for the standard class, S3's default.
pub(crate) fn sdk(class: StorageClass) -> Option<SdkClass> {
    match class {
        StorageClass::Standard => None,
        StorageClass::StandardIa => Some(SdkClass::StandardIa),
        StorageClass::IntelligentTiering => Some(SdkClass::IntelligentTiering),
        StorageClass::GlacierIr => Some(SdkClass::GlacierIr),
    }
}

/// The bucket for content.
#[derive(Debug, Clone)]
pub struct Objects {
    pub(crate) client: Client,
    /// Signs URLs for clients: its endpoint is the one that they can reach.
    pub(crate) signer: Client,
    pub(crate) bucket: String,
}

impl Objects {
    /// Accesses `bucket` through `client`, which defines timeouts and retries: see [`client`].
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self {
            signer: client.clone(),
            client,
            bucket: bucket.into(),
        }
    }

    /// Signs URLs with another client, for clients that reach the bucket at another address. On one
    /// machine, for example, we reach it without a socket.
    #[must_use]
    pub fn with_signer(self, signer: Client) -> Self {
        Self { signer, ..self }
    }
}
