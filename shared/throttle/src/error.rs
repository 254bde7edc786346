//! The error of a throttled Drive call.

use domain::Disposition;
use domain::rate_limit::Throttled;
use drive::DriveError;
use store::StoreError;

/// A Drive call that was not made, or failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call was throttled: nothing was sent, and it does not count as a failed attempt.
    #[error("Drive call throttled by {} for {} ms", .0.by.label(), .0.wait_millis)]
    Throttled(Throttled),
    /// The connection's rate limit could not be read or saved.
    #[error("DynamoDB request failed")]
    Store(#[from] StoreError),
    /// The call failed.
    #[error("Drive request failed")]
    Drive(#[from] DriveError),
}

impl CallError {
    /// Returns how to treat the input that the call was made for.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Throttled(throttled) => Disposition::Retry {
                after_millis: Some(throttled.wait_millis),
            },
            Self::Store(_) => Disposition::Retry { after_millis: None },
            Self::Drive(error) => error.disposition(),
        }
    }
}
