//! A resolver of the tenant's own decides conflicts: a real HTTP server that is asked.

use std::time::Duration;

use domain::EndpointId;
use domain::event::{EventFilter, EventType};
use http::Method;
use local::aws::Queue;
use serde_json::{Value, json};
use webhooks::signing_secret;

use super::receiver::{Got, Receiver, Reply};
use super::{endpoint, make};
use crate::support::{ByHand, by_hand};

/// Makes a resolver that gets no events.
pub(super) async fn resolver(hand: &ByHand) -> (Receiver, EndpointId) {
    let receiver = Receiver::start().await;
    let mut made = endpoint(hand, &receiver.url);
    made.filter = EventFilter {
        types: [EventType::WebhookDisabled].into(),
        ..EventFilter::default()
    };
    let id = make(hand, &made).await;
    (receiver, id)
}

pub(super) fn asks(id: &EndpointId, seconds_max: u32) -> Value {
    json!({"webhook": {"endpoint": id.as_str(), "seconds_max": seconds_max}})
}

/// Makes a resolver that every conflict of the connection is decided by, within a minute.
pub(crate) async fn resolver_of_all(hand: &ByHand) -> (Receiver, EndpointId) {
    let (receiver, id) = resolver(hand).await;
    let settings = json!({"policies": {"default": asks(&id, 60)}});
    let shown = hand.configure(settings).await;
    assert_eq!(shown["policies"]["default"], asks(&id, 60));
    hand.pump().await;
    (receiver, id)
}

/// Reads what Drive tells, and its events. What is queued for endpoints stays there.
pub(super) async fn observe(hand: &ByHand) {
    hand.wait_for_wake().await;
    hand.pump_only(Queue::LogWakes).await;
    hand.pump_only(Queue::Snapshots).await;
    hand.pump_stream().await.unwrap();
}

/// Renames a file on both sides. The question waits in its queue.
pub(crate) async fn rename_both(hand: &ByHand, file: &str) {
    hand.pump().await;
    hand.edit_ok(file, json!({"name": "ours.txt"})).await;
    hand.owner().rename(file, "theirs.txt").await;
    observe(hand).await;
    assert_eq!(conflict(hand, file).await["status"], "open");
}

/// Returns the latest conflict of a file.
pub(crate) async fn conflict(hand: &ByHand, file: &str) -> Value {
    let mut all = hand.conflicts_of(file).await;
    all.pop().expect("a conflict")
}

pub(crate) fn answers(body: Value) -> Reply {
    Reply::Body(body.to_string())
}

/// Returns the only question that was asked.
pub(super) fn only(receiver: &Receiver) -> Got {
    let mut got = receiver.got();
    assert_eq!(got.len(), 1);
    got.pop().unwrap()
}

fn question(got: &Got) -> Value {
    serde_json::from_slice(&got.body).unwrap()
}

async fn is_signed(hand: &ByHand, got: &Got, id: &EndpointId) -> bool {
    let root = hand.functions.live.webhook_key.key().await.unwrap();
    let secret = signing_secret(&root, &hand.key.tenant, id.as_str(), 1);
    let verifier = standardwebhooks::Webhook::new(&secret.reveal()).unwrap();
    let header = |name: &str| got.headers[name].to_str().unwrap();
    let at = header("webhook-timestamp").parse().unwrap();
    let wanted = verifier.sign(&got.id(), at, &got.body).unwrap();
    header("webhook-signature") == wanted
}

#[test]
fn the_answer_of_a_resolver_counts_like_a_persons_decision() {
    by_hand(4, async |hand| {
        let (receiver, id) = resolver_of_all(hand).await;
        for (answer, choose, name) in [
            (json!({"choose": "app"}), "app", "ours.txt"),
            (json!({"choose": "drive"}), "drive", "theirs.txt"),
            (json!({"choose": "base"}), "base", ""),
            (json!({"value": "merged.txt"}), "value", "merged.txt"),
        ] {
            let file = hand.take();
            let before = hand.file(&file).await["fields"]["name"].clone();
            let name = match name {
                "" => before.clone(),
                name => json!(name),
            };
            rename_both(hand, &file).await;
            let waits = conflict(hand, &file).await;
            assert_eq!(waits["resolver"]["status"], "waiting", "{waits}");
            assert_eq!(waits["resolver"]["endpoint"], id.as_str());
            let why = hand.get(&format!("/files/{file}/why")).await;
            let said = why["sentence"].as_str().unwrap();
            assert!(said.contains("waits for its resolver until"), "{said}");
            receiver.replies([answers(answer.clone())]);
            hand.pump().await;

            let got = only(&receiver);
            assert!(is_signed(hand, &got, &id).await);
            assert_eq!(got.headers["content-type"], "application/cloudevents+json");
            let asked = question(&got);
            assert_eq!(asked["type"], "conflict:decision_requested");
            assert_eq!(asked["subject"], format!("files/{file}"));
            let data = &asked["data"];
            assert_eq!(data["conflict"], waits["id"]);
            assert_eq!(data["field"], "name");
            assert_eq!(
                (&data["base"], &data["app"], &data["drive"]),
                (&before, &json!("ours.txt"), &json!("theirs.txt"))
            );
            assert!(data["app_edit"]["by"].is_string() && data["app_edit"]["at"].is_string());
            assert!(data["drive_change"]["at"].is_string(), "{data}");
            assert_eq!(data["answer_until"], waits["resolver"]["until"]);

            let decided = conflict(hand, &file).await;
            assert_eq!(decided["status"], "resolved", "{answer}: {decided}");
            assert_eq!(decided["resolution"]["choose"], choose);
            assert_eq!(decided["resolution"]["value"], name);
            assert_eq!(decided["resolution"]["by"], "policy");
            assert_eq!(decided["resolver"]["status"], "decided");
            hand.sweep_and_pump().await;
            assert_eq!(hand.owner().name_of(&file).await, name, "{answer}");
            let shown = hand.file(&file).await;
            assert_eq!(shown["fields"]["name"], name);
            assert!(shown["intent"].is_null(), "{shown}");
            hand.advance_clock(Duration::from_hours(1));
            hand.sweep_and_pump().await;
            assert!(receiver.got().is_empty(), "it is asked once");
        }
        let acts = hand
            .ask(
                Method::GET,
                "/v1/audit?what=decide_by_policy&limit=100",
                None,
            )
            .await;
        let acts = acts.body["items"].as_array().unwrap().clone();
        let decided: Vec<_> = acts
            .iter()
            .filter(|act| act["what"] == "decide_by_policy")
            .collect();
        assert_eq!(decided.len(), 4, "{decided:?}");
        assert!(decided.iter().all(|act| act["webhook"] == id.as_str()));
    });
}

#[test]
fn the_resolver_of_the_nearest_folder_is_asked() {
    by_hand(2, async |hand| {
        let (receiver, id) = resolver(hand).await;
        let folder = hand.owner().create("asked", true).await;
        observe(hand).await;
        let settings = json!({"policies": {
            "default": "drive_wins",
            "folders": {&folder: {"fields": {"name": asks(&id, 60)}}},
        }});
        hand.configure(settings).await;
        let (inside, outside) = (hand.take(), hand.take());
        hand.pump().await;
        hand.owner().move_to(&inside, &folder).await;
        observe(hand).await;
        receiver.replies([answers(json!({"value": "agreed.txt"}))]);
        for file in [&inside, &outside] {
            hand.pump().await;
            hand.edit_ok(file, json!({"name": "ours.txt"})).await;
            hand.owner().rename(file, "theirs.txt").await;
            observe(hand).await;
            hand.pump().await;
        }
        assert_eq!(
            question(&only(&receiver))["subject"],
            format!("files/{inside}")
        );
        let decided = conflict(hand, &inside).await;
        assert_eq!(decided["resolution"]["value"], "agreed.txt", "{decided}");
        let by_rule = conflict(hand, &outside).await;
        assert_eq!(by_rule["resolution"]["choose"], "drive", "{by_rule}");
        assert!(by_rule["resolver"].is_null(), "{by_rule}");
    });
}

#[test]
fn a_lost_wake_makes_a_question_late_and_nothing_else() {
    by_hand(1, async |hand| {
        let (receiver, _) = resolver_of_all(hand).await;
        let file = hand.take();
        rename_both(hand, &file).await;
        // The wake is received, and its function never begins.
        hand.receive(Queue::Deliver).await;
        assert!(receiver.got().is_empty());
        receiver.replies([answers(json!({"choose": "app"}))]);
        hand.advance_clock(Duration::from_secs(5));
        hand.sweep_and_pump().await;
        only(&receiver);
        assert_eq!(conflict(hand, &file).await["status"], "resolved");
    });
}

#[test]
fn the_webhook_of_a_policy_must_be_there_enabled_and_of_the_connection() {
    by_hand(1, async |hand| {
        let (_, id) = resolver(hand).await;
        let any = [("if-match", "*")];
        let configure = async |policy: Value| {
            let body = json!({"policies": {"fields": {"name": policy}}});
            let answer = hand.api(Method::PATCH, "", &any, Some(body)).await;
            (answer.status, answer.body["pointer"].clone())
        };
        let refused = (422, json!("/policies"));
        let unknown = EndpointId::fresh(7);
        assert_eq!(configure(asks(&unknown, 60)).await, refused);
        let path = format!("/v1/webhooks/{id}");
        let change = async |body: Value| {
            let body = body.to_string();
            let token = Some(hand.token.as_str());
            let changed = hand.call(token, Method::PATCH, &path, &any, Some(&body));
            assert_eq!(changed.await.status, 200);
        };
        change(json!({"state": "disabled"})).await;
        assert_eq!(configure(asks(&id, 60)).await, refused);
        change(json!({"state": "active"})).await;
        assert_eq!(configure(asks(&id, 60)).await.0, 200);
        let at = "/policies/fields/name/webhook/seconds_max";
        assert_eq!(configure(asks(&id, 0)).await, (422, json!(at)));
        // One that a policy names already does not stand in the way of other changes.
        change(json!({"state": "disabled"})).await;
        hand.configure(json!({"name": "Renamed"})).await;
        assert_eq!(configure(json!("manual")).await.0, 200);
        assert_eq!(configure(asks(&id, 60)).await, refused);

        let stored = super::stored(hand, &id).await;
        let elsewhere = [domain::ConnectionId::parse("c_other").unwrap()];
        let narrowed = |endpoint: &domain::webhook::Endpoint| {
            let mut endpoint = endpoint.clone();
            endpoint.state = domain::webhook::EndpointState::Active;
            endpoint.scope = domain::webhook::EndpointScope::Connections(elsewhere.clone().into());
            Some(endpoint)
        };
        hand.store()
            .change_endpoint(stored, narrowed)
            .await
            .unwrap();
        assert_eq!(configure(asks(&id, 60)).await, refused);
    });
}
