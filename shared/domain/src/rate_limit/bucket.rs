//! A token bucket: a budget that refills evenly over time.

use crate::Timestamp;

/// Levels are counted in millionths, so that refilling by the millisecond loses nothing that
/// matters.
const MICROS: i64 = 1_000_000;

/// The capacity and the refill rate of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketSize {
    /// The capacity: the longest burst.
    pub capacity: u32,
    /// The refill rate per minute.
    pub per_minute: u32,
}

/// The budget at a point in time. What flowed in since is added at the next access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    /// The level in millionths. Negative after a call that cost more than the capacity.
    pub level_micros: i64,
    /// The time of the level.
    pub at: Timestamp,
}

impl TokenBucket {
    /// Creates a full bucket.
    #[must_use]
    pub fn full(size: BucketSize, now: Timestamp) -> Self {
        Self {
            level_micros: capacity(size),
            at: now,
        }
    }

    /// Returns the bucket as of `now`. A clock that is behind the last access neither adds nor
    /// removes anything.
    #[must_use]
    pub fn filled(self, size: BucketSize, now: Timestamp) -> Self {
        let millis = now.millis_since(self.at).max(0);
        let level = self.level_micros.saturating_add(flow(millis, size));
        Self {
            level_micros: level.min(capacity(size)),
            at: self.at.max(now),
        }
    }

    /// Takes at least `need` and at most `want`, and returns the amount. A cost above the capacity
    /// is granted once the bucket is full, and paid back before anything else is granted.
    ///
    /// # Errors
    /// The milliseconds until `need` is available.
    pub fn take(
        self,
        need: u32,
        want: u32,
        size: BucketSize,
        now: Timestamp,
    ) -> Result<(Self, u32), i64> {
        let filled = self.filled(size, now);
        let there = filled.level_micros;
        let needed = (i64::from(need) * MICROS).min(capacity(size));
        if there < needed {
            let behind = self.at.millis_since(now).max(0);
            return Err(time_for(needed.saturating_sub(there), size).saturating_add(behind));
        }
        let whole = u32::try_from(there / MICROS).unwrap_or(0);
        let taken = want.min(whole).max(need);
        let rest = Self {
            level_micros: there.saturating_sub(i64::from(taken) * MICROS),
            at: filled.at,
        };
        Ok((rest, taken))
    }

    /// Takes what was used already, however much is left.
    #[must_use]
    pub(crate) fn charged(self, used: u32, size: BucketSize, now: Timestamp) -> Self {
        let filled = self.filled(size, now);
        Self {
            level_micros: filled.level_micros.saturating_sub(i64::from(used) * MICROS),
            at: filled.at,
        }
    }

    /// Returns the bucket with at most what flows in during this many milliseconds.
    #[must_use]
    pub(crate) fn at_most_flow(self, millis: i64, size: BucketSize, now: Timestamp) -> Self {
        let filled = self.filled(size, now);
        Self {
            level_micros: filled.level_micros.min(flow(millis, size)),
            at: filled.at,
        }
    }
}

fn capacity(size: BucketSize) -> i64 {
    i64::from(size.capacity) * MICROS
}

/// Returns what flows in during this many milliseconds, in millionths, rounded down.
fn flow(millis: i64, size: BucketSize) -> i64 {
    millis.saturating_mul(per_60_millis(size)) / 60
}

/// Returns the milliseconds in which this many millionths flow in, rounded up.
fn time_for(micros: i64, size: BucketSize) -> i64 {
    let each = per_60_millis(size).max(1);
    micros.saturating_mul(60).saturating_add(each - 1) / each
}

fn per_60_millis(size: BucketSize) -> i64 {
    i64::from(size.per_minute) * (MICROS / 1_000)
}
