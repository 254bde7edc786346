//! A notification is only a wake: lost, late, twice, out of order or forged, the two sides come together all the same.

use domain::LogId;
use http::Method;
use lambda_http::Body;
use serde_json::json;
use sha2::{Digest, Sha256};
use store::{Channel, ChannelState};

use crate::support::{Setup, World, own, own_with};

#[test]
fn without_any_notification_a_wake_from_the_api_or_the_sweep_finds_everything() {
    own(async |world| {
        world.silence();
        let (first, second) = (world.take(), world.take());
        world.owner().rename(&first, "told by the api.txt").await;
        world.sync().await;
        world
            .file_until("the first", &first, |f| {
                f["fields"]["name"] == "told by the api.txt"
            })
            .await;
        world
            .owner()
            .rename(&second, "found by the sweep.txt")
            .await;
        // The poll is due now instead of in a quarter of an hour.
        world
            .store()
            .postpone_poll(&world.key, &LogId::user(), world.now())
            .await
            .unwrap();
        world
            .file_until("the second", &second, |f| {
                f["fields"]["name"] == "found by the sweep.txt"
            })
            .await;
    });
}

#[test]
fn regression_the_first_channel_is_opened_as_soon_as_there_is_something_to_watch() {
    own_with(
        Setup {
            files: 3,
            folders: 0,
            ..Setup::default()
        },
        async |world| {
            // `own_with` waited for it. Without a channel the log would be polled once a minute: this one has long to go.
            let log = world.log().await;
            assert!(log.channel.is_some());
            assert_eq!(world.calls("changes.watch"), 1, "one channel for a log");
        },
    );
}

#[test]
fn unreliable_notifications_make_nothing_but_delay() {
    own(async |world| {
        let policy = json!({"drop": 0.5, "duplicate": 0.5, "delay_ms": [0, 400], "reorder": true, "changed_spelling": true});
        world.control(Method::POST, "notifications", policy).await;
        for round in 0..5 {
            for _ in 0..4 {
                let file = world.take();
                world
                    .owner()
                    .rename(&file, &format!("round {round} {file}.txt"))
                    .await;
            }
        }
        let last = world.take();
        // The last one may be dropped, like every other: then the poll would find it later than this test waits.
        world
            .control(Method::POST, "notifications", json!({"duplicate": 1.0}))
            .await;
        world.owner().rename(&last, "the last.txt").await;
        world.converge().await;
    });
}

/// What a notification of the world's channel would be.
fn notification(id: &str, token: &str, resource: &str) -> http::Request<Body> {
    http::Request::post("/webhooks/drive")
        .header("x-goog-channel-id", id)
        .header("x-goog-channel-token", token)
        .header("x-goog-resource-id", resource)
        .header("x-goog-resource-state", "change")
        .header("x-goog-message-number", "7")
        .body(Body::Empty)
        .unwrap()
}

/// A channel of ours whose token the test knows.
async fn known_channel(world: &World) -> (String, &'static str, &'static str) {
    let (token, resource) = ("a token that the test knows", "a resource");
    let channel = Channel {
        id: domain::ChannelId::fresh(fastrand::u64(..), fastrand::u64(..)),
        key: world.key.clone(),
        log: LogId::user(),
        token_hash: Sha256::digest(token.as_bytes()).into(),
        resource_id: Some(resource.to_owned()),
        state: ChannelState::Active,
        expires_at: world.now().plus_millis(3_600_000),
        due_at: world.now().plus_millis(3_000_000),
    };
    world.store().create_channel(&channel).await.unwrap();
    (channel.id.to_string(), token, resource)
}

#[test]
fn ten_thousand_notifications_cost_one_listing_for_each_half_second() {
    own(async |world| {
        let (id, token, resource) = known_channel(world).await;
        world.silence();
        // Opening the channel sent a wake of its own: what it lists is not what is counted here.
        world.converge().await;
        world.simulator.load_synthetic(50, 0);
        world.simulator.zero_counters();
        let deps = &world.system.functions.receive_notification;
        let bucket = || world.now().as_millis().div_euclid(500);
        let first = bucket();
        for _ in 0..10_000 {
            let notification = notification(&id, token, resource);
            let answer = receive_notification::handle(&notification, deps).await;
            assert_eq!(answer.status(), 204);
        }
        // However long it took: a burst of ten seconds lies in 21 buckets.
        let buckets = u64::try_from(bucket() - first + 1).unwrap();
        world.converge().await;
        let calls = world.calls("changes.list");
        assert!(
            (1..=buckets).contains(&calls),
            "{calls} listings for {buckets} half seconds"
        );
    });
}
