//! The configuration of the AWS clients.

use std::time::Duration;

use aws_config::BehaviorVersion;
pub use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;

/// Loads the configuration of every AWS client: credentials, region and endpoints from the
/// environment (set by Lambda, or `AWS_ENDPOINT_URL`), and timeouts, which the SDK lacks by
/// default.
///
/// An attempt may take 2 s and a call with its retries 4 s: less than the shortest function
/// timeout.
pub async fn config() -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(4))
        .build();
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .timeout_config(timeouts)
        .load()
        .await
}
