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

/// The cap of a day is waited for in long steps, in milliseconds.
const DAILY_LIMIT_WAIT_MILLIS: u64 = 3_600_000;

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
            Kind::RateLimited { retry_after_millis } => Disposition::Retry {
                after_millis: *retry_after_millis,
            },
            Kind::DailyLimit => Disposition::Retry {
                after_millis: Some(DAILY_LIMIT_WAIT_MILLIS),
            },
            Kind::NotFound | Kind::AccessDenied { .. } | Kind::Permanent { .. } => {
                Disposition::Park {
                    reason: self.to_string(),
                }
            }
            Kind::CursorLost | Kind::Stale | Kind::Transient | Kind::Unanswered | Kind::NotSent => {
                Disposition::Retry { after_millis: None }
            }
        }
    }
}
