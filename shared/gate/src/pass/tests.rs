//! What a caller sees of the gate: calls that wait, are held, or are asked again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::support::Table;

/// Waits up to two seconds, for the next minute.
fn patient(table: &Table) -> Patience {
    Patience {
        wait_millis_max: 2_000,
        until: table.now().plus_millis(60_000),
    }
}

/// Asks who we are, of a Drive that answers so; says how it ended, how often it was asked, and in how many milliseconds.
async fn asked(table: &Table, pass: &Pass, answers: &[u16]) -> (Option<u16>, u64, u128) {
    table.answers.lock().unwrap().extend(answers);
    let (before, began) = (table.asked.load(Ordering::SeqCst), Instant::now());
    let answer = pass.ask(CallKind::Other, || pass.drive().about()).await;
    let refused = match answer {
        Ok(_) => None,
        Err(GateError::Drive(error)) => error.status(),
        Err(error) => panic!("{error}"),
    };
    table.answers.lock().unwrap().clear();
    let times = table.asked.load(Ordering::SeqCst) - before;
    (refused, times, began.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_asked_again_in_place_three_times_in_all() {
    let table = Table::new();
    table.draw_the_most();
    let pass = table.pass(Limits::default(), patient(&table)).await;
    for answers in [[503, 429], [403, 500]] {
        let (refused, times, millis) = asked(&table, &pass, &answers).await;
        assert_eq!((refused, times), (None, 3));
        // Half a second, then a whole one, and the table's own few.
        assert!((1_490..1_600).contains(&millis), "{millis}");
    }
    let (refused, times, _) = asked(&table, &pass, &[503, 503, 502, 503]).await;
    assert_eq!((refused, times), (Some(502), 3), "then it is the queue's");
    // Each of them was a call: three failures in a row, and an answer before them.
    let breaker = table.pace().await.1.breaker;
    assert_eq!(breaker, domain::pace::Breaker::Closed { failures: 3 });
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_or_not_in_time_is_asked_once() {
    let table = Table::new();
    table.draw_the_most();
    let pass = table.pass(Limits::default(), patient(&table)).await;
    assert_eq!(asked(&table, &pass, &[404]).await.1, 1);
    let hasty = Patience {
        wait_millis_max: 2_000,
        until: table.now().plus_millis(400),
    };
    let pass = table.pass(Limits::default(), hasty).await;
    let (refused, times, _) = asked(&table, &pass, &[503]).await;
    assert_eq!((refused, times), (Some(503), 1));
}

#[tokio::test(start_paused = true)]
async fn the_calls_that_ask_again_stop_where_the_breaker_opens() {
    let table = Table::new();
    let limits = Limits {
        breaker_failures: 2,
        ..Limits::default()
    };
    let pass = table.pass(limits, patient(&table)).await;
    table.answers.lock().unwrap().extend([503, 503, 503]);
    let answer = pass.ask(CallKind::Other, || pass.drive().about()).await;
    assert!(matches!(answer, Err(GateError::Held(held)) if held.by == HeldBy::Breaker));
    assert_eq!(table.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_is_waited_for_in_place_and_a_long_one_handed_back_at_once() {
    let table = Table::new();
    let limits = Limits {
        writes_base_per_minute: 60,
        writes_max_per_minute: 60,
        ..Limits::default()
    };
    let pass = table.pass(limits, patient(&table)).await;
    assert_eq!(pass.admit(&[CallKind::Edit], 60).await.unwrap(), 60);
    let began = Instant::now();
    assert_eq!(pass.admit(&[CallKind::Edit], 1).await.unwrap(), 1);
    assert!(began.elapsed() >= Duration::from_millis(900));
    let never = table.pass(limits, Patience::NONE).await;
    let began = Instant::now();
    let held = never.admit(&[CallKind::Edit], 1).await;
    assert!(matches!(held, Err(GateError::Held(_))));
    assert!(began.elapsed() < Duration::from_millis(100));
    // A call that is held is not made.
    let call = never.call(CallKind::Edit, never.drive().about()).await;
    assert!(matches!(call, Err(GateError::Held(_))));
    assert_eq!(table.asked.load(Ordering::SeqCst), 0);
}
