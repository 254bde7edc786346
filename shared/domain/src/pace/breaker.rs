//! A circuit breaker: where Drive fails and fails, it is left alone for a while.

use crate::Timestamp;
use crate::pace::Limits;

/// How long a trial may take before another is made, in milliseconds: longer than any call to Drive may.
const TRIAL_MILLIS: i64 = 30_000;

/// Whether calls go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// They do.
    Closed {
        /// Failures since the last answer.
        failures: u32,
    },
    /// They don't, until then.
    Open {
        /// When one call may try.
        until: Timestamp,
    },
    /// One is being tried; the others wait for how it ends.
    HalfOpen {
        /// When the trial counts as lost, and another is made.
        until: Timestamp,
    },
}

impl Breaker {
    /// Nothing has failed.
    pub const CLOSED: Self = Self::Closed { failures: 0 };

    /// Lets a call through, and says whether it is the trial.
    ///
    /// # Errors
    /// In how many milliseconds to ask again.
    pub(crate) fn admit(self, now: Timestamp) -> Result<(Self, bool), i64> {
        match self {
            Self::Closed { .. } => Ok((self, false)),
            Self::Open { until } | Self::HalfOpen { until } if now < until => {
                Err(until.millis_since(now))
            }
            Self::Open { .. } | Self::HalfOpen { .. } => {
                let until = now.plus_millis(TRIAL_MILLIS);
                Ok((Self::HalfOpen { until }, true))
            }
        }
    }

    /// After one more failure.
    pub(crate) fn failed(self, limits: &Limits, now: Timestamp) -> Self {
        let open = Self::Open {
            until: now.plus_millis(i64::from(limits.breaker_open_millis)),
        };
        match self {
            Self::Closed { failures } if failures.saturating_add(1) < limits.breaker_failures => {
                Self::Closed {
                    failures: failures.saturating_add(1),
                }
            }
            Self::Closed { .. } | Self::HalfOpen { .. } => open,
            // A call that was on its way when it opened: it is open already, and not for longer.
            Self::Open { .. } => self,
        }
    }

    /// Whether Drive is left alone, or tried.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Closed { .. } => false,
            Self::Open { .. } | Self::HalfOpen { .. } => true,
        }
    }
}
