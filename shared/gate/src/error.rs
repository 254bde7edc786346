//! Why a call was not made, or did not succeed.

use domain::Disposition;
use domain::pace::Held;
use drive::DriveError;
use store::StoreError;

/// A call that was not made, or did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Not now: nothing was sent, and nothing counts as a failure.
    #[error("held back by {} for {} ms", .0.by.word(), .0.wait_millis)]
    Held(Held),
    /// The table did not say how fast Drive may be called, or did not take note of it. Nothing was sent.
    #[error("the table did not do it")]
    Store(#[from] StoreError),
    /// Drive did not do it.
    #[error("Drive did not do it")]
    Drive(#[from] DriveError),
}

impl GateError {
    /// What becomes of the input that the call was made for.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Held(held) => Disposition::Retry {
                after_millis: Some(held.wait_millis),
            },
            Self::Store(_) => Disposition::Retry { after_millis: None },
            Self::Drive(error) => error.disposition(),
        }
    }
}
