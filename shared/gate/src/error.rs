//! Why a call was not made, or did not succeed.

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
