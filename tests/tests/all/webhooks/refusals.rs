//! Deliveries that are not accepted.

use std::time::Duration;

use domain::event::EventType;
use domain::webhook::{DeliveryOutcome, DisabledReason, EndpointState};
use http::Method;
use local::aws::Queue;
use store::PageRequest;

use super::receiver::{Receiver, Reply};
use super::{append_and_wake, change, names, receiver_and_endpoint, stored};
use crate::erasures::erase;
use crate::support::{ByHand, by_hand};

/// Moves the clock, and does what is due then.
async fn after(hand: &ByHand, time: Duration) {
    hand.advance_clock(time);
    hand.sweep_and_pump().await;
}

#[test]
fn a_delivery_is_repeated_until_it_is_accepted() {
    by_hand(1, async |hand| {
        let elsewhere = Receiver::start().await;
        let (receiver, id) = receiver_and_endpoint(hand).await;
        let mut number = 0;
        for (reply, outcome) in [
            (Reply::Status(500), DeliveryOutcome::Refused),
            (Reply::Status(404), DeliveryOutcome::Refused),
            (
                Reply::Elsewhere(elsewhere.url.clone()),
                DeliveryOutcome::Refused,
            ),
            (Reply::Never, DeliveryOutcome::TimedOut),
            (Reply::Later(503, "1"), DeliveryOutcome::Refused),
        ] {
            receiver.replies([reply.clone()]);
            append_and_wake(hand, &id, &names(number..number + 2)).await;
            let first = receiver.got();
            assert_eq!(first.len(), 1, "{reply:?}");
            // What comes meanwhile waits for it.
            append_and_wake(hand, &id, &names(number + 2..number + 3)).await;
            assert!(receiver.got().is_empty(), "{reply:?}");
            after(hand, Duration::from_secs(7)).await;
            let again = receiver.got();
            assert_eq!(again[0].id(), first[0].id(), "{reply:?}");
            assert_eq!(again[0].body, first[0].body, "{reply:?}");
            assert_eq!(again[1].files(), names(number + 2..number + 3), "{reply:?}");
            let page = PageRequest::first(3);
            let listed = hand
                .store()
                .list_deliveries(&hand.key.tenant, &id, &page, hand.now());
            let listed = listed.await.unwrap().items;
            let outcomes: Vec<_> = listed
                .iter()
                .map(|one| (one.outcome, one.attempt))
                .collect();
            let accepted = DeliveryOutcome::Accepted;
            assert_eq!(
                outcomes,
                [(accepted, 1), (accepted, 2), (outcome, 1)],
                "{reply:?}"
            );
            number += 3;
        }
        assert!(elsewhere.got().is_empty(), "a redirect was followed");
    });
}

#[test]
fn regression_the_first_retry_waits_for_no_schedule() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        receiver.replies([Reply::Status(500), Reply::Status(500)]);
        append_and_wake(hand, &id, &names(0..1)).await;
        assert_eq!(receiver.got().len(), 1);
        hand.advance_clock(Duration::from_secs(2));
        hand.pump_only(Queue::Deliver).await;
        assert_eq!(receiver.got().len(), 0, "it comes after five seconds");
        hand.advance_clock(Duration::from_secs(6));
        hand.pump_only(Queue::Deliver).await;
        assert_eq!(receiver.files(), names(0..1));
        // The next one is due after minutes: the schedule has it.
        hand.advance_clock(Duration::from_secs(60));
        hand.pump_only(Queue::Deliver).await;
        assert_eq!(receiver.got().len(), 0);
        after(hand, Duration::from_secs(300)).await;
        assert_eq!(receiver.files(), names(0..1));
    });
}

#[test]
fn a_receiver_that_asks_for_a_pause_gets_it() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        receiver.replies([Reply::Later(429, "600")]);
        append_and_wake(hand, &id, &names(0..1)).await;
        assert_eq!(receiver.got().len(), 1);
        after(hand, Duration::from_secs(590)).await;
        assert!(receiver.got().is_empty());
        after(hand, Duration::from_secs(80)).await;
        assert_eq!(receiver.files(), names(0..1));
    });
}

#[test]
fn an_answer_without_end_is_an_answer() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        receiver.replies([Reply::Endless]);
        append_and_wake(hand, &id, &names(0..1)).await;
        append_and_wake(hand, &id, &names(1..2)).await;
        assert_eq!(receiver.files(), names(0..2));
    });
}

/// Returns the reasons of disabled endpoints that the log tells.
async fn told(hand: &ByHand) -> Vec<String> {
    let path = format!(
        "/v1/connections/{}/events?types={}",
        hand.key.connection,
        EventType::WebhookDisabled
    );
    let log = hand.ask(Method::GET, &path, None).await;
    let items = log.body["items"].as_array().unwrap().iter();
    let reason = |event: &serde_json::Value| event["data"]["reason"].as_str().unwrap().to_owned();
    items.map(reason).collect()
}

#[test]
fn an_endpoint_that_is_gone_is_disabled_and_the_log_says_so() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        receiver.replies([Reply::Status(410)]);
        append_and_wake(hand, &id, &names(0..1)).await;
        hand.pump().await;
        let state = stored(hand, &id).await.endpoint.state;
        let gone = DisabledReason::Gone;
        assert!(matches!(state, EndpointState::Disabled { reason, .. } if reason == gone));
        assert_eq!(told(hand).await, ["gone"]);
        append_and_wake(hand, &id, &names(1..2)).await;
        after(hand, Duration::from_hours(1)).await;
        assert_eq!(receiver.files(), names(0..1));
        assert_eq!(told(hand).await, ["gone"]);
        // A person enables it: nothing is lost.
        let enabled = domain::webhook::Changes {
            active: Some(true),
            ..domain::webhook::Changes::default()
        };
        change(hand, &id, |endpoint| {
            endpoint.changed(&enabled, &endpoint.maker, hand.now())
        })
        .await;
        after(hand, Duration::from_secs(1)).await;
        assert_eq!(receiver.files(), names(0..2));
    });
}

#[test]
fn an_endpoint_that_accepts_nothing_for_days_is_disabled() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        receiver.replies(std::iter::repeat_n(Reply::Status(500), 20));
        append_and_wake(hand, &id, &names(0..1)).await;
        let mut waits = Vec::new();
        for _ in 0..20 {
            let endpoint = stored(hand, &id).await.endpoint;
            let Some(trouble) = endpoint.course.trouble else {
                break;
            };
            let wait = trouble.next_at.millis_since(hand.now()) + 1_000;
            waits.push(wait / 1_000);
            let wait = Duration::from_millis(u64::try_from(wait).unwrap());
            hand.advance_clock(wait);
            super::wake(hand, &hand.key.tenant, &id).await;
        }
        assert_eq!(waits.len(), 9, "{waits:?}");
        assert_eq!(receiver.got().len(), 10);
        hand.pump().await;
        assert_eq!(told(hand).await, ["failing"]);
    });
}

#[test]
fn regression_an_endpoint_whose_maker_was_erased_is_disabled_and_the_log_says_so() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        append_and_wake(hand, &id, &names(0..1)).await;
        assert_eq!(receiver.files(), names(0..1));
        erase(hand, "ann").await;
        after(hand, Duration::from_secs(1)).await;
        let path = format!("/v1/webhooks/{id}");
        let shown = hand.ask(Method::GET, &path, None).await.body;
        assert_eq!(shown["disabled"]["reason"], "maker_erased", "{shown}");
        assert_eq!(shown["made_by"], "erased:1");
        assert_eq!(told(hand).await, ["maker_erased"]);
        append_and_wake(hand, &id, &names(1..2)).await;
        after(hand, Duration::from_hours(1)).await;
        assert!(receiver.got().is_empty());
        // Somebody answers for it: nothing is lost.
        let (token, any) = (Some(hand.token.as_str()), [("if-match", "*")]);
        let active = Some(r#"{"state": "active"}"#);
        let changed = hand.call(token, Method::PATCH, &path, &any, active).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        assert_eq!(changed.body["made_by"], "you");
        after(hand, Duration::from_secs(1)).await;
        assert_eq!(receiver.files(), names(1..2));
        assert_eq!(told(hand).await, ["maker_erased"]);
    });
}
