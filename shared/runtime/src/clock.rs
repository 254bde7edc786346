//! Time and randomness as values that a function is given, so that tests can give others.

use std::fmt;
use std::sync::Arc;

use domain::{AttemptId, Jitter, OperationId, Timestamp};

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that asks `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
            let now = std::time::SystemTime::now();
            let since = now
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        })
    }

    /// Now.
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

/// Gives random bits: for backoff, attempts, nonces and tokens of channels.
#[derive(Clone)]
pub struct Entropy(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Entropy {
    /// Randomness that asks `next` for 64 bits at a time.
    pub fn new(next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    /// The operating system's randomness, fit for secrets. Without it (which no platform of Lambda
    /// shows) numbers would repeat, so the process ends instead.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| getrandom::u64().unwrap_or_else(|_| std::process::abort()))
    }

    /// 64 random bits.
    #[must_use]
    pub fn next(&self) -> u64 {
        (self.0)()
    }

    /// A number in `0.0..1.0`.
    #[must_use]
    pub fn jitter(&self) -> Jitter {
        #[expect(
            clippy::cast_precision_loss,
            reason = "53 bits are what a float holds exactly"
        )]
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        Jitter(unit)
    }

    /// The id of an operation that begins `now`.
    #[must_use]
    pub fn operation(&self, now: Timestamp) -> OperationId {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "32 of the 64 random bits are enough"
        )]
        let unique = self.next() as u32;
        OperationId::at(now, unique)
    }

    /// A fresh attempt.
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

/// When the invocation must be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Timestamp);

impl Deadline {
    /// The deadline that Lambda gave, in milliseconds since the Unix epoch, less a margin in which work
    /// that has begun is brought to its end.
    #[must_use]
    pub fn of_invocation(deadline_millis: u64) -> Self {
        const MARGIN_MILLIS: i64 = 3_000;
        let at = i64::try_from(deadline_millis).unwrap_or(i64::MAX);
        Self(Timestamp::from_millis(at.saturating_sub(MARGIN_MILLIS)))
    }

    /// Whether it has come.
    #[must_use]
    pub fn passed(self, now: Timestamp) -> bool {
        now >= self.0
    }
}
