//! The functions over services in memory, driven by hand: the test delivers the queued messages,
//! runs the schedule, and moves the clock. Drive and our HTTP API are real servers on this machine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use bytes::Bytes;
use domain::rate_limit::TenantLimits;
use domain::webhook::Reachable;
use domain::{ConnectionId, ConnectionKey, LogId, TenantId, Timestamp};
use drive_simulator::Simulator;
use futures_util::future::BoxFuture;
use local::aws::in_process::{Fault, FaultHook, fault_layer};
use local::aws::{self, Aws, Queue};
use local::gateway::{HttpGateway, Identity};
use local::sources::{StreamError, StreamSource, event};
use local::system::{FunctionSettings, Functions, SECRETS_PREFIX, SUBJECT, TENANT};
use runtime::{Clock, Deadline, Entropy};
use serde_json::{Value, json};
use sqs_fifo::{NewMessage, Received};
use store::{Channel, Store};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use worker::OperationWake;

use super::{Calls, Outside, credentials, eventually, run, serve};

/// The messages of a batch, as in the deployment.
const BATCH_MAX: usize = 10;
/// Longer than any visibility timeout: after it, the group of a crashed function continues.
const SILENCE: Duration = Duration::from_secs(1_000);

/// Called before a request to Drive is sent, to act as a person at that moment.
type Meanwhile = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A Drive, functions that only the test calls, and a clock that both use.
pub struct ByHand {
    outside: Outside,
    pub aws: Aws,
    pub functions: Functions,
    store: Store,
    pub key: ConnectionKey,
    setting: FunctionSettings,
    ahead_millis: Arc<AtomicI64>,
    drive_ahead: AtomicU64,
    crash: Arc<Crash>,
    stream: tokio::sync::Mutex<StreamSource>,
    front: HttpGateway,
    /// A token of another tenant.
    pub stranger: String,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

impl std::ops::Deref for ByHand {
    type Target = Outside;

    fn deref(&self) -> &Outside {
        &self.outside
    }
}

/// Ends the running function at one of its calls to AWS.
#[derive(Default)]
struct Crash {
    /// The calls until the crash; negative for none.
    left: AtomicI64,
    /// A crash also happens at a call that contains this, unless it is empty.
    poison: Mutex<String>,
    happens: Notify,
}

impl Crash {
    fn hook(self: &Arc<Self>) -> FaultHook {
        let crash = Arc::clone(self);
        Arc::new(move |request| {
            let poison = crash.poison.lock().unwrap();
            let deadly = !poison.is_empty() && contains(request.body(), poison.as_bytes());
            if crash.left.fetch_sub(1, Ordering::SeqCst) == 0 || deadly {
                crash.happens.notify_one();
                return Fault::TimedOut;
            }
            Fault::None
        })
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Runs a test by hand, with this many synced files in the library, and a channel on the log.
pub fn by_hand(files: usize, test: impl AsyncFnOnce(&ByHand)) {
    run(async {
        let hand = ByHand::start(files).await;
        test(&hand).await;
    });
}

/// Returns the functions, each with its own clients, whose calls are recorded.
fn recorded(aws: &Aws, setting: &FunctionSettings, calls: &Calls) -> Functions {
    let of = |function| Functions::new(&aws.layered(&calls.layer(function)), setting);
    Functions {
        receive_notification: of("receive-notification").receive_notification,
        fetch_changes: of("fetch-changes").fetch_changes,
        apply_snapshots: of("apply-snapshots").apply_snapshots,
        push_intents: of("push-intents").push_intents,
        mirror_content: of("mirror-content").mirror_content,
        publish_events: of("publish-events").publish_events,
        run_operations: of("run-operations").run_operations,
        live: of("live").live,
        sweep: of("sweep").sweep,
        api: of("api").api,
        console: of("console").console,
        canary: None,
    }
}

/// Returns a client of webhook receivers on this machine, which is impatient.
fn receivers() -> webhooks::Client {
    let rules = webhooks::Rules {
        own_hosts: Vec::new(),
        reachable: Reachable::PublicAndLoopback,
    };
    let patience = Duration::from_millis(700);
    webhooks::Client::new(rules, webhooks::system_lookup(), patience).unwrap()
}

impl ByHand {
    pub async fn start(files: usize) -> Self {
        Self::begin(files, None).await
    }

    /// Like [`ByHand::start`], and records the calls of each function.
    pub async fn start_recorded(files: usize, calls: &Calls) -> Self {
        Self::begin(files, Some(calls)).await
    }

    async fn begin(files: usize, calls: Option<&Calls>) -> Self {
        let simulator = Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(files, 2);
        let drive_url = serve(&simulator).await;
        let ahead_millis = Arc::new(AtomicI64::new(0));
        let (system, tell) = (aws::system_clock(), Arc::clone(&ahead_millis));
        let now: aws::Clock = Arc::new(move || system() + tell.load(Ordering::SeqCst));
        let crash = Arc::new(Crash::default());
        crash.left.store(-1, Ordering::SeqCst);
        let aws = Aws::open(aws::Options {
            layer: Some(fault_layer(crash.hook())),
            ..aws::Options::memory(Arc::clone(&now))
        })
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api_url = format!("http://{}", listener.local_addr().unwrap());
        let meanwhile = Arc::new(Mutex::new(None));
        let setting = FunctionSettings {
            transport: interrupted(Arc::clone(&meanwhile)),
            content: None,
            drive_url: drive_url.clone(),
            webhook_url: Some(format!("{api_url}/webhooks/drive")),
            tenant_limits: TenantLimits::none(),
            endpoints: receivers(),
            history_days: Some(90),
            event_days: domain::event::EVENT_DAYS,
            clock: Clock::new(move || Timestamp::from_millis(now())),
            entropy: Entropy::system(),
        };
        let functions = match calls {
            Some(calls) => recorded(&aws, &setting, calls),
            None => Functions::new(&aws, &setting),
        };
        let store = Store::new(aws.dynamodb_client(), aws::NAME);
        let stream = StreamSource::new(&aws);
        let stream = tokio::sync::Mutex::new(stream);
        let identity = Identity::ephemeral().unwrap();
        let expires_at = setting.clock.now().as_seconds() + 365 * 86_400;
        let token = identity.token(TENANT, SUBJECT, expires_at).unwrap();
        let stranger = identity.token("stranger", SUBJECT, expires_at).unwrap();
        let front = HttpGateway::new(&functions, identity);
        let served = front.clone().router();
        tokio::spawn(async move { axum::serve(listener, served).await.unwrap() });
        let connection = connect(&aws, &drive_url, &api_url, &token).await;
        let hand = Self {
            outside: Outside::new(simulator, &drive_url, &api_url, &token, &connection),
            aws,
            functions,
            store,
            key: ConnectionKey {
                tenant: TenantId::parse(TENANT).unwrap(),
                connection: ConnectionId::parse(&connection).unwrap(),
            },
            setting,
            ahead_millis,
            drive_ahead: AtomicU64::new(0),
            crash,
            stream,
            front,
            stranger,
            meanwhile,
        };
        for _ in 0..20 {
            hand.sweep_and_pump().await;
            if hand.log().await.channel.is_some() {
                break;
            }
            hand.advance_clock(Duration::from_secs(61));
        }
        assert!(hand.log().await.channel.is_some(), "Drive is to notify");
        hand.pump().await;
        assert_eq!(hand.differences().await, Vec::<String>::new());
        hand
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn now(&self) -> Timestamp {
        self.setting.clock.now()
    }

    /// Returns the user's log, as stored in the table.
    pub async fn log(&self) -> store::Log {
        let log = self.store().load_log(&self.key, &LogId::user()).await;
        log.unwrap().unwrap()
    }

    /// Returns the log's channel.
    pub async fn channel(&self) -> Channel {
        let id = self.log().await.channel.unwrap();
        self.store().load_channel(&id).await.unwrap().unwrap()
    }

    /// Moves our clock, and Drive's in whole seconds.
    pub fn advance_clock(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        let all = self.ahead_millis.fetch_add(millis, Ordering::SeqCst) + millis;
        let seconds = u64::try_from(all / 1_000).unwrap();
        let before = self.drive_ahead.swap(seconds, Ordering::SeqCst);
        self.simulator.advance_clock(seconds - before);
    }

    /// Sends a message to a queue.
    pub fn send(&self, queue: &str, group: &str, body: &str) {
        let id = format!("{:016x}", fastrand::u64(..));
        let message = NewMessage::new(group, &id, body);
        self.aws.sqs().send(queue, message).unwrap();
    }

    /// Returns the messages in a queue that are not in flight.
    pub fn waiting(&self, queue: Queue) -> usize {
        let depth = self.aws.sqs().depth(queue.name()).unwrap();
        depth.visible + depth.delayed
    }

    /// Waits until a notification of Drive has caused a wake.
    pub async fn wait_for_wake(&self) {
        eventually("a notification has come", async || {
            (self.waiting(Queue::LogWakes) > 0).then_some(())
        })
        .await;
    }

    /// Runs the sweep, and delivers everything that is queued then.
    pub async fn sweep_and_pump(&self) {
        self.sweep().await;
        self.pump().await;
    }

    /// Runs the sweep, and the operations that it wakes.
    pub async fn sweep(&self) {
        Box::pin(sweep::handle(self.deadline(), &self.functions.sweep)).await;
        Box::pin(self.pump_only(Queue::Operations)).await;
    }

    /// Wakes an operation; the function ends like a killed process instead of making its AWS
    /// call number `at` (from 0). Returns whether it did.
    pub async fn operation_crashes(&self, id: &str, at: i64) -> bool {
        self.operation_of_crashes(&self.key, id, at).await
    }

    /// The same for an operation of another key.
    pub async fn operation_of_crashes(&self, key: &ConnectionKey, id: &str, at: i64) -> bool {
        let wake = OperationWake {
            key: key.clone(),
            operation: domain::OperationId::parse(id).unwrap(),
        };
        let record = json!({
            "messageId": "m1", "receiptHandle": "r1", "body": wake.to_body(),
            "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "1800000000000",
                "MessageGroupId": "g",
            },
            "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
            "eventSourceARN": sqs_fifo::queue_arn(Queue::Operations.name()),
        });
        let event = serde_json::from_value(json!({ "Records": [record] })).unwrap();
        self.crash.left.store(at, Ordering::SeqCst);
        let crashed = tokio::select! {
            biased;
            () = self.crash.happens.notified() => true,
            _ = self.handle(Queue::Operations, event, self.deadline()) => false,
        };
        self.crash.left.store(-1, Ordering::SeqCst);
        crashed
    }

    /// Replaces all functions, as a deployment does: none has any state.
    pub fn restart(&mut self) {
        self.functions = Functions::new(&self.aws, &self.setting);
    }

    /// Returns the deadline of a function that starts now.
    pub fn deadline(&self) -> Deadline {
        Deadline(self.now().plus_millis(60_000))
    }

    /// Delivers batches until all queues are empty; waits for delays by moving the clock. Failed
    /// messages stay in flight.
    pub async fn pump(&self) {
        for _ in 0..100_000 {
            let (mut idle, mut delayed) = (self.pump_stream().await.unwrap() == 0, false);
            for queue in Queue::ALL {
                let depth = self.aws.sqs().depth(queue.name()).unwrap();
                delayed |= depth.delayed > 0;
                if depth.visible > 0 {
                    let received = self.receive(queue).await;
                    if !received.is_empty() {
                        self.deliver(queue, &received, self.deadline()).await;
                        idle = false;
                    }
                }
            }
            if idle && !delayed {
                return;
            }
            if idle {
                self.advance_clock(Duration::from_millis(100));
            }
        }
        panic!("the queues never run empty");
    }

    /// Delivers the messages of one queue, and none of other queues.
    pub async fn pump_only(&self, queue: Queue) {
        self.wait_until_visible(queue).await;
        while self.aws.sqs().depth(queue.name()).unwrap().visible > 0 {
            let received = self.receive(queue).await;
            if received.is_empty() {
                return;
            }
            self.deliver(queue, &received, self.deadline()).await;
        }
    }

    /// Moves the clock until no message of a queue is delayed.
    pub async fn wait_until_visible(&self, queue: Queue) {
        while self.aws.sqs().depth(queue.name()).unwrap().delayed > 0 {
            self.advance_clock(Duration::from_millis(100));
        }
    }

    /// Receives a batch from a queue.
    pub async fn receive(&self, queue: Queue) -> Vec<Received> {
        let received = self
            .aws
            .sqs()
            .receive(queue.name(), BATCH_MAX, Duration::ZERO);
        received.await.unwrap()
    }

    /// Delivers a batch to its function, and deletes the processed messages.
    pub async fn deliver(&self, queue: Queue, received: &[Received], deadline: Deadline) {
        let event = event(queue, received).unwrap();
        let answer = self.handle(queue, event, deadline).await;
        let done = received.iter().filter(|message| {
            let failures = &answer.batch_item_failures;
            !failures
                .iter()
                .any(|failure| failure.item_identifier == message.message_id)
        });
        let done: Vec<String> = done.map(|message| message.receipt_handle.clone()).collect();
        if !done.is_empty() {
            self.aws.sqs().delete(queue.name(), &done).unwrap();
        }
    }

    /// Delivers the stream from its last position, and returns the number of batches.
    pub async fn pump_stream(&self) -> Result<usize, StreamError> {
        let batches = AtomicUsize::new(0);
        let handle = |event| {
            batches.fetch_add(1, Ordering::Relaxed);
            async { Some(publish_events::handle(event, &self.functions.publish_events).await) }
        };
        self.stream.lock().await.poll(handle).await?;
        Ok(batches.into_inner())
    }

    /// Calls the function behind a queue.
    pub async fn handle(
        &self,
        queue: Queue,
        event: SqsEvent,
        deadline: Deadline,
    ) -> aws_lambda_events::event::sqs::SqsBatchResponse {
        let functions = &self.functions;
        // Boxed: the nested futures of a test exceed the thread's stack.
        match queue {
            Queue::LogWakes => {
                Box::pin(fetch_changes::handle(
                    event,
                    deadline,
                    &functions.fetch_changes,
                ))
                .await
            }
            Queue::Snapshots | Queue::SnapshotsBulk => {
                Box::pin(apply_snapshots::handle(
                    event,
                    deadline,
                    &functions.apply_snapshots,
                ))
                .await
            }
            Queue::PushWakes => {
                Box::pin(push_intents::handle(
                    event,
                    deadline,
                    &functions.push_intents,
                ))
                .await
            }
            Queue::Operations => {
                Box::pin(run_operations::handle(
                    event,
                    deadline,
                    &functions.run_operations,
                ))
                .await
            }
            Queue::Live => Box::pin(live::handle_wakes(event, deadline, &functions.live)).await,
            Queue::Deliver => {
                Box::pin(live::handle_deliveries(event, deadline, &functions.live)).await
            }
            Queue::Content | Queue::ContentBulk => {
                Box::pin(mirror_content::handle(
                    event,
                    deadline,
                    &functions.mirror_content,
                ))
                .await
            }
        }
    }

    /// Delivers a batch to its function, which ends like a killed process instead of making its AWS
    /// call number `at` (from 0). Returns whether it did; if so, the batch is visible again.
    pub async fn crashes(&self, queue: Queue, at: u64) -> bool {
        self.wait_until_visible(queue).await;
        let received = self.receive(queue).await;
        assert!(!received.is_empty(), "nothing to hand over");
        self.crash
            .left
            .store(i64::try_from(at).unwrap(), Ordering::SeqCst);
        let crashed = tokio::select! {
            biased;
            () = self.crash.happens.notified() => true,
            () = self.deliver(queue, &received, self.deadline()) => false,
        };
        self.crash.left.store(-1, Ordering::SeqCst);
        if crashed {
            self.advance_clock(SILENCE);
        }
        crashed
    }

    /// Delivers a batch to its function, which ends like a killed process at the first AWS call
    /// that contains `poison`. Returns whether it did; if so, the batch stays in flight.
    pub async fn deliver_poisoned(
        &self,
        queue: Queue,
        received: &[Received],
        poison: &str,
    ) -> bool {
        poison.clone_into(&mut self.crash.poison.lock().unwrap());
        let crashed = tokio::select! {
            biased;
            () = self.crash.happens.notified() => true,
            () = self.deliver(queue, received, self.deadline()) => false,
        };
        self.crash.poison.lock().unwrap().clear();
        crashed
    }

    /// Delivers the stream to its function, which ends like a killed process at the first AWS call
    /// that contains `poison`. Returns whether it did.
    pub async fn stream_crashes(&self, poison: &str) -> bool {
        poison.clone_into(&mut self.crash.poison.lock().unwrap());
        let crashed = tokio::select! {
            biased;
            () = self.crash.happens.notified() => true,
            _ = self.pump_stream() => false,
        };
        self.crash.poison.lock().unwrap().clear();
        crashed
    }

    /// Calls the API, which ends like a killed process instead of making its AWS call number `at`
    /// (from 0). Returns whether it did.
    pub async fn api_crashes(&self, path: &str, body: &Value, at: u64) -> bool {
        let request = http::Request::post(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(body.to_string().into_bytes())
            .unwrap();
        self.crash
            .left
            .store(i64::try_from(at).unwrap(), Ordering::SeqCst);
        let crashed = tokio::select! {
            biased;
            () = self.crash.happens.notified() => true,
            _ = self.front.call(request) => false,
        };
        self.crash.left.store(-1, Ordering::SeqCst);
        crashed
    }

    /// Sets the receives after which a message of a queue moves to the dead-letter queue.
    pub fn receive_limit(&self, queue: Queue, receives: u32) {
        let dead = sqs_fifo::queue_arn(queue.dead_letter_name());
        let policy = json!({"deadLetterTargetArn": dead, "maxReceiveCount": receives});
        let attributes = BTreeMap::from([("RedrivePolicy".to_owned(), policy.to_string())]);
        let sqs = self.aws.sqs();
        sqs.set_queue_attributes(queue.name(), &attributes).unwrap();
    }

    /// Lets a person act right before our next write is sent to Drive, alone or in a batch.
    pub fn before_our_write(
        &self,
        act: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(act));
    }
}

/// Returns a transport that lets a person act before a request is sent.
fn interrupted(meanwhile: Arc<Mutex<Option<Meanwhile>>>) -> drive::Transport {
    let inner = drive::reqwest_transport(drive::Timeouts::default()).unwrap();
    Arc::new(move |request: http::Request<Bytes>| {
        let in_batch = request.body().windows(6).any(|six| six == b"PATCH ");
        let writes = request.method() == http::Method::PATCH || in_batch;
        let mut slot = meanwhile.lock().unwrap();
        let act = if writes { slot.take() } else { None };
        drop(slot);
        let inner = Arc::clone(&inner);
        Box::pin(async move {
            if let Some(act) = act {
                act().await;
            }
            inner(request).await
        })
    })
}

async fn connect(aws: &Aws, drive_url: &str, api_url: &str, token: &str) -> String {
    let secret = aws
        .secrets_client()
        .create_secret()
        .name(format!("{SECRETS_PREFIX}{TENANT}/drive"));
    secret
        .secret_string(credentials(drive_url, "owner"))
        .send()
        .await
        .unwrap();
    let body = json!({"name": "Drive", "scope": {"type": "user"}, "secret": "drive"});
    let answer = reqwest::Client::new()
        .post(format!("{api_url}/v1/connections"))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let bytes = answer.bytes().await.unwrap();
    let made: BTreeMap<String, Value> = serde_json::from_slice(&bytes).unwrap();
    made["id"].as_str().unwrap().to_owned()
}
