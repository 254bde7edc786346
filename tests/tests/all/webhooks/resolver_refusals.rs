//! Resolvers that decide nothing, or too late, or what they may not.

use std::sync::Arc;
use std::time::Duration;

use domain::event::EventFilter;
use domain::webhook::{Changes, Endpoint, EndpointScope};
use domain::{
    Access, Context, DriveVersion, Field, FileId, Observation, Role, Snapshot, Value as FieldValue,
};
use http::Method;
use serde_json::{Value, json};
use store::Nonce;
use tokio::sync::Notify;

use super::receiver::{Receiver, Reply};
use super::resolver::{
    answers, asks, conflict, observe, only, rename_both, resolver, resolver_of_all,
};
use super::{change, endpoint, make};
use crate::support::{ByHand, by_hand, eventually};

/// Checks that the decision is left to a person, with the reason.
async fn left(hand: &ByHand, file: &str, reason: &str) -> Value {
    let conflict = conflict(hand, file).await;
    assert_eq!(conflict["status"], "open", "{reason}: {conflict}");
    assert_eq!(conflict["resolver"]["status"], "undecided", "{conflict}");
    assert_eq!(conflict["resolver"]["reason"], reason, "{conflict}");
    let detail = conflict["resolver"]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("the resolver did not decide: "),
        "{detail}"
    );
    let why = hand.get(&format!("/files/{file}/why")).await;
    let said = why["sentence"].as_str().unwrap();
    assert!(said.contains("The resolver did not decide: "), "{said}");
    conflict
}

async fn decide(hand: &ByHand, conflict: &Value, choose: &str) -> u16 {
    let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
    let body = json!({"choose": choose});
    hand.api(Method::POST, &path, &[], Some(body)).await.status
}

#[test]
fn what_is_no_valid_answer_leaves_the_conflict_to_a_person() {
    by_hand(16, async |hand| {
        let elsewhere = Receiver::start().await;
        let (receiver, _) = resolver_of_all(hand).await;
        let body = |body: &str| Reply::Body(body.to_owned());
        for (reply, reason) in [
            (Reply::Status(500), "refused"),
            (Reply::Status(410), "refused"),
            (Reply::Later(429, "1"), "refused"),
            (Reply::Elsewhere(elsewhere.url.clone()), "refused"),
            (Reply::Status(204), "invalid_answer"),
            (Reply::Never, "no_answer"),
            (Reply::Endless, "invalid_answer"),
            (body("drive"), "invalid_answer"),
            (body("[]"), "invalid_answer"),
            (answers(json!({"choose": "merge"})), "invalid_answer"),
            (
                answers(json!({"choose": "app", "value": "x"})),
                "invalid_answer",
            ),
            (answers(json!({"value": ""})), "invalid_answer"),
            (answers(json!({"value": 5})), "invalid_answer"),
            (
                answers(json!({"value": "x", "force": true})),
                "invalid_answer",
            ),
        ] {
            let file = hand.take();
            rename_both(hand, &file).await;
            receiver.replies([reply.clone()]);
            hand.pump().await;
            only(&receiver);
            let conflict = left(hand, &file, reason).await;
            hand.advance_clock(Duration::from_mins(5));
            hand.sweep_and_pump().await;
            assert!(receiver.got().is_empty(), "{reply:?}: it is asked once");
            assert_eq!(decide(hand, &conflict, "app").await, 200, "{reply:?}");
            hand.pump().await;
            assert_eq!(hand.owner().name_of(&file).await, "ours.txt");
        }
        assert!(elsewhere.got().is_empty(), "a redirect was followed");
    });
}

/// Delivers what is queued; once the receiver was asked, does `meanwhile`, and then lets it answer.
async fn while_asked(
    hand: &ByHand,
    receiver: &Receiver,
    answer: Value,
    meanwhile: impl AsyncFnOnce(),
) {
    let held = Arc::new(Notify::new());
    receiver.replies([Reply::Held(Arc::clone(&held), answer.to_string())]);
    let then = async {
        eventually("it is asked", async || {
            (!receiver.got().is_empty()).then_some(())
        })
        .await;
        meanwhile().await;
        held.notify_one();
    };
    tokio::join!(hand.pump_only(local::aws::Queue::Deliver), then);
}

#[test]
fn a_late_answer_decides_nothing() {
    by_hand(1, async |hand| {
        let (receiver, _) = resolver_of_all(hand).await;
        let file = hand.take();
        rename_both(hand, &file).await;
        let answer = json!({"choose": "app"});
        while_asked(hand, &receiver, answer, async || {
            hand.advance_clock(Duration::from_secs(61));
        })
        .await;
        left(hand, &file, "no_answer").await;
    });
}

#[test]
fn a_persons_decision_wins_over_a_later_answer() {
    by_hand(1, async |hand| {
        let (receiver, _) = resolver_of_all(hand).await;
        let file = hand.take();
        rename_both(hand, &file).await;
        let open = conflict(hand, &file).await;
        while_asked(hand, &receiver, json!({"choose": "app"}), async || {
            assert_eq!(decide(hand, &open, "drive").await, 200);
        })
        .await;
        hand.pump().await;
        let decided = conflict(hand, &file).await;
        assert_eq!(decided["resolution"]["choose"], "drive", "{decided}");
        assert_ne!(decided["resolution"]["by"], "policy");
        assert!(decided["resolver"].is_null(), "{decided}");
        assert_eq!(hand.owner().name_of(&file).await, "theirs.txt");
    });
}

/// Commits what Drive shows of a file: another name.
async fn move_drive(hand: &ByHand, file: &str, name: &str) {
    let (store, file) = (hand.store(), FileId::parse(file).unwrap());
    let connection = store.load_connection(&hand.key).await.unwrap().unwrap();
    let record = store.load_file(&hand.key, &file).await.unwrap().unwrap();
    let mut fields = std::collections::BTreeMap::new();
    for field in record.fields.keys() {
        fields.insert(field.clone(), record.sides(field).drive().clone());
    }
    fields.insert(Field::Name, FieldValue::text(name));
    let snapshot = Snapshot {
        file,
        version: DriveVersion(record.version.0 + 1),
        field_set: record.field_set,
        fields,
        metadata: record.metadata.clone(),
    };
    let context = Context {
        now: hand.now(),
        drive_at: None,
        above: None,
        policies: &connection.policies,
    };
    let step = record.observe(&Observation::Present(snapshot), context);
    let nonce = Nonce(fastrand::u64(..));
    let committed = store.commit(&hand.key, record.revision, &step, nonce);
    assert_eq!(committed.await.unwrap(), store::Committed::Done);
}

#[test]
fn an_answer_about_sides_that_have_moved_is_without_effect() {
    by_hand(1, async |hand| {
        let (receiver, _) = resolver_of_all(hand).await;
        let file = hand.take();
        rename_both(hand, &file).await;
        let mut first = None;
        let held = Arc::new(Notify::new());
        let (old, new) = (json!({"choose": "app"}), json!({"choose": "drive"}));
        receiver.replies([
            Reply::Held(Arc::clone(&held), old.to_string()),
            answers(new),
        ]);
        let then = async {
            first = eventually("it is asked", async || receiver.got().pop())
                .await
                .into();
            move_drive(hand, &file, "theirs again.txt").await;
            held.notify_one();
        };
        tokio::join!(hand.pump_only(local::aws::Queue::Deliver), then);
        let first: super::receiver::Got = first.unwrap();
        let moved = conflict(hand, &file).await;
        assert_eq!(
            (&moved["status"], &moved["moves"]),
            (&json!("open"), &json!(1))
        );
        assert_eq!(moved["resolver"]["status"], "waiting", "{moved}");
        hand.pump_stream().await.unwrap();
        hand.pump_only(local::aws::Queue::Deliver).await;
        let second = only(&receiver);
        assert_ne!(first.id(), second.id());
        let asked: Value = serde_json::from_slice(&second.body).unwrap();
        assert_eq!(asked["data"]["drive"], "theirs again.txt");
        let decided = conflict(hand, &file).await;
        assert_eq!(
            decided["resolution"]["value"], "theirs again.txt",
            "{decided}"
        );
    });
}

#[test]
fn a_resolver_is_asked_only_while_it_may_be() {
    by_hand(8, async |hand| {
        let operator = |endpoint: &Endpoint, changes: &Changes| {
            endpoint.changed(changes, &endpoint.maker, hand.now())
        };
        let elsewhere = domain::ConnectionId::parse("c_other").unwrap();
        for reason in [
            "webhook_disabled",
            "not_allowed",
            "viewer",
            "access",
            "policy_changed",
            "webhook_deleted",
        ] {
            let (receiver, id) = resolver_of_all(hand).await;
            let file = hand.take();
            rename_both(hand, &file).await;
            match reason {
                "webhook_disabled" => {
                    let disabled = Changes {
                        active: Some(false),
                        ..Changes::default()
                    };
                    change(hand, &id, |endpoint| operator(endpoint, &disabled)).await;
                }
                "not_allowed" => {
                    let narrowed = Changes {
                        scope: Some(EndpointScope::Connections([elsewhere.clone()].into())),
                        ..Changes::default()
                    };
                    change(hand, &id, |endpoint| operator(endpoint, &narrowed)).await;
                }
                "viewer" => {
                    change(hand, &id, |endpoint| {
                        let mut endpoint = endpoint.clone();
                        endpoint.maker.role = Role::Viewer;
                        endpoint
                    })
                    .await;
                }
                "access" => {
                    let store = hand.store();
                    let connection = store.load_connection(&hand.key).await.unwrap();
                    let closed = store::Connection {
                        access: Some(Access {
                            entries: std::collections::BTreeMap::new(),
                        }),
                        ..connection.unwrap()
                    };
                    store.save_connection(&closed).await.unwrap();
                }
                "policy_changed" => {
                    hand.configure(json!({"policies": null})).await;
                }
                _ => {
                    let deleted = hand.store().delete_endpoint(&hand.key.tenant, &id);
                    deleted.await.unwrap();
                }
            }
            hand.pump_only(local::aws::Queue::Deliver).await;
            assert!(receiver.got().is_empty(), "{reason}");
            if reason == "access" {
                let store = hand.store();
                let connection = store.load_connection(&hand.key).await.unwrap();
                let open = store::Connection {
                    access: None,
                    ..connection.unwrap()
                };
                store.save_connection(&open).await.unwrap();
            }
            let named = match reason {
                "viewer" | "access" => "not_allowed",
                named => named,
            };
            let conflict = left(hand, &file, named).await;
            assert_eq!(decide(hand, &conflict, "drive").await, 200, "{reason}");
        }
    });
}

#[test]
fn a_resolver_that_is_not_there_is_tried_again_until_its_time_is_over() {
    by_hand(2, async |hand| {
        // Nobody listens at the address.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut made = endpoint(hand, &format!("http://{address}/hook"));
        made.filter = EventFilter {
            types: [domain::event::EventType::WebhookDisabled].into(),
            ..EventFilter::default()
        };
        let id = make(hand, &made).await;
        hand.configure(json!({"policies": {"default": asks(&id, 60)}}))
            .await;
        let file = hand.take();
        rename_both(hand, &file).await;
        hand.pump().await;
        let waits = conflict(hand, &file).await;
        assert_eq!(waits["resolver"]["status"], "waiting", "{waits}");
        for _ in 0..4 {
            hand.advance_clock(Duration::from_secs(20));
            hand.sweep_and_pump().await;
        }
        left(hand, &file, "unreachable").await;

        let other = hand.take();
        rename_both(hand, &other).await;
        hand.pump().await;
        let (receiver, _) = resolver(hand).await;
        receiver.replies([answers(json!({"choose": "app"}))]);
        let moved = Changes {
            url: domain::webhook::EndpointUrl::parse(
                &receiver.url,
                domain::webhook::Reachable::PublicAndLoopback,
            )
            .ok(),
            ..Changes::default()
        };
        change(hand, &id, |endpoint| {
            endpoint.changed(&moved, &endpoint.maker, hand.now())
        })
        .await;
        hand.advance_clock(Duration::from_secs(6));
        hand.sweep_and_pump().await;
        only(&receiver);
        assert_eq!(conflict(hand, &other).await["status"], "resolved");
    });
}

#[test]
fn a_resolver_does_not_widen_sharing_beyond_the_own_domains() {
    const ANN: &str = "user:ann@example.com";
    by_hand(2, async |hand| {
        let (receiver, _) = resolver_of_all(hand).await;
        hand.configure(json!({"own_domains": ["acme.example"]}))
            .await;
        let owner = hand.owner();
        for (answer, allowed) in [
            (json!({"value": "writer"}), false),
            (json!({"value": "reader"}), true),
        ] {
            let file = hand.take();
            let granted = owner.grant(&file, "ann", "writer").await;
            observe(hand).await;
            hand.pump().await;
            hand.edit_ok(&file, json!({"permissions": {ANN: null}}))
                .await;
            let path =
                format!("/drive/v3/files/{file}/permissions/{granted}?supportsAllDrives=true");
            let role = Some(json!({"role": "commenter"}));
            let (status, changed) = owner.call(Method::PATCH, &path, role).await;
            assert_eq!(status, 200, "{changed}");
            observe(hand).await;
            let open = conflict(hand, &file).await;
            assert_eq!(open["status"], "open", "{open}");
            receiver.replies([answers(answer.clone())]);
            hand.pump().await;
            only(&receiver);
            if allowed {
                let decided = conflict(hand, &file).await;
                assert_eq!(decided["status"], "resolved", "{answer}: {decided}");
            } else {
                left(hand, &file, "forbidden").await;
            }
        }
    });
}
