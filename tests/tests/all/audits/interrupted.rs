//! An operation that is interrupted at any call continues from there, and finds, counts and removes
//! the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use domain::operation::ListedPage;
use domain::rate_limit::TenantLimits;
use domain::{
    ConnectionId, ConnectionKey, FileRecord, Jitter, LogId, Operation, OperationId, OperationState,
    Policies, RemovalLimits, Revision, Run,
};
use domain::{PageToken, TenantId, Timestamp, Transition};
use drive::{Listed, Scope};
use drive_simulator::Simulator;
use local::aws::in_process::{Fault, FaultHook, fault_layer};
use local::aws::{self, Aws, Queue};
use local::system::{FunctionSettings, Functions};
use runtime::{Clock, Deadline, Entropy};
use store::{Connection, ConnectionState, Log, LogProgress, Nonce, PageRequest, Store};
use worker::OperationWake;

use crate::support::{Person, credentials, run, serve};

const FILES: usize = 12;
const GONE: usize = 4;
/// An upper bound for the calls of an operation.
const CALLS_MAX: i64 = 400;

/// A table and queues that reject all calls after a number of them.
struct Stage {
    functions: Functions,
    aws: Aws,
    store: Store,
    key: ConnectionKey,
    /// The calls until all further ones fail.
    left: Arc<AtomicI64>,
    clock: Arc<AtomicI64>,
}

impl Stage {
    async fn new(drive_url: &str) -> Self {
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let counted = Arc::clone(&left);
        let hook: FaultHook = Arc::new(move |_| {
            if counted.fetch_sub(1, Ordering::Relaxed) > 0 {
                Fault::None
            } else {
                // Not executed, and not retried by the client.
                Fault::Refused {
                    status: http::StatusCode::BAD_REQUEST,
                    code: "AccessDeniedException".to_owned(),
                }
            }
        });
        let options = aws::Options {
            layer: Some(fault_layer(hook)),
            ..aws::Options::memory(aws::system_clock())
        };
        let aws = Aws::open(options).unwrap();
        let clock = Arc::new(AtomicI64::new(aws::system_clock()()));
        let now = Arc::clone(&clock);
        let entropy = AtomicU64::new(0);
        let setting = FunctionSettings {
            transport: drive::reqwest_transport(drive::Timeouts::default()).unwrap(),
            content: None,
            drive_url: drive_url.to_owned(),
            webhook_url: None,
            tenant_limits: TenantLimits::none(),
            endpoints: webhooks::Client::disconnected(),
            history_days: None,
            event_days: domain::event::EVENT_DAYS,
            clock: Clock::new(move || Timestamp::from_millis(now.load(Ordering::Relaxed))),
            entropy: Entropy::new(move || entropy.fetch_add(1, Ordering::Relaxed)),
        };
        let functions = Functions::new(&aws, &setting);
        let secrets = aws.secrets_client();
        let secret = credentials(drive_url, "owner");
        secrets
            .create_secret()
            .name("drivesync/acme/drive")
            .secret_string(secret)
            .send()
            .await
            .unwrap();
        let store = Store::new(aws.dynamodb_client(), aws::NAME);
        let key = ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        };
        Self {
            functions,
            aws,
            store,
            key,
            left,
            clock,
        }
    }

    fn now(&self) -> Timestamp {
        self.functions.sweep.clock.now()
    }

    /// Creates a connection that follows its log, with a record of every file that Drive lists now.
    async fn fill(&self, removals: RemovalLimits) {
        let connection = Connection {
            key: self.key.clone(),
            revision: 0,
            name: "Team".to_owned(),
            scope: store::Scope::User,
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
            removals,
            comparison_interval: domain::operation::ComparisonInterval::default(),
            state: ConnectionState::Active,
            generation: 0,
            deletion: None,
            owed_held: false,
            created_at: self.now(),
            created_by: "ann".to_owned(),
            last_request: None,
        };
        self.store
            .create_connection(&connection, None)
            .await
            .unwrap();
        let log = Log::new(
            self.key.clone(),
            LogId::user(),
            self.now().plus_millis(1 << 40),
        );
        self.store.create_log(&log).await.unwrap();
        let drive = self
            .functions
            .sweep
            .drives
            .unthrottled(&connection)
            .await
            .unwrap();
        let page = drive.list_files(&Scope::User, None).await.unwrap();
        for entry in page.files {
            let Listed::Present(snapshot) = entry else {
                panic!("{entry:?}")
            };
            let step = Transition::unchanged(FileRecord::from_snapshot(&snapshot));
            let done = self.store.commit(&self.key, Revision(0), &step, Nonce(0));
            assert_eq!(done.await.unwrap(), store::Committed::Done);
        }
        let run = Run::sync(domain::operation::SyncKind::Initial);
        let started = self.operation("listing", run);
        let start = PageToken::new("1");
        let begun = self.store.begin_listing(&log, &start, &started);
        assert!(matches!(begun.await.unwrap(), store::Written::Done(_)));
        let now = self.now();
        let page = ListedPage {
            files: 0,
            entries: None,
            next: None,
            incomplete: false,
        };
        let listed = started.on_page(&page, now, Jitter(0.5));
        self.store
            .record_page(&started, &listed, &[])
            .await
            .unwrap();
        let done = listed.failed("it does not matter here", now);
        self.store.advance_operation(&listed, &done).await.unwrap();
    }

    fn operation(&self, id: &str, run: Run) -> Operation {
        let id = OperationId::parse(id).unwrap();
        Operation::new(self.key.clone(), id, LogId::user(), "ann", self.now(), run)
    }

    /// Records that the log has been read to its end, and moves the clock.
    async fn read_log(&self) {
        self.clock.fetch_add(3_000, Ordering::Relaxed);
        let log = self.store.load_log(&self.key, &LogId::user()).await;
        let log = log.unwrap().unwrap();
        let progress = LogProgress {
            complete_listing_began: Some(self.now()),
            next_poll_at: None,
            last_change_at: None,
            lag_millis: None,
            walk: None,
        };
        let to = log.cursor.clone().unwrap();
        self.store.advance(&log, &to, progress).await.unwrap();
        self.clock.fetch_add(3_000, Ordering::Relaxed);
    }

    /// Wakes the operation once; all calls after `calls` fail.
    async fn wake(&self, operation: &Operation, calls: i64) {
        let wake = OperationWake {
            key: operation.key.clone(),
            operation: operation.id.clone(),
        };
        let record = serde_json::json!({
            "messageId": "m1", "receiptHandle": "r1", "body": wake.to_body(),
            "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "1800000000000",
                "MessageGroupId": "g",
            },
            "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
            "eventSourceARN": sqs_fifo::queue_arn(Queue::Operations.name()),
        });
        let event = serde_json::json!({ "Records": [record] });
        let event = serde_json::from_value(event).unwrap();
        self.left.store(calls, Ordering::Relaxed);
        let deadline = Deadline(self.now().plus_millis(60_000));
        run_operations::handle(event, deadline, &self.functions.run_operations).await;
        self.left.store(i64::MAX, Ordering::Relaxed);
    }

    async fn load(&self, id: &OperationId) -> Operation {
        let found = self.store.load_operation(&self.key, id).await;
        found.unwrap().unwrap()
    }

    async fn present(&self) -> usize {
        let page = PageRequest::first(1_000);
        let files = self
            .store
            .list_files(&self.key, None, store::Tombstones::Skip, &page);
        files.await.unwrap().items.len()
    }

    /// Runs an audit to its end, interrupted after an increasing number of calls. Returns the
    /// number of interruptions.
    async fn run_interrupted(&self, operation: &Operation, step: i64) -> i64 {
        self.store.create_operation(operation).await.unwrap();
        let mut calls = 1;
        let mut interrupted = 0;
        let mut confirmed = false;
        loop {
            let at = self.load(&operation.id).await;
            if at.state() == OperationState::Done {
                assert!(confirmed);
                return interrupted;
            }
            assert!(!at.has_ended(), "{at:?}");
            if at.awaits_confirmation().is_some() {
                assert_eq!(self.sent(), 0, "nothing changes before a confirmation");
                let decided = at.decide(true, "bob", self.now()).unwrap();
                self.store.advance_operation(&at, &decided).await.unwrap();
                confirmed = true;
                calls = 1;
            }
            self.read_log().await;
            self.wake(operation, calls).await;
            interrupted += 1;
            // Increasing, so that every call is the last one of some run.
            calls += step;
            assert!(calls < CALLS_MAX, "it makes no progress");
        }
    }

    /// Returns the number of queued lookups.
    fn sent(&self) -> usize {
        let depth = self.aws.sqs().depth(Queue::SnapshotsBulk.name()).unwrap();
        depth.total()
    }
}

#[test]
fn an_audit_that_is_interrupted_at_every_call_ends_as_undisturbed() {
    run(async {
        let simulator = Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(FILES, 2);
        let url = serve(&simulator).await;
        let stage = Stage::new(&url).await;
        let none = RemovalLimits {
            share_percent_max: 0,
            unasked_max: 0,
        };
        stage.fill(none).await;
        let held = stage.present().await;
        let owner = Person {
            name: "owner",
            drive_url: url.clone(),
            http: reqwest::Client::new(),
        };
        let files = simulator.file_ids().into_iter().filter(|id| {
            let file = simulator.file(id).unwrap();
            file.name.starts_with("file-")
        });
        for file in files.take(GONE).collect::<Vec<_>>() {
            owner.delete(&file).await;
        }
        let operation = stage.operation("op1", Run::audit(false));
        let interrupted = stage.run_interrupted(&operation, 1).await;
        assert!(interrupted > 10, "it was interrupted {interrupted} times");
        let done = stage.load(&operation.id).await;
        let drift = done.form().comparison.counts;
        assert_eq!(
            (drift.present, drift.missing_there),
            (u64::try_from(held).unwrap(), u64::try_from(GONE).unwrap())
        );
        assert_eq!(
            (drift.missing_here, drift.stale, drift.differing),
            (0, 0, 0)
        );
        assert_eq!(stage.present().await, held, "only lookups were queued");
        assert_eq!(stage.sent(), GONE, "each of them once");
    });
}
