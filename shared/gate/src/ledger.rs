//! What this process has taken of a connection's pace and not used yet, and the pace as it was last seen.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::pace::{Ask, Held, HeldBy, Limits, Outcome, Pace, TAKEN_LASTS_MILLIS};
use domain::{ConnectionKey, Timestamp};
use runtime::{Clock, Entropy};
use store::{Nonce, Paced, Store, StoreError, Written};
use tokio::sync::Mutex as AsyncMutex;

/// Rounds against other workers that write the same pace.
const ROUNDS_MAX: usize = 8;
/// What was seen of the pace longer ago than this does not hold a call back, in milliseconds: others may have
/// found out meanwhile that Drive answers again.
const SEEN_MILLIS: i64 = 1_000;
/// What was seen of the pace longer ago than this is not worked with at all, in milliseconds.
const STALE_MILLIS: i64 = 300_000;
/// How long to wait where others keep being faster, in milliseconds.
const CONTENDED_MILLIS: u64 = 100;

/// One ledger for each connection.
#[derive(Clone)]
pub(crate) struct Ledgers {
    store: Store,
    clock: Clock,
    entropy: Entropy,
    accounts: Arc<Mutex<HashMap<ConnectionKey, Arc<AsyncMutex<Account>>>>>,
}

/// One connection's ledger.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) key: ConnectionKey,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    account: Arc<AsyncMutex<Account>>,
}

/// What is left of one thing that was taken.
#[derive(Debug, Clone, Copy)]
struct Left {
    amount: u32,
    until: Timestamp,
}

#[derive(Debug)]
struct Account {
    quota: Left,
    writes: Left,
    /// Writes have succeeded since the last chunk was taken.
    wrote: bool,
    /// The pace as it was last seen, and when.
    seen: Option<(Paced, Timestamp)>,
}

impl Ledgers {
    pub(crate) fn new(store: Store, clock: Clock, entropy: Entropy) -> Self {
        Self {
            store,
            clock,
            entropy,
            accounts: Arc::default(),
        }
    }

    pub(crate) fn of(&self, key: &ConnectionKey) -> Ledger {
        // The map is whole after every statement, so a panic elsewhere can't have left it broken.
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry(key.clone()).or_default();
        Ledger {
            key: key.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            account: Arc::clone(account),
        }
    }
}

impl Ledger {
    /// Spends what up to `count` calls (at least one) cost `each`, out of what was taken, or takes more; says how many.
    pub(crate) async fn spend(
        &self,
        each: Ask,
        count: u32,
        limits: &Limits,
    ) -> Result<Result<u32, Held>, StoreError> {
        let want = times(each, count);
        let mut account = self.account.lock().await;
        for _ in 0..ROUNDS_MAX {
            let now = self.clock.now();
            let missing = account.missing(each, now);
            if missing == Ask::default() {
                return Ok(Ok(account.spend(each, count)));
            }
            let (before, pace, seen_at) = self.known(&mut account, limits, now).await?;
            let taken = match pace.take(missing, want, account.wrote, limits, now) {
                Ok(taken) => taken,
                Err(_) if now.millis_since(seen_at) > SEEN_MILLIS => {
                    account.seen = None;
                    continue;
                }
                Err(held) => return Ok(Err(held)),
            };
            if self.save(&mut account, before, &taken.pace, now).await? {
                account.wrote = false;
                account.add(taken.chunk, now);
                // Other workers wait for how a trial ends: it is one call, not what was wanted.
                let count = if taken.trial { 1 } else { count };
                return Ok(Ok(account.spend(each, count)));
            }
        }
        Ok(Err(Held {
            wait_millis: CONTENDED_MILLIS,
            by: HeldBy::Quota,
        }))
    }

    /// Gives back what was spent on a call that was not needed.
    pub(crate) async fn give_back(&self, ask: Ask) {
        let mut account = self.account.lock().await;
        account.quota.amount = account.quota.amount.saturating_add(ask.quota);
        account.writes.amount = account.writes.amount.saturating_add(ask.writes);
    }

    /// Takes note of how a call ended; the pace after it, where it changed. An answer nearly always changes nothing.
    pub(crate) async fn told(
        &self,
        outcome: Outcome,
        wrote: bool,
        limits: &Limits,
    ) -> Result<Option<Pace>, StoreError> {
        let mut account = self.account.lock().await;
        account.wrote |= wrote;
        if matches!(outcome, Outcome::Limited(_) | Outcome::DailyLimit) {
            // What was taken at the faster pace is not used at the slower one.
            account.writes.amount = 0;
        }
        for _ in 0..ROUNDS_MAX {
            let now = self.clock.now();
            let (before, pace, _) = self.known(&mut account, limits, now).await?;
            let next = pace.told(outcome, account.wrote, limits, now);
            if next.unwrap_or(pace).is_held(now) {
                // Nor is what is left while Drive is left alone: not even the calls that were paid for are made.
                account.quota.amount = 0;
                account.writes.amount = 0;
            }
            let Some(next) = next else {
                return Ok(None);
            };
            if self.save(&mut account, before, &next, now).await? {
                // What it had to say of the pace so far is said.
                account.wrote &= next.slowed_at != now;
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// The pace as far as it is known, with its revision and when it was seen.
    async fn known(
        &self,
        account: &mut Account,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<(u64, Pace, Timestamp), StoreError> {
        if let Some((paced, at)) = account.seen
            && now.millis_since(at) <= STALE_MILLIS
        {
            return Ok((paced.revision, paced.pace, at));
        }
        account.seen = self
            .store
            .load_pace(&self.key)
            .await?
            .map(|paced| (paced, now));
        Ok(account.seen.map_or_else(
            || (0, Pace::fresh(limits, now), now),
            |(paced, at)| (paced.revision, paced.pace, at),
        ))
    }

    /// Whether the pace is stored; where somebody was faster, theirs is what is known now.
    async fn save(
        &self,
        account: &mut Account,
        before: u64,
        pace: &Pace,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let nonce = Nonce(self.entropy.next());
        match self.store.save_pace(&self.key, before, pace, nonce).await? {
            Written::Done(paced) => {
                account.seen = Some((paced, now));
                Ok(true)
            }
            Written::Stale(current) => {
                account.seen = current.map(|paced| (paced, now));
                Ok(false)
            }
        }
    }
}

impl Default for Account {
    fn default() -> Self {
        let nothing = Left {
            amount: 0,
            until: Timestamp::from_millis(0),
        };
        Self {
            quota: nothing,
            writes: nothing,
            wrote: false,
            seen: None,
        }
    }
}

impl Account {
    /// What has to be taken before this can be spent: all of a thing of which too little is left.
    fn missing(&self, ask: Ask, now: Timestamp) -> Ask {
        let missing = |left: Left, wanted: u32| {
            let there = if now < left.until { left.amount } else { 0 };
            if there < wanted { wanted } else { 0 }
        };
        Ask {
            quota: missing(self.quota, ask.quota),
            writes: missing(self.writes, ask.writes),
        }
    }

    /// What was too little to use is forfeited.
    fn add(&mut self, chunk: Ask, now: Timestamp) {
        let until = now.plus_millis(TAKEN_LASTS_MILLIS);
        if chunk.quota > 0 {
            self.quota = Left {
                amount: chunk.quota,
                until,
            };
        }
        if chunk.writes > 0 {
            self.writes = Left {
                amount: chunk.writes,
                until,
            };
        }
    }

    /// Spends on as many as there is enough for, one at least.
    fn spend(&mut self, each: Ask, count: u32) -> u32 {
        let enough = |left: Left, each: u32| match each {
            0 => u32::MAX,
            each => left.amount / each,
        };
        let quota = enough(self.quota, each.quota);
        let count = count
            .min(quota)
            .min(enough(self.writes, each.writes))
            .max(1);
        let spent = times(each, count);
        self.quota.amount = self.quota.amount.saturating_sub(spent.quota);
        self.writes.amount = self.writes.amount.saturating_sub(spent.writes);
        count
    }
}

fn times(each: Ask, count: u32) -> Ask {
    Ask {
        quota: each.quota.saturating_mul(count),
        writes: each.writes.saturating_mul(count),
    }
}
