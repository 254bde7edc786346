//! Time and randomness, passed as values so that tests can replace them.

use std::fmt;
use std::sync::Arc;

use domain::{AttemptId, Cause, Jitter, OperationId, Timestamp};

/// A source of the current time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that calls `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The system clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            #[expect(
                clippy::disallowed_methods,
                reason = "the only place that reads the system clock"
            )]
            let now = std::time::SystemTime::now();
            let since = now
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        })
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A source of random bits: for backoff, attempt ids, nonces and channel tokens.
#[derive(Clone)]
pub struct Entropy(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Entropy {
    /// A source that calls `next` for 64 bits at a time.
    pub fn new(next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    /// The operating system's source, suitable for secrets. If it fails, which does not happen on
    /// Lambda's platforms, the process aborts: without it numbers would repeat.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| getrandom::u64().unwrap_or_else(|_| std::process::abort()))
    }

    /// Returns 64 random bits.
    #[must_use]
    pub fn next(&self) -> u64 {
        (self.0)()
    }

    /// Returns a random number in `0.0..1.0`.
    #[must_use]
    pub fn jitter(&self) -> Jitter {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a float represents 53 bits exactly"
        )]
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        Jitter(unit)
    }

    /// Returns the id of an operation that starts `now`.
    #[must_use]
    pub fn operation(&self, now: Timestamp) -> OperationId {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "32 of the 64 random bits are enough"
        )]
        let unique = self.next() as u32;
        OperationId::at(now, unique)
    }

    /// Returns the cause of what enters the system now.
    #[must_use]
    pub fn cause(&self) -> Cause {
        Cause::fresh(self.next(), self.next())
    }

    /// Returns the id of a new attempt.
    #[must_use]
    pub fn attempt(&self) -> AttemptId {
        AttemptId(self.next())
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

/// The time at which an invocation must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Timestamp);

impl Deadline {
    /// Lambda's deadline, in milliseconds since the Unix epoch, less a margin for finishing work
    /// that has started.
    #[must_use]
    pub fn of_invocation(deadline_millis: u64) -> Self {
        const MARGIN_MILLIS: i64 = 3_000;
        let at = i64::try_from(deadline_millis).unwrap_or(i64::MAX);
        Self(Timestamp::from_millis(at.saturating_sub(MARGIN_MILLIS)))
    }

    /// Returns whether the deadline has passed.
    #[must_use]
    pub fn passed(self, now: Timestamp) -> bool {
        now >= self.0
    }
}
