//! A notification is only a wake: lost, late, repeated, reordered or in bursts, it causes a delay
//! at most.

use std::time::Duration;

use domain::LogId;
use http::Method;
use lambda_http::Body;
use local::aws::Queue;
use serde_json::json;

use crate::support::{Setup, by_hand, eventually, known_channel, own, own_with, top};

#[test]
fn without_notifications_a_wake_of_the_api_or_the_sweep_finds_everything() {
    own(async |world| {
        world.disable_notifications();
        let (first, second) = (world.take(), world.take());
        world
            .owner()
            .rename(&first, "found by the api wake.txt")
            .await;
        world.sync().await;
        world
            .file_until("the first", &first, |f| {
                f["fields"]["name"] == "found by the api wake.txt"
            })
            .await;
        world
            .owner()
            .rename(&second, "found by the sweep.txt")
            .await;
        // The poll is made due now.
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
fn regression_the_first_channel_is_opened_with_the_first_log() {
    own_with(
        Setup {
            files: 3,
            folders: 0,
            ..Setup::default()
        },
        async |world| {
            // `own_with` waited for it. Without a channel, the log would be polled once a minute.
            let log = world.log().await;
            assert!(log.channel.is_some());
            assert_eq!(world.calls("changes.watch"), 1, "one channel for a log");
        },
    );
}

#[test]
fn unreliable_notifications_cause_only_delay() {
    own(async |world| {
        let policy = json!({"drop": 0.5, "duplicate": 0.5, "delay_ms": [0, 400], "reorder": true,
            "changed_spelling": true});
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
        // If the last notification were dropped, the poll would find the change later than this
        // test waits.
        world
            .control(Method::POST, "notifications", json!({"duplicate": 1.0}))
            .await;
        world.owner().rename(&last, "the last.txt").await;
        world.converge().await;
    });
}

/// Returns a notification as Drive sends it.
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

#[test]
fn ten_thousand_notifications_cost_one_listing_for_each_half_second() {
    own(async |world| {
        let (id, token) = known_channel(world.store(), &world.key, world.now()).await;
        world.disable_notifications();
        // The wake that opening the channel sent is not counted here.
        world.converge().await;
        world.simulator.load_synthetic(50, 0);
        world.simulator.zero_counters();
        let deps = &world.system.functions.receive_notification;
        let bucket = || world.now().as_millis().div_euclid(500);
        let first = bucket();
        for _ in 0..10_000 {
            let notification = notification(&id, token, "a resource");
            let answer = receive_notification::handle(&notification, deps).await;
            assert_eq!(answer.status(), 204);
        }
        // A burst of ten seconds spans 21 windows of half a second.
        let buckets = u64::try_from(bucket() - first + 1).unwrap();
        world.converge().await;
        let calls = world.calls("changes.list");
        assert!(
            (1..=buckets).contains(&calls),
            "{calls} listings for {buckets} half seconds"
        );
    });
}

/// The longest interval between polls of a log with a channel: a quarter of an hour, and 20 % of
/// jitter.
const POLL: Duration = Duration::from_secs(18 * 60 + 1);

#[test]
fn pain_01_with_every_notification_lost_each_change_is_applied_within_one_poll() {
    by_hand(6, async |hand| {
        let files = [hand.take(), hand.take(), hand.take()];
        let lost = json!({"drop": 1.0});
        hand.control(Method::POST, "notifications", lost).await;
        for file in &files {
            hand.owner().rename(file, &format!("{file}.txt")).await;
        }
        hand.owner().delete(&hand.take()).await;
        hand.sweep_and_pump().await;
        assert_ne!(hand.differences().await, Vec::<String>::new());
        hand.advance_clock(POLL);
        hand.sweep_and_pump().await;
        assert_eq!(hand.differences().await, Vec::<String>::new());
        let status = hand.get("/status").await;
        let lag = status["logs"][0]["lag_millis"].as_i64().unwrap();
        assert!(lag > 600_000, "the lag shows the delay: {status}");
    });
}

#[test]
fn pain_01_a_lag_that_no_notification_explains_raises_an_alarm() {
    let alarms = std::fs::read_to_string(top().join("infra/alarms.yaml")).unwrap();
    // That the function measures it is a test of the metrics.
    assert!(alarms.contains("MetricName: log_lag"));
}

#[test]
fn pain_01_a_change_shown_after_its_notification_is_found_by_the_next_poll() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let late = json!({"delay_seconds": 90});
        hand.control(Method::POST, "visibility", late).await;
        hand.owner().rename(&file, "late.txt").await;
        hand.wait_for_wake().await;
        hand.pump().await;
        assert_ne!(hand.file(&file).await["fields"]["name"], "late.txt");
        let listed = hand.calls("changes.list");
        hand.advance_clock(POLL);
        assert_eq!(hand.waiting(Queue::LogWakes), 0, "nothing more is notified");
        hand.sweep_and_pump().await;
        assert_eq!(hand.file(&file).await["fields"]["name"], "late.txt");
        assert!(hand.calls("changes.list") > listed);
    });
}

#[test]
fn pain_02_five_hundred_notifications_cause_few_listings_and_one_change_each() {
    by_hand(25, async |hand| {
        let twice = json!({"duplicate": 1.0, "reorder": true});
        hand.control(Method::POST, "notifications", twice).await;
        let files: Vec<String> = (0..25).map(|_| hand.take()).collect();
        hand.simulator.zero_counters();
        let began = hand.now();
        for round in 0..10 {
            for file in &files {
                let name = format!("round {round}.txt");
                hand.owner().rename(file, &name).await;
            }
        }
        eventually("all are delivered", async || {
            let outcomes = hand.simulator.counters().notifications;
            (outcomes.get("delivered").copied().unwrap_or(0) >= 500).then_some(())
        })
        .await;
        // One wake for each half second, at any speed of the machine.
        let halves = hand.now().millis_since(began).div_euclid(500) + 2;
        let wakes = hand.waiting(Queue::LogWakes);
        assert!((1..=usize::try_from(halves).unwrap()).contains(&wakes));
        let before = hand.files().await;
        hand.pump().await;
        let listed = usize::try_from(hand.calls("changes.list")).unwrap();
        assert!((1..=wakes).contains(&listed), "{listed} for {wakes} wakes");
        let after = hand.files().await;
        for file in &files {
            let revision = |at: &serde_json::Value| at["revision"].as_u64().unwrap();
            assert_eq!(revision(&after[file]), revision(&before[file]) + 1);
            assert_eq!(after[file]["fields"]["name"], "round 9.txt");
        }
    });
}

#[test]
fn pain_02_a_notification_that_is_replayed_has_no_effect() {
    by_hand(4, async |hand| {
        let (channel, token) = hand.known_channel().await;
        let file = hand.take();
        hand.disable_notifications();
        hand.owner().rename(&file, "once.txt").await;
        for round in 0..5 {
            assert_eq!(hand.notify(&channel, token, "a resource", "7").await, 204);
            hand.pump().await;
            let at = hand.file(&file).await;
            assert_eq!(at["fields"]["name"], "once.txt", "round {round}");
        }
        let history = hand.get(&format!("/files/{file}/history")).await;
        assert_eq!(history["items"].as_array().unwrap().len(), 2, "{history}");
        assert_eq!(hand.file(&file).await["revision"], 2);
    });
}
