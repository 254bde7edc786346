//! Watching is throttled.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::support::{ByHand, by_hand};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn pain_04_a_log_has_one_channel_a_file_none_and_a_restart_opens_nothing() {
    crate::support::run(async {
        let mut hand = ByHand::start(6).await;
        for _ in 0..3 {
            hand.restart();
            for _ in 0..3 {
                hand.pass(MINUTE);
                hand.turn().await;
            }
        }
        assert_eq!(hand.calls("changes.watch"), 1);
        assert_eq!(hand.calls("files.watch"), 0);
        assert_eq!(hand.calls("channels.stop"), 0);
    });
}

#[test]
fn pain_04_a_throttled_renewal_backs_off_and_keeps_the_old_channel_until_there_is_a_new_one() {
    by_hand(6, async |hand| {
        let (old, file) = (hand.channel().await, hand.take());
        hand.control(Method::POST, "watches", json!({"refuse": 1_000_000}))
            .await;
        hand.pass(Duration::from_secs(86_400).mul_f64(5.3));
        hand.simulator.zero_counters();
        for _ in 0..20 {
            hand.pass(3 * MINUTE);
            hand.sweep().await;
        }
        let refused = hand.calls("changes.watch");
        assert!((3..=12).contains(&refused), "{refused} in an hour");
        assert_eq!(hand.channel().await.id, old.id);
        assert_eq!(hand.calls("channels.stop"), 0);
        hand.pump().await;
        hand.owner().rename(&file, "told by the old.txt").await;
        hand.woken().await;
        hand.pump().await;
        assert_eq!(
            hand.file(&file).await["fields"]["name"],
            "told by the old.txt"
        );
        hand.control(Method::POST, "watches", json!({})).await;
        for _ in 0..34 {
            hand.pass(3 * MINUTE);
            hand.sweep().await;
        }
        assert_ne!(hand.channel().await.id, old.id);
        assert_eq!(hand.calls("changes.watch"), refused + 1);
        assert_eq!(hand.calls("channels.stop"), 1);
    });
}

#[test]
fn pain_04_a_log_that_drive_lets_nobody_watch_is_polled_and_asked_for_ever_less_often() {
    by_hand(6, async |hand| {
        hand.control(Method::POST, "watches", json!({"refuse": 1_000_000}))
            .await;
        // The channel ends while nothing of ours runs.
        hand.pass(Duration::from_secs(8 * 86_400));
        hand.turn().await;
        hand.simulator.zero_counters();
        let file = hand.take();
        hand.owner().rename(&file, "polled.txt").await;
        for _ in 0..20 {
            hand.pass(3 * MINUTE);
            hand.turn().await;
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
