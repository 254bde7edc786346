//! The disposition of the input whose processing an error stopped.

use domain::{Disposition, Gone};

use crate::{DriveError, Kind};

/// The reasons of 403 that are about one file. Other reasons (`domainPolicy`...) apply to all files
/// at once and must not make every file look inaccessible.
const FILE_DENIED: [&str; 3] = [
    "insufficientFilePermissions",
    "appNotAuthorizedToFile",
    "teamDriveMembershipRequired",
];

impl DriveError {
    /// Returns how the file is gone, if that is the meaning of the error of a read.
    #[must_use]
    pub fn gone(&self) -> Option<Gone> {
        let denied = self
            .reason()
            .is_some_and(|reason| FILE_DENIED.contains(&reason));
        if *self.kind() == Kind::NotFound {
            Some(Gone::Removed)
        } else {
            denied.then_some(Gone::AccessLost)
        }
    }

    /// Returns whether to retry, park or halt. Unknown errors are retried.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self.kind() {
            Kind::AuthLost { reason } => Disposition::Halt {
                reason: reason.clone(),
            },
            Kind::RateLimited { .. } | Kind::DailyLimit => Disposition::Retry {
                after_millis: self
                    .wait_millis()
                    .and_then(|millis| u64::try_from(millis).ok()),
            },
            Kind::NotFound | Kind::AccessDenied { .. } | Kind::Permanent { .. } => {
                Disposition::Park {
                    reason: self.to_string(),
                }
            }
            Kind::CursorLost
            | Kind::Stale
            | Kind::BadContent(_)
            | Kind::Transient
            | Kind::Unanswered
            | Kind::NotSent => Disposition::Retry { after_millis: None },
        }
    }
}
