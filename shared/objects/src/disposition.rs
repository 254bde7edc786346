//! What an error of the bucket means for the input whose work it stopped.

use domain::Disposition;

use crate::ObjectsError;

impl ObjectsError {
    /// Retry or park; nothing here is a connection's own fault, so nothing halts one. Everything that we don't know is
    /// tried again, and so is a bucket that is closed to us: somebody mends our configuration, and the work stays. So does that
    /// on content that is spoilt: the bucket keeps older versions, and somebody brings the right one back.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Busy(_)
            | Self::Denied(_)
            | Self::Corrupted(_)
            | Self::UploadGone(_)
            | Self::WrongSize { .. }
            | Self::Spoilt { .. } => Disposition::Retry { after_millis: None },
            Self::Refused(_) => Disposition::Park {
                reason: self.to_string(),
            },
        }
    }
}
