//! The disposition of the input whose processing an S3 error stopped.

use domain::Disposition;

use crate::ObjectsError;

impl ObjectsError {
    /// Returns whether to retry or park. No error is caused by the connection, so none halts it.
    /// Unknown errors are retried, and so is denied access, until the configuration is fixed.
    /// Corrupt content is retried too: the bucket keeps older versions, from which the right one
    /// can be restored.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Busy(_)
            | Self::Denied(_)
            | Self::Corrupted(_)
            | Self::UploadGone(_)
            | Self::WrongSize { .. }
            | Self::CorruptObject { .. } => Disposition::Retry { after_millis: None },
            Self::Refused(_) => Disposition::Park {
                reason: self.to_string(),
            },
        }
    }
}
