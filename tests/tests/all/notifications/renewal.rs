//! Channels expire after a week, and Drive throttles the calls that open them.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::support::{ByHand, by_hand, eventually};

const DAY: Duration = Duration::from_secs(86_400);

/// Renames a file and waits until Drive has notified this many channels.
async fn rename_and_wait(hand: &ByHand, name: &str, channels: u64) {
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
    hand.wait_for_wake().await;
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
                "requested and granted: {life}"
            );
            rename_and_wait(hand, &format!("notified by the old {round}.txt"), 1).await;
            // A quarter of its lifetime is left.
            hand.advance_clock(DAY.mul_f64(5.3));
            hand.sweep_and_pump().await;
            let new = hand.channel().await;
            assert_ne!(old.id, new.id);
            assert_ne!(old.token_hash, new.token_hash);
            assert_eq!(
                hand.calls("channels.stop"),
                round,
                "both notify for a while"
            );
            rename_and_wait(hand, &format!("notified by both {round}.txt"), 2).await;
            hand.advance_clock(Duration::from_secs(11 * 60));
            hand.sweep_and_pump().await;
            assert_eq!(hand.calls("channels.stop"), round + 1);
            rename_and_wait(hand, &format!("notified by the new {round}.txt"), 1).await;
        }
        assert_eq!(hand.differences().await, Vec::<String>::new());
        assert_eq!(hand.calls("changes.watch"), 4);
    });
}

#[test]
fn pain_03_a_failed_renewal_is_retried_while_the_old_channel_still_notifies() {
    by_hand(8, async |hand| {
        let old = hand.channel().await;
        hand.advance_clock(DAY.mul_f64(5.3));
        hand.fault(json!({"match": "POST /drive/v3/changes/watch", "times": 2,
            "respond": {"status": 500}}));
        hand.sweep_and_pump().await;
        assert_eq!(hand.channel().await.id, old.id);
        rename_and_wait(hand, "notified by the old.txt", 1).await;
        for _ in 0..10 {
            hand.advance_clock(Duration::from_secs(60));
            hand.sweep_and_pump().await;
        }
        assert_ne!(hand.channel().await.id, old.id);
        rename_and_wait(hand, "notified by the new.txt", 1).await;
    });
}

#[test]
fn pain_03_after_a_week_offline_the_log_is_polled_and_watched_again() {
    by_hand(8, async |hand| {
        let old = hand.channel().await;
        let file = hand.take();
        hand.advance_clock(8 * DAY);
        hand.owner()
            .rename(&file, "without a notification.txt")
            .await;
        for _ in 0..3 {
            hand.sweep_and_pump().await;
            hand.advance_clock(Duration::from_secs(90));
        }
        hand.sweep_and_pump().await;
        assert_ne!(hand.channel().await.id, old.id);
        assert_eq!(hand.differences().await, Vec::<String>::new());
        rename_and_wait(hand, "notified by the new.txt", 1).await;
    });
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn pain_04_a_log_has_one_channel_a_file_none_and_a_restart_opens_none() {
    crate::support::run(async {
        let mut hand = ByHand::start(6).await;
        for _ in 0..3 {
            hand.restart();
            for _ in 0..3 {
                hand.advance_clock(MINUTE);
                hand.sweep_and_pump().await;
            }
        }
        assert_eq!(hand.calls("changes.watch"), 1);
        assert_eq!(hand.calls("files.watch"), 0);
        assert_eq!(hand.calls("channels.stop"), 0);
    });
}

#[test]
fn pain_04_a_throttled_renewal_backs_off_and_keeps_the_old_channel() {
    by_hand(6, async |hand| {
        let (old, file) = (hand.channel().await, hand.take());
        hand.control(Method::POST, "watches", json!({"refuse": 1_000_000}))
            .await;
        hand.advance_clock(Duration::from_secs(86_400).mul_f64(5.3));
        hand.simulator.zero_counters();
        for _ in 0..20 {
            hand.advance_clock(3 * MINUTE);
            hand.sweep().await;
        }
        let refused = hand.calls("changes.watch");
        assert!((3..=12).contains(&refused), "{refused} in an hour");
        assert_eq!(hand.channel().await.id, old.id);
        assert_eq!(hand.calls("channels.stop"), 0);
        hand.pump().await;
        hand.owner().rename(&file, "notified by the old.txt").await;
        hand.wait_for_wake().await;
        hand.pump().await;
        assert_eq!(
            hand.file(&file).await["fields"]["name"],
            "notified by the old.txt"
        );
        hand.control(Method::POST, "watches", json!({})).await;
        for _ in 0..34 {
            hand.advance_clock(3 * MINUTE);
            hand.sweep().await;
        }
        assert_ne!(hand.channel().await.id, old.id);
        assert_eq!(hand.calls("changes.watch"), refused + 1);
        assert_eq!(hand.calls("channels.stop"), 1);
    });
}

#[test]
fn pain_04_a_log_that_can_not_be_watched_is_polled_and_watch_is_tried_less_often() {
    by_hand(6, async |hand| {
        hand.control(Method::POST, "watches", json!({"refuse": 1_000_000}))
            .await;
        // The channel expires while the system is offline.
        hand.advance_clock(Duration::from_secs(8 * 86_400));
        hand.sweep_and_pump().await;
        hand.simulator.zero_counters();
        let file = hand.take();
        hand.owner().rename(&file, "polled.txt").await;
        for _ in 0..20 {
            hand.advance_clock(3 * MINUTE);
            hand.sweep_and_pump().await;
        }
        let refused = hand.calls("changes.watch");
        assert!((3..=12).contains(&refused), "{refused} in an hour");
        assert!(hand.log().await.channel.is_none());
        assert!(
            hand.calls("changes.list") >= 15,
            "polled whenever it is due"
        );
        assert_eq!(hand.file(&file).await["fields"]["name"], "polled.txt");
    });
}
