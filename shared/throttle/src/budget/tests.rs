//! Workers of one connection, each with its own local budget, over one table.

use std::time::Duration;

use domain::rate_limit::{CallKind, QuotaModel};
use futures_util::future::join_all;
use tokio::time::advance;

use super::*;
use crate::support::Table;

/// One write a second, up to sixty at once.
fn limits() -> Limits {
    Limits {
        writes_base_per_minute: 60,
        writes_max_per_minute: 60,
        ..Limits::default()
    }
}

fn edit() -> Cost {
    CallKind::Edit.cost(1, QuotaModel::Units)
}

fn read() -> Cost {
    CallKind::Read.cost(1, QuotaModel::Units)
}

async fn acquire(
    worker: &LocalBudget,
    cost: Cost,
    count: u32,
    limits: &Limits,
) -> Result<u32, Throttled> {
    worker.acquire(cost, count, limits).await.unwrap()
}

/// Acquires one write after another until throttled. Returns the number of writes.
async fn acquire_all(worker: &LocalBudget, limits: &Limits) -> u32 {
    let mut spent = 0;
    loop {
        match acquire(worker, edit(), 1, limits).await {
            Ok(one) => spent += one,
            Err(throttled) if throttled.by == ThrottledBy::Writes => return spent,
            // All attempts were lost to other workers.
            Err(throttled) => {
                tokio::time::sleep(Duration::from_millis(throttled.wait_millis)).await
            }
        }
    }
}

async fn fail(worker: &LocalBudget, times: u32, limits: &Limits) {
    for _ in 0..times {
        worker
            .record_outcome(CallOutcome::Failed, false, limits)
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn two_workers_lease_in_turns_and_never_exceed_the_limit_together() {
    let (table, limits) = (Table::new(), limits());
    let (a, b) = (table.worker(), table.worker());
    let mut spent = [0, 0];
    for turn in 0..40 {
        let worker = [&a, &b][turn % 2];
        spent[turn % 2] += acquire(worker, edit(), 1, &limits).await.unwrap();
    }
    assert_eq!(spent, [20, 20]);
    // A lease is the refill of three seconds, so not every call writes to the table.
    let (writes, _) = table.rate_limit().await;
    assert!((14..=16).contains(&writes), "{writes} writes for 40 calls");
    let rest = acquire_all(&a, &limits).await + acquire_all(&b, &limits).await;
    // Each request to the table takes a millisecond, which refills a thousandth of a write.
    assert!((20..=21).contains(&rest), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn concurrent_workers_each_get_their_own_lease_or_wait() {
    let (table, limits) = (Table::new(), limits());
    let began = table.now();
    let workers: Vec<LocalBudget> = (0..8).map(|_| table.worker()).collect();
    let spent = join_all(workers.iter().map(|worker| acquire_all(worker, &limits))).await;
    let spent: u32 = spent.iter().sum();
    let seconds = u32::try_from(table.now().millis_since(began)).unwrap() / 1_000;
    assert!(
        (60..=61 + seconds).contains(&spent),
        "{spent} in {seconds} s"
    );
    // Concurrent outcomes are all recorded.
    join_all(workers.iter().map(|worker| fail(worker, 1, &limits))).await;
    assert!(table.rate_limit().await.1.breaker.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_released_call_can_be_acquired_again_by_the_same_worker() {
    let (table, limits) = (Table::new(), limits());
    let (a, b) = (table.worker(), table.worker());
    assert_eq!(acquire(&a, edit(), 60, &limits).await, Ok(60));
    let throttled = acquire(&b, edit(), 1, &limits).await.unwrap_err();
    assert_eq!(throttled.by, ThrottledBy::Writes);
    a.release(edit()).await;
    let (before, _) = table.rate_limit().await;
    assert_eq!(acquire(&a, edit(), 1, &limits).await, Ok(1));
    assert_eq!(
        table.rate_limit().await.0,
        before,
        "no request to the table was needed"
    );
    assert!(acquire(&a, edit(), 1, &limits).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_used_within_ten_seconds_expires() {
    let (table, limits) = (Table::new(), limits());
    let (a, b) = (table.worker(), table.worker());
    // A lease of three, one of which is used; the other worker acquires all the rest.
    assert_eq!(acquire(&a, edit(), 1, &limits).await, Ok(1));
    assert_eq!(acquire_all(&b, &limits).await, 57);
    advance(Duration::from_secs(9)).await;
    let (before, _) = table.rate_limit().await;
    assert_eq!(acquire(&a, edit(), 1, &limits).await, Ok(1));
    assert_eq!(
        table.rate_limit().await.0,
        before,
        "taken from its own lease"
    );
    advance(Duration::from_millis(1_100)).await;
    // The one that was left has expired: only the refill since then is available.
    let there = acquire_all(&a, &limits).await + acquire_all(&b, &limits).await;
    assert_eq!(there, 10);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_error_revokes_the_lease_taken_at_the_higher_rate() {
    let (table, limits) = (Table::new(), limits());
    let (a, b) = (table.worker(), table.worker());
    assert_eq!(acquire(&a, edit(), 1, &limits).await, Ok(1));
    assert_eq!(acquire(&b, edit(), 1, &limits).await, Ok(1));
    let slowed = a
        .record_outcome(CallOutcome::RateLimited(None), false, &limits)
        .await;
    assert_eq!(slowed.unwrap().unwrap().writes_per_minute, 30);
    // The refill of three seconds at thirty a minute is left in the bucket: one and a half.
    assert_eq!(acquire_all(&a, &limits).await, 1);
    // The other worker still has its lease of two; then it reads the new rate from the table.
    assert_eq!(acquire_all(&b, &limits).await, 2);
}

#[tokio::test(start_paused = true)]
async fn regression_a_lease_is_not_used_while_drive_is_to_be_left_alone() {
    let (table, limits) = (Table::new(), Limits::default());
    for (outcome, times, by) in [
        (CallOutcome::Failed, 5, ThrottledBy::Breaker),
        (
            CallOutcome::RateLimited(Some(30_000)),
            1,
            ThrottledBy::Drive,
        ),
        (CallOutcome::DailyLimit, 1, ThrottledBy::Drive),
    ] {
        let worker = table.worker();
        assert_eq!(acquire(&worker, read(), 1, &limits).await, Ok(1));
        for _ in 0..times {
            worker
                .record_outcome(outcome, false, &limits)
                .await
                .unwrap();
        }
        let throttled = acquire(&worker, read(), 1, &limits).await.unwrap_err();
        assert_eq!(throttled.by, by);
        // The next round starts with a fresh rate limit.
        let (revision, _) = table.rate_limit().await;
        let fresh = RateLimit::new(&limits, table.now());
        let store = table.store();
        let nonce = Nonce(u64::MAX - revision);
        let saved = store
            .save_rate_limit(&Table::key(), revision, &fresh, nonce)
            .await;
        assert!(matches!(saved.unwrap(), Written::Done(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn growth_of_the_write_rate_is_counted_once() {
    let (table, limits) = (Table::new(), Limits::default());
    let a = table.worker();
    assert_eq!(acquire(&a, edit(), 1, &limits).await, Ok(1));
    advance(Duration::from_secs(3)).await;
    assert_eq!(
        a.record_outcome(CallOutcome::Answered, true, &limits)
            .await
            .unwrap(),
        None
    );
    let slowed = a
        .record_outcome(CallOutcome::RateLimited(None), false, &limits)
        .await;
    // Thirty more for three seconds in which writes succeeded, then half of the sum.
    assert_eq!(slowed.unwrap().unwrap().writes_per_minute, 65);
    advance(Duration::from_secs(6)).await;
    let slowed = a
        .record_outcome(CallOutcome::RateLimited(None), false, &limits)
        .await;
    assert_eq!(slowed.unwrap().unwrap().writes_per_minute, 32);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_trial_is_a_single_call_and_other_workers_see_its_outcome() {
    let (table, limits) = (Table::new(), Limits::default());
    let (a, b) = (table.worker(), table.worker());
    fail(&a, 5, &limits).await;
    let throttled = acquire(&b, read(), 1, &limits).await.unwrap_err();
    assert_eq!(throttled.by, ThrottledBy::Breaker);
    assert!(
        (59_000..=60_000).contains(&throttled.wait_millis),
        "{throttled:?}"
    );
    advance(Duration::from_secs(61)).await;
    assert_eq!(
        acquire(&a, read(), 10, &limits).await,
        Ok(1),
        "one, not ten"
    );
    let throttled = acquire(&b, read(), 1, &limits).await.unwrap_err();
    assert_eq!(throttled.by, ThrottledBy::Breaker);
    // The trial failed: the breaker is open for as long again.
    fail(&a, 1, &limits).await;
    advance(Duration::from_secs(30)).await;
    assert!(acquire(&b, read(), 1, &limits).await.is_err());
    advance(Duration::from_secs(31)).await;
    assert_eq!(acquire(&b, read(), 10, &limits).await, Ok(1));
    assert!(acquire(&a, read(), 1, &limits).await.is_err());
    let closed = b
        .record_outcome(CallOutcome::Answered, false, &limits)
        .await
        .unwrap();
    assert!(!closed.unwrap().breaker.is_open());
    // The other worker's cached copy is outdated; after a second it reads again.
    advance(Duration::from_millis(1_100)).await;
    assert_eq!(acquire(&a, read(), 10, &limits).await, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_an_old_cached_copy_is_checked_against_the_table() {
    let (table, limits) = (Table::new(), limits());
    let (a, b) = (table.worker(), table.worker());
    assert_eq!(acquire(&a, edit(), 60, &limits).await, Ok(60));
    // Its cached copy says that Drive is to be left alone for a quarter of an hour.
    a.record_outcome(CallOutcome::RateLimited(Some(900_000)), false, &limits)
        .await
        .unwrap();
    let (revision, mut rate_limit) = table.rate_limit().await;
    rate_limit.blocked_until = table.now();
    let nonce = Nonce(7);
    let store = table.store();
    let key = Table::key();
    store
        .save_rate_limit(&key, revision, &rate_limit, nonce)
        .await
        .unwrap();
    let throttled = acquire(&a, read(), 1, &limits).await;
    assert!(throttled.is_err(), "the cached copy is recent");
    advance(Duration::from_millis(1_100)).await;
    assert_eq!(acquire(&a, read(), 1, &limits).await, Ok(1));
    assert_eq!(acquire(&b, read(), 1, &limits).await, Ok(1));
}
