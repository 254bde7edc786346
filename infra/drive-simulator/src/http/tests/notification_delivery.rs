//! Channels and deliveries, with a real receiver.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::post};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::World;
use crate::{notify::NotificationPolicy, simulator::Edit};

/// Receives notifications and responds with the queued statuses, then with 200.
struct Hook {
    url: String,
    received: Arc<Mutex<Vec<HeaderMap>>>,
    answers: Arc<Mutex<Vec<u16>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hook {
    async fn listen() -> Self {
        let (received, answers) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(Mutex::new(Vec::<u16>::new())),
        );
        let (kept, next) = (Arc::clone(&received), Arc::clone(&answers));
        let receive = move |headers: HeaderMap, body: bytes::Bytes| {
            assert!(body.is_empty());
            kept.lock().expect("not poisoned").push(headers);
            let status = next.lock().expect("not poisoned").pop().unwrap_or(200);
            async move { StatusCode::from_u16(status).expect("a status") }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let router = Router::new().route("/hook", post(receive));
        let task =
            tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self {
            url,
            received,
            answers,
            task,
        }
    }

    fn states(&self) -> Vec<String> {
        let received = self.received.lock().expect("not poisoned");
        received
            .iter()
            .map(|headers| {
                headers["x-goog-resource-state"]
                    .to_str()
                    .expect("text")
                    .to_owned()
            })
            .collect()
    }

    /// Waits at most ten seconds for this many notifications.
    async fn received(&self, count: usize) -> Vec<HeaderMap> {
        for _ in 0..1_000 {
            let received = self.received.lock().expect("not poisoned").clone();
            if received.len() >= count {
                return received;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("received {:?}, expected {count}", self.states());
    }
}

impl World {
    async fn watch(&self, hook: &Hook, id: &str) -> Value {
        let token = self.start_token("owner", "").await;
        let body = json!({"id": id, "type": "web_hook", "address": hook.url, "token": "secret"});
        self.call(
            "POST",
            &format!("/drive/v3/changes/watch?pageToken={token}"),
            body,
        )
        .await
        .ok()
    }

    /// Waits at most ten seconds for this many deliveries with an outcome.
    async fn outcome(&self, outcome: &str, count: u64) {
        for _ in 0..1_000 {
            if self
                .simulator
                .counters()
                .notifications
                .get(outcome)
                .is_some_and(|seen| *seen >= count)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "{:?}, expected {count} {outcome}",
            self.simulator.counters().notifications
        );
    }
}

#[tokio::test]
async fn sync_precedes_changes_with_increasing_message_numbers() {
    let (world, hook) = (World::new(), Hook::listen().await);
    let channel = world.watch(&hook, "channel-1").await;
    hook.received(1).await;
    for name in ["a", "b", "c"] {
        world.file(name);
    }
    let received = hook.received(4).await;
    assert_eq!(hook.states()[0], "sync");
    let mut numbers: Vec<u64> = received
        .iter()
        .map(|headers| {
            headers["x-goog-message-number"]
                .to_str()
                .expect("text")
                .parse()
                .expect("a number")
        })
        .collect();
    assert_eq!(numbers[0], 1);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 4);
    for headers in &received {
        assert_eq!(headers["x-goog-channel-id"], "channel-1");
        assert_eq!(headers["x-goog-channel-token"], "secret");
        assert_eq!(
            headers["x-goog-resource-id"],
            channel["resourceId"].as_str().expect("text")
        );
        assert_eq!(headers["content-length"], "0");
        assert!(
            headers["x-goog-channel-expiration"]
                .to_str()
                .expect("text")
                .ends_with(" GMT")
        );
        assert!(headers.contains_key("x-goog-resource-uri"));
    }
    assert_eq!(hook.states()[1..], ["change", "change", "change"]);
}

#[tokio::test]
async fn stopped_and_expired_channels_send_nothing() {
    let (world, hook) = (World::new(), Hook::listen().await);
    let stopped = world.watch(&hook, "stopped").await;
    world.watch(&hook, "expires").await;
    hook.received(2).await;
    let stop = json!({"id": "stopped", "resourceId": stopped["resourceId"]});
    assert_eq!(
        world
            .call("POST", "/drive/v3/channels/stop", stop)
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    world.file("a");
    let received = hook.received(3).await;
    assert_eq!(received[2]["x-goog-channel-id"], "expires");
    world.simulator.advance_clock(3_601);
    world.file("b");
    world.watch(&hook, "fresh").await;
    world.file("c");
    let received = hook.received(5).await;
    assert!(
        received[3..]
            .iter()
            .all(|headers| headers["x-goog-channel-id"] == "fresh")
    );
}

#[tokio::test]
async fn server_errors_are_retried_and_client_errors_are_not() {
    let (world, hook) = (World::new(), Hook::listen().await);
    world.watch(&hook, "channel").await;
    hook.received(1).await;
    hook.answers.lock().expect("not poisoned").push(503);
    world.file("a");
    let received = hook.received(3).await;
    assert_eq!(
        received[1]["x-goog-message-number"],
        received[2]["x-goog-message-number"]
    );
    hook.answers.lock().expect("not poisoned").push(404);
    world.file("b");
    world.outcome("failed", 1).await;
    assert_eq!(hook.received(4).await.len(), 4);
    assert_eq!(world.simulator.counters().notifications["retried"], 1);
}

#[tokio::test]
async fn notifications_are_dropped_and_duplicated_on_request() {
    let (world, hook) = (World::new(), Hook::listen().await);
    world.watch(&hook, "channel").await;
    world
        .control("POST", "notifications", json!({"drop": 1.0}))
        .await;
    world.file("a");
    world.outcome("dropped", 1).await;
    world
        .control(
            "POST",
            "notifications",
            json!({"duplicate": 1.0, "delay_ms": [0, 20], "reorder": true}),
        )
        .await;
    world.file("b");
    let received = hook.received(3).await;
    assert_eq!(
        received[1]["x-goog-message-number"],
        received[2]["x-goog-message-number"]
    );
}

#[tokio::test]
async fn bursts_are_coalesced_only_on_request() {
    let (world, hook) = (World::new(), Hook::listen().await);
    world.watch(&hook, "channel").await;
    hook.received(1).await;
    world.simulator.load_synthetic(200, 0);
    hook.received(201).await;
    world.simulator.set_notifications(NotificationPolicy {
        coalesce: true,
        delay_ms: (50, 50),
        ..NotificationPolicy::default()
    });
    world.simulator.load_synthetic(200, 0);
    world.outcome("coalesced", 150).await;
}

#[tokio::test]
async fn a_file_channel_reports_the_kind_of_change() {
    let (world, hook) = (World::new(), Hook::listen().await);
    let id = world.file("a");
    let body = json!({
        "id": "channel", "type": "web_hook", "address": hook.url, "expiration": "99999999999999",
    });
    let channel = world
        .call("POST", &format!("/drive/v3/files/{id}/watch"), body)
        .await
        .ok();
    let lifetime = channel["expiration"]
        .as_str()
        .expect("text")
        .parse::<i64>()
        .expect("a number")
        - world.simulator.now_ms();
    assert!((86_000_000..=86_400_000).contains(&lifetime), "{lifetime}");
    hook.received(1).await;
    for edit in [
        Edit::Rename("b".to_owned()),
        Edit::Trash(true),
        Edit::Trash(false),
        Edit::Delete,
    ] {
        let before = hook.states().len();
        world
            .simulator
            .apply("owner", &id, edit)
            .expect("the owner may");
        hook.received(before + 1).await;
    }
    assert_eq!(
        hook.states(),
        ["sync", "update", "trash", "untrash", "remove"]
    );
    assert_eq!(hook.received(2).await[1]["x-goog-changed"], "properties");
}

#[tokio::test]
async fn a_reset_stops_existing_channels() {
    let (world, hook) = (World::new(), Hook::listen().await);
    world.watch(&hook, "channel").await;
    hook.received(1).await;
    world.simulator.set_notifications(NotificationPolicy {
        delay_ms: (50, 50),
        ..NotificationPolicy::default()
    });
    world.file("a");
    world.simulator.reset();
    world.outcome("expired", 1).await;
    assert_eq!(hook.states(), ["sync"]);
}

#[tokio::test]
async fn no_change_overtakes_the_sync_of_its_channel() {
    let (world, hook) = (World::new(), Hook::listen().await);
    // The first delivery, which is the sync, has to be repeated.
    hook.answers.lock().expect("not poisoned").push(503);
    world.watch(&hook, "channel").await;
    world.file("a");
    hook.received(3).await;
    assert_eq!(hook.states(), ["sync", "sync", "change"]);
}

#[tokio::test]
async fn every_channel_hears_its_sync_first() {
    let (world, hook) = (World::new(), Hook::listen().await);
    for number in 0..50 {
        world.watch(&hook, &format!("channel{number}")).await;
        world.file("a");
    }
    let received = hook.received(50 + 50 * 51 / 2).await;
    let mut heard = std::collections::BTreeSet::new();
    for headers in &received {
        let channel = headers["x-goog-channel-id"]
            .to_str()
            .expect("text")
            .to_owned();
        if headers["x-goog-resource-state"] == "sync" {
            heard.insert(channel);
        } else {
            assert!(heard.contains(&channel), "{channel}");
        }
    }
}
