//! Tables to check, and values to check them with.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::{Client, Config};
use domain::operation::ListedPage;
use domain::{
    Capabilities, ConnectionId, ConnectionKey, Context, DriveMetadata, DriveVersion, Field,
    FieldSetVersion, FileId, FileRecord, Jitter, Observation, Operation, Policies, Revision,
    Snapshot, TenantId, Timestamp, Transition, Value,
};

use super::transport::{self, Fault, Faults};
use crate::{Committed, Nonce, PageRequest, Store, create_table};

/// Returns a store over a new table without faults.
pub(super) async fn embedded() -> Store {
    faulty(Arc::new(|_, _| Fault::None)).await
}

/// Returns a store over a new table with faults.
pub(super) async fn faulty(faults: Faults) -> Store {
    let client = transport::client(faults);
    create_table(&client, "drivesync").await.expect("a table");
    Store::new(client, "drivesync")
}

/// Returns the store that the environment names, if it does.
pub(super) async fn elsewhere() -> Option<Store> {
    let endpoint = variable("AWS_ENDPOINT_URL")?;
    let table = variable("DRIVESYNC_TEST_TABLE")?;
    let or = |name, default: &str| variable(name).unwrap_or_else(|| default.to_owned());
    let credentials = Credentials::new(
        or("AWS_ACCESS_KEY_ID", "test"),
        or("AWS_SECRET_ACCESS_KEY", "test"),
        variable("AWS_SESSION_TOKEN"),
        None,
        "environment",
    );
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(or("AWS_REGION", "us-east-1")))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .build();
    let client = Client::from_conf(config);
    create_table(&client, &table).await.expect("a table");
    Some(Store::new(client, table))
}

#[expect(
    clippy::disallowed_methods,
    reason = "which endpoint the suite runs against is the one setting that these tests have"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns a connection that no other check has, in this run or an earlier one against the same
/// table.
pub(super) fn fresh() -> ConnectionKey {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let at_random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), count);
    ConnectionKey {
        tenant: TenantId::parse(&format!("t-{process}-{at_random:x}-{count}")).unwrap(),
        connection: ConnectionId::parse("c1").unwrap(),
    }
}

pub(super) fn file(id: &str) -> FileId {
    FileId::parse(id).unwrap()
}

pub(super) fn ms(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Returns an operation after a page of its listing.
pub(super) fn listed(operation: &Operation, files: u64, next: Option<&str>, now: i64) -> Operation {
    let page = ListedPage {
        files,
        entries: None,
        next,
        incomplete: false,
    };
    operation.on_page(&page, ms(now), Jitter(0.5))
}

/// Returns an unused nonce.
pub(super) fn nonce() -> Nonce {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    Nonce(COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn snapshot(id: &str, version: u64, name: &str, parent: &str) -> Snapshot {
    Snapshot {
        file: file(id),
        version: DriveVersion(version),
        field_set: FieldSetVersion::CURRENT,
        fields: BTreeMap::from([
            (Field::Name, Value::text(name)),
            (Field::Description, Value::text("")),
            (Field::Starred, Value::Flag(false)),
            (Field::Trashed, Value::Flag(false)),
            (Field::Parent, Value::text(parent)),
        ]),
        metadata: DriveMetadata {
            mime_type: "text/plain".to_owned(),
            size_bytes: Some(12),
            md5: Some("d41d8cd98f00b204e9800998ecf8427e".to_owned()),
            capabilities: Capabilities(0b1011),
            ..DriveMetadata::default()
        },
    }
}

static POLICIES: Policies = Policies {
    default: domain::Policy::Manual,
    fields: BTreeMap::new(),
    folders: BTreeMap::new(),
};

/// The context of a transition at `millis`.
pub(super) fn context(millis: i64) -> Context<'static> {
    Context {
        now: ms(millis),
        drive_at: Some(ms(millis)),
        above: None,
        policies: &POLICIES,
    }
}

/// Commits a step that must succeed, and loads the stored record.
pub(super) async fn committed(
    store: &Store,
    key: &ConnectionKey,
    before: Revision,
    step: &Transition,
) -> FileRecord {
    let done = store.commit(key, before, step, nonce()).await.unwrap();
    assert_eq!(done, Committed::Done);
    let stored = store.load_file(key, &step.record.file).await.unwrap();
    stored.expect("what was committed")
}

/// Stores the first sight of a file.
pub(super) async fn stored(
    store: &Store,
    key: &ConnectionKey,
    id: &str,
    parent: &str,
) -> FileRecord {
    let first = FileRecord::from_snapshot(&snapshot(id, 1, id, parent));
    committed(store, key, Revision(0), &Transition::unchanged(first)).await
}

/// Stores the record with an edit of one field.
pub(super) async fn edited(
    store: &Store,
    key: &ConnectionKey,
    record: &FileRecord,
    field: Field,
    value: Value,
    millis: i64,
) -> FileRecord {
    let values = BTreeMap::from([(field, value)]);
    let step = record.edit(&values, "alice", context(millis)).unwrap();
    committed(store, key, record.revision, &step).await
}

/// Stores the record with a snapshot merged in.
pub(super) async fn observed(
    store: &Store,
    key: &ConnectionKey,
    record: &FileRecord,
    snapshot: Snapshot,
    millis: i64,
) -> FileRecord {
    let step = record.observe(&Observation::Present(snapshot), context(millis));
    committed(store, key, record.revision, &step).await
}

/// Polls until the value is the expected one: indexes lag.
pub(super) async fn eventually<T: PartialEq + Debug>(want: T, look: impl AsyncFn() -> T) {
    let mut seen = look().await;
    for _ in 0..200 {
        if seen == want {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        seen = look().await;
    }
    assert_eq!(seen, want);
}

pub(super) fn page(limit: u32) -> PageRequest {
    PageRequest::first(limit)
}

pub(super) fn ids(records: &[FileRecord]) -> Vec<&str> {
    records.iter().map(|record| record.file.as_str()).collect()
}
