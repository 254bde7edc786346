//! The SDKs' clients for the local services: the real ones, with given keys, a given HTTP client
//! and explicit timeouts.

use std::time::Duration;

use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use sdk_in_process::InProcess;
use sqs_fifo::REGION;

use super::signature::Keys;

fn timeouts() -> TimeoutConfig {
    // Longer than the longest long poll (20 s).
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(30))
        .operation_timeout(Duration::from_secs(90))
        .build()
}

macro_rules! client {
    ($(#[$doc:meta])* $name:ident, $sdk:ident $(, $setting:ident($value:expr))*) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(endpoint: &str, keys: &Keys, http: InProcess) -> $sdk::Client {
            let config = $sdk::Config::builder()
                .behavior_version($sdk::config::BehaviorVersion::v2026_01_12())
                .region($sdk::config::Region::from_static(REGION))
                .credentials_provider(keys.credentials())
                .endpoint_url(endpoint)
                .http_client(http)
                .timeout_config(timeouts())
                .retry_config(RetryConfig::standard())
                $(.$setting($value))*;
            $sdk::Client::from_conf(config.build())
        }
    };
}

client! {
    /// Returns a DynamoDB client whose requests go to `http`.
    dynamodb, aws_sdk_dynamodb
}
client! {
    /// Returns an SQS client whose requests go to `http`.
    sqs, aws_sdk_sqs
}
client! {
    /// Returns an S3 client whose requests go to `http`, with buckets in the path.
    s3, aws_sdk_s3, force_path_style(true)
}
client! {
    /// Returns a client of the open WebSockets whose requests go to `http`.
    sockets, aws_sdk_apigatewaymanagement
}
client! {
    /// Returns a Secrets Manager client whose requests go to `http`.
    secrets, aws_sdk_secretsmanager
}
