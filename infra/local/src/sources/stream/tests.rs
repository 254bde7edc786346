use std::collections::BTreeMap;
use std::sync::Mutex;

use domain::{
    ConnectionId, ConnectionKey, ContentSettings, DriveMetadata, DriveVersion, Field,
    FieldSetVersion, FileId, FileRecord, Policies, RemovalLimits, Revision, Rules, Snapshot,
    TenantId, Timestamp, Transition, Value,
};
use store::{Connection, ConnectionState, Nonce, Scope, Store, stream};

use super::*;
use crate::aws::scratch::Scratch;
use crate::aws::{NAME, Options};

fn key() -> ConnectionKey {
    ConnectionKey {
        tenant: TenantId::parse("acme").unwrap(),
        connection: ConnectionId::parse("c_01").unwrap(),
    }
}

fn open(folder: &Scratch) -> (Aws, Store) {
    let aws = Aws::open(Options::directory(folder.path())).unwrap();
    let store = Store::new(aws.dynamodb_client(), NAME);
    (aws, store)
}

async fn connect(store: &Store, enabled: bool) {
    let connection = Connection {
        key: key(),
        revision: 0,
        name: "Team".to_owned(),
        scope: Scope::User,
        secret_id: "drivesync/acme/drive".to_owned(),
        subject: None,
        quota_user: None,
        limits: domain::rate_limit::Limits::default(),
        policies: Policies::default(),
        rules: Rules::default(),
        content: ContentSettings {
            enabled,
            ..ContentSettings::default()
        },
        account: domain::Account::default(),
        my_drive: None,
        access: None,
        own_domains: None,
        removals: RemovalLimits::default(),
        comparison_interval: domain::operation::ComparisonInterval::default(),
        state: ConnectionState::Active,
        generation: 0,
        deletion: None,
        owed_held: false,
        created_at: Timestamp::from_millis(0),
        created_by: "ada".to_owned(),
        last_request: None,
    };
    store.create_connection(&connection, None).await.unwrap();
}

async fn write(store: &Store, file: &str) {
    let first = Transition::unchanged(FileRecord::from_snapshot(&Snapshot {
        file: FileId::parse(file).unwrap(),
        version: DriveVersion(1),
        field_set: FieldSetVersion::CURRENT,
        fields: BTreeMap::from([(Field::Name, Value::text(file))]),
        metadata: DriveMetadata::default(),
    }));
    let nothing = Revision(0);
    store
        .commit(&key(), nothing, &first, Nonce(1))
        .await
        .unwrap();
}

/// Returns the files of an event.
fn files(event: &Event) -> Vec<String> {
    let file = |record: &aws_lambda_events::event::dynamodb::EventRecord| {
        let (_, kind) = stream::item_of_keys(&record.change.keys)?;
        kind.file().map(ToString::to_string)
    };
    event.records.iter().filter_map(file).collect()
}

fn failing_at(event: &Event, at: usize) -> DynamoDbEventResponse {
    let mut answer = DynamoDbEventResponse::default();
    let mut failure = aws_lambda_events::event::streams::DynamoDbBatchItemFailure::default();
    failure.item_identifier = event.records[at].change.sequence_number.clone();
    answer.batch_item_failures.push(failure);
    answer
}

#[tokio::test]
async fn unprocessed_records_are_delivered_after_a_restart_and_processed_ones_trimmed() {
    let folder = Scratch::new().unwrap();
    {
        let (aws, store) = open(&folder);
        connect(&store, true).await;
        for file in ["1a", "1b", "1c"] {
            write(&store, file).await;
        }
        let mut source = StreamSource::new(&aws);
        let killed = source.poll(async |_| None).await;
        assert!(matches!(killed, Err(StreamError::Unhandled)), "{killed:?}");
        // The record of the second file fails; those of the connection and the first are processed.
        let polled = source.poll(async |event| Some(failing_at(&event, 2))).await;
        assert!(matches!(polled, Err(StreamError::Unhandled)), "{polled:?}");
    }
    let (aws, store) = open(&folder);
    let mut source = StreamSource::new(&aws);
    let seen = Mutex::new(Vec::new());
    let all = |event: Event| {
        seen.lock().unwrap().push(files(&event));
        async { Some(DynamoDbEventResponse::default()) }
    };
    source.poll(all).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [["1b", "1c"]]);
    let left = aws.dynamodb().stream_keys(None, 10).unwrap();
    assert_eq!(left.len(), 1, "the last record stays");
    source.poll(all).await.unwrap();
    assert_eq!(
        seen.lock().unwrap().len(),
        1,
        "the last record is not delivered again"
    );
    write(&store, "1d").await;
    source.poll(all).await.unwrap();
    assert_eq!(seen.lock().unwrap()[1], ["1d"]);
}

#[tokio::test]
async fn what_the_filter_excludes_is_not_delivered_and_the_stream_is_trimmed() {
    let folder = Scratch::new().unwrap();
    let (aws, store) = open(&folder);
    for _ in 0..3 {
        store
            .owe_reset(&key(), Timestamp::from_millis(0))
            .await
            .unwrap();
    }
    store.forget_event_log(&key()).await.unwrap();
    let mut source = StreamSource::new(&aws);
    let handle = async |_| panic!("the function must not be invoked");
    source.poll(handle).await.unwrap();
    assert_eq!(aws.dynamodb().stream_keys(None, 10).unwrap().len(), 1);
}

#[tokio::test]
async fn the_parts_of_a_split_shard_deliver_each_record_once() {
    let aws = Aws::open(Options::memory(crate::aws::system_clock())).unwrap();
    let store = Store::new(aws.dynamodb_client(), NAME);
    write(&store, "1a").await;
    let seen = Mutex::new(Vec::new());
    let all = |event: Event| {
        seen.lock().unwrap().extend(files(&event));
        async { Some(DynamoDbEventResponse::default()) }
    };
    let mut whole = StreamSource::new(&aws);
    whole.poll(all).await.unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("2{n:02}")).collect();
    for name in &names {
        write(&store, name).await;
    }
    let mut parts = Vec::new();
    for mut part in whole.split() {
        seen.lock().unwrap().clear();
        part.poll(all).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        assert!((1..20).contains(&seen.len()), "{seen:?}");
        parts.extend(seen);
    }
    parts.sort();
    assert_eq!(parts, names);
}

/// Returns whether a value passes a part of a filter's pattern.
fn passes(pattern: &serde_json::Value, value: &str) -> bool {
    let mut allowed = pattern.as_array().unwrap().iter();
    allowed.any(|allowed| match allowed["prefix"].as_str() {
        Some(prefix) => value.starts_with(prefix),
        None => allowed == value,
    })
}

#[test]
fn what_is_delivered_here_is_what_the_template_delivers_on_aws() {
    let template = include_str!("../../../../../template.yaml");
    let (_, filters) = template.split_once("FilterCriteria:").unwrap();
    let (_, pattern) = filters.split_once("Pattern: >-").unwrap();
    let (pattern, rest) = pattern.split_once("\n\n").unwrap();
    assert!(!rest.contains("FilterCriteria:"));
    let pattern: serde_json::Value = serde_json::from_str(pattern).unwrap();
    let sort_keys = &pattern["dynamodb"]["Keys"]["SK"]["S"];
    let recorded = include_str!("../../../../../shared/store/src/conformance/recorded_items.jsonl");
    let recorded = recorded.lines().map(|line| {
        let item: serde_json::Value = serde_json::from_str(line).unwrap();
        item["SK"]["S"].as_str().unwrap().to_owned()
    });
    let further = [
        "EV#0000000000000000001",
        "EVENTLOG",
        "PACE",
        "OP",
        "HEADS",
        "CONTENT#1",
    ];
    let (mut delivered, mut others) = (0, 0);
    for sort_key in recorded.chain(further.map(str::to_owned)) {
        for event_name in ["INSERT", "MODIFY", "REMOVE"] {
            let expected =
                passes(&pattern["eventName"], event_name) && passes(sort_keys, &sort_key);
            assert_eq!(
                invokes(event_name, &sort_key),
                expected,
                "{event_name} {sort_key}"
            );
            delivered += u32::from(expected);
            others += u32::from(!expected);
        }
    }
    assert!(delivered > 50 && others > 50, "{delivered} and {others}");
}
