//! The rate limiter of a connection's calls to Drive: its share of the quota, its rate of writes,
//! and a circuit breaker. Beside it, what one tenant may use of the deployment.
//!
//! The state is one small value that all workers of the connection share, and time is an argument.
//! A worker leases the cost of its next calls, and a little more than it needs, so that not every
//! call writes that value.

mod backoff;
mod breaker;
mod bucket;
mod limits;
mod slots;
mod tenant;
#[cfg(test)]
mod tests;
mod waits;
mod write_refusals;

pub use backoff::{Backoff, Jitter, doubled_millis, growing_wait_millis};
pub use breaker::CircuitBreaker;
pub use bucket::{BucketSize, TokenBucket};
pub use limits::{CallKind, Limits, QuotaModel};
pub use slots::{NoRoom, Slot, SlotKind, Slots, SlotsUsed};
pub use tenant::{
    COUNT_INTERVAL_MILLIS, LimitsRefused, OwedAllowance, OwedLease, RateReached, TenantLimit,
    TenantLimits, TenantRates,
};
pub use waits::{Wait, Waits};
pub use write_refusals::{Pause, WriteKind, WritesRefused};

use crate::{Refusal, Timestamp};

/// The lifetime of a lease, in milliseconds; what is not used by then is forfeited. A bucket's
/// capacity and rate leave room for a lease taken just before a minute begins and used within it:
/// see [`Limits::quota_size`].
pub const LEASE_MILLIS: i64 = 10_000;
/// The minimum interval between two decreases, in milliseconds. Rate-limit answers within it
/// concern calls made before the decrease and carry no new information.
const DECREASE_INTERVAL_MILLIS: i64 = 5_000;
/// The idle time after which the learnt rate of writes is reset, in milliseconds, because it is out
/// of date.
const IDLE_RESET_MILLIS: i64 = 600_000;
/// The rate of writes grows by a tenth of its base in each second in which writes succeed.
const GROWTH_DIVISOR: u64 = 10;
/// A lease covers what flows in during this time, in milliseconds, and at least what is needed.
const LEASE_AHEAD_MILLIS: i64 = 3_000;
/// A lease takes at most this fraction of the quota (one part in so many).
const LEASE_SHARE: u32 = 200;
/// The wait after a daily limit, in milliseconds. Retried every hour, since the time at which the
/// limit is raised is unknown.
const DAILY_LIMIT_MILLIS: u64 = 3_600_000;

/// The state of a connection's rate limiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The remaining quota, in units or queries.
    pub quota: TokenBucket,
    /// The number of writes that may be sent.
    pub writes: TokenBucket,
    /// The current rate of writes, per minute, within the connection's bounds.
    pub writes_per_minute: u32,
    /// The time up to which growth of the rate of writes was counted.
    pub increased_at: Timestamp,
    /// The time at which a rate-limit answer last decreased the rate of writes.
    pub decreased_at: Timestamp,
    /// The time until which Drive asked not to be called.
    pub blocked_until: Timestamp,
    /// The circuit breaker of all calls.
    pub breaker: CircuitBreaker,
    /// The circuit breaker of writes: Drive may refuse them for days while it can be read.
    pub writes_breaker: CircuitBreaker,
    /// Set while Drive answers no write.
    pub writes_refused: Option<WritesRefused>,
    /// The pause of uploads, which have limits of their own.
    pub uploads: Pause,
    /// The pause of writes of permissions, which have limits of their own.
    pub sharing: Pause,
}

/// The cost of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// The quota in units or queries, depending on the connection's quota model.
    pub quota: u32,
    /// The number of calls that write.
    pub writes: u32,
}

/// A part of the budget that a worker may use now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The state after the lease. The lease is valid only once this is stored.
    pub rate_limit: RateLimit,
    /// The granted budget: at least what was asked for.
    pub granted: Cost,
    /// True if this is the trial call of a half-open circuit breaker.
    pub trial: bool,
}

/// A call that is throttled for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// The minimum wait before the next request, in milliseconds.
    pub wait_millis: u64,
    /// The cause.
    pub by: ThrottledBy,
}

impl Throttled {
    /// Returns what throttling means for an attempt to write: it does not count as one.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        Refusal::Throttled {
            wait_millis: i64::try_from(self.wait_millis).unwrap_or(i64::MAX),
        }
    }
}

/// The cause of throttling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottledBy {
    /// The connection's share of the quota is used up for now.
    Quota,
    /// The rate of writes.
    Writes,
    /// Drive asked to wait.
    Drive,
    /// Drive failed too often in a row.
    Breaker,
}

impl ThrottledBy {
    /// Returns the name of the cause, for logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Writes => "writes",
            Self::Drive => "drive",
            Self::Breaker => "breaker",
        }
    }
}

/// The outcome of a call as far as the rate limiter is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// Drive answered a call that does not write, even if it refused the call.
    Answered,
    /// Drive answered a write, even if it refused it for a reason of the file's.
    WriteAnswered(WriteKind),
    /// There were too many writes of a kind that has a limit of its own. Contains the wait that
    /// Drive asked for, if any, in milliseconds.
    WriteLimited(WriteKind, Option<u64>),
    /// There were too many calls (403 by reason, 429). Contains the wait that Drive asked for, if
    /// any, in milliseconds.
    RateLimited(Option<u64>),
    /// The daily limit is used up.
    DailyLimit,
    /// Drive failed to answer a call that does not write: 5xx, no answer, or one that is not
    /// Drive's.
    Failed,
    /// Drive failed to answer a write.
    WriteFailed {
        /// The status, if there was a response.
        status: Option<u16>,
        /// Identifies the file that was written; 0 if there were several.
        subject: u32,
    },
}

impl RateLimit {
    /// Creates the state of a connection that has not made a call yet. It may call immediately.
    #[must_use]
    pub fn new(limits: &Limits, now: Timestamp) -> Self {
        Self {
            quota: TokenBucket::full(limits.quota_size(), now),
            writes: TokenBucket::full(limits.writes_size(limits.writes_base_per_minute), now),
            writes_per_minute: limits.writes_base_per_minute,
            increased_at: now,
            decreased_at: Timestamp::from_millis(0),
            blocked_until: Timestamp::from_millis(0),
            breaker: CircuitBreaker::CLOSED,
            writes_breaker: CircuitBreaker::CLOSED,
            writes_refused: None,
            uploads: Pause::default(),
            sharing: Pause::default(),
        }
    }

    /// Leases the cost of calls: `ask` at least, `want` if available, and a little more if there is
    /// plenty. `wrote` says that writes under an earlier lease succeeded, which lets their rate
    /// grow.
    ///
    /// # Errors
    /// [`Throttled`]: the calls must wait. Nothing has changed.
    pub fn lease(
        &self,
        ask: Cost,
        want: Cost,
        wrote: bool,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Lease, Throttled> {
        let throttled = |wait_millis: i64, by| Throttled {
            wait_millis: u64::try_from(wait_millis).unwrap_or(0).max(1),
            by,
        };
        let mut rate_limit = self.refreshed(limits, now);
        if now < rate_limit.blocked_until {
            return Err(throttled(
                rate_limit.blocked_until.millis_since(now),
                ThrottledBy::Drive,
            ));
        }
        let by_breaker = |wait| throttled(wait, ThrottledBy::Breaker);
        let (breaker, mut trial) = rate_limit.breaker.admit(now).map_err(by_breaker)?;
        rate_limit.breaker = breaker;
        if ask.writes > 0 {
            let admitted = rate_limit.writes_breaker.admit(now);
            let (breaker, of_writes) = admitted.map_err(by_breaker)?;
            rate_limit.writes_breaker = breaker;
            trial |= of_writes;
        }
        if wrote {
            rate_limit.increase_writes(limits, now);
        }
        let quota_size = limits.quota_size();
        let writes_size = limits.writes_size(rate_limit.writes_per_minute);
        // A trial is a single call, so nothing beyond it is leased.
        let more = |need: u32, want: u32, flow: u32| match need {
            0 => 0,
            need if trial => need,
            need => need.max(want).max(flow),
        };
        let of_flow = |size: BucketSize| {
            let flow = i64::from(size.per_minute).saturating_mul(LEASE_AHEAD_MILLIS) / 60_000;
            u32::try_from(flow).unwrap_or(u32::MAX)
        };
        let flow = of_flow(quota_size).min(limits.quota_per_minute / LEASE_SHARE);
        let (quota, taken_quota) = rate_limit
            .quota
            .take(
                ask.quota,
                more(ask.quota, want.quota, flow),
                quota_size,
                now,
            )
            .map_err(|wait| throttled(wait, ThrottledBy::Quota))?;
        let wanted = more(ask.writes, want.writes, of_flow(writes_size));
        let (writes, taken_writes) = rate_limit
            .writes
            .take(ask.writes, wanted, writes_size, now)
            .map_err(|wait| throttled(wait, ThrottledBy::Writes))?;
        rate_limit.quota = quota;
        rate_limit.writes = writes;
        Ok(Lease {
            rate_limit,
            granted: Cost {
                quota: taken_quota,
                writes: taken_writes,
            },
            trial,
        })
    }

    /// Records the outcome of a call. Returns `None` if nothing changes, which is nearly always the
    /// case. `wrote` is as in [`RateLimit::lease`].
    #[must_use]
    pub fn record_outcome(
        &self,
        outcome: CallOutcome,
        wrote: bool,
        limits: &Limits,
        now: Timestamp,
    ) -> Option<Self> {
        let mut rate_limit = self.refreshed(limits, now);
        let before = rate_limit;
        match outcome {
            CallOutcome::Answered => rate_limit.breaker = CircuitBreaker::CLOSED,
            CallOutcome::WriteAnswered(kind) => {
                rate_limit.write_answered();
                if let Some(pause) = rate_limit.pause_mut(kind) {
                    *pause = Pause::default();
                }
            }
            CallOutcome::WriteLimited(kind, wait) => {
                rate_limit.write_answered();
                if let Some(pause) = rate_limit.pause_mut(kind) {
                    *pause = pause.longer(wait, now);
                }
            }
            CallOutcome::WriteFailed { status, subject } => {
                rate_limit.write_failed(status, subject, limits, now);
            }
            CallOutcome::RateLimited(wait) => {
                // Drive answered, so this is not a failure of Drive.
                rate_limit.breaker = CircuitBreaker::CLOSED;
                rate_limit.decrease_writes(wrote, limits, now);
                rate_limit.block_for(wait.unwrap_or(0), now);
            }
            CallOutcome::DailyLimit => {
                rate_limit.breaker = CircuitBreaker::CLOSED;
                rate_limit.block_for(DAILY_LIMIT_MILLIS, now);
            }
            CallOutcome::Failed => rate_limit.breaker = rate_limit.breaker.failed(limits, now),
        }
        (rate_limit != before).then_some(rate_limit)
    }

    /// Returns whether Drive must not be called now, by its own request or because the circuit
    /// breaker is open.
    #[must_use]
    pub fn is_blocked(&self, now: Timestamp) -> bool {
        now < self.blocked_until || self.breaker.is_open()
    }

    /// Returns whether writes must not be sent now, because the circuit breaker of writes is open.
    #[must_use]
    pub fn are_writes_blocked(&self) -> bool {
        self.writes_breaker.is_open()
    }

    /// Returns whether no worker takes writes although nothing prevents it: the bucket of writes is
    /// full. Workers with more writes than the rate allows keep it below that.
    #[must_use]
    pub fn is_idle(&self, limits: &Limits, now: Timestamp) -> bool {
        let rate_limit = self.refreshed(limits, now);
        let size = limits.writes_size(rate_limit.writes_per_minute);
        let blocked = self.is_blocked(now) || self.are_writes_blocked();
        !blocked && rate_limit.writes.filled(size, now) == TokenBucket::full(size, now)
    }

    /// Returns the current state: what was learnt long ago, or under other bounds, does not count.
    fn refreshed(&self, limits: &Limits, now: Timestamp) -> Self {
        let mut rate_limit = *self;
        if now.millis_since(rate_limit.increased_at) > IDLE_RESET_MILLIS {
            rate_limit.writes_per_minute = limits.writes_base_per_minute;
            rate_limit.increased_at = now;
        }
        rate_limit.writes_per_minute = limits.bounded(rate_limit.writes_per_minute);
        rate_limit
    }

    /// Additive increase: a tenth of the base for each second, for at most the lifetime of a lease.
    fn increase_writes(&mut self, limits: &Limits, now: Timestamp) {
        let since = self.increased_at.max(self.decreased_at);
        let millis = now.millis_since(since).clamp(0, LEASE_MILLIS);
        let millis = u64::try_from(millis).unwrap_or(0);
        let base = u64::from(limits.writes_base_per_minute);
        let increase = base.saturating_mul(millis) / (GROWTH_DIVISOR * 1_000);
        let increase = u32::try_from(increase).unwrap_or(u32::MAX);
        // A time too short for one more write is not dropped but counted with the next increase.
        if increase > 0 {
            self.writes_per_minute =
                limits.bounded(self.writes_per_minute.saturating_add(increase));
            self.increased_at = now;
        }
    }

    /// Multiplicative decrease: by half, once for all answers to one burst, and without what was
    /// saved up.
    ///
    /// Writes that succeeded before count first. So the rate oscillates around one that is worth
    /// its refusals, and refusals that do not depend on the rate (a bad day at Google) never bring
    /// it down to its minimum.
    fn decrease_writes(&mut self, wrote: bool, limits: &Limits, now: Timestamp) {
        if now.millis_since(self.decreased_at) < DECREASE_INTERVAL_MILLIS {
            return;
        }
        if wrote {
            self.increase_writes(limits, now);
        }
        self.writes_per_minute = limits.bounded(self.writes_per_minute / 2);
        self.decreased_at = now;
        self.increased_at = now;
        let size = limits.writes_size(self.writes_per_minute);
        self.writes = self.writes.at_most_flow(LEASE_AHEAD_MILLIS, size, now);
    }

    fn block_for(&mut self, wait_millis: u64, now: Timestamp) {
        if wait_millis > 0 {
            let wait = i64::try_from(wait_millis).unwrap_or(i64::MAX);
            self.blocked_until = self.blocked_until.max(now.plus_millis(wait));
        }
    }
}
