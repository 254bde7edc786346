//! Notifications come twice, and in bursts.

use http::Method;
use local::aws::Queue;
use serde_json::json;

use crate::support::{by_hand, eventually};

#[test]
fn pain_02_five_hundred_notifications_are_a_few_listings_and_one_change_each() {
    by_hand(25, async |hand| {
        let twice = json!({"duplicate": 1.0, "reorder": true});
        hand.control(Method::POST, "notifications", twice).await;
        let files: Vec<String> = (0..25).map(|_| hand.take()).collect();
        hand.simulator.zero_counters();
        let began = hand.now();
        for round in 0..10 {
            for file in &files {
                let name = format!("round {round}.txt");
                hand.owner().rename(file, &name).await;
            }
        }
        eventually("all are delivered", async || {
            let outcomes = hand.simulator.counters().notifications;
            (outcomes.get("delivered").copied().unwrap_or(0) >= 500).then_some(())
        })
        .await;
        // However long the machine took for it: one wake for each half second.
        let halves = hand.now().millis_since(began).div_euclid(500) + 2;
        let wakes = hand.waiting(Queue::LogWakes);
        assert!((1..=usize::try_from(halves).unwrap()).contains(&wakes));
        let before = hand.files().await;
        hand.pump().await;
        let listed = usize::try_from(hand.calls("changes.list")).unwrap();
        assert!((1..=wakes).contains(&listed), "{listed} for {wakes} wakes");
        let after = hand.files().await;
        for file in &files {
            let revision = |at: &serde_json::Value| at["revision"].as_u64().unwrap();
            assert_eq!(revision(&after[file]), revision(&before[file]) + 1);
            assert_eq!(after[file]["fields"]["name"], "round 9.txt");
        }
    });
}

#[test]
fn pain_02_a_notification_that_is_replayed_has_no_effect() {
    by_hand(4, async |hand| {
        let (channel, token) = hand.known_channel().await;
        let file = hand.take();
        hand.silence();
        hand.owner().rename(&file, "once.txt").await;
        for round in 0..5 {
            assert_eq!(hand.notify(&channel, token, "a resource", "7").await, 204);
            hand.pump().await;
            let at = hand.file(&file).await;
            assert_eq!(at["fields"]["name"], "once.txt", "round {round}");
        }
        let history = hand.get(&format!("/files/{file}/history")).await;
        assert_eq!(history["items"].as_array().unwrap().len(), 2, "{history}");
        assert_eq!(hand.file(&file).await["revision"], 2);
    });
}
