//! Throttled calls: waits in place, refusals and retries.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::support::Table;

/// Waits up to two seconds at a time, for the next minute.
fn wait_budget(table: &Table) -> WaitBudget {
    WaitBudget {
        max_wait_millis: 2_000,
        deadline: table.now().plus_millis(60_000),
    }
}

/// Calls `about` on a Drive that responds with these statuses. Returns the status of the error, the
/// number of requests, and the milliseconds it took.
async fn call_about(
    table: &Table,
    drive: &ThrottledDrive,
    statuses: &[u16],
) -> (Option<u16>, u64, u128) {
    table.statuses.lock().unwrap().extend(statuses);
    let (before, began) = (table.requests.load(Ordering::SeqCst), Instant::now());
    let result = drive
        .call_with_retries(CallKind::Other, || drive.client().about())
        .await;
    let refused = match result {
        Ok(_) => None,
        Err(CallError::Drive(error)) => error.status(),
        Err(error) => panic!("{error}"),
    };
    table.statuses.lock().unwrap().clear();
    let requests = table.requests.load(Ordering::SeqCst) - before;
    (refused, requests, began.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_is_retried_in_place_up_to_three_attempts() {
    let table = Table::new();
    table.use_longest_delays();
    let drive = table
        .throttled_drive(Limits::default(), wait_budget(&table))
        .await;
    for statuses in [[503, 429], [403, 500]] {
        let (refused, requests, millis) = call_about(&table, &drive, &statuses).await;
        assert_eq!((refused, requests), (None, 3));
        // Half a second, then a second, and a few milliseconds for the table.
        assert!((1_490..1_600).contains(&millis), "{millis}");
    }
    let (refused, requests, _) = call_about(&table, &drive, &[503, 503, 502, 503]).await;
    assert_eq!(
        (refused, requests),
        (Some(502), 3),
        "later attempts are the queue's"
    );
    // Each attempt counts as a call: three failures in a row after a success.
    let breaker = table.rate_limit().await.1.breaker;
    assert_eq!(
        breaker,
        domain::rate_limit::CircuitBreaker::Closed { failures: 3 }
    );
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_or_a_near_deadline_is_not_retried() {
    let table = Table::new();
    table.use_longest_delays();
    let drive = table
        .throttled_drive(Limits::default(), wait_budget(&table))
        .await;
    assert_eq!(call_about(&table, &drive, &[404]).await.1, 1);
    let short = WaitBudget {
        max_wait_millis: 2_000,
        deadline: table.now().plus_millis(400),
    };
    let drive = table.throttled_drive(Limits::default(), short).await;
    let (refused, requests, _) = call_about(&table, &drive, &[503]).await;
    assert_eq!((refused, requests), (Some(503), 1));
}

#[tokio::test(start_paused = true)]
async fn retries_stop_when_the_circuit_breaker_opens() {
    let table = Table::new();
    let limits = Limits {
        breaker_failures: 2,
        ..Limits::default()
    };
    let drive = table.throttled_drive(limits, wait_budget(&table)).await;
    table.statuses.lock().unwrap().extend([503, 503, 503]);
    let result = drive
        .call_with_retries(CallKind::Other, || drive.client().about())
        .await;
    let Err(CallError::Throttled(throttled)) = result else {
        panic!("the call was not throttled");
    };
    assert_eq!(throttled.by, ThrottledBy::Breaker);
    assert_eq!(table.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_happens_in_place_and_a_long_one_is_refused_at_once() {
    let table = Table::new();
    let limits = Limits {
        writes_base_per_minute: 60,
        writes_max_per_minute: 60,
        ..Limits::default()
    };
    let drive = table.throttled_drive(limits, wait_budget(&table)).await;
    assert_eq!(drive.acquire(&[CallKind::Edit], 60).await.unwrap(), 60);
    let began = Instant::now();
    assert_eq!(drive.acquire(&[CallKind::Edit], 1).await.unwrap(), 1);
    assert!(began.elapsed() >= Duration::from_millis(900));
    let never_waits = table.throttled_drive(limits, WaitBudget::NONE).await;
    let began = Instant::now();
    let refused = never_waits.acquire(&[CallKind::Edit], 1).await;
    assert!(matches!(refused, Err(CallError::Throttled(_))));
    assert!(began.elapsed() < Duration::from_millis(100));
    // A throttled call is not made.
    let call = never_waits
        .call(CallKind::Edit, never_waits.client().about())
        .await;
    assert!(matches!(call, Err(CallError::Throttled(_))));
    assert_eq!(table.requests.load(Ordering::SeqCst), 0);
}
