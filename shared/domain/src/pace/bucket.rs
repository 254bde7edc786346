//! A token bucket: what may be spent now, filled evenly with time.

use crate::Timestamp;

/// Levels are counted in millionths, so that filling up by the millisecond loses nothing that matters.
const MICROS: i64 = 1_000_000;

/// How much a bucket holds and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The most that it holds: the longest burst.
    pub capacity: u32,
    /// What flows in.
    pub per_minute: u32,
}

/// What may be spent at a time; what flowed in since is added when it is next looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// What was in it then, in millionths. Less than nothing after a call that was dearer than the bucket is large.
    pub level_micros: i64,
    /// When that was.
    pub at: Timestamp,
}

impl Bucket {
    /// As much as it holds.
    #[must_use]
    pub fn full(size: Size, now: Timestamp) -> Self {
        Self {
            level_micros: capacity(size),
            at: now,
        }
    }

    /// The bucket as it is at `now`. A clock that is behind the last one gives nothing and takes nothing away.
    #[must_use]
    pub fn filled(self, size: Size, now: Timestamp) -> Self {
        let millis = now.millis_since(self.at).max(0);
        let level = self.level_micros.saturating_add(flow(millis, size));
        Self {
            level_micros: level.min(capacity(size)),
            at: self.at.max(now),
        }
    }

    /// Takes `need` at least and `want` at most, and says how much. What is dearer than the bucket is large is taken
    /// once it is full, and paid back before anything else is.
    ///
    /// # Errors
    /// In how many milliseconds there will be `need`.
    pub fn take(
        self,
        need: u32,
        want: u32,
        size: Size,
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

    /// The bucket with no more in it than what flows in within so many milliseconds.
    #[must_use]
    pub(crate) fn at_most_flow(self, millis: i64, size: Size, now: Timestamp) -> Self {
        let filled = self.filled(size, now);
        Self {
            level_micros: filled.level_micros.min(flow(millis, size)),
            at: filled.at,
        }
    }
}

fn capacity(size: Size) -> i64 {
    i64::from(size.capacity) * MICROS
}

/// What flows in within so many milliseconds, in millionths, rounded down.
fn flow(millis: i64, size: Size) -> i64 {
    millis.saturating_mul(per_60_millis(size)) / 60
}

/// The milliseconds in which so many millionths flow in, rounded up.
fn time_for(micros: i64, size: Size) -> i64 {
    let each = per_60_millis(size).max(1);
    micros.saturating_mul(60).saturating_add(each - 1) / each
}

fn per_60_millis(size: Size) -> i64 {
    i64::from(size.per_minute) * (MICROS / 1_000)
}
