//! The reason why messages could not be processed now.

use std::sync::Arc;

use domain::Disposition;
use domain::rate_limit::Throttled;
use drive::DriveError;
use objects::ObjectsError;
use store::StoreError;
use throttle::CallError;

use crate::QueueError;

/// The reason why messages could not be processed now.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// DynamoDB failed.
    #[error("DynamoDB request failed")]
    Store(#[from] StoreError),
    /// SQS did not confirm a message.
    #[error("SQS request failed")]
    Queue(#[from] QueueError),
    /// A Drive call was throttled or failed. Files that were looked up together share the error.
    #[error(transparent)]
    Call(#[from] Arc<CallError>),
    /// S3 failed.
    #[error("S3 request failed")]
    Objects(#[from] ObjectsError),
    /// API Gateway did not take what is sent to a live reader.
    #[error("API Gateway does not take what is sent to a live reader")]
    Socket(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key that signs webhooks can't be read.
    #[error("the key that signs webhooks can't be read")]
    SigningKey(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Other writers of the same item were faster, repeatedly.
    #[error("too many concurrent writes of the same item")]
    Contended,
    /// The rest of the work does not fit into the invocation.
    #[error("the invocation is about to time out")]
    OutOfTime,
    /// The downloaded content was damaged on its way, or has changed since.
    #[error("downloaded content does not match Drive's checksum")]
    ChecksumMismatch,
    /// Drive keeps nothing of the content that is sent to it.
    #[error("Drive keeps nothing of the content that is sent to it")]
    Stalled,
    /// Drive did not finish an export within the invocation.
    #[error("Drive did not finish the export in time")]
    LateExport,
    /// The object that holds the same content is being deleted.
    #[error("identical content is being deleted and can't be linked until then")]
    Collecting,
    /// An object that the table refers to is not in the bucket.
    #[error("stored content is missing from the bucket")]
    Missing,
}

impl From<CallError> for WorkError {
    fn from(error: CallError) -> Self {
        Self::Call(Arc::new(error))
    }
}

impl From<DriveError> for WorkError {
    fn from(error: DriveError) -> Self {
        CallError::Drive(error).into()
    }
}

impl WorkError {
    /// Returns how to treat the input that led to it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Call(error) => error.disposition(),
            Self::Objects(error) => error.disposition(),
            // No retry makes it fit.
            Self::Store(error @ StoreError::TooLarge { .. }) => Disposition::Park {
                reason: error.to_string(),
            },
            Self::Store(_)
            | Self::Queue(_)
            | Self::Socket(_)
            | Self::SigningKey(_)
            | Self::Contended
            | Self::OutOfTime
            | Self::ChecksumMismatch
            | Self::LateExport
            | Self::Stalled
            | Self::Collecting
            | Self::Missing => Disposition::Retry { after_millis: None },
        }
    }

    fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call(error) => Some(error),
            Self::Store(_)
            | Self::Queue(_)
            | Self::Socket(_)
            | Self::SigningKey(_)
            | Self::Objects(_)
            | Self::Contended
            | Self::OutOfTime
            | Self::ChecksumMismatch
            | Self::LateExport
            | Self::Stalled
            | Self::Collecting
            | Self::Missing => None,
        }
    }

    /// Returns Drive's error, if Drive answered with one.
    #[must_use]
    pub fn drive(&self) -> Option<&DriveError> {
        match self.call()? {
            CallError::Drive(error) => Some(error),
            CallError::Throttled(_) | CallError::Store(_) => None,
        }
    }

    /// Returns the wait for the rate limiter, if it did not admit the call.
    #[must_use]
    pub fn throttled(&self) -> Option<Throttled> {
        match self.call()? {
            CallError::Throttled(throttled) => Some(*throttled),
            CallError::Drive(_) | CallError::Store(_) => None,
        }
    }
}
