//! Workers of one connection, each with a ledger of its own, over one table.

use std::time::Duration;

use domain::pace::{CallKind, QuotaModel};
use futures_util::future::join_all;
use tokio::time::advance;

use super::*;
use crate::support::Table;

/// One write a second, sixty at once.
fn limits() -> Limits {
    Limits {
        writes_base_per_minute: 60,
        writes_max_per_minute: 60,
        ..Limits::default()
    }
}

fn edit() -> Ask {
    CallKind::Edit.cost(1, QuotaModel::Units)
}

fn read() -> Ask {
    CallKind::Read.cost(1, QuotaModel::Units)
}

async fn spend(worker: &Ledger, ask: Ask, count: u32, limits: &Limits) -> Result<u32, Held> {
    worker.spend(ask, count, limits).await.unwrap()
}

/// Spends on one write after the other until it is held; says how many.
async fn spend_all(worker: &Ledger, limits: &Limits) -> u32 {
    let mut spent = 0;
    loop {
        match spend(worker, edit(), 1, limits).await {
            Ok(one) => spent += one,
            Err(held) if held.by == HeldBy::Writes => return spent,
            // Others kept being faster: it asks again, as it is told to.
            Err(held) => tokio::time::sleep(Duration::from_millis(held.wait_millis)).await,
        }
    }
}

async fn fails(worker: &Ledger, times: u32, limits: &Limits) {
    for _ in 0..times {
        worker.told(Outcome::Failed, false, limits).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn two_workers_take_turns_at_chunks_and_together_no_more_than_there_is() {
    let (table, limits) = (Table::new(), limits());
    let (a, b) = (table.worker(), table.worker());
    let mut spent = [0, 0];
    for turn in 0..40 {
        let worker = [&a, &b][turn % 2];
        spent[turn % 2] += spend(worker, edit(), 1, &limits).await.unwrap();
    }
    assert_eq!(spent, [20, 20]);
    // A chunk is what flows in within three seconds: not every call is a write of the table.
    let (writes, _) = table.pace().await;
    assert!((14..=16).contains(&writes), "{writes} writes for 40 calls");
    let rest = spend_all(&a, &limits).await + spend_all(&b, &limits).await;
    // Each of the table's calls takes a millisecond, in which a thousandth of a write flows in.
    assert!((20..=21).contains(&rest), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn workers_that_take_at_the_same_moment_each_get_their_own_or_wait() {
    let (table, limits) = (Table::new(), limits());
    let began = table.now();
    let workers: Vec<Ledger> = (0..8).map(|_| table.worker()).collect();
    let spent = join_all(workers.iter().map(|worker| spend_all(worker, &limits))).await;
    let spent: u32 = spent.iter().sum();
    let seconds = u32::try_from(table.now().millis_since(began)).unwrap() / 1_000;
    assert!(
        (60..=61 + seconds).contains(&spent),
        "{spent} in {seconds} s"
    );
    // What all of them say at once is all heard.
    join_all(workers.iter().map(|worker| fails(worker, 1, &limits))).await;
    assert!(table.pace().await.1.breaker.is_open());
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_is_there_again_for_the_worker_who_had_it() {
    let (table, limits) = (Table::new(), limits());
    let (a, b) = (table.worker(), table.worker());
    assert_eq!(spend(&a, edit(), 60, &limits).await, Ok(60));
    let held = spend(&b, edit(), 1, &limits).await.unwrap_err();
    assert_eq!(held.by, HeldBy::Writes);
    a.give_back(edit()).await;
    let (before, _) = table.pace().await;
    assert_eq!(spend(&a, edit(), 1, &limits).await, Ok(1));
    assert_eq!(table.pace().await.0, before, "nobody had to be asked");
    assert!(spend(&a, edit(), 1, &limits).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_used_within_ten_seconds_is_forfeited() {
    let (table, limits) = (Table::new(), limits());
    let (a, b) = (table.worker(), table.worker());
    // A chunk of three, of which one is used; another takes all the rest.
    assert_eq!(spend(&a, edit(), 1, &limits).await, Ok(1));
    assert_eq!(spend_all(&b, &limits).await, 57);
    advance(Duration::from_secs(9)).await;
    let (before, _) = table.pace().await;
    assert_eq!(spend(&a, edit(), 1, &limits).await, Ok(1));
    assert_eq!(table.pace().await.0, before, "it was its own");
    advance(Duration::from_millis(1_100)).await;
    // One is left, and counts no more: what flowed in meanwhile is all that there is.
    let there = spend_all(&a, &limits).await + spend_all(&b, &limits).await;
    assert_eq!(there, 10);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_takes_back_what_was_taken_at_the_faster_pace() {
    let (table, limits) = (Table::new(), limits());
    let (a, b) = (table.worker(), table.worker());
    assert_eq!(spend(&a, edit(), 1, &limits).await, Ok(1));
    assert_eq!(spend(&b, edit(), 1, &limits).await, Ok(1));
    let slowed = a.told(Outcome::Limited(None), false, &limits).await;
    assert_eq!(slowed.unwrap().unwrap().writes_per_minute, 30);
    // Three seconds of thirty a minute are left in the bucket: one, and a half.
    assert_eq!(spend_all(&a, &limits).await, 1);
    // The other did not hear it, and has two; the table tells it the rest.
    assert_eq!(spend_all(&b, &limits).await, 2);
}

#[tokio::test(start_paused = true)]
async fn regression_what_was_taken_is_not_used_while_drive_is_left_alone() {
    let (table, limits) = (Table::new(), Limits::default());
    for (outcome, times, by) in [
        (Outcome::Failed, 5, HeldBy::Breaker),
        (Outcome::Limited(Some(30_000)), 1, HeldBy::Drive),
        (Outcome::DailyLimit, 1, HeldBy::Drive),
    ] {
        let worker = table.worker();
        assert_eq!(spend(&worker, read(), 1, &limits).await, Ok(1));
        for _ in 0..times {
            worker.told(outcome, false, &limits).await.unwrap();
        }
        let held = spend(&worker, read(), 1, &limits).await.unwrap_err();
        assert_eq!(held.by, by);
        // The next one begins anew.
        let (revision, _) = table.pace().await;
        let fresh = Pace::fresh(&limits, table.now());
        let store = table.store();
        let nonce = Nonce(u64::MAX - revision);
        let saved = store
            .save_pace(&Table::key(), revision, &fresh, nonce)
            .await;
        assert!(matches!(saved.unwrap(), Written::Done(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn growth_is_counted_once_whoever_wrote() {
    let (table, limits) = (Table::new(), Limits::default());
    let a = table.worker();
    assert_eq!(spend(&a, edit(), 1, &limits).await, Ok(1));
    advance(Duration::from_secs(3)).await;
    assert_eq!(
        a.told(Outcome::Answered, true, &limits).await.unwrap(),
        None
    );
    let slowed = a.told(Outcome::Limited(None), false, &limits).await;
    // Thirty for three seconds in which writes succeeded, then half of it.
    assert_eq!(slowed.unwrap().unwrap().writes_per_minute, 65);
    advance(Duration::from_secs(6)).await;
    let slowed = a.told(Outcome::Limited(None), false, &limits).await;
    assert_eq!(slowed.unwrap().unwrap().writes_per_minute, 32);
}

#[tokio::test(start_paused = true)]
async fn a_trial_is_one_call_of_one_worker_and_the_others_hear_how_it_ended() {
    let (table, limits) = (Table::new(), Limits::default());
    let (a, b) = (table.worker(), table.worker());
    fails(&a, 5, &limits).await;
    let held = spend(&b, read(), 1, &limits).await.unwrap_err();
    assert_eq!(held.by, HeldBy::Breaker);
    assert!((59_000..=60_000).contains(&held.wait_millis), "{held:?}");
    advance(Duration::from_secs(61)).await;
    assert_eq!(spend(&a, read(), 10, &limits).await, Ok(1), "one, not ten");
    let held = spend(&b, read(), 1, &limits).await.unwrap_err();
    assert_eq!(held.by, HeldBy::Breaker);
    // It failed: shut again for as long.
    fails(&a, 1, &limits).await;
    advance(Duration::from_secs(30)).await;
    assert!(spend(&b, read(), 1, &limits).await.is_err());
    advance(Duration::from_secs(31)).await;
    assert_eq!(spend(&b, read(), 10, &limits).await, Ok(1));
    assert!(spend(&a, read(), 1, &limits).await.is_err());
    let closed = b.told(Outcome::Answered, false, &limits).await.unwrap();
    assert!(!closed.unwrap().breaker.is_open());
    // What the other saw of it is a moment old; a second later it looks again.
    advance(Duration::from_millis(1_100)).await;
    assert_eq!(spend(&a, read(), 10, &limits).await, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_an_old_sight_is_looked_up_before_it_counts() {
    let (table, limits) = (Table::new(), limits());
    let (a, b) = (table.worker(), table.worker());
    assert_eq!(spend(&a, edit(), 60, &limits).await, Ok(60));
    // It has seen an empty bucket, and that Drive is to be left alone for a quarter of an hour.
    a.told(Outcome::Limited(Some(900_000)), false, &limits)
        .await
        .unwrap();
    let (revision, mut pace) = table.pace().await;
    pace.held_until = table.now();
    let nonce = Nonce(7);
    let store = table.store();
    let key = Table::key();
    store.save_pace(&key, revision, &pace, nonce).await.unwrap();
    let held = spend(&a, read(), 1, &limits).await;
    assert!(held.is_err(), "seen a moment ago");
    advance(Duration::from_millis(1_100)).await;
    assert_eq!(spend(&a, read(), 1, &limits).await, Ok(1));
    assert_eq!(spend(&b, read(), 1, &limits).await, Ok(1));
}
