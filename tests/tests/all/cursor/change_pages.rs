//! Pages of a change log: none is skipped, repeated entries are applied once, and two readers of
//! one log do no harm.

use std::time::Duration;

use domain::LogId;
use http::Method;
use local::aws::Queue;
use local::sources::event;
use runtime::Deadline;
use serde_json::json;
use worker::queue;

use crate::support::{ByHand, by_hand};

#[test]
fn pain_06_of_2500_changes_on_short_and_empty_pages_none_is_missed() {
    by_hand(4, async |hand| {
        let pages = json!({"size": 300, "empty_every": 4});
        hand.control(Method::POST, "pages", pages).await;
        let load = json!({"files": 2_450, "folders": 50});
        hand.control(Method::POST, "load", load).await;
        hand.simulator.zero_counters();
        hand.wait_for_wake().await;
        hand.pump().await;
        assert_eq!(hand.differences().await, Vec::<String>::new());
        assert_eq!(hand.files().await.len(), 2_506);
        let listed = hand.calls("changes.list");
        assert!(listed >= 9 + 2, "short pages, and empty ones: {listed}");
        assert_eq!(hand.calls("files.get") + hand.calls("v2.files.get"), 0);
    });
}

/// Returns the files whose changes Drive still lists from the cursor on.
async fn changes_after_the_cursor(hand: &ByHand) -> Vec<String> {
    let (mut ids, mut token) = (Vec::new(), hand.log().await.cursor.unwrap());
    loop {
        let path = format!("/drive/v3/changes?pageToken={}&fields=*", token.as_str());
        let (status, page) = hand.owner().call(Method::GET, &path, None).await;
        assert_eq!(status, 200, "{page}");
        let changes = page["changes"].as_array().unwrap().iter();
        ids.extend(changes.map(|change| change["fileId"].as_str().unwrap().to_owned()));
        match page["nextPageToken"].as_str() {
            Some(next) => token = domain::PageToken::new(next),
            None => return ids,
        }
    }
}

#[test]
fn pain_06_a_reader_that_crashes_never_leaves_its_cursor_ahead_of_the_queue() {
    by_hand(7, async |hand| {
        let pages = json!({"size": 2, "empty_every": 3});
        hand.control(Method::POST, "pages", pages).await;
        let files: Vec<String> = (0..5).map(|_| hand.take()).collect();
        let mut calls = 0;
        loop {
            let name = format!("stopped at {calls}.txt");
            for file in &files {
                hand.owner().rename(file, &name).await;
            }
            hand.wait_for_wake().await;
            let crashed = hand.crashes(Queue::LogWakes, calls).await;
            hand.pump_only(Queue::Snapshots).await;
            let ahead = changes_after_the_cursor(hand).await;
            for file in &files {
                let applied = hand.file(file).await["fields"]["name"] == name.as_str();
                assert!(
                    applied || ahead.contains(file),
                    "{file} is neither queued nor ahead of the cursor after call {calls}"
                );
            }
            // The messages in flight are received again.
            hand.pump().await;
            assert_eq!(hand.differences().await, Vec::<String>::new());
            if !crashed {
                break;
            }
            calls += 1;
        }
        assert!(calls >= 8, "three pages are at least eight calls: {calls}");
        assert_eq!(hand.get("/conflicts?status=all").await["items"], json!([]));
    });
}

async fn revision(hand: &ByHand, file: &str) -> u64 {
    hand.file(file).await["revision"].as_u64().unwrap()
}

#[test]
fn pain_07_a_file_that_changes_while_pages_are_read_ends_at_the_newer_version() {
    by_hand(5, async |hand| {
        hand.control(Method::POST, "pages", json!({"size": 1}))
            .await;
        let (again, other) = (hand.take(), hand.take());
        hand.owner().rename(&again, "first.txt").await;
        hand.owner().rename(&other, "other.txt").await;
        hand.wait_for_wake().await;
        hand.wait_until_visible(Queue::LogWakes).await;
        // Its time is up after one page: the page is queued, and the reader sends itself a wake.
        let received = hand.receive(Queue::LogWakes).await;
        hand.deliver(Queue::LogWakes, &received, Deadline(hand.now()))
            .await;
        assert_eq!(hand.waiting(Queue::Snapshots), 1, "one page");
        hand.owner().rename(&again, "second.txt").await;
        hand.pump_only(Queue::LogWakes).await;
        assert_eq!(hand.waiting(Queue::Snapshots), 3, "seen twice");
        hand.pump().await;
        assert_eq!(hand.file(&again).await["fields"]["name"], "second.txt");
        assert_eq!(hand.conflicts_of(&again).await.len(), 0);
        assert_eq!(hand.differences().await, Vec::<String>::new());
        let before = revision(hand, &again).await;
        hand.sync().await;
        hand.pump().await;
        assert_eq!(revision(hand, &again).await, before, "and stays there");
    });
}

#[test]
fn pain_07_of_two_readers_one_moves_the_cursor_and_nothing_is_applied_twice() {
    by_hand(5, async |hand| {
        let files = [hand.take(), hand.take(), hand.take()];
        hand.disable_notifications();
        for file in &files {
            hand.owner().rename(file, &format!("{file}.txt")).await;
        }
        let deps = &hand.functions.fetch_changes;
        queue::wake_log(&deps.log_wakes, &hand.key, &LogId::user(), hand.now())
            .await
            .unwrap();
        hand.wait_until_visible(Queue::LogWakes).await;
        let received = hand.receive(Queue::LogWakes).await;
        let deadline = Deadline(hand.now().plus_millis(60_000));
        let wake = || event(Queue::LogWakes, &received).unwrap();
        let before = hand.log().await.cursor;
        hand.simulator.zero_counters();
        let (first, second) = tokio::join!(
            hand.handle(Queue::LogWakes, wake(), deadline),
            hand.handle(Queue::LogWakes, wake(), deadline),
        );
        assert_eq!(hand.calls("changes.list"), 2, "both have read");
        for answer in [first, second] {
            assert!(
                answer.batch_item_failures.is_empty(),
                "no harm to the loser"
            );
        }
        assert_ne!(hand.log().await.cursor, before);
        assert_eq!(hand.waiting(Queue::Snapshots), 3);
        hand.pump().await;
        for file in &files {
            assert_eq!(revision(hand, file).await, 2);
        }
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

/// Sweeps and delivers for this many seconds.
async fn seconds_pass(hand: &ByHand, seconds: u64) {
    for _ in 0..seconds / 5 {
        hand.advance_clock(Duration::from_secs(5));
        hand.sweep_and_pump().await;
    }
}

#[test]
fn regression_a_page_token_that_repeats_costs_few_calls_and_loses_no_change() {
    by_hand(6, async |hand| {
        let (first, second, third) = (hand.take(), hand.take(), hand.take());
        // The token of the log's end is sent as that of a next page.
        let words = json!({"\"newStartPageToken\"": "\"nextPageToken\""});
        hand.fault(json!({"match": "GET /drive/v3/changes", "times": 0, "replace": words}));
        hand.simulator.zero_counters();
        hand.owner().rename(&first, "first.txt").await;
        hand.wait_for_wake().await;
        hand.pump().await;
        assert_eq!(hand.file(&first).await["fields"]["name"], "first.txt");
        assert!(
            hand.calls("changes.list") <= 3,
            "{}",
            hand.calls("changes.list")
        );
        let stopped = hand.get("/status").await["logs"][0]["stopped"].clone();
        assert_eq!(stopped["reason"], "token_repeats", "{stopped}");

        hand.owner().rename(&second, "second.txt").await;
        hand.wait_for_wake().await;
        seconds_pass(hand, 60).await;
        assert!(
            hand.calls("changes.list") <= 9,
            "{}",
            hand.calls("changes.list")
        );
        hand.simulator.clear_faults();
        hand.owner().rename(&third, "third.txt").await;
        seconds_pass(hand, 100).await;
        assert_eq!(hand.differences().await, Vec::<String>::new());
        let status = hand.get("/status").await;
        assert_eq!(status["logs"][0]["stopped"], json!(null), "{status}");
        let operations = hand.get("/operations").await;
        assert_eq!(
            operations["items"].as_array().unwrap().len(),
            1,
            "no resync"
        );
    });
}
