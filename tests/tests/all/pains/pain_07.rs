//! A change is seen twice, an entry moves while pages are read, two workers read one log.

use domain::LogId;
use http::Method;
use local::aws::Queue;
use local::sources::event;
use runtime::{Deadline, queue};
use serde_json::json;

use crate::support::{ByHand, by_hand};

async fn revision(hand: &ByHand, file: &str) -> u64 {
    hand.file(file).await["revision"].as_u64().unwrap()
}

#[test]
fn pain_07_a_file_that_changes_again_while_pages_are_read_ends_at_the_newer_version_once() {
    by_hand(5, async |hand| {
        hand.control(Method::POST, "pages", json!({"size": 1}))
            .await;
        let (again, other) = (hand.take(), hand.take());
        hand.owner().rename(&again, "first.txt").await;
        hand.owner().rename(&other, "other.txt").await;
        hand.woken().await;
        hand.visible(Queue::LogWakes).await;
        // Its time is up after one page: what it has read is queued, and it wakes itself.
        let received = hand.receive(Queue::LogWakes).await;
        hand.hand_over(Queue::LogWakes, &received, Deadline(hand.now()))
            .await;
        assert_eq!(hand.waiting(Queue::Snapshots), 1, "one page");
        hand.owner().rename(&again, "second.txt").await;
        hand.pump_only(Queue::LogWakes).await;
        assert_eq!(hand.waiting(Queue::Snapshots), 3, "seen twice");
        hand.pump().await;
        assert_eq!(hand.file(&again).await["fields"]["name"], "second.txt");
        assert_eq!(hand.conflicts_of(&again).await.len(), 0);
        assert_eq!(hand.differences().await, Vec::<String>::new());
        let settled = revision(hand, &again).await;
        hand.sync().await;
        hand.pump().await;
        assert_eq!(revision(hand, &again).await, settled, "and stays there");
    });
}

#[test]
fn pain_07_of_two_workers_with_one_token_one_moves_the_cursor_and_nothing_is_applied_twice() {
    by_hand(5, async |hand| {
        let files = [hand.take(), hand.take(), hand.take()];
        hand.silence();
        for file in &files {
            hand.owner().rename(file, &format!("{file}.txt")).await;
        }
        let deps = &hand.functions.fetch_changes;
        queue::wake_log(&deps.log_wakes, &hand.key, &LogId::user(), hand.now())
            .await
            .unwrap();
        hand.visible(Queue::LogWakes).await;
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
