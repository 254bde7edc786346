#![doc = include_str!("../README.md")]

mod aws;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lambda_events::event::dynamodb::Event as DynamoDbEvent;
use aws_lambda_events::event::sqs::SqsEvent;
use bytes::Bytes;
use domain::{
    ChannelId, ConnectionId, ConnectionKey, Context, Field, FileId, FileRecord, LogId, Observation,
    Policies, Revision, Snapshot, TenantId, Timestamp, Transition, Value,
};
use drive::{DriveClient, Drives, Transport, TransportError};
use drive_simulator::{Fault, Simulator};
use runtime::{Clock, Deadline, Entropy};
use sdk_in_process::InProcess;
use serde_json::json;
use sqs_fifo::{Attributes, NewMessage, Received, Sqs, queue_arn};
use store::{
    Committed, Connection, ConnectionState, DeadLetter, Log, LogPosition, Nonce, PageRequest,
    Scope, Store,
};
use throttle::DriveFactory;
use tower::ServiceExt as _;
use worker::{ContentQueues, Queue, SnapshotQueues, WakeQueues};

/// The time at which every world begins: 2026-11-21T09:00:00Z.
pub const EPOCH: Timestamp = Timestamp::from_millis(1_795_251_600_000);
/// The queues.
pub const QUEUES: [&str; 9] = [
    "log-wakes.fifo",
    "snapshots.fifo",
    "snapshots-bulk.fifo",
    "push-wakes.fifo",
    "operations.fifo",
    "live.fifo",
    "deliver.fifo",
    "content.fifo",
    "content-bulk.fifo",
];
/// The queue that messages which were received too often move to.
pub const DEAD_LETTERS: &str = "dead.fifo";
/// The user that the connection acts as, who owns the simulated library.
pub const OWNER: &str = "owner";

const TABLE: &str = "drivesync";
const DRIVE_URL: &str = "http://drive.test";

/// A change of an item: its key, and the item before and after it (`Null`: there was none).
#[derive(Debug, Clone)]
pub struct ItemChange {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
    /// The item before.
    pub old: serde_json::Value,
    /// The item after.
    pub new: serde_json::Value,
}

/// A table, queues and a Drive in memory, with one connection at most.
pub struct World {
    /// The table.
    pub store: Store,
    /// The simulated Drive, for a person's edits.
    pub drive: Simulator,
    /// Opens Drive for connections.
    pub drives: DriveFactory,
    /// Follows tokio's time.
    pub clock: Clock,
    /// A counter: distinct numbers, and jitters close to zero.
    pub entropy: Entropy,
    /// The queues.
    pub sqs: Sqs,
    database: Arc<dynoxide::Database>,
    http: InProcess,
    aws_calls: Arc<Mutex<aws::AwsCalls>>,
    sent: AtomicU64,
}

impl World {
    /// Returns a world without a connection. Its time is tokio's, which the test pauses.
    pub async fn new() -> Self {
        let start = tokio::time::Instant::now();
        let millis = move || {
            let elapsed = i64::try_from(start.elapsed().as_millis()).unwrap();
            EPOCH.plus_millis(elapsed).as_millis()
        };
        let clock = Clock::new(move || Timestamp::from_millis(millis()));
        let random = AtomicU64::new(1);
        let entropy = Entropy::new(move || random.fetch_add(1, Ordering::SeqCst));
        let sqs = Sqs::open(None, Arc::new(millis)).unwrap();
        for name in QUEUES.into_iter().chain([DEAD_LETTERS]) {
            let attributes = [
                ("FifoQueue", "true"),
                ("VisibilityTimeout", "300"),
                ("DeduplicationScope", "messageGroup"),
                ("FifoThroughputLimit", "perMessageGroupId"),
            ];
            let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
            sqs.create_queue(name, &Attributes::from(attributes))
                .unwrap();
        }
        let drive = Simulator::new(drive_simulator::Options {
            seed: Some(7),
            clock: Some(Arc::new(millis)),
            // Notifications go nowhere.
            deliver: Some(Arc::new(|_| Box::pin(async { Some(204) }))),
            ..drive_simulator::Options::default()
        });
        let credentials = json!({
            "type": "authorized_user", "client_id": "x", "client_secret": "y",
            "refresh_token": format!("user:{OWNER}"), "token_uri": format!("{DRIVE_URL}/token"),
        });
        let aws_calls = Arc::<Mutex<aws::AwsCalls>>::default();
        let database = Arc::new(dynoxide::Database::memory().unwrap());
        let http = aws::in_process(
            Arc::clone(&database),
            sqs.clone(),
            credentials.to_string(),
            Arc::clone(&aws_calls),
        );
        let dynamodb = aws::dynamodb(http.clone());
        store::create_table(&dynamodb, TABLE).await.unwrap();
        let store = Store::new(dynamodb, TABLE);
        let now = clock.clone();
        let secrets = aws::secrets(http.clone());
        let drives = Drives::new(
            transport(&drive),
            DRIVE_URL,
            secrets,
            Arc::new(move || now.now()),
        );
        Self {
            drives: DriveFactory::new(drives, store.clone(), clock.clone(), entropy.clone()),
            store,
            drive,
            clock,
            entropy,
            sqs,
            database,
            http,
            aws_calls,
            sent: AtomicU64::new(0),
        }
    }

    /// Returns a client of the secrets: each has the same long text.
    #[must_use]
    pub fn secrets(&self) -> aws_sdk_secretsmanager::Client {
        aws::secrets(self.http.clone())
    }

    /// Returns the key of the connection.
    #[must_use]
    pub fn key() -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        }
    }

    /// Stores an active connection to the user's own log, after `edit` has changed it.
    pub async fn connect(&self, edit: impl FnOnce(&mut Connection)) -> Connection {
        let mut connection = Connection {
            key: Self::key(),
            revision: 1,
            name: "Team documents".to_owned(),
            scope: Scope::User,
            secret_id: "drivesync/acme/drive".to_owned(),
            subject: None,
            quota_user: None,
            limits: domain::rate_limit::Limits::default(),
            policies: Policies::default(),
            rules: domain::Rules::default(),
            content: domain::ContentSettings::default(),
            account: domain::Account::default(),
            my_drive: None,
            access: None,
            own_domains: None,
            removals: domain::RemovalLimits::default(),
            comparison_interval: domain::operation::ComparisonInterval::default(),
            state: ConnectionState::Active,
            generation: 0,
            deletion: None,
            owed_held: false,
            created_at: self.clock.now(),
            created_by: "ada".to_owned(),
            last_request: None,
        };
        edit(&mut connection);
        self.store
            .create_connection(&connection, None)
            .await
            .unwrap();
        connection
    }

    /// Reads the connection.
    pub async fn connection(&self) -> Connection {
        let loaded = self.store.load_connection(&Self::key()).await;
        loaded.unwrap().unwrap()
    }

    /// Returns whether the connection was suspended.
    pub async fn is_suspended(&self) -> bool {
        matches!(
            self.connection().await.state,
            ConnectionState::Suspended { .. }
        )
    }

    /// Stores the user's log, followed from now on.
    pub async fn follow(&self) -> Log {
        let client = self.drive_client().await;
        let log = Log {
            cursor: Some(client.start_page_token(&LogId::user()).await.unwrap()),
            position: LogPosition::Following,
            drives_checked_at: Some(self.clock.now()),
            ..Log::new(Self::key(), LogId::user(), self.clock.now())
        };
        self.store.create_log(&log).await.unwrap();
        self.drive.zero_counters();
        log
    }

    /// Reads the user's log.
    pub async fn log(&self) -> Log {
        let loaded = self.store.load_log(&Self::key(), &LogId::user()).await;
        loaded.unwrap().unwrap()
    }

    /// Returns a client of Drive with the connection's credentials.
    pub async fn drive_client(&self) -> DriveClient {
        let connection = self.connection().await;
        self.drives.unthrottled(&connection).await.unwrap()
    }

    /// Returns a channel's id.
    #[must_use]
    pub fn channel_id() -> ChannelId {
        ChannelId::parse("3f0c9a52-6f2e-4a8e-9d5b-0d6c1b6f7a11").unwrap()
    }

    /// Creates a file in Drive.
    pub fn create_file(&self, name: &str) -> FileId {
        let content = Bytes::from(format!("content of {name}"));
        let id = self.drive.create_file(OWNER, name, None, content).unwrap();
        FileId::parse(&id).unwrap()
    }

    /// Edits a file in Drive, as a person does.
    pub fn edit_in_drive(&self, file: &FileId, edit: drive_simulator::Edit) {
        self.drive.apply(OWNER, file.as_str(), edit).unwrap();
    }

    /// Returns the present state of a file in Drive as a snapshot.
    pub async fn snapshot(&self, file: &FileId) -> Snapshot {
        match self.drive_client().await.get_or_gone(file).await.unwrap() {
            Observation::Present(snapshot) => snapshot,
            Observation::Gone(gone) => panic!("{file} is gone: {gone:?}"),
        }
    }

    /// Creates a file in Drive and stores its record.
    pub async fn synced_file(&self, name: &str) -> FileRecord {
        let file = self.create_file(name);
        let record = FileRecord::from_snapshot(&self.snapshot(&file).await);
        self.commit(Revision(0), &Transition::unchanged(record))
            .await;
        self.drive.zero_counters();
        self.record(&file).await
    }

    /// Commits a transition that must succeed.
    pub async fn commit(&self, before: Revision, transition: &Transition) {
        let nonce = Nonce(self.entropy.next());
        let key = Self::key();
        let committed = self.store.commit(&key, before, transition, nonce);
        assert_eq!(committed.await.unwrap(), Committed::Done);
    }

    /// Edits the name of a file, as a person does through the API.
    pub async fn edit_name(&self, record: &FileRecord, name: &str) -> FileRecord {
        let values = BTreeMap::from([(Field::Name, Value::text(name))]);
        let policies = Policies::default();
        let context = Context {
            now: self.clock.now(),
            drive_at: None,
            above: None,
            policies: &policies,
        };
        let transition = record.edit(&values, "ada", context).unwrap();
        self.commit(record.revision, &transition).await;
        self.record(&record.file).await
    }

    /// Reads a file's record, which must exist.
    pub async fn record(&self, file: &FileId) -> FileRecord {
        let loaded = self.store.load_file(&Self::key(), file).await;
        loaded.unwrap().unwrap()
    }

    /// Returns the stored item of a file's record in DynamoDB's JSON, as the table's stream has it.
    #[must_use]
    pub fn image(&self, file: &FileId) -> serde_json::Value {
        self.item(&format!("T#acme#F#c_01#{file}"), "HEAD")
    }

    /// Returns any stored item in DynamoDB's JSON.
    #[must_use]
    pub fn item(&self, pk: &str, sk: &str) -> serde_json::Value {
        aws::item(&self.database, TABLE, pk, sk)
    }

    /// Returns the batch of the table's stream that reports these changes of a file's item, each
    /// given by the item before and after it. The sequence numbers are 1, 2, ...
    #[must_use]
    pub fn stream_event(
        &self,
        file: &FileId,
        changes: &[(serde_json::Value, serde_json::Value)],
    ) -> DynamoDbEvent {
        let pk = format!("T#acme#F#c_01#{file}");
        let of_file = |(old, new): &(serde_json::Value, serde_json::Value)| ItemChange {
            pk: pk.clone(),
            sk: "HEAD".to_owned(),
            old: old.clone(),
            new: new.clone(),
        };
        let changes: Vec<ItemChange> = changes.iter().map(of_file).collect();
        self.stream_batch("arn:aws:dynamodb:x", &changes)
    }

    /// Returns the batch of the stream with this address that reports these changes, at the current
    /// time. The sequence numbers are 1, 2, ...
    #[must_use]
    pub fn stream_batch(&self, stream_arn: &str, changes: &[ItemChange]) -> DynamoDbEvent {
        let record = |(at, change): (usize, &ItemChange)| {
            let mut shown = json!({
                "Keys": {"PK": {"S": change.pk}, "SK": {"S": change.sk}},
                "SequenceNumber": (at + 1).to_string(), "SizeBytes": 1,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
                "ApproximateCreationDateTime": self.clock.now().as_seconds(),
            });
            for (name, image) in [("OldImage", &change.old), ("NewImage", &change.new)] {
                if !image.is_null() {
                    shown[name] = image.clone();
                }
            }
            json!({
                "eventID": format!("e{at}"), "eventName": "MODIFY", "eventVersion": "1.1",
                "eventSource": "aws:dynamodb", "awsRegion": sqs_fifo::REGION,
                "eventSourceARN": stream_arn, "dynamodb": shown,
            })
        };
        let records: Vec<_> = changes.iter().enumerate().map(record).collect();
        serde_json::from_value(json!({ "Records": records })).unwrap()
    }

    /// Reads the connection's dead letters.
    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters_of(&Self::key()).await
    }

    /// Reads the dead letters of messages that name no connection.
    pub async fn dead_letters_without_connection(&self) -> Vec<DeadLetter> {
        self.dead_letters_of(&DeadLetter::unreadable(no_message(), "", EPOCH).key)
            .await
    }

    async fn dead_letters_of(&self, key: &ConnectionKey) -> Vec<DeadLetter> {
        let page = PageRequest::first(100);
        self.store
            .list_dead_letters(key, &page)
            .await
            .unwrap()
            .items
    }

    /// Returns a queue.
    #[must_use]
    pub fn queue(&self, name: &str) -> Queue {
        let url = format!("http://{}/{}/{name}", aws::SQS, sqs_fifo::ACCOUNT);
        Queue::new(aws::sqs(self.http.clone()), url)
    }

    /// Returns the queues of wakes.
    #[must_use]
    pub fn wakes(&self) -> WakeQueues {
        WakeQueues {
            logs: self.queue("log-wakes.fifo"),
            pushes: self.queue("push-wakes.fifo"),
            operations: self.queue("operations.fifo"),
            live: self.queue("live.fifo"),
            deliver: self.queue("deliver.fifo"),
        }
    }

    /// Returns the queues of snapshots.
    #[must_use]
    pub fn snapshots(&self) -> SnapshotQueues {
        SnapshotQueues {
            live: self.queue("snapshots.fifo"),
            bulk: self.queue("snapshots-bulk.fifo"),
        }
    }

    /// Returns the queues of content wakes.
    #[must_use]
    pub fn contents(&self) -> ContentQueues {
        ContentQueues {
            high: self.queue("content.fifo"),
            bulk: self.queue("content-bulk.fifo"),
        }
    }

    /// Sends a message.
    pub fn send(&self, queue: &str, group: &str, body: &str) {
        let number = self.sent.fetch_add(1, Ordering::SeqCst);
        let message = NewMessage::new(group, format!("test-{number}"), body);
        self.sqs.send(queue, message).unwrap();
    }

    async fn receive(&self, queue: &str) -> Vec<Received> {
        let mut all = Vec::new();
        loop {
            let received = self.sqs.receive(queue, 10, Duration::ZERO).await.unwrap();
            if received.is_empty() {
                return all;
            }
            all.extend(received);
        }
    }

    /// Receives the visible messages of a queue, as the batch that Lambda passes to a function.
    pub async fn deliver(&self, queue: &str) -> SqsEvent {
        let received = self.receive(queue).await;
        let record = |message: &Received| {
            json!({
                "messageId": message.message_id,
                "receiptHandle": message.receipt_handle,
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receive_count.to_string(),
                    "SentTimestamp": message.sent_at_ms.to_string(),
                    "MessageGroupId": message.group_id,
                },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": queue_arn(queue),
                "awsRegion": sqs_fifo::REGION,
            })
        };
        let records: Vec<_> = received.iter().map(record).collect();
        serde_json::from_value(json!({ "Records": records })).unwrap()
    }

    /// Receives the visible messages of a queue, and returns their bodies.
    pub async fn bodies(&self, queue: &str) -> Vec<String> {
        let received = self.receive(queue).await;
        received.into_iter().map(|message| message.body).collect()
    }

    /// Returns the deadline of an invocation that may take this many seconds.
    #[must_use]
    pub fn deadline(&self, seconds: i64) -> Deadline {
        Deadline(self.clock.now().plus_millis(seconds * 1_000))
    }

    /// Makes Drive refuse the next `times` calls that match `pattern` (`GET /drive/v3/changes*`;
    /// `POST /token` for the credentials).
    pub fn drive_refuses(&self, pattern: &str, times: u64, status: u16, reason: &str) {
        let respond = json!({"status": status, "reason": reason});
        self.fault(json!({"match": pattern, "times": times, "respond": respond}));
    }

    /// Makes Drive execute the next call that matches `pattern`, and lose the response.
    pub fn drive_is_silent(&self, pattern: &str) {
        self.fault(json!({"match": pattern, "drop": true, "applied": true}));
    }

    /// Makes Drive answer the next call that matches `pattern` after this many milliseconds.
    pub fn drive_is_slow(&self, pattern: &str, millis: u64) {
        self.fault(json!({"match": pattern, "delay_ms": millis}));
    }

    fn fault(&self, fault: serde_json::Value) {
        let fault: Fault = serde_json::from_value(fault).unwrap();
        self.drive.add_fault(fault).unwrap();
    }

    /// Makes AWS refuse the next `times` calls of an operation, such as `SendMessageBatch`.
    pub fn aws_refuses(&self, operation: &str, times: u32) {
        let mut calls = self.aws_calls.lock().unwrap();
        calls.refusals.insert(operation.to_owned(), times);
    }

    /// Returns the number of calls of an operation of AWS, such as `Query`.
    #[must_use]
    pub fn aws_calls(&self, operation: &str) -> u64 {
        let calls = self.aws_calls.lock().unwrap();
        calls.made.get(operation).copied().unwrap_or(0)
    }

    /// Returns the number of calls of a method of Drive, such as `changes.list`.
    #[must_use]
    pub fn drive_calls(&self, method: &str) -> u64 {
        let calls = self.drive.counters().calls;
        calls.get(method).copied().unwrap_or(0)
    }
}

fn no_message() -> store::FailedMessage<'static> {
    store::FailedMessage {
        queue: "",
        id: "",
        body: "",
        sent_at: EPOCH,
        receives: 1,
    }
}

/// Passes requests to the simulator without a socket. A request whose connection the simulator
/// closes has no response.
fn transport(simulator: &Simulator) -> Transport {
    let router = Mutex::new(simulator.router());
    Arc::new(move |request| {
        let router = router.lock().unwrap().clone();
        Box::pin(async move {
            let no_response = |error: axum::Error| TransportError::MaybeSent(error.into());
            let response = router.oneshot(request.map(axum::body::Body::from)).await;
            let (parts, body) = response.unwrap().into_parts();
            let body = axum::body::to_bytes(body, usize::MAX)
                .await
                .map_err(no_response)?;
            Ok(http::Response::from_parts(parts, body))
        })
    })
}
