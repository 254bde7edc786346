use std::collections::BTreeMap;
use std::sync::Mutex;

use domain::{
    ConnectionId, ContentSettings, DriveMetadata, DriveVersion, Field, FieldSetVersion, FileId,
    FileRecord, Policies, RemovalLimits, Revision, Rules, Snapshot, TenantId, Timestamp,
    Transition, Value,
};
use store::{Connection, ConnectionState, Nonce, Scope};

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
        stream::file_of_keys(&record.change.keys).map(|(_, file)| file.to_string())
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
        let mut source = StreamSource::new(&aws, store);
        let killed = source.poll(async |_| None).await;
        assert!(matches!(killed, Err(StreamError::Unhandled)), "{killed:?}");
        // The second of three records fails; the first is processed.
        let polled = source.poll(async |event| Some(failing_at(&event, 1))).await;
        assert!(matches!(polled, Err(StreamError::Unhandled)), "{polled:?}");
    }
    let (aws, store) = open(&folder);
    let mut source = StreamSource::new(&aws, store.clone());
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
async fn without_mirrored_content_nothing_is_delivered_and_the_stream_is_trimmed() {
    let folder = Scratch::new().unwrap();
    let (aws, store) = open(&folder);
    connect(&store, false).await;
    for file in ["1a", "1b", "1c"] {
        write(&store, file).await;
    }
    let mut source = StreamSource::new(&aws, store);
    let handle = async |_| panic!("the function must not be invoked");
    source.poll(handle).await.unwrap();
    assert_eq!(aws.dynamodb().stream_keys(None, 10).unwrap().len(), 1);
}
