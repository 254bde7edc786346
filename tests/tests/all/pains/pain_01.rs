//! A notification comes late, or never.

use std::time::Duration;

use http::Method;
use local::aws::Queue;
use serde_json::json;

use crate::support::{by_hand, top};

/// The longest that a log with a channel waits for its next poll: a quarter of an hour, and 20 % of jitter.
const POLL: Duration = Duration::from_secs(18 * 60 + 1);

#[test]
fn pain_01_with_every_notification_lost_each_change_is_applied_within_one_poll() {
    by_hand(6, async |hand| {
        let files = [hand.take(), hand.take(), hand.take()];
        let lost = json!({"drop": 1.0});
        hand.control(Method::POST, "notifications", lost).await;
        for file in &files {
            hand.owner().rename(file, &format!("{file}.txt")).await;
        }
        hand.owner().delete(&hand.take()).await;
        hand.turn().await;
        assert_ne!(hand.differences().await, Vec::<String>::new());
        hand.pass(POLL);
        hand.turn().await;
        assert_eq!(hand.differences().await, Vec::<String>::new());
        let status = hand.get("/status").await;
        let lag = status["logs"][0]["lag_millis"].as_i64().unwrap();
        assert!(lag > 600_000, "the lag tells that it came late: {status}");
    });
}

#[test]
fn pain_01_a_lag_that_no_notification_explains_raises_an_alarm() {
    let alarms = std::fs::read_to_string(top().join("infra/alarms.yaml")).unwrap();
    let fetch = std::fs::read_to_string(top().join("functions/fetch-changes/src/lib.rs")).unwrap();
    // The filter reads what the function logs: neither may change its word alone.
    assert!(alarms.contains(r#"{ $.metric = "log_lag" }"#));
    assert!(alarms.contains("MetricValue: $.lag_millis"));
    assert!(fetch.contains(r#"metric = "log_lag""#));
}

#[test]
fn pain_01_a_change_that_the_log_shows_after_its_notification_is_found_without_another() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let late = json!({"delay_seconds": 90});
        hand.control(Method::POST, "visibility", late).await;
        hand.owner().rename(&file, "late.txt").await;
        hand.woken().await;
        hand.pump().await;
        assert_ne!(hand.file(&file).await["fields"]["name"], "late.txt");
        let listed = hand.calls("changes.list");
        hand.pass(POLL);
        assert_eq!(hand.waiting(Queue::LogWakes), 0, "nothing more is notified");
        hand.turn().await;
        assert_eq!(hand.file(&file).await["fields"]["name"], "late.txt");
        assert!(hand.calls("changes.list") > listed);
    });
}
