//! How fast a connection may call Drive: its share of the quota, the pace of its writes, and a breaker for
//! when Drive fails.
//!
//! All of it is one small value that every worker of the connection shares, and time is an argument. A worker
//! takes what its next calls cost, a little more than it needs, so that not every call is a write of that value.

mod breaker;
mod bucket;
mod limits;
#[cfg(test)]
mod tests;

pub use breaker::Breaker;
pub use bucket::{Bucket, Size};
pub use limits::{CallKind, Limits, QuotaModel};

use crate::{Refusal, Timestamp};

/// What was taken may be used for so long, in milliseconds; then it is forfeited. A bucket's size and refill leave
/// room for what was taken just before a minute begins and used in it: see [`Limits::quota_size`].
pub const TAKEN_LASTS_MILLIS: i64 = 10_000;
/// Rate-limit answers within so many milliseconds of a slowing-down are about the calls before it: they tell
/// nothing new.
const SLOWED_ONCE_MILLIS: i64 = 5_000;
/// A pace that nobody asked for in so long is forgotten, in milliseconds: what it had learnt is out of date.
const FORGOTTEN_MILLIS: i64 = 600_000;
/// The pace of writes grows by a tenth of its base in each second in which writes succeed.
const GROWTH_DIVISOR: u64 = 10;
/// What a worker takes at once is what flows in within so many milliseconds, at least what it needs.
const CHUNK_MILLIS: i64 = 3_000;
/// Of the quota no more than this share is taken at once.
const CHUNK_SHARE: u32 = 200;
/// A daily limit is waited for in steps of an hour, in milliseconds: nobody can say when its owner raises it.
const DAILY_LIMIT_MILLIS: u64 = 3_600_000;

/// How fast a connection may call Drive now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// What is left of the quota, in units or queries.
    pub quota: Bucket,
    /// How many writes may be sent.
    pub writes: Bucket,
    /// How many writes flow in, per minute: between the connection's bounds.
    pub writes_per_minute: u32,
    /// Up to when growth of the writes' pace was counted.
    pub grown_at: Timestamp,
    /// When a rate-limit answer last slowed the writes down.
    pub slowed_at: Timestamp,
    /// Drive asked to be left alone until then.
    pub held_until: Timestamp,
    /// Whether Drive answers at all.
    pub breaker: Breaker,
}

/// What calls cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ask {
    /// Units or queries, as the connection's quota is counted.
    pub quota: u32,
    /// How many of the calls write.
    pub writes: u32,
}

/// What a worker may use now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The pace after it: nothing is taken until this is stored.
    pub pace: Pace,
    /// At least what was asked for.
    pub chunk: Ask,
    /// It is the one call that finds out whether Drive answers again.
    pub trial: bool,
}

/// Not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Asking earlier than after so many milliseconds is in vain.
    pub wait_millis: u64,
    /// What holds it.
    pub by: HeldBy,
}

impl Held {
    /// What being held back means for an attempt to write: it was none.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        Refusal::NotYet {
            wait_millis: i64::try_from(self.wait_millis).unwrap_or(i64::MAX),
        }
    }
}

/// What holds a call back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBy {
    /// The connection's share of the quota is used up for the moment.
    Quota,
    /// The pace of writes.
    Writes,
    /// Drive said how long to wait.
    Drive,
    /// Drive failed too often in a row.
    Breaker,
}

impl HeldBy {
    /// A word for logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Writes => "writes",
            Self::Drive => "drive",
            Self::Breaker => "breaker",
        }
    }
}

/// How a call ended, as far as the pace is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Drive answered, even if with a refusal: it is there.
    Answered,
    /// Too many calls (403 by reason, 429), and how long Drive asks us to wait, where it says so, in milliseconds.
    Limited(Option<u64>),
    /// The cap of the day is used up.
    DailyLimit,
    /// Drive failed (5xx), or did not answer.
    Failed,
}

impl Pace {
    /// Of a connection that has not called yet: it may begin at once.
    #[must_use]
    pub fn fresh(limits: &Limits, now: Timestamp) -> Self {
        Self {
            quota: Bucket::full(limits.quota_size(), now),
            writes: Bucket::full(limits.writes_size(limits.writes_base_per_minute), now),
            writes_per_minute: limits.writes_base_per_minute,
            grown_at: now,
            slowed_at: Timestamp::from_millis(0),
            held_until: Timestamp::from_millis(0),
            breaker: Breaker::CLOSED,
        }
    }

    /// Takes what calls cost: `ask` at least, `want` if it is there, and a little more where there is plenty. `wrote` tells that writes of an earlier chunk
    /// succeeded, and lets their pace grow.
    ///
    /// # Errors
    /// [`Held`]: not now. Nothing has changed.
    pub fn take(
        &self,
        ask: Ask,
        want: Ask,
        wrote: bool,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Taken, Held> {
        let held = |wait_millis: i64, by| Held {
            wait_millis: u64::try_from(wait_millis).unwrap_or(0).max(1),
            by,
        };
        let mut pace = self.remembered(limits, now);
        if now < pace.held_until {
            return Err(held(pace.held_until.millis_since(now), HeldBy::Drive));
        }
        let (breaker, trial) = pace
            .breaker
            .admit(now)
            .map_err(|wait| held(wait, HeldBy::Breaker))?;
        pace.breaker = breaker;
        if wrote {
            pace.grow(limits, now);
        }
        let quota_size = limits.quota_size();
        let writes_size = limits.writes_size(pace.writes_per_minute);
        // A trial is one call: what it does not use is not kept.
        let more = |need: u32, want: u32, flow: u32| match need {
            0 => 0,
            need if trial => need,
            need => need.max(want).max(flow),
        };
        let of_flow = |size: Size| {
            let flow = i64::from(size.per_minute).saturating_mul(CHUNK_MILLIS) / 60_000;
            u32::try_from(flow).unwrap_or(u32::MAX)
        };
        let flow = of_flow(quota_size).min(limits.quota_per_minute / CHUNK_SHARE);
        let (quota, taken_quota) = pace
            .quota
            .take(
                ask.quota,
                more(ask.quota, want.quota, flow),
                quota_size,
                now,
            )
            .map_err(|wait| held(wait, HeldBy::Quota))?;
        let wanted = more(ask.writes, want.writes, of_flow(writes_size));
        let (writes, taken_writes) = pace
            .writes
            .take(ask.writes, wanted, writes_size, now)
            .map_err(|wait| held(wait, HeldBy::Writes))?;
        pace.quota = quota;
        pace.writes = writes;
        Ok(Taken {
            pace,
            chunk: Ask {
                quota: taken_quota,
                writes: taken_writes,
            },
            trial,
        })
    }

    /// What a call's end changes; `None` where it changes nothing, which is nearly always. `wrote` as for
    /// [`Pace::take`].
    #[must_use]
    pub fn told(
        &self,
        outcome: Outcome,
        wrote: bool,
        limits: &Limits,
        now: Timestamp,
    ) -> Option<Self> {
        let mut pace = self.remembered(limits, now);
        let before = pace;
        match outcome {
            Outcome::Answered => pace.breaker = Breaker::CLOSED,
            Outcome::Limited(wait) => {
                // It answered: that is no failure of Drive's.
                pace.breaker = Breaker::CLOSED;
                pace.slow(wrote, limits, now);
                pace.hold(wait.unwrap_or(0), now);
            }
            Outcome::DailyLimit => {
                pace.breaker = Breaker::CLOSED;
                pace.hold(DAILY_LIMIT_MILLIS, now);
            }
            Outcome::Failed => pace.breaker = pace.breaker.failed(limits, now),
        }
        (pace != before).then_some(pace)
    }

    /// Whether Drive is left alone at this moment: by its own word, or by the breaker.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        now < self.held_until || self.breaker.is_open()
    }

    /// Whether nobody takes writes, and nothing keeps them from it: there are as many as there ever may be. Whoever has
    /// more to write than the pace allows leaves it below that.
    #[must_use]
    pub fn is_idle(&self, limits: &Limits, now: Timestamp) -> bool {
        let pace = self.remembered(limits, now);
        let size = limits.writes_size(pace.writes_per_minute);
        !self.is_held(now) && pace.writes.filled(size, now) == Bucket::full(size, now)
    }

    /// The pace as it counts today: what was learnt long ago, or under other bounds, does not.
    fn remembered(&self, limits: &Limits, now: Timestamp) -> Self {
        let mut pace = *self;
        if now.millis_since(pace.grown_at) > FORGOTTEN_MILLIS {
            pace.writes_per_minute = limits.writes_base_per_minute;
            pace.grown_at = now;
        }
        pace.writes_per_minute = limits.bounded(pace.writes_per_minute);
        pace
    }

    /// Additive increase: a tenth of the base for each second, and no more than what one chunk lasts for.
    fn grow(&mut self, limits: &Limits, now: Timestamp) {
        let since = self.grown_at.max(self.slowed_at);
        let millis = now.millis_since(since).clamp(0, TAKEN_LASTS_MILLIS);
        let millis = u64::try_from(millis).unwrap_or(0);
        let base = u64::from(limits.writes_base_per_minute);
        let step = base.saturating_mul(millis) / (GROWTH_DIVISOR * 1_000);
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        // Too short a time for a whole step is not forgotten, but counted with the next.
        if step > 0 {
            self.writes_per_minute = limits.bounded(self.writes_per_minute.saturating_add(step));
            self.grown_at = now;
        }
    }

    /// Multiplicative decrease: by half, once for all the answers to one burst; what was saved up goes with it.
    ///
    /// Writes that succeeded before it count first. So the pace swings about one that is worth its refusals, and
    /// answers that come whatever the pace is (Google's own bad days) never bring it down to its floor.
    fn slow(&mut self, wrote: bool, limits: &Limits, now: Timestamp) {
        if now.millis_since(self.slowed_at) < SLOWED_ONCE_MILLIS {
            return;
        }
        if wrote {
            self.grow(limits, now);
        }
        self.writes_per_minute = limits.bounded(self.writes_per_minute / 2);
        self.slowed_at = now;
        self.grown_at = now;
        let size = limits.writes_size(self.writes_per_minute);
        self.writes = self.writes.at_most_flow(CHUNK_MILLIS, size, now);
    }

    fn hold(&mut self, wait_millis: u64, now: Timestamp) {
        if wait_millis > 0 {
            let wait = i64::try_from(wait_millis).unwrap_or(i64::MAX);
            self.held_until = self.held_until.max(now.plus_millis(wait));
        }
    }
}
