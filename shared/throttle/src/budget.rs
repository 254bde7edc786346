//! The part of a connection's rate limit that this process has leased, and a cached copy of the
//! rate limit itself.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::rate_limit::{
    CallOutcome, Cost, LEASE_MILLIS, Limits, RateLimit, Throttled, ThrottledBy, WriteKind,
};
use domain::{ConnectionKey, Timestamp};
use runtime::{Clock, Entropy};
use store::{
    Attempt, Nonce, Store, StoreError, StoredRateLimit, Swapped, Written, compare_and_swap,
};
use tokio::sync::Mutex as AsyncMutex;

/// A cached rate limit older than this never refuses a call, in milliseconds: it is read again
/// first, since another worker may have found that Drive answers again.
const REFUSES_FOR_MILLIS: i64 = 1_000;
/// A cached rate limit older than this is not used at all, in milliseconds.
const CACHED_FOR_MILLIS: i64 = 300_000;
/// The most local budgets that are kept without being in use.
const ALLOWANCES_MAX: usize = 1_000;
/// The wait after all attempts were lost to other workers, in milliseconds.
const CONTENDED_MILLIS: u64 = 100;

/// The local budgets of all connections.
#[derive(Clone)]
pub(crate) struct Budgets {
    store: Store,
    clock: Clock,
    entropy: Entropy,
    allowances: Arc<Mutex<HashMap<ConnectionKey, Arc<AsyncMutex<Allowance>>>>>,
}

/// One connection's local budget.
#[derive(Clone)]
pub(crate) struct LocalBudget {
    pub(crate) key: ConnectionKey,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    allowance: Arc<AsyncMutex<Allowance>>,
}

/// A leased amount of quota units or of writes, and when the lease expires.
#[derive(Debug, Clone, Copy)]
struct Leased {
    amount: u32,
    until: Timestamp,
}

/// The leases of one connection.
#[derive(Debug)]
struct Allowance {
    quota: Leased,
    writes: Leased,
    /// Writes have succeeded since the last lease was taken.
    wrote: bool,
    /// The rate limit as last read or saved, and when.
    cached: Option<(StoredRateLimit, Timestamp)>,
}

impl Budgets {
    pub(crate) fn new(store: Store, clock: Clock, entropy: Entropy) -> Self {
        Self {
            store,
            clock,
            entropy,
            allowances: Arc::default(),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn for_connection(&self, key: &ConnectionKey) -> LocalBudget {
        // Every statement leaves the map consistent, so a poisoned lock is safe to use.
        let mut allowances = self
            .allowances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if allowances.len() >= ALLOWANCES_MAX {
            // What they have leased stays unused: their connections call Drive again later.
            allowances.retain(|_, allowance| Arc::strong_count(allowance) > 1);
        }
        let allowance = allowances.entry(key.clone()).or_default();
        LocalBudget {
            key: key.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            allowance: Arc::clone(allowance),
        }
    }
}

impl LocalBudget {
    /// Spends the cost `each` of up to `count` calls (at least one) from the lease, or leases more.
    /// Returns the number of calls that may be made.
    pub(crate) async fn acquire(
        &self,
        each: Cost,
        count: u32,
        limits: &Limits,
    ) -> Result<Result<u32, Throttled>, StoreError> {
        let want = times(each, count);
        let allowance = self.allowance.lock().await;
        let acquired = compare_and_swap(allowance, async |mut allowance| {
            let now = self.clock.now();
            let missing = allowance.missing(each, now);
            if missing == Cost::default() {
                return Ok::<_, StoreError>(Attempt::Done(Ok(allowance.spend(each, count))));
            }
            let (before, rate_limit, read_at) = self.cached(&mut allowance, limits, now).await?;
            let lease = match rate_limit.lease(missing, want, allowance.wrote, limits, now) {
                Ok(lease) => lease,
                Err(_) if now.millis_since(read_at) > REFUSES_FOR_MILLIS => {
                    allowance.cached = None;
                    return Ok(Attempt::Stale(allowance));
                }
                Err(throttled) => return Ok(Attempt::Done(Err(throttled))),
            };
            if !self
                .save(&mut allowance, before, &lease.rate_limit, now)
                .await?
            {
                return Ok(Attempt::Stale(allowance));
            }
            allowance.wrote = false;
            allowance.add(lease.granted, now);
            // Other workers wait for the outcome of a trial, so it is a single call.
            let count = if lease.trial { 1 } else { count };
            Ok(Attempt::Done(Ok(allowance.spend(each, count))))
        });
        match acquired.await? {
            Swapped::Done(acquired) => Ok(acquired),
            Swapped::Contended(_) => Ok(Err(Throttled {
                wait_millis: CONTENDED_MILLIS,
                by: ThrottledBy::Quota,
            })),
        }
    }

    /// Returns the cost of a call that was not made.
    pub(crate) async fn release(&self, cost: Cost) {
        let mut allowance = self.allowance.lock().await;
        allowance.quota.amount = allowance.quota.amount.saturating_add(cost.quota);
        allowance.writes.amount = allowance.writes.amount.saturating_add(cost.writes);
    }

    /// Records the outcome of a call. Returns the rate limit if the outcome changed it, which it
    /// rarely does.
    pub(crate) async fn record_outcome(
        &self,
        outcome: CallOutcome,
        wrote: bool,
        limits: &Limits,
    ) -> Result<Option<RateLimit>, StoreError> {
        let mut allowance = self.allowance.lock().await;
        allowance.wrote |= wrote;
        if matches!(
            outcome,
            CallOutcome::RateLimited(_) | CallOutcome::DailyLimit
        ) {
            // A lease taken at the higher rate is not valid at the lower one.
            allowance.writes.amount = 0;
        }
        let recorded = compare_and_swap(allowance, async |mut allowance| {
            let now = self.clock.now();
            let (before, rate_limit, _) = self.cached(&mut allowance, limits, now).await?;
            let next = rate_limit.record_outcome(outcome, allowance.wrote, limits, now);
            if next.unwrap_or(rate_limit).is_blocked(now) {
                // No call is made while Drive is to be left alone, not even one already leased.
                allowance.quota.amount = 0;
                allowance.writes.amount = 0;
            }
            if next.unwrap_or(rate_limit).are_writes_blocked() {
                allowance.writes.amount = 0;
            }
            let Some(next) = next else {
                return Ok::<_, StoreError>(Attempt::Done(None));
            };
            if !self.save(&mut allowance, before, &next, now).await? {
                return Ok(Attempt::Stale(allowance));
            }
            // A reduction includes the growth up to now.
            allowance.wrote &= next.decreased_at != now;
            Ok(Attempt::Done(Some(next)))
        });
        match recorded.await? {
            Swapped::Done(changed) => Ok(changed),
            Swapped::Contended(_) => Ok(None),
        }
    }

    /// Checks that a kind of writes is not paused.
    pub(crate) async fn check_pause(
        &self,
        kind: WriteKind,
        limits: &Limits,
    ) -> Result<Result<(), Throttled>, StoreError> {
        let mut allowance = self.allowance.lock().await;
        let now = self.clock.now();
        let (_, rate_limit, read_at) = self.cached(&mut allowance, limits, now).await?;
        let checked = rate_limit.check_pause(kind, now);
        if checked.is_ok() || now.millis_since(read_at) <= REFUSES_FOR_MILLIS {
            return Ok(checked);
        }
        allowance.cached = None;
        let (_, rate_limit, _) = self.cached(&mut allowance, limits, now).await?;
        Ok(rate_limit.check_pause(kind, now))
    }

    /// Returns the cached rate limit with its revision and the time of the read; reads it where it
    /// is not cached.
    async fn cached(
        &self,
        allowance: &mut Allowance,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<(u64, RateLimit, Timestamp), StoreError> {
        if let Some((stored, at)) = allowance.cached
            && now.millis_since(at) <= CACHED_FOR_MILLIS
        {
            return Ok((stored.revision, stored.rate_limit, at));
        }
        allowance.cached = self
            .store
            .load_rate_limit(&self.key)
            .await?
            .map(|stored| (stored, now));
        Ok(allowance.cached.map_or_else(
            || (0, RateLimit::new(limits, now), now),
            |(stored, at)| (stored.revision, stored.rate_limit, at),
        ))
    }

    /// Saves the rate limit and returns whether it was saved. Where another worker saved first,
    /// caches that worker's version.
    async fn save(
        &self,
        allowance: &mut Allowance,
        before: u64,
        rate_limit: &RateLimit,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let nonce = Nonce(self.entropy.next());
        match self
            .store
            .save_rate_limit(&self.key, before, rate_limit, nonce)
            .await?
        {
            Written::Done(stored) => {
                allowance.cached = Some((stored, now));
                Ok(true)
            }
            Written::Stale(current) => {
                allowance.cached = current.map(|stored| (stored, now));
                Ok(false)
            }
        }
    }
}

impl Default for Allowance {
    fn default() -> Self {
        let nothing = Leased {
            amount: 0,
            until: Timestamp::from_millis(0),
        };
        Self {
            quota: nothing,
            writes: nothing,
            wrote: false,
            cached: None,
        }
    }
}

impl Allowance {
    /// Returns the cost that must be leased before `cost` can be spent: the full amount of each
    /// resource of which too little is leased.
    fn missing(&self, cost: Cost, now: Timestamp) -> Cost {
        let missing = |leased: Leased, wanted: u32| {
            let available = if now < leased.until { leased.amount } else { 0 };
            if available < wanted { wanted } else { 0 }
        };
        Cost {
            quota: missing(self.quota, cost.quota),
            writes: missing(self.writes, cost.writes),
        }
    }

    /// Adds a new lease. A remainder of the old one that was too small to use is forfeited.
    fn add(&mut self, lease: Cost, now: Timestamp) {
        let until = now.plus_millis(LEASE_MILLIS);
        if lease.quota > 0 {
            self.quota = Leased {
                amount: lease.quota,
                until,
            };
        }
        if lease.writes > 0 {
            self.writes = Leased {
                amount: lease.writes,
                until,
            };
        }
    }

    /// Spends the cost of as many calls as the lease covers, at least one.
    fn spend(&mut self, each: Cost, count: u32) -> u32 {
        let covered = |leased: Leased, each: u32| match each {
            0 => u32::MAX,
            each => leased.amount / each,
        };
        let count = count
            .min(covered(self.quota, each.quota))
            .min(covered(self.writes, each.writes))
            .max(1);
        let spent = times(each, count);
        self.quota.amount = self.quota.amount.saturating_sub(spent.quota);
        self.writes.amount = self.writes.amount.saturating_sub(spent.writes);
        count
    }
}

fn times(each: Cost, count: u32) -> Cost {
    Cost {
        quota: each.quota.saturating_mul(count),
        writes: each.writes.saturating_mul(count),
    }
}
