//! Connections that are deleted: kept for a while, restored, or erased for good.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{FileId, LogId, OperationId};
use drive_simulator::Edit;
use http::Method;
use local::aws::Queue;
use serde_json::{Value, json};
use worker::{ContentWake, LiveWake, LogWake, OperationWake, Origin, PushWake, SnapshotMessage};

use crate::content::content_wakes::{apply, content, mirrored};
use crate::content::{bucket, intact, versions};
use crate::support::{Answer, ByHand, by_hand, items};

const DAY: Duration = Duration::from_secs(86_400);
/// Longer than any function runs.
const QUIET: Duration = Duration::from_secs(17 * 60);

async fn delete(hand: &ByHand, query: &str) -> Answer {
    hand.api(Method::DELETE, query, &[], None).await
}

async fn erasure(hand: &ByHand) -> Answer {
    let path = format!("/v1/erasures/{}", hand.key.connection);
    hand.ask(Method::GET, &path, None).await
}

/// Erases the connection, undisturbed.
async fn erase(hand: &ByHand) -> Value {
    let answer = delete(hand, "?erase=true").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    hand.sweep_and_pump().await;
    assert_eq!(erasure(hand).await.body["state"], "erasing");
    hand.advance_clock(QUIET);
    hand.sweep_and_pump().await;
    erasure(hand).await.body
}

/// The keys of all items of the table that name a connection, in whatever attribute.
async fn items_naming(hand: &ByHand, connection: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for item in items(&hand.aws.dynamodb_client()).await {
        let key = |name: &str| item[name].as_s().unwrap().clone();
        // The audit trail is exempt.
        if key("PK").contains("#AUDIT#") || key("PK").ends_with("#TRAIL") {
            continue;
        }
        let values: Vec<&AttributeValue> = item.values().collect();
        if format!("{values:?}").contains(connection) {
            found.insert(format!("{} / {}", key("PK"), key("SK")));
        }
    }
    found
}

/// The keys of all objects of the tenant.
async fn objects(hand: &ByHand) -> BTreeSet<String> {
    let listed = bucket(hand).list_versions(&hand.key.tenant, None).await;
    let (versions, next) = listed.unwrap();
    assert_eq!(next, None);
    versions.into_iter().map(|version| version.key).collect()
}

/// Makes another connection of the same account, with content.
async fn connect_beside(hand: &ByHand) -> String {
    let body = json!({"name": "Beside", "scope": {"type": "user"}, "secret": "drive",
        "content": {"enabled": true}});
    let made = hand.ask(Method::POST, "/v1/connections", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    for _ in 0..3 {
        hand.sweep_and_pump().await;
    }
    made.body["id"].as_str().unwrap().to_owned()
}

/// Sends a message of every kind that names the connection and a file of it.
fn send_every_kind(hand: &ByHand, file: &str, operation: &OperationId) {
    let (key, file) = (hand.key.clone(), FileId::parse(file).unwrap());
    let snapshot = SnapshotMessage {
        key: key.clone(),
        origin: Origin::Operation(operation.to_string()),
        file: file.clone(),
        at: hand.now(),
        snapshot: None,
    };
    let content = ContentWake {
        key: key.clone(),
        file,
    };
    let log = LogWake {
        key: key.clone(),
        log: LogId::user(),
    };
    let wake = OperationWake {
        key: key.clone(),
        operation: operation.clone(),
    };
    let live = LiveWake { key: key.clone() };
    let push = PushWake { key };
    for (queue, body) in [
        (Queue::Snapshots, snapshot.to_body()),
        (Queue::SnapshotsBulk, snapshot.to_body()),
        (Queue::LogWakes, log.to_body()),
        (Queue::PushWakes, push.to_body()),
        (Queue::Operations, wake.to_body()),
        (Queue::Live, live.to_body()),
        (Queue::Content, content.to_body()),
        (Queue::ContentBulk, content.to_body()),
    ] {
        hand.send(queue.name(), "late", &body);
        hand.send(queue.dead_letter_name(), "late", &body);
    }
}

#[test]
fn regression_an_erased_connection_leaves_its_tombstone_and_nothing_else() {
    mirrored(6, async |hand| {
        let (ours, held, shared) = (hand.take(), hand.take(), hand.take());
        content(hand, &shared, "in both connections");
        apply(hand).await;
        hand.pump().await;
        let beside = connect_beside(hand).await;
        let path = format!("/v1/connections/{beside}/pause");
        let paused = hand.ask(Method::POST, &path, None).await;
        assert_eq!(paused.status, 200, "{}", paused.body);
        content(hand, &ours, "only here");
        apply(hand).await;
        hand.pump().await;
        let counted = items_naming(hand, &beside).await;
        assert!(counted.len() > 6, "{counted:?}");

        // A conflict, an owed edit, a message in flight.
        hand.edit_ok(&held, json!({"name": "ours.txt"})).await;
        hand.owner().rename(&held, "theirs.txt").await;
        apply(hand).await;
        hand.edit_ok(&ours, json!({"name": "owed.txt"})).await;
        hand.simulator
            .apply("owner", &ours, Edit::Rename("late.txt".to_owned()))
            .unwrap();
        let before = versions(hand, &ours).await;
        assert!(!before.is_empty());

        let dry = delete(hand, "?erase=true&dry_run=true").await;
        assert_eq!(dry.status, 202, "{}", dry.body);
        hand.sweep_and_pump().await;
        let id = dry.body["id"].as_str().unwrap();
        let dry = hand.get(&format!("/operations/{id}")).await;
        assert_eq!(
            (&dry["state"], &dry["dry_run"]),
            (&json!("done"), &json!(true))
        );
        assert!(dry["erased"]["records"].as_u64().unwrap() >= 6, "{dry}");
        assert_eq!(versions(hand, &ours).await, before, "nothing was changed");

        let answer = delete(hand, "?erase=true").await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(
            answer.headers["location"],
            format!("/v1/erasures/{}", hand.key.connection)
        );
        let operation = answer.body["operation"]["id"].as_str().unwrap();
        let operation = OperationId::parse(operation).unwrap();
        let again = delete(hand, "?erase=true").await;
        assert_eq!(
            again.body["operation"]["id"],
            operation.as_str(),
            "{}",
            again.body
        );
        assert_eq!(hand.api(Method::GET, "", &[], None).await.status, 404);

        // It is killed at every one of its calls in turn.
        let mut crashes = 0;
        for call in 0..2_000 {
            if hand.operation_crashes(operation.as_str(), call).await {
                crashes += 1;
                continue;
            }
            if erasure(hand).await.body["state"] == "erased" {
                break;
            }
            hand.pump_stream().await.unwrap();
            hand.advance_clock(QUIET);
        }
        assert!(crashes > 15, "it was killed {crashes} times");
        let certificate = erasure(hand).await.body;
        assert_eq!(certificate["state"], "erased", "{certificate}");
        let counts = &certificate["certificate"]["counts"];
        assert!(counts["records"].as_u64().unwrap() >= 6, "{certificate}");

        // What was still on its way, and a message of every kind, brings nothing back.
        hand.pump().await;
        send_every_kind(hand, &ours, &operation);
        hand.sweep_and_pump().await;
        hand.advance_clock(DAY);
        hand.sweep_and_pump().await;
        let connection = hand.key.connection.as_str();
        let tombstone = format!("T#{} / CONN#{connection}", hand.key.tenant);
        let mut named = items_naming(hand, connection).await;
        // A content that the one beside it has too still names who had it.
        named.retain(|item| !item.ends_with(" / OBJECT"));
        assert_eq!(named, BTreeSet::from([tombstone]));
        let bytes = objects(hand).await;
        let own = &before[0];
        assert_eq!(own.size_bytes, 9, "the text that no other connection has");
        assert!(!bytes.contains(own.object.as_str()), "{}", own.object);

        // The one beside it has everything.
        let left = items_naming(hand, &beside).await;
        let lost = counted.difference(&left);
        // Channels end, and others take their place.
        let lost: Vec<_> = lost.filter(|item| !item.starts_with("CHANNEL#")).collect();
        assert!(lost.is_empty(), "{lost:?}");
        let beside = domain::ConnectionId::parse(&beside).unwrap();
        let beside = domain::ConnectionKey {
            connection: beside,
            ..hand.key.clone()
        };
        let file = FileId::parse(&shared).unwrap();
        let all = store::PageRequest::first(9);
        let stored = hand.store().list_versions(&beside, &file, &all).await;
        for version in stored.unwrap().items {
            let content = bucket(hand).read_content(&version, 1 << 20).await;
            assert!(content.unwrap().is_some());
        }
        let again = delete(hand, "?erase=true").await;
        assert_eq!(
            (again.status, &again.body["state"]),
            (200, &json!("erased"))
        );
        assert_eq!(delete(hand, "").await.status, 404);
    });
}

#[test]
fn regression_work_in_flight_at_the_deletion_leaves_nothing() {
    mirrored(4, async |hand| {
        let file = hand.take();
        hand.owner().rename(&file, "in flight.txt").await;
        hand.sync().await;
        hand.pump_only(Queue::LogWakes).await;
        // A function that had loaded the connection before it was deleted writes afterwards.
        let connection = hand.store().load_connection(&hand.key).await.unwrap();
        assert!(connection.is_some());
        let answer = delete(hand, "?erase=true").await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        hand.sweep_and_pump().await;
        let draining = erasure(hand).await.body;
        assert_eq!(draining["operation"]["state"], "draining", "{draining}");
        let late = FileId::parse("late").unwrap();
        let record = domain::FileRecord::tombstone(late.clone(), domain::Gone::Removed, hand.now());
        let step = domain::Transition::unchanged(record);
        let first = domain::Revision(0);
        let written = hand
            .store()
            .commit(&hand.key, first, &step, store::Nonce(7))
            .await;
        assert_eq!(written.unwrap(), store::Committed::Done);
        let log = store::Log::new(hand.key.clone(), LogId::user(), hand.now());
        hand.store().create_log(&log).await.unwrap();
        hand.advance_clock(QUIET);
        hand.sweep_and_pump().await;
        let certificate = erasure(hand).await.body;
        assert_eq!(certificate["state"], "erased", "{certificate}");
        let found = hand.store().load_file(&hand.key, &late).await.unwrap();
        assert_eq!(found, None);
        assert_eq!(
            items_naming(hand, hand.key.connection.as_str()).await.len(),
            1
        );
    });
}

#[test]
fn a_deleted_connection_is_restored_with_what_it_owes_held_back() {
    mirrored(4, async |hand| {
        let (ours, theirs) = (hand.take(), hand.take());
        content(hand, &ours, "kept");
        apply(hand).await;
        hand.pump().await;
        let paused = hand.api(Method::POST, "/pause", &[], None).await;
        assert_eq!(paused.status, 200, "{}", paused.body);
        hand.edit_ok(&ours, json!({"name": "owed.txt"})).await;
        assert_eq!(delete(hand, "").await.status, 204);
        let kept = erasure(hand).await.body;
        assert_eq!(kept["state"], "kept", "{kept}");
        assert!(kept["erase_at"].is_string(), "{kept}");
        hand.owner().rename(&theirs, "renamed meanwhile.txt").await;
        hand.advance_clock(DAY * 29);
        hand.sweep_and_pump().await;

        let restored = hand.api(Method::POST, "/restore", &[], None).await;
        assert_eq!(restored.status, 200, "{}", restored.body);
        assert_eq!(restored.body["state"], "active");
        assert_eq!(restored.body["owed_held"], true);
        for _ in 0..4 {
            hand.sweep_and_pump().await;
            hand.advance_clock(Duration::from_secs(120));
        }
        assert_eq!(
            hand.file(&theirs).await["fields"]["name"],
            "renamed meanwhile.txt"
        );
        assert_eq!(hand.file(&ours).await["fields"]["name"], "owed.txt");
        assert_ne!(
            hand.owner().name_of(&ours).await,
            "owed.txt",
            "it is held back"
        );
        intact(hand, &ours).await;

        let confirmed = hand.api(Method::POST, "/restore/confirm", &[], None).await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.body);
        assert_eq!(confirmed.body["owed_held"], false);
        hand.sweep_and_pump().await;
        assert_eq!(hand.owner().name_of(&ours).await, "owed.txt");
        assert_eq!(erasure(hand).await.status, 404);
        let again = hand.api(Method::POST, "/restore", &[], None).await;
        assert_eq!(again.status, 409, "{}", again.body);
    });
}

#[test]
fn a_deleted_connection_that_nobody_restores_is_erased_after_thirty_days() {
    by_hand(3, async |hand| {
        assert_eq!(delete(hand, "").await.status, 204);
        hand.advance_clock(DAY * 30);
        for _ in 0..3 {
            hand.sweep_and_pump().await;
        }
        let erased = erasure(hand).await.body;
        assert_eq!(erased["state"], "erased", "{erased}");
        let late = hand.api(Method::POST, "/restore", &[], None).await;
        assert_eq!(late.status, 409, "{}", late.body);
        let list = hand.ask(Method::GET, "/v1/erasures", None).await;
        assert_eq!(
            list.body["items"][0]["connection"],
            hand.key.connection.as_str()
        );
    });
}

#[test]
fn an_erasure_that_was_cancelled_half_way_is_begun_again() {
    by_hand(3, async |hand| {
        let answer = delete(hand, "?erase=true").await;
        let id = answer.body["operation"]["id"].as_str().unwrap().to_owned();
        hand.sweep_and_pump().await;
        let path = format!("/operations/{id}/cancel");
        let cancelled = hand.api(Method::POST, &path, &[], None).await;
        assert_eq!(cancelled.status, 200, "{}", cancelled.body);
        assert_eq!(cancelled.body["state"], "waiting");
        hand.advance_clock(QUIET);
        hand.sweep_and_pump().await;
        let waiting = erasure(hand).await.body;
        assert_eq!(waiting["state"], "erasing", "{waiting}");
        let restored = hand.api(Method::POST, "/restore", &[], None).await;
        assert_eq!(
            restored.status, 409,
            "half of it is gone: {}",
            restored.body
        );
        let again = erase_on(hand).await;
        assert_eq!(again["state"], "erased", "{again}");
    });
}

/// Continues an erasure whose connection was deleted long ago.
async fn erase_on(hand: &ByHand) -> Value {
    let answer = delete(hand, "?erase=true").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    hand.sweep_and_pump().await;
    erasure(hand).await.body
}

#[test]
fn what_can_not_be_erased_or_restored_says_so() {
    by_hand(2, async |hand| {
        for (method, path, status) in [
            (Method::DELETE, "/v1/connections/c_none?erase=true", 404),
            (Method::GET, "/v1/erasures/c_none", 404),
            (Method::POST, "/v1/connections/c_none/restore", 404),
            (Method::POST, "/v1/connections/c_none/restore/confirm", 404),
        ] {
            let answer = hand.ask(method, path, None).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.body);
        }
        let restored = hand.api(Method::POST, "/restore", &[], None).await;
        assert_eq!(restored.status, 409, "{}", restored.body);
        let confirmed = hand.api(Method::POST, "/restore/confirm", &[], None).await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.body);
        let dry = delete(hand, "?dry_run=true").await;
        assert_eq!(
            (dry.status, &dry.body["parameter"]),
            (400, &json!("dry_run"))
        );
        let certificate = erase(hand).await;
        assert_eq!(certificate["state"], "erased", "{certificate}");
        let dry = delete(hand, "?erase=true&dry_run=true").await;
        assert_eq!(dry.status, 409, "{}", dry.body);
    });
}
