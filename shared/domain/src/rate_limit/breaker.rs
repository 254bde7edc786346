//! A circuit breaker: after repeated failures, Drive is not called for a while.

use crate::Timestamp;
use crate::rate_limit::Limits;

/// The time after which a trial call counts as lost and another is made, in milliseconds: longer
/// than any call to Drive may take.
const TRIAL_MILLIS: i64 = 30_000;

/// The state of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitBreaker {
    /// Calls are allowed.
    Closed {
        /// The number of failures since the last answer.
        failures: u32,
    },
    /// Calls are not allowed.
    Open {
        /// The time from which a trial call is allowed.
        until: Timestamp,
    },
    /// A trial call is in flight. All other calls wait for its outcome.
    HalfOpen {
        /// The time at which the trial counts as lost and another is allowed.
        until: Timestamp,
    },
}

impl CircuitBreaker {
    /// The state without any failures.
    pub const CLOSED: Self = Self::Closed { failures: 0 };

    /// Admits a call, and returns whether it is the trial.
    ///
    /// # Errors
    /// The milliseconds to wait before the next request.
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

    /// Returns the state after one more failure.
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
            // The call was in flight when the breaker opened. It does not extend the time.
            Self::Open { .. } => self,
        }
    }

    /// Returns whether the breaker is open or half-open.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Closed { .. } => false,
            Self::Open { .. } | Self::HalfOpen { .. } => true,
        }
    }
}
