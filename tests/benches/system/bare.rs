//! The functions over services in memory, without timers: each request and each unit that is
//! counted was caused by a change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::rate_limit::TenantLimits;
use domain::{ConnectionId, ConnectionKey, LogId, TenantId, Timestamp};
use drive_simulator::Simulator;
use http::Method;
use local::aws::in_process::Layer;
use local::aws::{Aws, Options, Queue};
use local::gateway::{HttpGateway, Identity};
use local::sources::{StreamSource, event};
use local::system::{FunctionSettings, Functions, SECRETS_PREFIX, SUBJECT, TENANT};
use runtime::{Clock, Deadline, Entropy};
use serde_json::{Value, json};
use sqs_fifo::Received;
use worker::queue;

use crate::rig::{credentials, serve};

/// The messages of a batch, as in the deployment.
const BATCH_MAX: usize = 10;

/// The functions, with a clock that the benchmark moves.
pub struct Bare {
    pub simulator: Simulator,
    pub aws: Aws,
    pub functions: Functions,
    pub key: ConnectionKey,
    pub used: Used,
    /// The reader of the table's stream, if content is mirrored or events are told.
    stream: Option<StreamSource>,
    millis: Arc<AtomicI64>,
}

/// The usage since it was last read.
#[derive(Default, Clone)]
pub struct Used {
    /// Invocations of the function behind a queue.
    pub invocations: BTreeMap<Queue, u64>,
    /// The write units within them.
    pub write_units: BTreeMap<Queue, f64>,
    /// The seconds that they took.
    pub seconds: BTreeMap<Queue, f64>,
    /// Invocations of the function on the table's stream, and the seconds that they took.
    pub stream: (u64, f64),
    /// The write units within them.
    pub stream_units: f64,
}

impl Bare {
    /// Connects to a Drive with this many files and syncs them.
    pub async fn start(files: usize) -> Self {
        let simulator = Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(files, 4);
        Self::connected(simulator, false, None).await
    }

    /// Connects to this Drive, with or without its content, and syncs it. `layer` observes every
    /// request to a service.
    pub async fn connected(simulator: Simulator, content: bool, layer: Option<Layer>) -> Self {
        let drive_url = serve(&simulator).await;
        let millis = Arc::new(AtomicI64::new(Clock::system().now().as_millis()));
        let tell = millis.clone();
        let aws = Aws::open(Options {
            layer,
            ..Options::memory(Arc::new(move || tell.load(Ordering::Relaxed)))
        })
        .unwrap();
        let tell = millis.clone();
        let setting = FunctionSettings {
            transport: drive::reqwest_transport(drive::Timeouts::default()).unwrap(),
            content: Some(
                drive::reqwest_content_transport(drive::ContentTimeouts::default()).unwrap(),
            ),
            drive_url: drive_url.clone(),
            webhook_url: None,
            tenant_limits: TenantLimits::none(),
            endpoints: webhooks::Client::disconnected(),
            history_days: Some(90),
            event_days: 0,
            clock: Clock::new(move || Timestamp::from_millis(tell.load(Ordering::Relaxed))),
            entropy: Entropy::system(),
        };
        let functions = Functions::new(&aws, &setting);
        let key = connect(&aws, &functions, &drive_url, content).await;
        let stream = content.then(|| StreamSource::new(&aws));
        let mut bare = Self {
            simulator,
            aws,
            functions,
            key,
            used: Used::default(),
            stream,
            millis,
        };
        let deps = bare.functions.fetch_changes.clone();
        queue::wake_log(&deps.log_wakes, &bare.key, &LogId::user(), deps.clock.now())
            .await
            .unwrap();
        bare.pump().await;
        bare
    }

    /// Enables or disables the history.
    pub fn keep_history(&mut self, days: Option<u32>) {
        let deps = apply_snapshots::Deps {
            history_days: days,
            ..(*self.functions.apply_snapshots).clone()
        };
        self.functions.apply_snapshots = Arc::new(deps);
    }

    /// Appends events from now on.
    pub async fn tell_events(&mut self) {
        let deps = publish_events::Deps::clone(&self.functions.publish_events);
        let stream = StreamSource::new(&self.aws);
        self.stream = Some(stream);
        // What has happened so far is passed over.
        self.pump_stream().await;
        let store = deps
            .store
            .clone()
            .keeping_events_for(domain::event::EVENT_DAYS);
        self.functions.publish_events = Arc::new(publish_events::Deps { store, ..deps });
    }

    /// Moves the clock.
    pub fn pass(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// Delivers batches, as full as received, until all queues are empty; waits for delays by
    /// moving the clock.
    pub async fn pump(&mut self) {
        loop {
            let mut idle = self.pump_stream().await == 0;
            let mut delayed = false;
            for queue in Queue::ALL {
                let depth = self.aws.sqs().depth(queue.name()).unwrap();
                delayed |= depth.delayed > 0;
                if depth.visible > 0 {
                    let received = self
                        .aws
                        .sqs()
                        .receive(queue.name(), BATCH_MAX, Duration::ZERO)
                        .await
                        .unwrap();
                    self.hand_over(queue, received).await;
                    idle = false;
                }
            }
            if idle && !delayed {
                return;
            }
            if idle {
                self.pass(Duration::from_millis(100));
            }
        }
    }

    /// Delivers the records of the table's stream and returns the number of batches.
    async fn pump_stream(&mut self) -> u64 {
        let Some(stream) = self.stream.as_mut() else {
            return 0;
        };
        let batches = AtomicU64::new(0);
        let before = self.aws.dynamodb().counters().write_units;
        let deps = self.functions.publish_events.clone();
        let began = Instant::now();
        let handle = |event| {
            batches.fetch_add(1, Ordering::Relaxed);
            let deps = deps.clone();
            async move { Some(publish_events::handle(event, &deps).await) }
        };
        stream.poll(handle).await.unwrap();
        let batches = batches.into_inner();
        if batches > 0 {
            self.used.stream.0 += batches;
            self.used.stream_units += self.aws.dynamodb().counters().write_units - before;
            self.used.stream.1 += began.elapsed().as_secs_f64();
        }
        batches
    }

    async fn hand_over(&mut self, queue: Queue, received: Vec<Received>) {
        let deadline = Deadline(self.functions.sweep.clock.now().plus_millis(60_000));
        let event = event(queue, &received).unwrap();
        let before = self.aws.dynamodb().counters().write_units;
        let began = Instant::now();
        let functions = &self.functions;
        let answer = match queue {
            Queue::LogWakes => {
                fetch_changes::handle(event, deadline, &functions.fetch_changes).await
            }
            Queue::Snapshots | Queue::SnapshotsBulk => {
                apply_snapshots::handle(event, deadline, &functions.apply_snapshots).await
            }
            Queue::PushWakes => {
                push_intents::handle(event, deadline, &functions.push_intents).await
            }
            Queue::Operations => {
                run_operations::handle(event, deadline, &functions.run_operations).await
            }
            Queue::Live => live::handle_wakes(event, deadline, &functions.live).await,
            Queue::Deliver => live::handle_deliveries(event, deadline, &functions.live).await,
            Queue::Content | Queue::ContentBulk => {
                mirror_content::handle(event, deadline, &functions.mirror_content).await
            }
        };
        assert!(
            answer.batch_item_failures.is_empty(),
            "{} failed",
            queue.name()
        );
        *self.used.seconds.entry(queue).or_default() += began.elapsed().as_secs_f64();
        let handles: Vec<String> = received
            .into_iter()
            .map(|message| message.receipt_handle)
            .collect();
        self.aws.sqs().delete(queue.name(), &handles).unwrap();
        *self.used.invocations.entry(queue).or_default() += 1;
        *self.used.write_units.entry(queue).or_default() +=
            self.aws.dynamodb().counters().write_units - before;
    }
}

async fn connect(
    aws: &Aws,
    functions: &Functions,
    drive_url: &str,
    content: bool,
) -> ConnectionKey {
    let secret = aws
        .secrets_client()
        .create_secret()
        .name(format!("{SECRETS_PREFIX}{TENANT}/drive"));
    secret
        .secret_string(credentials(drive_url))
        .send()
        .await
        .unwrap();
    let identity = Identity::ephemeral().unwrap();
    let expires_at = Clock::system().now().as_seconds() + 86_400;
    let token = identity.token(TENANT, SUBJECT, expires_at).unwrap();
    let mut body = json!({"name": "Drive", "scope": {"type": "user"}, "secret": "drive"});
    if content {
        body["content"] = json!({"enabled": true});
        // A clock that stands still renews no quota during a transfer.
        body["limits"] = json!({"quota_per_minute": 100_000_000});
    }
    let request = http::Request::builder()
        .method(Method::POST)
        .uri("/v1/connections")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .unwrap();
    let answer = HttpGateway::new(functions, identity).call(request).await;
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    ConnectionKey {
        tenant: TenantId::parse(TENANT).unwrap(),
        connection: ConnectionId::parse(body["id"].as_str().unwrap()).unwrap(),
    }
}
