//! A process that is killed at each of its calls: nothing is lost, nothing is out of order.

use std::time::Duration;

use local::aws::Queue;
use worker::queue::wake_endpoint;

use super::receiver::Reply;
use super::{append, head, names, place, receiver_and_endpoint, stored};
use crate::support::by_hand;

#[test]
fn a_delivery_that_is_killed_at_any_call_is_made_again() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        let mut number = 0;
        for replies in [vec![], vec![Reply::Status(500)], vec![Reply::Status(410)]] {
            for at in 0.. {
                assert!(at < 60, "it ends");
                append(hand, &names(number..number + 30)).await;
                receiver.replies(replies.clone());
                let deps = &hand.functions.live;
                let woken = wake_endpoint(&deps.deliver, &hand.key.tenant, &id, hand.now());
                woken.await.unwrap();
                let crashed = hand.crashes(Queue::Deliver, at).await;
                for _ in 0..12 {
                    if place(hand, &id).await == head(hand).await {
                        break;
                    }
                    hand.advance_clock(Duration::from_secs(130));
                    hand.sweep_and_pump().await;
                    let endpoint = stored(hand, &id).await.endpoint;
                    if !endpoint.is_active() {
                        let enabled = domain::webhook::Changes {
                            active: Some(true),
                            ..domain::webhook::Changes::default()
                        };
                        super::change(hand, &id, |endpoint| {
                            endpoint.changed(&enabled, &endpoint.maker, hand.now())
                        })
                        .await;
                    }
                }
                // Each file for the first time in order, and all of them.
                let mut files = receiver.files();
                let mut seen = std::collections::BTreeSet::new();
                files.retain(|file| seen.insert(file.clone()));
                assert_eq!(files, names(number..number + 30), "{replies:?} at {at}");
                number += 30;
                if !crashed {
                    break;
                }
            }
        }
    });
}
