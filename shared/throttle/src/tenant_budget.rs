//! What this process has leased of the rates of each tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::rate_limit::{OwedLease, RateReached, TenantLimit, TenantLimits, TenantRates};
use domain::{TenantId, Timestamp};
use runtime::{Clock, Entropy};
use store::{
    Attempt, Nonce, Store, StoreError, StoredTenantRates, Swapped, Written, compare_and_swap,
};
use tokio::sync::Mutex as AsyncMutex;

/// The lifetime of a lease, in milliseconds.
const LEASE_MILLIS: i64 = 10_000;
/// A lease takes at most this fraction of a second's requests (one part in so many).
const REQUESTS_SHARE: u32 = 10;
/// The most requests of a lease.
const REQUESTS_LEASE_MAX: u32 = 100;
/// The changes that are leased at once, at least.
const LIVE_LEASE: u32 = 10;
/// The edits that are leased at once.
const EDITS_LEASE: u32 = 50;
/// What requests have read is charged with the next lease, or at once from this on.
const READ_MAX: u32 = 1_000;
/// The wait after all attempts were lost to other workers, in milliseconds.
const CONTENDED_MILLIS: i64 = 1_000;
/// The tenants that are remembered.
const TENANTS_MAX: usize = 1_000;

/// The budgets of all tenants. Clones share what is leased.
#[derive(Clone)]
pub struct TenantBudgets {
    store: Store,
    clock: Clock,
    entropy: Entropy,
    limits: TenantLimits,
    tenants: Arc<Mutex<HashMap<TenantId, Arc<AsyncMutex<Leases>>>>>,
}

/// An amount, and when its lease expires.
#[derive(Debug, Clone, Copy, Default)]
struct Leased {
    amount: u32,
    until: Timestamp,
}

/// The leases of one tenant.
#[derive(Debug, Default)]
struct Leases {
    requests: Leased,
    live: Leased,
    edits: Leased,
    /// The last refusal of a request.
    reached: Option<Refused>,
    /// The last refusal of an edit.
    edits_reached: Option<Refused>,
    /// What requests have read and nobody has charged yet.
    read: u32,
    /// The rates as last read or saved.
    cached: Option<StoredTenantRates>,
}

/// A refusal, remembered until the wait is over.
#[derive(Debug, Clone, Copy)]
struct Refused {
    reached: RateReached,
    at: Timestamp,
}

impl Refused {
    /// Returns what is left of the wait; `None` if it is over, or the clock has gone back.
    fn left(self, now: Timestamp) -> Option<RateReached> {
        let since = now.millis_since(self.at);
        let wait_millis = self.reached.wait_millis - since;
        (since >= 0 && wait_millis > 0).then_some(RateReached {
            wait_millis,
            ..self.reached
        })
    }
}

impl Leased {
    /// Takes up to `want`, if the lease has not expired.
    fn take(&mut self, want: u32, now: Timestamp) -> u32 {
        if now >= self.until {
            return 0;
        }
        let taken = self.amount.min(want);
        self.amount -= taken;
        taken
    }
}

impl TenantBudgets {
    /// Creates the budgets; the rates are kept in `store`.
    #[must_use]
    pub fn new(store: Store, clock: Clock, entropy: Entropy, limits: TenantLimits) -> Self {
        Self {
            store,
            clock,
            entropy,
            limits,
            tenants: Arc::default(),
        }
    }

    /// Returns the limits of every tenant.
    #[must_use]
    pub const fn limits(&self) -> &TenantLimits {
        &self.limits
    }

    fn leases(&self, tenant: &TenantId) -> Arc<AsyncMutex<Leases>> {
        // Every statement leaves the map consistent, so a poisoned lock is safe to use.
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= TENANTS_MAX {
            tenants.retain(|_, leases| Arc::strong_count(leases) > 1);
        }
        Arc::clone(tenants.entry(tenant.clone()).or_default())
    }

    /// Takes one request of a tenant.
    ///
    /// # Errors
    /// [`StoreError`]; inside, the limit that is reached.
    pub async fn request(&self, tenant: &TenantId) -> Result<Result<(), RateReached>, StoreError> {
        let TenantLimits {
            requests_per_second,
            reads_per_minute,
            ..
        } = self.limits;
        if requests_per_second.min(reads_per_minute) == u32::MAX {
            return Ok(Ok(()));
        }
        let leases = self.leases(tenant);
        let mut leases = leases.lock().await;
        let now = self.clock.now();
        if let Some(reached) = leases.reached.and_then(|refused| refused.left(now)) {
            return Ok(Err(reached));
        }
        if leases.read < READ_MAX && leases.requests.take(1, now) == 1 {
            return Ok(Ok(()));
        }
        let want = (requests_per_second / REQUESTS_SHARE).clamp(1, REQUESTS_LEASE_MAX);
        let read = std::mem::take(&mut leases.read);
        let taken = self
            .swap(tenant, &mut leases, |rates, now| {
                let rates = rates.charged(read, &self.limits, now);
                match rates.take_requests(want, &self.limits, now) {
                    Ok((rates, taken)) => (rates, Ok(taken)),
                    Err(reached) => (rates, Err(reached)),
                }
            })
            .await;
        if !matches!(taken, Ok(Some(_))) {
            leases.read = leases.read.saturating_add(read);
        }
        let contended = RateReached {
            limit: TenantLimit::Requests,
            wait_millis: CONTENDED_MILLIS,
        };
        match taken?.unwrap_or(Err(contended)) {
            Ok(taken) => {
                leases.requests = Leased {
                    amount: taken.saturating_sub(1),
                    until: now.plus_millis(LEASE_MILLIS),
                };
                Ok(Ok(()))
            }
            Err(reached) => {
                leases.reached = Some(Refused { reached, at: now });
                Ok(Err(reached))
            }
        }
    }

    /// Charges a tenant for what a request has read. It is paid with the tenant's next requests.
    pub async fn charge(&self, tenant: &TenantId, read: u32) {
        let leases = self.leases(tenant);
        let mut leases = leases.lock().await;
        leases.read = leases.read.saturating_add(read);
    }

    /// Takes up to `want` changes of a tenant that are applied before those of listings. Returns
    /// their number, which may be 0.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn live_changes(&self, tenant: &TenantId, want: u32) -> Result<u32, StoreError> {
        if self.limits.live_changes_per_second == u32::MAX {
            return Ok(want);
        }
        let leases = self.leases(tenant);
        let mut leases = leases.lock().await;
        let now = self.clock.now();
        let own = leases.live.take(want, now);
        let missing = want - own;
        if missing == 0 {
            return Ok(own);
        }
        let lease = missing.max(LIVE_LEASE);
        let taken = self
            .swap(tenant, &mut leases, |rates, now| {
                rates.take_live(lease, &self.limits, now)
            })
            .await?;
        let taken = taken.unwrap_or(0);
        let used = taken.min(missing);
        leases.live = Leased {
            amount: taken - used,
            until: now.plus_millis(LEASE_MILLIS),
        };
        Ok(own + used)
    }

    /// Takes one edit of a tenant that makes another file owe something. `count` counts the files
    /// that do.
    ///
    /// # Errors
    /// The error of `count`, or a [`StoreError`]; inside, the limit that is reached.
    pub async fn edit<E, F>(
        &self,
        tenant: &TenantId,
        count: impl Fn() -> F,
    ) -> Result<Result<(), RateReached>, E>
    where
        E: From<StoreError>,
        F: Future<Output = Result<u64, E>>,
    {
        if self.limits.owed_files == u32::MAX {
            return Ok(Ok(()));
        }
        let reached = |wait_millis| RateReached {
            limit: TenantLimit::OwedFiles,
            wait_millis,
        };
        let leases = self.leases(tenant);
        let mut leases = leases.lock().await;
        let now = self.clock.now();
        let refused = leases.edits_reached;
        if let Some(reached) = refused.and_then(|refused| refused.left(now)) {
            return Ok(Err(reached));
        }
        if leases.edits.take(1, now) == 1 {
            return Ok(Ok(()));
        }
        let mut counted = None;
        loop {
            // Another worker may have counted since.
            leases.cached = None;
            let taken = self
                .swap(tenant, &mut leases, |rates, now| {
                    let counted_at = rates.owed.map(|owed| owed.counted_at);
                    let rates = match counted {
                        Some((files, before)) if before == counted_at => {
                            rates.counted(files, &self.limits, now)
                        }
                        Some(_) | None => rates,
                    };
                    let (rates, lease) = rates.take_edits(EDITS_LEASE, now);
                    (rates, (lease, counted_at))
                })
                .await?;
            let (taken, counted_at) = taken.unzip();
            let wait_millis = match taken {
                Some(OwedLease::Granted(taken)) => {
                    leases.edits = Leased {
                        amount: taken.saturating_sub(1),
                        until: now.plus_millis(LEASE_MILLIS),
                    };
                    return Ok(Ok(()));
                }
                Some(OwedLease::Count) if counted.is_none() => {
                    counted = Some((count().await?, counted_at.flatten()));
                    continue;
                }
                Some(OwedLease::Wait(wait_millis)) => wait_millis,
                Some(OwedLease::Count) | None => CONTENDED_MILLIS,
            };
            let reached = reached(wait_millis);
            leases.edits_reached = Some(Refused { reached, at: now });
            return Ok(Err(reached));
        }
    }

    /// Changes a tenant's rates, unless that leaves them as they are. `None` if other workers kept
    /// being faster.
    async fn swap<T>(
        &self,
        tenant: &TenantId,
        leases: &mut Leases,
        change: impl Fn(TenantRates, Timestamp) -> (TenantRates, T),
    ) -> Result<Option<T>, StoreError> {
        let change = &change;
        let start = match leases.cached {
            Some(cached) => cached,
            None => self.load(tenant).await?,
        };
        let swapped = compare_and_swap(start, async |stored: StoredTenantRates| {
            let now = self.clock.now();
            let (rates, done) = change(stored.rates, now);
            if rates == stored.rates && stored.revision > 0 {
                return Ok::<_, StoreError>(Attempt::Done((stored, done)));
            }
            let nonce = Nonce(self.entropy.next());
            let saved = self
                .store
                .save_tenant_rates(tenant, stored.revision, &rates, nonce);
            Ok(match saved.await? {
                Written::Done(stored) => Attempt::Done((stored, done)),
                Written::Stale(Some(current)) => Attempt::Stale(current),
                Written::Stale(None) => Attempt::Stale(self.new_rates()),
            })
        });
        Ok(match swapped.await? {
            Swapped::Done((stored, done)) => {
                leases.cached = Some(stored);
                Some(done)
            }
            Swapped::Contended(current) => {
                leases.cached = Some(current);
                None
            }
        })
    }

    async fn load(&self, tenant: &TenantId) -> Result<StoredTenantRates, StoreError> {
        let stored = self.store.load_tenant_rates(tenant).await?;
        Ok(stored.unwrap_or_else(|| self.new_rates()))
    }

    fn new_rates(&self) -> StoredTenantRates {
        StoredTenantRates {
            revision: 0,
            rates: TenantRates::new(&self.limits, self.clock.now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::advance;

    use super::*;
    use crate::support::Table;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn limits(text: &str) -> TenantLimits {
        TenantLimits::none().with(text).unwrap()
    }

    /// Makes requests until one is refused, at most a thousand. Returns how many were not.
    async fn requests(budgets: &TenantBudgets, name: &str) -> usize {
        for count in 0..1_000 {
            if budgets.request(&tenant(name)).await.unwrap().is_err() {
                return count;
            }
        }
        1_000
    }

    #[tokio::test(start_paused = true)]
    async fn workers_of_a_tenant_share_its_rate_and_another_tenant_has_its_own() {
        let table = Table::new();
        let worker = || table.tenant_budgets(limits("requests_per_second=20"));
        let workers = [worker(), worker(), worker()];
        let made = join_all(workers.iter().map(|worker| requests(worker, "acme"))).await;
        let made: usize = made.iter().sum();
        // A burst, and what flows in while the table is asked.
        assert!((20..=24).contains(&made), "{made}");
        assert!((20..=24).contains(&requests(&workers[0], "globex").await));
        advance(Duration::from_millis(500)).await;
        let made: usize = join_all(workers.iter().map(|worker| requests(worker, "acme")))
            .await
            .iter()
            .sum();
        assert!((9..=14).contains(&made), "{made}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_remembered_and_says_for_how_long() {
        let table = Table::new();
        let budgets = table.tenant_budgets(limits("requests_per_second=10"));
        requests(&budgets, "acme").await;
        let began = table.now();
        let acme = tenant("acme");
        let first = budgets.request(&acme).await.unwrap().unwrap_err();
        let again = budgets.request(&acme).await.unwrap().unwrap_err();
        assert_eq!(table.now(), began, "the table is not asked again");
        assert_eq!((first, again.limit), (again, TenantLimit::Requests));
        advance(Duration::from_millis(
            u64::try_from(first.wait_millis).unwrap(),
        ))
        .await;
        assert_eq!(budgets.request(&acme).await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_is_paid_by_the_next_requests_of_any_worker() {
        let table = Table::new();
        let worker =
            || table.tenant_budgets(limits("requests_per_second=10,reads_per_minute=6000"));
        let (reader, other) = (worker(), worker());
        let acme = tenant("acme");
        assert_eq!(reader.request(&acme).await.unwrap(), Ok(()));
        // Twice as much as a burst.
        reader.charge(&acme, 6_000).await;
        let reached = reader.request(&acme).await.unwrap().unwrap_err();
        assert_eq!(reached.limit, TenantLimit::Reads);
        assert!(
            (29_000..=30_100).contains(&reached.wait_millis),
            "{reached:?}"
        );
        let also = other.request(&acme).await.unwrap().unwrap_err();
        assert_eq!(also.limit, TenantLimit::Reads);
        assert_eq!(other.request(&tenant("globex")).await.unwrap(), Ok(()));
        advance(Duration::from_secs(31)).await;
        assert_eq!(other.request(&acme).await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn changes_above_the_rate_are_not_live() {
        let table = Table::new();
        let worker = || table.tenant_budgets(limits("live_changes_per_second=20"));
        let (one, two) = (worker(), worker());
        let acme = tenant("acme");
        assert_eq!(one.live_changes(&acme, 150).await.unwrap(), 150);
        let rest = two.live_changes(&acme, 1_000).await.unwrap();
        assert!((50..=52).contains(&rest), "{rest}");
        assert_eq!(one.live_changes(&acme, 1).await.unwrap(), 0);
        assert_eq!(one.live_changes(&tenant("globex"), 100).await.unwrap(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn edits_are_allowed_up_to_the_limit_and_the_files_counted_now_and_then() {
        let table = Table::new();
        let worker = || table.tenant_budgets(limits("owed_files=120"));
        let (one, two) = (worker(), worker());
        let acme = tenant("acme");
        let (owed, counts) = (AtomicU64::new(20), AtomicU64::new(0));
        let edit = async |worker: &TenantBudgets| {
            let count = || {
                counts.fetch_add(1, Ordering::Relaxed);
                let files = owed.load(Ordering::Relaxed);
                async move { Ok::<_, StoreError>(files) }
            };
            worker.edit(&acme, count).await.unwrap()
        };
        for _ in 0..50 {
            assert_eq!(edit(&one).await, Ok(()));
            assert_eq!(edit(&two).await, Ok(()));
        }
        assert_eq!(counts.load(Ordering::Relaxed), 1);
        let reached = edit(&one).await.unwrap_err();
        assert_eq!(reached.limit, TenantLimit::OwedFiles);
        assert!(edit(&one).await.is_err() && edit(&two).await.is_err());
        owed.store(119, Ordering::Relaxed);
        advance(Duration::from_secs(11)).await;
        assert_eq!(edit(&two).await, Ok(()));
        assert!(edit(&two).await.is_err() && edit(&one).await.is_err());
        assert_eq!(counts.load(Ordering::Relaxed), 2);
    }
}
