//! What an error of Drive means for the input whose work it stopped.

use domain::{Disposition, Gone};

use crate::{DriveError, Kind};

/// The 403 that speak of one file. The others (`domainPolicy`...) stop us everywhere at once, and must not
/// make every file look lost.
const FILE_DENIED: [&str; 3] = [
    "insufficientFilePermissions",
    "appNotAuthorizedToFile",
    "teamDriveMembershipRequired",
];

impl DriveError {
    /// What the answer to a read of one file says of it, where it says that the file is not there for us.
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

    /// Retry, park or halt. Everything that we don't know is tried again.
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
