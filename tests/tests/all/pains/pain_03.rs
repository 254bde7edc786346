//! Channels expire.

use std::time::Duration;

use serde_json::json;

use crate::support::{ByHand, by_hand, eventually};

const DAY: Duration = Duration::from_secs(86_400);

/// Renames a file and waits until Drive has told of it on this many channels.
async fn told(hand: &ByHand, name: &str, channels: u64) {
    let delivered = |hand: &ByHand| {
        let outcomes = hand.simulator.counters().notifications;
        outcomes.get("delivered").copied().unwrap_or(0)
    };
    let before = delivered(hand);
    let file = hand.simulator.random_files("owner", 1).pop().unwrap();
    hand.owner().rename(&file, name).await;
    eventually("the notifications", async || {
        (delivered(hand) >= before + channels).then_some(())
    })
    .await;
    hand.woken().await;
    hand.pump().await;
    assert_eq!(hand.file(&file).await["fields"]["name"], name);
}

#[test]
fn pain_03_across_three_expiries_no_change_is_lost() {
    by_hand(8, async |hand| {
        for round in 0..3 {
            let old = hand.channel().await;
            let life = old.expires_at.millis_since(hand.now());
            let days = 24 * 3_600_000;
            assert!(
                (6 * days..=7 * days + 60_000).contains(&life),
                "asked for and granted: {life}"
            );
            told(hand, &format!("told by the old {round}.txt"), 1).await;
            // A quarter of its life is left.
            hand.pass(DAY.mul_f64(5.3));
            hand.turn().await;
            let new = hand.channel().await;
            assert_ne!(old.id, new.id);
            assert_ne!(old.token_hash, new.token_hash);
            assert_eq!(hand.calls("channels.stop"), round, "both tell for a while");
            told(hand, &format!("told by both {round}.txt"), 2).await;
            hand.pass(Duration::from_secs(11 * 60));
            hand.turn().await;
            assert_eq!(hand.calls("channels.stop"), round + 1);
            told(hand, &format!("told by the new {round}.txt"), 1).await;
        }
        assert_eq!(hand.differences().await, Vec::<String>::new());
        assert_eq!(hand.calls("changes.watch"), 4);
    });
}

#[test]
fn pain_03_a_renewal_that_fails_is_tried_again_while_the_old_channel_tells() {
    by_hand(8, async |hand| {
        let old = hand.channel().await;
        hand.pass(DAY.mul_f64(5.3));
        hand.fault(json!({"match": "POST /drive/v3/changes/watch", "times": 2, "respond": {"status": 500}}));
        hand.turn().await;
        assert_eq!(hand.channel().await.id, old.id);
        told(hand, "told by the old.txt", 1).await;
        for _ in 0..10 {
            hand.pass(Duration::from_secs(60));
            hand.turn().await;
        }
        assert_ne!(hand.channel().await.id, old.id);
        told(hand, "told by the new.txt", 1).await;
    });
}

#[test]
fn pain_03_after_a_week_without_us_the_log_is_polled_and_watched_again() {
    by_hand(8, async |hand| {
        let old = hand.channel().await;
        let file = hand.take();
        hand.pass(8 * DAY);
        hand.owner().rename(&file, "told by nobody.txt").await;
        for _ in 0..3 {
            hand.turn().await;
            hand.pass(Duration::from_secs(90));
        }
        hand.turn().await;
        assert_ne!(hand.channel().await.id, old.id);
        assert_eq!(hand.differences().await, Vec::<String>::new());
        told(hand, "told by the new.txt", 1).await;
    });
}
