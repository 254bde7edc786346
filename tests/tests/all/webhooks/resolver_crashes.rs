//! A process that is killed at each of its calls while it asks a resolver.

use std::collections::BTreeSet;
use std::time::Duration;

use local::aws::Queue;
use serde_json::json;

use super::receiver::Got;
use super::resolver::{answers, asks, conflict, rename_both, resolver};
use crate::support::by_hand;

#[test]
fn a_question_that_is_killed_at_any_call_decides_once_under_one_id() {
    by_hand(70, async |hand| {
        let (receiver, id) = resolver(hand).await;
        let settings = json!({"policies": {"default": asks(&id, 86_400)}});
        hand.configure(settings).await;
        let mut killed = 0;
        for at in 0.. {
            assert!(at < 70, "it ends");
            let file = hand.take();
            rename_both(hand, &file).await;
            let answer = answers(json!({"value": format!("merged {at}.txt")}));
            receiver.replies(vec![answer; 3]);
            let crashed = hand.crashes(Queue::Deliver, at).await;
            for _ in 0..5 {
                if conflict(hand, &file).await["status"] == "resolved" {
                    break;
                }
                hand.advance_clock(Duration::from_secs(60));
                hand.sweep_and_pump().await;
            }
            let decided = conflict(hand, &file).await;
            assert_eq!(decided["status"], "resolved", "at {at}: {decided}");
            let name = format!("merged {at}.txt");
            assert_eq!(decided["resolution"]["value"], name, "at {at}");
            let got = receiver.got();
            let ids: BTreeSet<String> = got.iter().map(Got::id).collect();
            assert_eq!(ids.len(), 1, "at {at}");
            assert!(got.len() <= 2, "at {at}: asked {} times", got.len());
            hand.sweep_and_pump().await;
            assert_eq!(hand.owner().name_of(&file).await, name);
            killed += usize::from(crashed);
            if !crashed {
                assert_eq!(got.len(), 1);
                break;
            }
        }
        assert!(killed > 5, "{killed}");
    });
}
