//! Deduplication ids, groups and redriven messages.

use super::*;
use crate::message::Origin;
use crate::{ContentWake, Priority};
use domain::{ConnectionId, DriveMetadata, DriveVersion, FieldSetVersion, Snapshot, TenantId};
use std::collections::BTreeMap;

fn key(tenant: &str) -> ConnectionKey {
    ConnectionKey {
        tenant: TenantId::parse(tenant).unwrap(),
        connection: ConnectionId::parse("c_01").unwrap(),
    }
}

fn message(tenant: &str, version: Option<u64>, at: i64, origin: Origin) -> SnapshotMessage {
    let file = FileId::parse("1abc").unwrap();
    let snapshot = |version| Snapshot {
        file: file.clone(),
        version: DriveVersion(version),
        field_set: FieldSetVersion::CURRENT,
        fields: BTreeMap::new(),
        metadata: DriveMetadata::default(),
    };
    SnapshotMessage {
        key: key(tenant),
        origin,
        file: file.clone(),
        at: Timestamp::from_millis(at),
        snapshot: version.map(snapshot),
    }
}

#[test]
fn distinct_snapshots_have_distinct_deduplication_ids_and_a_repetition_does_not() {
    let operation = || Origin::Operation("op-1".to_owned());
    let all = [
        message("acme", Some(1), 0, Origin::Live),
        message("acme", Some(2), 0, Origin::Live),
        message("acme", Some(1), 0, operation()),
        message("other", Some(1), 0, Origin::Live),
        message("acme", None, 7, Origin::Live),
        message("acme", None, 8, Origin::Live),
    ];
    let ids: std::collections::BTreeSet<String> = all.iter().map(deduplication).collect();
    assert_eq!(ids.len(), all.len());
    // The time of a change is not part of the id: Drive's version identifies the state.
    let repeated = message("acme", Some(1), 99, Origin::Live);
    assert_eq!(deduplication(&repeated), deduplication(&all[0]));
}

#[test]
fn a_snapshot_that_is_too_large_for_a_message_is_sent_by_reference() {
    let described = |text: String| {
        let mut message = message("acme", Some(7), 5, Origin::Live);
        let fields = &mut message.snapshot.as_mut().unwrap().fields;
        fields.insert(domain::Field::Description, domain::Value::Text(text));
        message
    };
    let small = described("x".repeat(SNAPSHOT_BYTES_MAX / 2));
    assert_eq!(sendable(&small), (small.to_body(), deduplication(&small)));
    // A control character takes six bytes in JSON.
    for large in [
        "x".repeat(1_100_000),
        "\u{1}".repeat(SNAPSHOT_BYTES_MAX / 5),
    ] {
        let (body, id) = sendable(&described(large));
        let sent = SnapshotMessage::from_body(&body).unwrap();
        assert_eq!((sent.snapshot.as_ref(), body.len() < 500), (None, true));
        assert_eq!(sent.origin.referred_version(), Some(DriveVersion(7)));
        let other = described("x".repeat(1_100_000));
        assert_eq!(id, sendable(&other).1, "read again, it is the same message");
    }
    let all: Vec<_> = (0..30).map(|_| described("x".repeat(150_000))).collect();
    let bytes = |batch: &Vec<Entry>| batch.iter().map(|entry| entry.0.len()).sum::<usize>();
    assert!(
        batches(&all)
            .iter()
            .all(|batch| bytes(batch) <= BATCH_BYTES_MAX)
    );
}

#[test]
fn a_parked_message_is_read_as_what_it_was() {
    let key = key("acme");
    let log = LogWake {
        key: key.clone(),
        log: LogId::user(),
    };
    let push = PushWake { key: key.clone() };
    let removed = message("acme", None, 7, Origin::Live);
    let content = ContentWake {
        key: key.clone(),
        file: removed.file.clone(),
    };
    let read = |body: &str| Redrive::from_body(body, true).unwrap();
    assert_eq!(read(&log.to_body()), Redrive::Log(log));
    assert_eq!(read(&push.to_body()), Redrive::Push(push));
    let operation = OperationWake {
        key: key.clone(),
        operation: OperationId::parse("op1").unwrap(),
    };
    assert_eq!(read(&operation.to_body()), Redrive::Operation(operation));
    let live = LiveWake { key: key.clone() };
    assert_eq!(read(&live.to_body()), Redrive::Live(live));
    assert_eq!(
        read(&content.to_body()),
        Redrive::Content {
            wake: content,
            priority: Priority::Bulk
        }
    );
    let snapshot = read(&removed.to_body());
    assert_eq!(snapshot.key(), &key);
    let message = Box::new(removed);
    assert_eq!(
        snapshot,
        Redrive::Snapshot {
            message,
            bulk: true
        }
    );
    assert!(Redrive::from_body("{\"v\":1", false).is_err());
}

#[test]
fn ids_are_valid_in_sqs() {
    let long = ConnectionKey {
        tenant: TenantId::parse(&"t".repeat(64)).unwrap(),
        connection: ConnectionId::parse(&"c".repeat(64)).unwrap(),
    };
    let group = file_group(&long, &FileId::parse("1abc").unwrap());
    assert!(group.len() <= 128, "{group}");
    assert!(group.bytes().all(|b| b.is_ascii_graphic()));
}

#[test]
fn a_wake_is_delivered_after_its_coalescing_window_has_ended() {
    for at in [0, 1, 499, 500, 999, 1_763_715_600_123] {
        let sent_at = Timestamp::from_millis(at);
        let delivered_at = sent_at.plus_millis(WAKE_DELAY_MILLIS);
        assert!(coalescing_window_end(sent_at) > sent_at);
        assert!(coalescing_window_end(sent_at) <= delivered_at);
    }
}

/// Messages as an earlier build sent them, of which some may be in flight during a deployment.
#[test]
fn recorded_messages_are_read_and_sent_again_as_they_were() {
    let recorded = include_str!("recorded_messages.jsonl").lines();
    for line in recorded {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| message[name].as_str().unwrap();
        let (body, group) = (text("body"), text("group"));
        let (again, its_group) = match text("queue") {
            "log-wakes.fifo" => {
                let wake = LogWake::from_body(body).unwrap();
                (wake.to_body(), log_group(&wake.key, &wake.log))
            }
            "push-wakes.fifo" => {
                let wake = PushWake::from_body(body).unwrap();
                (wake.to_body(), connection_group(&wake.key))
            }
            "content.fifo" | "content-bulk.fifo" => {
                let wake = ContentWake::from_body(body).unwrap();
                (wake.to_body(), file_group(&wake.key, &wake.file))
            }
            "snapshots.fifo" | "snapshots-bulk.fifo" => {
                let snapshot = SnapshotMessage::from_body(body).unwrap();
                assert_eq!(deduplication(&snapshot), text("deduplication_id"), "{line}");
                (
                    snapshot.to_body(),
                    file_group(&snapshot.key, &snapshot.file),
                )
            }
            other => panic!("{other} has no messages"),
        };
        let json = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap();
        assert_eq!(json(&again), json(body), "{line}");
        assert_eq!(its_group, group, "{line}");
    }
}
