//! The one wire of a simulated world: every call of AWS and of Drive goes over it, takes virtual time, and meets its fate.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use local::aws::in_process::{Body, Handler, Layer, TransportError};
use serde_json::{Value, json};
use tokio::time::Instant;

tokio::task_local! {
    /// The function that a task runs: only functions meet faults.
    pub static FUNCTION: &'static str;
}

/// What a function's process is ended with: no call after it is made, and nothing is answered.
pub struct Crashed;

/// What may become of a call, in thousandths of all calls that functions make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Done, and the answer is lost.
    pub answer_lost: u64,
    /// Not done, and the caller sees a time-out.
    pub not_done: u64,
    /// Refused: a throttle of AWS, a rate limit or a failure of Drive.
    pub refused: u64,
    /// The process ends, before the call or after it.
    pub crash: u64,
}

impl Weather {
    pub const CALM: Self = Self {
        answer_lost: 0,
        not_done: 0,
        refused: 0,
        crash: 0,
    };
}

/// Before or after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// The fate of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fate {
    Done,
    AnswerLost,
    NotDone,
    Refused(u64),
    CrashBefore,
    CrashAfter,
}

/// Whom a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Aws,
    Drive,
}

/// Looks on, right after a call was done and before anybody is told.
pub type Witness = Arc<dyn Fn(Seen) -> BoxFuture<'static, ()> + Send + Sync>;

/// Changes a request on its way, or holds it back: how bugs of ours are seeded without a line of ours.
pub type Tamper = Arc<dyn Fn(&mut Request<Bytes>) -> Tampered + Send + Sync>;

/// What a tamperer does with a call besides.
pub enum Tampered {
    /// It goes on.
    Passes,
    /// It is not done now; whoever asked is told this.
    Answered(Response<Bytes>),
    /// It goes on, and then these are done as well, unless the process ends first.
    Followed(Vec<Request<Bytes>>),
}

/// A call that was done.
pub enum Seen {
    /// What is about to be done at Drive: whatever is looked at is as it was before.
    BeforeDrive,
    /// It was done at Drive.
    AfterDrive,
    /// It was done at AWS.
    Aws {
        /// `DynamoDB_20120810.PutItem` and the like.
        target: String,
        /// What was asked for.
        body: Bytes,
    },
}

#[derive(Default)]
struct State {
    rng: Rng,
    weather: Weather,
    /// Calls of functions so far.
    calls: u64,
    /// The one call to crash at.
    crash_at: Option<(u64, Side)>,
    /// The next call of this operation is the one to crash at.
    crash_on: Option<(&'static str, Side)>,
    crashes: u64,
    faults: u64,
    trace: DefaultHasher,
    lines: Option<Vec<String>>,
}

/// The wire.
pub struct Wire {
    began: Instant,
    state: Mutex<State>,
    witness: Mutex<Option<Witness>>,
    tamper: Mutex<Option<Tamper>>,
}

impl Wire {
    /// A wire whose faults and latencies this seed decides.
    pub fn new(seed: u64) -> Arc<Self> {
        let state = State {
            rng: Rng::with_seed(seed),
            ..State::default()
        };
        Arc::new(Self {
            began: Instant::now(),
            state: Mutex::new(state),
            witness: Mutex::default(),
            tamper: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    pub fn set_witness(&self, witness: Witness) {
        *self.witness.lock().unwrap() = Some(witness);
    }

    pub fn set_tamper(&self, tamper: Tamper) {
        *self.tamper.lock().unwrap() = Some(tamper);
    }

    /// Ends the process of the function that makes this call, counted from now.
    pub fn crash_at(&self, call: u64, side: Side) {
        let mut state = self.state();
        let at = state.calls + call;
        state.crash_at = Some((at, side));
    }

    /// Ends the process of the function that next calls this operation of AWS.
    pub fn crash_on(&self, operation: &'static str, side: Side) {
        self.state().crash_on = Some((operation, side));
    }

    /// Calls of functions so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How often a process was ended, and how many calls met a fault.
    pub fn troubles(&self) -> (u64, u64) {
        let state = self.state();
        (state.crashes, state.faults)
    }

    /// Keeps what happens as text from now on, for people.
    pub fn keep_lines(&self) {
        self.state().lines = Some(Vec::new());
    }

    /// Notes something that is no call.
    pub fn note(&self, what: &str) {
        let mut state = self.state();
        what.hash(&mut state.trace);
        if let Some(lines) = &mut state.lines {
            lines.push(format!("        {what}"));
        }
    }

    /// A digest of everything that happened, in its order.
    pub fn digest(&self) -> u64 {
        self.state().trace.finish()
    }

    /// What happened, where it was kept.
    pub fn lines(&self) -> Vec<String> {
        self.state().lines.clone().unwrap_or_default()
    }

    /// The wire as what stands before the AWS services.
    pub fn layer(self: &Arc<Self>) -> Layer {
        let wire = Arc::clone(self);
        Arc::new(move |handler: Handler| {
            let wire = Arc::clone(&wire);
            Arc::new(move |request: Request<Bytes>| {
                let (wire, handler) = (Arc::clone(&wire), Arc::clone(&handler));
                Box::pin(async move { wire.aws(request, handler).await })
            })
        })
    }

    /// The wire as the transport to a Drive that `forward` is.
    pub fn transport(
        self: &Arc<Self>,
        forward: impl Fn(Request<Bytes>) -> BoxFuture<'static, Response<Bytes>> + Send + Sync + 'static,
    ) -> drive::Transport {
        let (wire, forward) = (Arc::clone(self), Arc::new(forward));
        Arc::new(move |request: Request<Bytes>| {
            let (wire, forward) = (Arc::clone(&wire), Arc::clone(&forward));
            Box::pin(async move { wire.drive(request, &*forward).await })
        })
    }

    async fn aws(
        &self,
        mut request: Request<Bytes>,
        handler: Handler,
    ) -> Result<Response<Body>, TransportError> {
        let target = header(&request, "x-amz-target");
        let (fate, latency) = self.meet(Service::Aws, &target, request.body());
        tokio::time::sleep(latency).await;
        match fate {
            Fate::CrashBefore => crash(),
            Fate::NotDone => return Err(TransportError::TimedOut),
            Fate::Refused(_) => return Ok(throttled().map(Body::from)),
            Fate::Done | Fate::AnswerLost | Fate::CrashAfter => {}
        }
        let mut after = Vec::new();
        match self.tampered(&mut request) {
            Tampered::Passes => {}
            Tampered::Answered(answer) => return Ok(answer.map(Body::from)),
            Tampered::Followed(requests) => after = requests,
        }
        let body = request.body().clone();
        let answer = handler(request).await?;
        self.look(Seen::Aws { target, body }).await;
        if fate != Fate::CrashAfter {
            for request in after {
                tokio::time::sleep(latency).await;
                let (target, body) = (header(&request, "x-amz-target"), request.body().clone());
                handler(request).await?;
                self.look(Seen::Aws { target, body }).await;
            }
        }
        self.told(answer.status());
        match fate {
            Fate::AnswerLost => Err(TransportError::AnswerLost),
            Fate::CrashAfter => crash(),
            Fate::Done | Fate::NotDone | Fate::Refused(_) | Fate::CrashBefore => Ok(answer),
        }
    }

    async fn drive(
        &self,
        mut request: Request<Bytes>,
        forward: &(impl Fn(Request<Bytes>) -> BoxFuture<'static, Response<Bytes>> + ?Sized),
    ) -> Result<Response<Bytes>, drive::TransportError> {
        let what = format!("{} {}", request.method(), request.uri());
        let (fate, latency) = self.meet(Service::Drive, &what, request.body());
        tokio::time::sleep(latency).await;
        let unanswered = || Err(drive::TransportError::MaybeSent("no answer".into()));
        match fate {
            Fate::CrashBefore => crash(),
            Fate::NotDone => return unanswered(),
            Fate::Refused(kind) => return Ok(refused_by_drive(kind)),
            Fate::Done | Fate::AnswerLost | Fate::CrashAfter => {}
        }
        if let Tampered::Answered(answer) = self.tampered(&mut request) {
            return Ok(answer);
        }
        self.look(Seen::BeforeDrive).await;
        let answer = forward(request).await;
        self.look(Seen::AfterDrive).await;
        self.told(answer.status());
        match fate {
            Fate::AnswerLost => unanswered(),
            Fate::CrashAfter => crash(),
            Fate::Done | Fate::NotDone | Fate::Refused(_) | Fate::CrashBefore => Ok(answer),
        }
    }

    fn tampered(&self, request: &mut Request<Bytes>) -> Tampered {
        let tamper = self.tamper.lock().unwrap().clone();
        match tamper {
            Some(tamper) if FUNCTION.try_with(|_| ()).is_ok() => tamper(request),
            Some(_) | None => Tampered::Passes,
        }
    }

    async fn look(&self, seen: Seen) {
        let witness = self.witness.lock().unwrap().clone();
        if let Some(witness) = witness {
            witness(seen).await;
        }
    }

    /// Draws the fate of a call, and how long it takes.
    fn meet(&self, service: Service, what: &str, body: &Bytes) -> (Fate, Duration) {
        let function = FUNCTION.try_with(|function| *function).ok();
        let body = canonical(body);
        let mut state = self.state();
        let latency = Duration::from_millis(match service {
            Service::Aws => state.rng.u64(1..=12),
            Service::Drive => state.rng.u64(20..=300),
        });
        let fate = match function {
            Some(_) => state.fate(what),
            None => Fate::Done,
        };
        let function = function.unwrap_or("outside");
        (function, what, &body, fate, latency).hash(&mut state.trace);
        if let Some(lines) = &mut state.lines {
            let now = self.began.elapsed().as_millis();
            let text = String::from_utf8_lossy(&body);
            let text: String = text.chars().take(400).collect();
            lines.push(format!("{now:>8} {function:<22} {what} {fate:?} {text}"));
        }
        (fate, latency)
    }

    fn told(&self, status: StatusCode) {
        let mut state = self.state();
        status.as_u16().hash(&mut state.trace);
        if let Some(last) = state.lines.as_mut().and_then(|lines| lines.last_mut()) {
            last.push_str(&format!(" => {status}"));
        }
    }
}

impl State {
    fn fate(&mut self, what: &str) -> Fate {
        let call = self.calls;
        self.calls += 1;
        if let Some((operation, side)) = self.crash_on
            && what.ends_with(&format!(".{operation}"))
        {
            self.crash_on = None;
            self.crash_at = Some((call, side));
        }
        let weather = self.weather;
        let drawn = self.rng.u64(0..1_000);
        let kind = self.rng.u64(..);
        let fate = match self.crash_at {
            Some((at, Side::Before)) if at == call => Fate::CrashBefore,
            Some((at, Side::After)) if at == call => Fate::CrashAfter,
            Some(_) | None => {
                let lost = weather.answer_lost;
                let not_done = lost + weather.not_done;
                let refused = not_done + weather.refused;
                let crash = refused + weather.crash;
                match drawn {
                    drawn if drawn < lost => Fate::AnswerLost,
                    drawn if drawn < not_done => Fate::NotDone,
                    drawn if drawn < refused => Fate::Refused(kind),
                    drawn if drawn < crash && kind.is_multiple_of(2) => Fate::CrashBefore,
                    drawn if drawn < crash => Fate::CrashAfter,
                    _ => Fate::Done,
                }
            }
        };
        self.crashes += u64::from(matches!(fate, Fate::CrashBefore | Fate::CrashAfter));
        self.faults += u64::from(fate != Fate::Done);
        fate
    }
}

/// Ends the process: whatever it was about to do is not done, and nobody is told. Unlike a panic it prints nothing.
fn crash() -> ! {
    resume_unwind(Box::new(Crashed))
}

/// The body with members in the order of their names: the SDKs write maps in an order that differs from run to run.
fn canonical(body: &Bytes) -> Vec<u8> {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => sorted(value).to_string().into_bytes(),
        Err(_) => body.to_vec(),
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            let members = members
                .into_iter()
                .map(|(name, value)| (name, sorted(value)));
            Value::Object(members.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn header(request: &Request<Bytes>, name: &str) -> String {
    let value = request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn throttled() -> Response<Bytes> {
    let body = json!({"__type": "ThrottlingException", "message": "injected"});
    answer(StatusCode::BAD_REQUEST, &body)
}

/// What Drive says when it takes no more, or fails.
fn refused_by_drive(kind: u64) -> Response<Bytes> {
    let (status, reason) = match kind % 4 {
        0 => (StatusCode::FORBIDDEN, "userRateLimitExceeded"),
        1 => (StatusCode::TOO_MANY_REQUESTS, "rateLimitExceeded"),
        2 => (StatusCode::SERVICE_UNAVAILABLE, "backendError"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internalError"),
    };
    let error = json!({"domain": "global", "reason": reason, "message": "injected"});
    let body =
        json!({"error": {"code": status.as_u16(), "message": "injected", "errors": [error]}});
    answer(status, &body)
}

fn answer(status: StatusCode, body: &Value) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Bytes::from(body.to_string()))
        .unwrap()
}
