//! The bucket, and the client that it is reached with.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::types::StorageClass as SdkClass;
use domain::StorageClass;

/// A client of S3 with the limits that parts of content need: longer than those of small calls.
///
/// An attempt may take 60 s (8 MiB at 140 kB/s) and a call with its two repetitions 150 s. A body that stands still is
/// given up by the SDK's protection against stalled streams, which is on by itself.
#[must_use]
pub fn client(config: &SdkConfig) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .read_timeout(Duration::from_secs(20))
        .operation_attempt_timeout(Duration::from_secs(60))
        .operation_timeout(Duration::from_secs(150))
        .build();
    let config = aws_sdk_s3::config::Builder::from(config)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(3));
    Client::from_conf(config.build())
}

/// S3's own form of a class; `None` for the usual one, which it takes where nothing is said.
pub(crate) fn sdk(class: StorageClass) -> Option<SdkClass> {
    match class {
        StorageClass::Standard => None,
        StorageClass::StandardIa => Some(SdkClass::StandardIa),
        StorageClass::IntelligentTiering => Some(SdkClass::IntelligentTiering),
        StorageClass::GlacierIr => Some(SdkClass::GlacierIr),
    }
}

/// The bucket that content is kept in.
#[derive(Debug, Clone)]
pub struct Objects {
    pub(crate) client: Client,
    /// Signs the URLs that others use: its endpoint is the one that they reach.
    pub(crate) signer: Client,
    pub(crate) bucket: String,
}

impl Objects {
    /// Speaks to `bucket` through `client`, whose timeouts and retries are its own: see [`client`].
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self {
            signer: client.clone(),
            client,
            bucket: bucket.into(),
        }
    }

    /// The same, with URLs signed by another client: where the bucket's address is not the same for us and for others, as
    /// on one machine, where we reach it without a socket.
    #[must_use]
    pub fn signing_with(self, signer: Client) -> Self {
        Self { signer, ..self }
    }
}
