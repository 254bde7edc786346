//! The environment of the functions' binaries: services at fixed addresses, with a new system
//! behind them for each event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use domain::event::EventFilter;
use domain::webhook::{
    Course, Endpoint, EndpointScope, EndpointState, EndpointUrl, Maker, Reachable, SigningSecret,
};
use domain::{
    ConnectionId, ConnectionKey, Context, Drift, DriveMetadata, DriveVersion, EndpointId, Field,
    FieldSetVersion, FileId, FileRecord, Gone, LogId, Observation, Operation, OperationId,
    Policies, Run, Snapshot, TenantId, Timestamp, Transition, Value as FieldValue,
};
use drive_simulator::{Hosts, Simulator};
use local::aws::signature::{ACCESS_KEY, Keys};
use local::aws::{self, Aws, Queue, Service};
use local::canary::{self, Invoked, Process};
use local::system::default_port;
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{
    CandidateReason, Channel, ChannelState, Connection, ConnectionState, DeadLetter, DriftEntry,
    FailedMessage, Finding, Log, Nonce, PageRequest, Scope, Store,
};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use worker::{Origin, SnapshotMessage};

use super::{binary, credentials, serve, top};

/// The file of the sample events, and one with an open conflict.
pub const FILE: &str = "1sampleFileIdAAAAAAAAAAAAAAAAAAAAA";
pub const FILE_IN_CONFLICT: &str = "1sampleFileIdBBBBBBBBBBBBBBBBBBBBB";

/// The name of the sample events' dead letter, in addition to its file.
const LETTER: &str = "sample";

/// The longest timeout of a function, which is what the invocations have.
const TIMEOUT_MAX: Duration = Duration::from_mins(15);
/// The longest wait for an answer.
const INVOCATION: Duration = Duration::from_secs(30);

/// The operation of the sample events: an audit that waits for a person.
const OPERATION: &str = "1795251600000-00000001";

/// Services at fixed addresses, with a new system behind them for each event.
pub struct Stage {
    pub simulator: Simulator,
    drive_url: String,
    addresses: BTreeMap<String, String>,
    keys: Keys,
    current: BTreeMap<Service, Arc<RwLock<Router>>>,
}

/// A function's binary that handles events.
pub struct RunningFunction(Process);

impl RunningFunction {
    /// Invokes the function once.
    pub async fn invoke(&mut self, event: &Value) -> Invoked {
        let answer = self.0.invoke(event, TIMEOUT_MAX);
        let answer = tokio::time::timeout(INVOCATION, answer).await;
        answer.expect("no answer within 30 s").unwrap()
    }
}

/// The system behind the services for one event.
pub struct Set {
    aws: Aws,
    store: Store,
    key: ConnectionKey,
}

impl Stage {
    pub async fn build() -> Self {
        let simulator = Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(3, 1);
        let drive_url = serve(&simulator).await;
        let (mut addresses, mut current) = (BTreeMap::new(), BTreeMap::new());
        for service in Service::ALL {
            let slot = Arc::new(RwLock::new(Router::new()));
            let behind = Arc::clone(&slot);
            let served = Router::new().fallback(move |request: Request| {
                let current = behind.read().unwrap().clone();
                current.oneshot(request)
            });
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.insert(
                canary::container_address(default_port(service)),
                format!("http://{}", listener.local_addr().unwrap()),
            );
            let (hosts, forever) = (Hosts::default(), std::future::pending());
            tokio::spawn(aws::serve::serve(listener, served, hosts, forever));
            current.insert(service, slot);
        }
        addresses.insert(canary::container_address(3001), drive_url.clone());
        Self {
            simulator,
            drive_url,
            addresses,
            keys: Keys::random().unwrap(),
            current,
        }
    }

    /// Starts a function with the environment of `sam local`, at these addresses.
    pub async fn start(&self, function: &str) -> RunningFunction {
        self.start_with(function, &[]).await
    }

    /// Starts a function with these variables besides.
    pub async fn start_with(&self, function: &str, more: &[(&str, &String)]) -> RunningFunction {
        let text = std::fs::read_to_string(top().join("events/env.json")).unwrap();
        let mut environment = canary::environment(&text, function, &self.addresses).unwrap();
        environment.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).clone())),
        );
        environment.insert("RUST_LOG".to_owned(), "off".to_owned());
        let secret_key = self.keys.expose_secret_key();
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", secret_key),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        RunningFunction(
            Process::start(&binary(function), &environment)
                .await
                .unwrap(),
        )
    }

    /// Takes a service away.
    pub fn unplug(&self, service: Service) {
        *self.current[&service].write().unwrap() = Router::new();
    }

    /// Starts a new system behind the services: one connection of `acme` that follows its log, a
    /// channel, two files.
    pub async fn set(&self) -> Set {
        let options = aws::Options {
            keys: Some(self.keys.clone()),
            ..aws::Options::memory(aws::system_clock())
        };
        let aws = Aws::open(options).unwrap();
        for (service, slot) in &self.current {
            *slot.write().unwrap() = aws.served(*service);
        }
        let secret = credentials(&self.drive_url, "owner");
        let secrets = aws.secrets_client();
        secrets
            .create_secret()
            .name("drivesync/acme/drive")
            .secret_string(secret)
            .send()
            .await
            .unwrap();
        let store = Store::new(aws.dynamodb_client(), aws::NAME);
        let set = Set {
            aws,
            store,
            key: key(),
        };
        set.fill().await;
        set
    }
}

fn key() -> ConnectionKey {
    ConnectionKey {
        tenant: TenantId::parse("acme").unwrap(),
        connection: ConnectionId::parse("c_01").unwrap(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(aws::system_clock()())
}

/// The webhook endpoint of the sample events.
fn sample_endpoint() -> Endpoint {
    let url = EndpointUrl::parse("https://hooks.example.com/drivesync", Reachable::Public);
    Endpoint {
        id: EndpointId::parse("w_01").unwrap(),
        name: "Billing".to_owned(),
        url: url.unwrap(),
        scope: EndpointScope::All,
        filter: EventFilter::default(),
        maker: Maker {
            subject: "sample-user".to_owned(),
            role: domain::Role::Operator,
            groups: BTreeSet::new(),
        },
        state: EndpointState::Active,
        secret: SigningSecret::FIRST,
        course: Course::new(now()),
        created_at: now(),
    }
}

impl Set {
    async fn fill(&self) {
        let (store, key) = (&self.store, &self.key);
        let connection = Connection {
            key: key.clone(),
            revision: 0,
            name: "Team documents".to_owned(),
            scope: Scope::User,
            secret_id: "drivesync/acme/drive".to_owned(),
            subject: None,
            quota_user: None,
            limits: domain::rate_limit::Limits::default(),
            policies: Policies::default(),
            rules: domain::Rules::default(),
            content: domain::ContentSettings {
                enabled: true,
                ..domain::ContentSettings::default()
            },
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
            created_at: now(),
            created_by: "ada".to_owned(),
            last_request: None,
        };
        store.create_connection(&connection, None).await.unwrap();
        store
            .create_log(&Log::new(key.clone(), LogId::user(), now()))
            .await
            .unwrap();
        let channel = Channel {
            id: domain::ChannelId::parse("3f0c9a52-6f2e-4a8e-9d5b-0d6c1b6f7a11").unwrap(),
            key: key.clone(),
            log: LogId::user(),
            token_hash: Sha256::digest(b"sample-channel-token").into(),
            resource_id: Some("sample-resource".to_owned()),
            state: ChannelState::Active,
            expires_at: now().plus_millis(3_600_000),
            due_at: now().plus_millis(3_600_000),
        };
        store.create_channel(&channel).await.unwrap();
        let endpoint = sample_endpoint();
        store.create_endpoint(&key.tenant, &endpoint).await.unwrap();
        self.audited().await;
        self.store
            .record_dead_letter(&self.sample_letter())
            .await
            .unwrap();
        let first =
            Transition::unchanged(FileRecord::from_snapshot(&snapshot(FILE, 10, "Plan.md")));
        self.commit(0, &first).await;
        let first = Transition::unchanged(FileRecord::from_snapshot(&snapshot(
            FILE_IN_CONFLICT,
            2,
            "Plan.md",
        )));
        self.commit(0, &first).await;
        let policies = Policies::default();
        let context = Context {
            now: now(),
            drive_at: Some(now()),
            above: None,
            policies: &policies,
        };
        let ours = BTreeMap::from([(Field::Name, FieldValue::text("Plan (ours).md"))]);
        let edited = first.record.edit(&ours, "ada", context).unwrap();
        self.commit(1, &edited).await;
        let theirs = Observation::Present(snapshot(FILE_IN_CONFLICT, 3, "Plan (theirs).md"));
        let clash = edited.record.observe(&theirs, context);
        assert_eq!(clash.conflicts.len(), 1);
        self.commit(2, &clash).await;
    }

    /// Returns a dead letter: a removal of the file.
    fn sample_letter(&self) -> DeadLetter {
        let message = SnapshotMessage {
            key: self.key.clone(),
            origin: Origin::Live,
            file: FileId::parse(FILE).unwrap(),
            at: now(),
            snapshot: None,
        };
        let letter = FailedMessage {
            queue: "snapshots-dead.fifo",
            id: LETTER,
            body: &message.to_body(),
            sent_at: now(),
            receives: 200,
        };
        let (key, file) = (message.key, Some(message.file));
        DeadLetter::from_message(letter, key, file, "received too often", now())
    }

    /// Creates an audit that would remove the file, and waits for a person.
    async fn audited(&self) {
        let since = now();
        let id = OperationId::parse(OPERATION).unwrap();
        let mut run = Run::audit(false);
        if let Run::Audit(audit) = &mut run {
            audit.self_check = None;
            audit.listing.stage = domain::operation::Stage::AwaitingConfirmation { since };
        }
        let audit = Operation {
            due_at: None,
            ..Operation::new(self.key.clone(), id, LogId::user(), "ada", since, run)
        };
        self.store.create_operation(&audit).await.unwrap();
        let suspected = DriftEntry {
            file: FileId::parse(FILE).unwrap(),
            name: "Plan.md".to_owned(),
            reason: CandidateReason::NotListed,
            finding: None,
        };
        self.store
            .record_candidate(&audit, &suspected)
            .await
            .unwrap();
        let gone = Drift::MissingThere(Gone::Removed);
        let found = DriftEntry {
            finding: Some(Finding::of(Some(gone))),
            ..suspected
        };
        self.store.record_finding(&audit, &found).await.unwrap();
    }

    async fn commit(&self, before: u64, step: &Transition) {
        let committed = self
            .store
            .commit(&self.key, domain::Revision(before), step, Nonce(before))
            .await
            .unwrap();
        assert!(matches!(committed, store::Committed::Done), "{committed:?}");
    }

    pub async fn file(&self, id: &str) -> Option<FileRecord> {
        self.store
            .load_file(&self.key, &FileId::parse(id).unwrap())
            .await
            .unwrap()
    }

    /// Returns the dead letters of known and unknown tenants, without the sample.
    pub async fn parked(&self) -> Vec<DeadLetter> {
        let unknown = ConnectionKey {
            tenant: TenantId::parse("_unknown").unwrap(),
            connection: ConnectionId::parse("_unknown").unwrap(),
        };
        let mut all = Vec::new();
        for key in [&self.key, &unknown] {
            all.extend(
                self.store
                    .list_dead_letters(key, &PageRequest::first(100))
                    .await
                    .unwrap()
                    .items,
            );
        }
        all.retain(|letter| !letter.id.ends_with(LETTER));
        all
    }

    /// Returns the number of messages in all queues.
    pub fn queued(&self) -> usize {
        self.aws.queued().unwrap()
    }

    /// Returns the number of messages that were sent to a queue.
    pub fn sent(&self, queue: Queue) -> usize {
        self.aws.sqs().depth(queue.name()).unwrap().total()
    }
}

fn snapshot(id: &str, version: u64, name: &str) -> Snapshot {
    Snapshot {
        file: FileId::parse(id).unwrap(),
        version: DriveVersion(version),
        field_set: FieldSetVersion::CURRENT,
        fields: BTreeMap::from([
            (Field::Name, FieldValue::text(name)),
            (
                Field::Property("stage".to_owned()),
                FieldValue::text("draft"),
            ),
        ]),
        metadata: DriveMetadata {
            mime_type: "text/markdown".to_owned(),
            permissions_known: true,
            ..DriveMetadata::default()
        },
    }
}
