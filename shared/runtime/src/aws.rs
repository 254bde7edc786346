//! How the AWS clients are made: one configuration, with explicit timeouts.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

/// The configuration of every AWS client: credentials, region and endpoints from the environment (and
/// so from Lambda, or from `AWS_ENDPOINT_URL`), with time limits that the SDK does not have by itself.
///
/// An attempt may take 2 s and a call with its repetitions 4 s: less than the shortest function.
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
