//! What is delivered, and to whom.

use std::collections::BTreeSet;

use domain::event::EventFilter;
use domain::webhook::OwedTest;
use domain::{Access, TenantId};
use http::Method;
use serde_json::{Value, json};
use webhooks::signing_secret;

use super::receiver::{Got, Receiver};
use super::{append, append_and_wake, change, endpoint, head, make, names, place};
use super::{receiver_and_endpoint, stored, wake};
use crate::support::{ByHand, by_hand};

/// Verifies a delivery as a receiver does that has the secret of this generation.
async fn verified(hand: &ByHand, got: &Got, id: &domain::EndpointId, generation: u32) -> bool {
    let root = hand.functions.live.webhook_key.key().await.unwrap();
    let secret = signing_secret(&root, &hand.key.tenant, id.as_str(), generation);
    let verifier = standardwebhooks::Webhook::new(&secret.reveal()).unwrap();
    let header = |name: &str| got.headers[name].to_str().unwrap().to_owned();
    let at = header("webhook-timestamp").parse().unwrap();
    let signature = verifier.sign(&got.id(), at, &got.body).unwrap();
    header("webhook-signature")
        .split(' ')
        .any(|one| one == signature)
}

#[test]
fn a_change_is_delivered_signed_and_as_the_log_has_it() {
    by_hand(3, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        let file = hand.take();
        hand.edit_ok(&file, json!({"description": "new"})).await;
        hand.pump().await;
        let got = receiver.got();
        assert!(verified(hand, &got[0], &id, 1).await);
        assert!(!verified(hand, &got[0], &id, 2).await);
        assert_eq!(
            got[0].headers["content-type"],
            "application/cloudevents-batch+json"
        );
        let path = format!(
            "/v1/connections/{}/events?types=file:modified",
            hand.key.connection
        );
        let log = hand.ask(Method::GET, &path, None).await;
        let items = log.body["items"].as_array().unwrap();
        let mine = |event: &&Value| event["subject"] == format!("files/{file}");
        let items: Vec<&Value> = items.iter().filter(mine).collect();
        let delivered: Vec<Value> = got.iter().flat_map(Got::events).collect();
        assert_eq!(delivered.iter().collect::<Vec<_>>(), items);
        assert_eq!(place(hand, &id).await, head(hand).await);
    });
}

#[test]
fn many_events_are_delivered_in_order_and_in_parts() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        append_and_wake(hand, &id, &names(0..130)).await;
        let got = receiver.got();
        assert!(
            got.iter()
                .all(|got| got.body.len() <= 20_480 && got.files().len() <= 25)
        );
        let files: Vec<String> = got.iter().flat_map(Got::files).collect();
        assert_eq!(files, names(0..130));
        let ids: BTreeSet<String> = got.iter().map(Got::id).collect();
        assert_eq!(ids.len(), got.len());
        wake(hand, &hand.key.tenant, &id).await;
        assert!(receiver.got().is_empty());
    });
}

#[test]
fn while_a_secret_is_rotated_both_sign() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        change(hand, &id, |endpoint| endpoint.rotated(hand.now())).await;
        append_and_wake(hand, &id, &names(0..1)).await;
        let got = receiver.got();
        assert!(verified(hand, &got[0], &id, 1).await);
        assert!(verified(hand, &got[0], &id, 2).await);
        hand.advance_clock(std::time::Duration::from_hours(25));
        append_and_wake(hand, &id, &names(1..2)).await;
        let got = receiver.got();
        assert!(!verified(hand, &got[0], &id, 1).await);
        assert!(verified(hand, &got[0], &id, 2).await);
    });
}

#[test]
fn a_replay_delivers_again_from_a_place_on() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        append_and_wake(hand, &id, &names(0..2)).await;
        let middle = place(hand, &id).await;
        append_and_wake(hand, &id, &names(2..4)).await;
        assert_eq!(receiver.files(), names(0..4));
        let of = (&hand.key.tenant, &id);
        let connection = &hand.key.connection;
        let set = hand.store().set_place(of, connection, middle.as_ref());
        set.await.unwrap();
        change(hand, &id, |endpoint| {
            endpoint.replayed(connection, hand.now())
        })
        .await;
        hand.sweep_and_pump().await;
        assert_eq!(receiver.files(), names(2..4));
    });
}

#[test]
fn events_that_the_log_has_no_more_are_told_as_a_reset() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        append_and_wake(hand, &id, &names(0..1)).await;
        receiver.got();
        let mut elsewhere = place(hand, &id).await.unwrap();
        elsewhere.epoch.0 ^= 1;
        let of = (&hand.key.tenant, &id);
        let set = hand
            .store()
            .set_place(of, &hand.key.connection, Some(&elsewhere));
        set.await.unwrap();
        wake(hand, &hand.key.tenant, &id).await;
        let got = receiver.got();
        let types: Vec<Value> = got[0]
            .events()
            .iter()
            .map(|event| event["type"].clone())
            .collect();
        assert_eq!((got.len(), types), (1, vec![json!("sync:reset")]));
        append_and_wake(hand, &id, &names(1..2)).await;
        assert_eq!(receiver.files(), names(1..2));
    });
}

#[test]
fn nothing_is_delivered_that_the_maker_may_not_read_any_more() {
    by_hand(1, async |hand| {
        let (receiver, id) = receiver_and_endpoint(hand).await;
        let restrict = async |access: Option<Access>| {
            let stored = hand.store().load_connection(&hand.key).await.unwrap();
            let mut next = stored.unwrap();
            next.access = access;
            hand.store().save_connection(&next).await.unwrap();
        };
        let nobody = Access::default();
        restrict(Some(nobody)).await;
        append_and_wake(hand, &id, &names(0..2)).await;
        assert!(receiver.got().is_empty());
        restrict(None).await;
        append_and_wake(hand, &id, &names(2..3)).await;
        assert_eq!(receiver.files(), names(0..3));
    });
}

#[test]
fn an_endpoint_of_another_tenant_receives_nothing() {
    by_hand(1, async |hand| {
        let (receiver, _) = receiver_and_endpoint(hand).await;
        let stranger = Receiver::start().await;
        let tenant = TenantId::parse("stranger").unwrap();
        let theirs = endpoint(hand, &stranger.url);
        hand.store()
            .create_endpoint(&tenant, &theirs)
            .await
            .unwrap();
        let file = hand.take();
        hand.edit_ok(&file, json!({"description": "new"})).await;
        hand.pump().await;
        wake(hand, &tenant, &theirs.id).await;
        assert!(receiver.files().contains(&file));
        assert!(stranger.got().is_empty());
    });
}

#[test]
fn what_is_not_selected_is_passed_and_a_test_is_delivered() {
    by_hand(1, async |hand| {
        let receiver = Receiver::start().await;
        let mut selective = endpoint(hand, &receiver.url);
        selective.filter = EventFilter {
            files: [domain::FileId::parse("file1").unwrap()].into(),
            ..EventFilter::default()
        };
        let id = make(hand, &selective).await;
        append(hand, &names(0..1)).await;
        append_and_wake(hand, &id, &names(0..3)).await;
        assert_eq!(receiver.files(), ["file1"]);
        assert_eq!(place(hand, &id).await, head(hand).await);
        let test = OwedTest {
            id: 7,
            at: hand.now(),
        };
        change(hand, &id, |endpoint| endpoint.to_be_tested(test)).await;
        hand.sweep_and_pump().await;
        let got = receiver.got();
        assert_eq!(got[0].events()[0]["type"], "webhook:test");
        assert_eq!(got.len(), 1);
        assert_eq!(stored(hand, &id).await.endpoint.course.test, None);
    });
}
