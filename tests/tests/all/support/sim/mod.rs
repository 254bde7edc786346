//! A deterministic world: the real handlers, the clients of the SDKs and the client of Drive, over
//! one wire in this process, on one thread, in virtual time. One seed decides everything.

mod log_readers;
mod misreadings;
pub mod recorder;
mod sources;
mod tenants;
mod webhook_receiver;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use domain::rate_limit::TenantLimits;
use domain::{ConnectionId, ConnectionKey, TenantId, Timestamp};
use drive_simulator::Simulator;
use http::{Method, Request, Response};
use local::aws::in_process::InProcess;
use local::aws::{self, Aws, Queue, Service, clients};
use local::gateway::{HttpGateway, Identity};
use local::system::{FunctionSettings, Functions, SECRETS_PREFIX, SUBJECT, TENANT};
use runtime::{Clock, Deadline, Entropy};
use serde_json::{Value, json};
use store::Store;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

pub use misreadings::Misreading;
pub use recorder::{Event, Recording};
pub use sources::SourceBugs;
pub use tenants::Tenant;
pub use wire::{Crashed, FUNCTION, FaultRates, MutationResult, Side, Wire, WireMutation};

use super::credentials;

/// 15 January 2027: no test depends on the day that it is run on.
const EPOCH_MS: i64 = 1_800_000_000_000;
/// Drive's address, which only the wire knows.
const DRIVE_URL: &str = "http://drive.sim";

/// A world.
#[derive(Clone)]
pub struct Sim(Arc<Inner>);

struct Inner {
    simulator: Simulator,
    aws: Aws,
    wire: Arc<Wire>,
    setting: FunctionSettings,
    warm: Mutex<Warm>,
    identity: Identity,
    token: String,
    jumped_ms: Arc<AtomicI64>,
    key: OnceLock<ConnectionKey>,
    recording: Mutex<Recording>,
    direct_store: Store,
    source_bugs: SourceBugs,
    /// The queues whose function has failed, if failures are kept.
    spoilt: Mutex<BTreeSet<&'static str>>,
    cold: bool,
    time_limit: Mutex<Option<Duration>>,
    /// The executions of the API that are left.
    api: Semaphore,
    seed: u64,
    /// Whether events are appended and read.
    tells_events: bool,
    /// The readers of the event log that are not reading.
    readers: Mutex<BTreeMap<u64, log_readers::Reader>>,
    receivers: webhook_receiver::Receivers,
}

/// The state of a warm process. A crash makes it cold.
#[derive(Clone)]
struct Warm {
    functions: Functions,
    front: HttpGateway,
}

/// A response of the API.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub etag: Option<String>,
    pub body: Value,
}

/// The initial state of a world.
#[derive(Clone, Default)]
pub struct Start {
    pub seed: u64,
    pub files: usize,
    pub folders: usize,
    /// A seeded bug on the wire.
    pub mutation: Option<WireMutation>,
    /// Seeded bugs around the functions.
    pub source_bugs: SourceBugs,
    /// A seeded bug in the reading of Drive's answers.
    pub misreading: Option<Misreading>,
    /// Whether the trace is kept as text.
    pub lines: bool,
    /// Whether every process serves only once.
    pub cold: bool,
    /// The seconds by which our functions' clock is ahead of all others.
    pub skew_seconds: i64,
    /// The time that functions have left, until the world converges.
    pub time_limit: Option<Duration>,
    /// What each tenant may use; `None` for everything.
    pub limits: Option<TenantLimits>,
    /// The requests that the API answers at once; `None` for all.
    pub api_at_once: Option<usize>,
    /// Whether events are appended and read. Without them the stream affects no world whose content
    /// is not mirrored.
    pub events: bool,
}

/// Runs a world: connected, with everything synced. Then `act` decides.
pub fn simulate<T>(start: Start, act: impl AsyncFnOnce(&Sim) -> T) -> T {
    // The SDKs draw their retry delays from this thread's generator.
    fastrand::seed(start.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let sim = Sim::begin(start).await;
        act(&sim).await
    })
}

impl Sim {
    async fn begin(start: Start) -> Self {
        let wire = Wire::new(start.seed);
        if start.lines {
            wire.keep_lines();
        }
        let jumped_ms = Arc::new(AtomicI64::new(0));
        let (tokio_ms, jumped) = (aws::tokio_clock(EPOCH_MS), Arc::clone(&jumped_ms));
        let now: aws::Clock = Arc::new(move || tokio_ms() + jumped.load(Ordering::Relaxed));
        let this: Arc<OnceLock<Weak<Inner>>> = Arc::default();
        let weak = Arc::clone(&this);
        let simulator = Simulator::new(drive_simulator::Options {
            seed: Some(start.seed),
            clock: Some(Arc::clone(&now)),
            deliver: Some(Arc::new(move |request| {
                let sim = weak.get().and_then(Weak::upgrade).map(Sim);
                Box::pin(async move { Some(sim?.notified(request).await?.status) })
            })),
            ..drive_simulator::Options::default()
        });
        simulator.load_synthetic(start.files, start.folders);
        let aws = Aws::open(aws::Options {
            layer: Some(wire.layer()),
            ..aws::Options::memory(Arc::clone(&now))
        })
        .unwrap();
        let router = simulator.router();
        let transport = wire.transport(move |request| {
            let router = router.clone();
            Box::pin(async move {
                let answer = router
                    .oneshot(request.map(axum::body::Body::from))
                    .await
                    .unwrap();
                let (parts, body) = answer.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                Response::from_parts(parts, body)
            })
        });
        let randomness = Mutex::new(fastrand::Rng::with_seed(start.seed ^ 0x5eed));
        let transport = match start.source_bugs.writes_blindly_again {
            true => sources::writes_blindly_again(transport),
            false => transport,
        };
        let transport = match start.misreading {
            Some(misreading) => misreadings::misreads(transport, misreading),
            None => transport,
        };
        let receivers = webhook_receiver::Receivers::new(start.seed, &wire);
        let setting = FunctionSettings {
            transport,
            content: None,
            drive_url: DRIVE_URL.to_owned(),
            webhook_url: Some("https://sync.example/webhooks/drive".to_owned()),
            tenant_limits: start.limits.unwrap_or(TenantLimits::none()),
            endpoints: receivers.client(start.source_bugs.accepts_before_answer),
            history_days: Some(90),
            event_days: if start.events {
                log_readers::EVENT_DAYS
            } else {
                0
            },
            clock: Clock::new(move || Timestamp::from_millis(now() + start.skew_seconds * 1_000)),
            entropy: Entropy::new(move || randomness.lock().unwrap().u64(..)),
        };
        static IDENTITY: OnceLock<Identity> = OnceLock::new();
        let identity = IDENTITY
            .get_or_init(|| Identity::ephemeral().unwrap())
            .clone();
        let expires_at = (EPOCH_MS / 1_000) + 3_650 * 86_400;
        let token = identity.token(TENANT, SUBJECT, expires_at).unwrap();
        let warm = Warm::new(&aws, &setting, &identity);
        let handler = aws.handler(Service::Dynamodb);
        let direct_store = Store::new(
            clients::dynamodb(
                &Service::Dynamodb.endpoint(),
                aws.keys(),
                InProcess::without_yield(handler),
            ),
            aws::NAME,
        )
        .keeping_events_for(setting.event_days);
        let sim = Self(Arc::new(Inner {
            simulator,
            aws,
            wire,
            setting,
            warm: Mutex::new(warm),
            identity,
            token,
            jumped_ms,
            key: OnceLock::new(),
            recording: Mutex::default(),
            direct_store,
            source_bugs: start.source_bugs,
            spoilt: Mutex::default(),
            cold: start.cold,
            time_limit: Mutex::default(),
            api: Semaphore::new(start.api_at_once.unwrap_or(Semaphore::MAX_PERMITS)),
            seed: start.seed,
            tells_events: start.events,
            readers: Mutex::default(),
            receivers,
        }));
        this.set(Arc::downgrade(&sim.0)).unwrap();
        sim.connect().await;
        if start.events {
            sim.make_receiver(sim.key(), &sim.0.token).await;
        }
        sim.start_sources();
        if start.events {
            sim.start_readers();
        }
        sim.converge().await.unwrap();
        let records = sim.records().await.into_iter();
        let first = records.map(|(file, record)| (file.to_string(), record));
        *sim.recording() = Recording::beginning(first.collect());
        sim.start_recording();
        sim.0.receivers.trouble(true);
        *sim.0.time_limit.lock().unwrap() = start.time_limit;
        if let Some(mutation) = start.mutation {
            sim.wire().set_mutation(mutation);
        }
        sim
    }

    async fn connect(&self) {
        let secret = self.0.aws.secrets_client().create_secret();
        secret
            .name(format!("{SECRETS_PREFIX}{TENANT}/drive"))
            .secret_string(credentials(DRIVE_URL, "owner"))
            .send()
            .await
            .unwrap();
        let body = json!({"name": "Drive", "scope": {"type": "user"}, "secret": "drive"});
        let made = self
            .call(Method::POST, "/v1/connections", &[], Some(body))
            .await
            .unwrap();
        assert_eq!(made.status, 201, "{}", made.body);
        let key = ConnectionKey {
            tenant: TenantId::parse(TENANT).unwrap(),
            connection: ConnectionId::parse(made.body["id"].as_str().unwrap()).unwrap(),
        };
        self.0.key.set(key).unwrap();
    }

    pub fn simulator(&self) -> &Simulator {
        &self.0.simulator
    }

    pub fn wire(&self) -> &Wire {
        &self.0.wire
    }

    pub fn key(&self) -> &ConnectionKey {
        self.0.key.get().unwrap()
    }

    /// Returns a store that bypasses the wire, so that no time passes.
    pub fn store(&self) -> &Store {
        &self.0.direct_store
    }

    /// Returns whether events are appended and read.
    pub fn tells_events(&self) -> bool {
        self.0.tells_events
    }

    pub fn now(&self) -> Timestamp {
        self.0.setting.clock.now()
    }

    /// Returns the recording so far.
    pub fn recording(&self) -> std::sync::MutexGuard<'_, Recording> {
        self.0.recording.lock().unwrap()
    }

    /// Moves all clocks forward.
    pub fn jump(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.0.jumped_ms.fetch_add(millis, Ordering::Relaxed);
        self.0.receivers.clocks_jumped();
    }

    /// Replaces all functions, as a deployment does: none has any state.
    pub fn redeploy(&self) {
        *self.0.warm.lock().unwrap() = Warm::new(&self.0.aws, &self.0.setting, &self.0.identity);
    }

    fn warm(&self) -> Warm {
        self.0.warm.lock().unwrap().clone()
    }

    fn deadline(&self, seconds: i64) -> Deadline {
        if let Some(time_limit) = *self.0.time_limit.lock().unwrap() {
            return Deadline(
                self.now()
                    .plus_millis(i64::try_from(time_limit.as_millis()).unwrap()),
            );
        }
        let at = self.now().plus_millis(seconds * 1_000).as_millis();
        Deadline::of_invocation(u64::try_from(at).unwrap())
    }

    fn has_time_limit(&self) -> bool {
        self.0.time_limit.lock().unwrap().is_some()
    }

    fn lift_time_limit(&self) {
        *self.0.time_limit.lock().unwrap() = None;
    }

    /// Sends a command to the control interface of the simulated Drive.
    pub async fn control(&self, command: &str, body: &Value) {
        let request = Request::post(format!("/_control/{command}"))
            .body(axum::body::Body::from(body.to_string()))
            .unwrap();
        let answer = self.0.simulator.router().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{command} {body}");
    }

    /// Returns the messages in the queues, in any state.
    pub fn queued(&self) -> usize {
        self.0.aws.queued().unwrap()
    }

    /// Returns the messages in the dead-letter queues.
    pub fn dead(&self) -> usize {
        let depth = |queue: Queue| self.0.aws.sqs().depth(queue.dead_letter_name()).unwrap();
        Queue::ALL
            .into_iter()
            .map(depth)
            .map(|depth| depth.visible)
            .sum()
    }

    /// Calls the API; `None` if its process crashes.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Option<Reply> {
        self.call_as(&self.0.token, method, path, headers, body)
            .await
    }

    async fn call_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Option<Reply> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = match &body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                body.to_string().into_bytes()
            }
            None => Vec::new(),
        };
        let request = request.body(bytes).unwrap();
        let _execution = self.0.api.acquire().await.unwrap();
        self.front("api", request).await
    }

    /// Calls the API about the connection; `path` follows `/v1/connections/{c}`.
    pub async fn api(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Option<Reply> {
        let path = format!("/v1/connections/{}{path}", self.key().connection);
        self.call(method, &path, headers, body).await
    }

    async fn notified(&self, request: Request<()>) -> Option<Reply> {
        let (mut parts, ()) = request.into_parts();
        parts.uri = "/webhooks/drive".parse().unwrap();
        let request = Request::from_parts(parts, Vec::new());
        self.front("receive-notification", request).await
    }

    async fn front(&self, function: &'static str, request: Request<Vec<u8>>) -> Option<Reply> {
        let front = self.warm().front;
        let answer = self
            .run(function, async move { front.call(request).await })
            .await?;
        let etag = answer.headers().get("etag");
        Some(Reply {
            status: answer.status().as_u16(),
            etag: etag.map(|etag| etag.to_str().unwrap().to_owned()),
            body: serde_json::from_slice(answer.body()).unwrap_or(Value::Null),
        })
    }

    /// Runs a function in its own process; `None` if that crashed. Its memory is lost then.
    async fn run<T: Send + 'static>(
        &self,
        function: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        match tokio::spawn(FUNCTION.scope(function, work)).await {
            Ok(done) => {
                if self.0.cold {
                    self.redeploy();
                }
                Some(done)
            }
            Err(ended) => {
                let why = ended.into_panic();
                if !why.is::<Crashed>() {
                    std::panic::resume_unwind(why);
                }
                self.0.wire.note("the process ends");
                self.redeploy();
                None
            }
        }
    }
}

impl Warm {
    fn new(aws: &Aws, setting: &FunctionSettings, identity: &Identity) -> Self {
        let functions = Functions::new(aws, setting);
        let front = HttpGateway::new(&functions, identity.clone());
        Self { functions, front }
    }
}

/// Returns the body of a request of AWS's JSON protocol.
fn json_of(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}
