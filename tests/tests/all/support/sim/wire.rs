//! The wire of a simulated world: every call to AWS and to Drive goes over it, takes virtual time,
//! and has an outcome.

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

/// The panic payload that ends a function's process.
pub struct Crashed;

/// The rates of faults, in thousandths of all calls by functions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// Executed, but the response is lost.
    pub answer_lost: u64,
    /// Not executed; the caller gets a time-out.
    pub not_done: u64,
    /// Rejected: a throttle of AWS, a rate limit or a failure of Drive.
    pub refused: u64,
    /// The process ends, before the call or after it.
    pub crash: u64,
}

impl FaultRates {
    pub const NONE: Self = Self {
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

/// The outcome of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum CallOutcome {
    Done,
    AnswerLost,
    NotDone,
    Refused(u64),
    CrashBefore,
    CrashAfter,
}

/// The service of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Aws,
    Drive,
}

/// The response of Drive.
type Forwarded = BoxFuture<'static, Response<Bytes>>;

/// Called right after a call was executed, before its response is delivered.
pub type Observer = Arc<dyn Fn(Seen) -> BoxFuture<'static, ()> + Send + Sync>;

/// Changes or withholds a request, to seed a bug.
pub type WireMutation = Arc<dyn Fn(&mut Request<Bytes>) -> MutationResult + Send + Sync>;

/// The further treatment of a mutated call.
pub enum MutationResult {
    /// It is sent.
    Passes,
    /// It is not sent; the caller gets this response.
    Answered(Response<Bytes>),
    /// It is sent, and then these are sent too, unless the process crashes.
    Followed(Vec<Request<Bytes>>),
}

/// An observed call.
pub enum Seen {
    /// A call to Drive is about to be executed.
    BeforeDrive,
    /// A call to Drive was executed.
    AfterDrive,
    /// A call to AWS was executed.
    Aws {
        /// The operation, as `DynamoDB_20120810.PutItem`.
        target: String,
        /// The body of the request.
        body: Bytes,
    },
}

#[derive(Default)]
struct State {
    rng: Rng,
    fault_rates: FaultRates,
    /// The calls by functions so far.
    calls: u64,
    /// The call at which a process crashes.
    crash_at: Option<(u64, Side)>,
    /// The operation at whose next call a process crashes.
    crash_on: Option<(&'static str, Side)>,
    /// The function that crashes, and at which of its calls.
    crash_in: Option<(&'static str, u64, Side)>,
    crashes: u64,
    faults: u64,
    trace: DefaultHasher,
    lines: Option<Vec<String>>,
}

/// The wire.
pub struct Wire {
    began: Instant,
    state: Mutex<State>,
    observer: Mutex<Option<Observer>>,
    mutation: Mutex<Option<WireMutation>>,
}

impl Wire {
    /// Creates a wire whose faults and latencies are drawn from this seed.
    pub fn new(seed: u64) -> Arc<Self> {
        let state = State {
            rng: Rng::with_seed(seed),
            ..State::default()
        };
        Arc::new(Self {
            began: Instant::now(),
            state: Mutex::new(state),
            observer: Mutex::default(),
            mutation: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn set_fault_rates(&self, fault_rates: FaultRates) {
        self.state().fault_rates = fault_rates;
    }

    pub fn set_observer(&self, observer: Observer) {
        *self.observer.lock().unwrap() = Some(observer);
    }

    pub fn set_mutation(&self, mutation: WireMutation) {
        *self.mutation.lock().unwrap() = Some(mutation);
    }

    /// Crashes the process of the function that makes this call, counted from now.
    pub fn crash_at(&self, call: u64, side: Side) {
        let mut state = self.state();
        let at = state.calls + call;
        state.crash_at = Some((at, side));
    }

    /// Crashes the process of the function that next calls this operation of AWS.
    pub fn crash_on(&self, operation: &'static str, side: Side) {
        self.state().crash_on = Some((operation, side));
    }

    /// Crashes the process of a function at one of its calls, counted from now.
    pub fn crash_in(&self, function: &'static str, call: u64, side: Side) {
        self.state().crash_in = Some((function, call, side));
    }

    /// Returns whether the crash of [`Wire::crash_in`] is still to come.
    pub fn is_to_crash(&self) -> bool {
        self.state().crash_in.is_some()
    }

    /// The calls by functions so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Returns the number of crashes, and of calls that met a fault.
    pub fn fault_counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.crashes, state.faults)
    }

    /// Keeps the trace as text from now on.
    pub fn keep_lines(&self) {
        self.state().lines = Some(Vec::new());
    }

    /// Adds a note to the trace.
    pub fn note(&self, what: &str) {
        let mut state = self.state();
        what.hash(&mut state.trace);
        if let Some(lines) = &mut state.lines {
            lines.push(format!("        {what}"));
        }
    }

    /// Returns a digest of the trace.
    pub fn digest(&self) -> u64 {
        self.state().trace.finish()
    }

    /// Returns the trace as text, if it was kept.
    pub fn lines(&self) -> Vec<String> {
        self.state().lines.clone().unwrap_or_default()
    }

    /// Returns the wire as a layer before the AWS services.
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

    /// Returns the wire as the transport to the Drive behind `forward`.
    pub fn transport(
        self: &Arc<Self>,
        forward: impl Fn(Request<Bytes>) -> Forwarded + Send + Sync + 'static,
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
        let (outcome, latency) = self.draw_outcome(Service::Aws, &target, request.body());
        tokio::time::sleep(latency).await;
        match outcome {
            CallOutcome::CrashBefore => crash(),
            CallOutcome::NotDone => return Err(TransportError::TimedOut),
            CallOutcome::Refused(_) => return Ok(throttled().map(Body::from)),
            CallOutcome::Done | CallOutcome::AnswerLost | CallOutcome::CrashAfter => {}
        }
        let mut after = Vec::new();
        match self.mutated(&mut request) {
            MutationResult::Passes => {}
            MutationResult::Answered(answer) => return Ok(answer.map(Body::from)),
            MutationResult::Followed(requests) => after = requests,
        }
        let body = request.body().clone();
        let answer = handler(request).await?;
        self.notify_observer(Seen::Aws { target, body }).await;
        if outcome != CallOutcome::CrashAfter {
            for request in after {
                tokio::time::sleep(latency).await;
                let (target, body) = (header(&request, "x-amz-target"), request.body().clone());
                handler(request).await?;
                self.notify_observer(Seen::Aws { target, body }).await;
            }
        }
        self.record_status(answer.status());
        match outcome {
            CallOutcome::AnswerLost => Err(TransportError::AnswerLost),
            CallOutcome::CrashAfter => crash(),
            CallOutcome::Done
            | CallOutcome::NotDone
            | CallOutcome::Refused(_)
            | CallOutcome::CrashBefore => Ok(answer),
        }
    }

    async fn drive(
        &self,
        mut request: Request<Bytes>,
        forward: &(impl Fn(Request<Bytes>) -> Forwarded + ?Sized),
    ) -> Result<Response<Bytes>, drive::TransportError> {
        let what = format!("{} {}", request.method(), request.uri());
        let (outcome, latency) = self.draw_outcome(Service::Drive, &what, request.body());
        tokio::time::sleep(latency).await;
        let unanswered = || Err(drive::TransportError::MaybeSent("no answer".into()));
        match outcome {
            CallOutcome::CrashBefore => crash(),
            CallOutcome::NotDone => return unanswered(),
            CallOutcome::Refused(kind) => return Ok(refused_by_drive(kind)),
            CallOutcome::Done | CallOutcome::AnswerLost | CallOutcome::CrashAfter => {}
        }
        if let MutationResult::Answered(answer) = self.mutated(&mut request) {
            return Ok(answer);
        }
        self.notify_observer(Seen::BeforeDrive).await;
        let answer = forward(request).await;
        self.notify_observer(Seen::AfterDrive).await;
        self.record_status(answer.status());
        match outcome {
            CallOutcome::AnswerLost => unanswered(),
            CallOutcome::CrashAfter => crash(),
            CallOutcome::Done
            | CallOutcome::NotDone
            | CallOutcome::Refused(_)
            | CallOutcome::CrashBefore => Ok(answer),
        }
    }

    fn mutated(&self, request: &mut Request<Bytes>) -> MutationResult {
        let mutation = self.mutation.lock().unwrap().clone();
        match mutation {
            Some(mutation) if FUNCTION.try_with(|_| ()).is_ok() => mutation(request),
            Some(_) | None => MutationResult::Passes,
        }
    }

    async fn notify_observer(&self, seen: Seen) {
        let observer = self.observer.lock().unwrap().clone();
        if let Some(observer) = observer {
            observer(seen).await;
        }
    }

    /// Draws the outcome and the latency of a call.
    fn draw_outcome(&self, service: Service, what: &str, body: &Bytes) -> (CallOutcome, Duration) {
        let function = FUNCTION.try_with(|function| *function).ok();
        let body = canonical(body);
        let mut state = self.state();
        let latency = Duration::from_millis(match service {
            Service::Aws => state.rng.u64(1..=12),
            Service::Drive => state.rng.u64(20..=300),
        });
        let outcome = match function {
            Some(function) => state.outcome(function, what),
            None => CallOutcome::Done,
        };
        let function = function.unwrap_or("outside");
        (function, what, &body, outcome, latency).hash(&mut state.trace);
        if let Some(lines) = &mut state.lines {
            let now = self.began.elapsed().as_millis();
            let text = String::from_utf8_lossy(&body);
            let text: String = text.chars().take(400).collect();
            lines.push(format!("{now:>8} {function:<22} {what} {outcome:?} {text}"));
        }
        (outcome, latency)
    }

    fn record_status(&self, status: StatusCode) {
        let mut state = self.state();
        status.as_u16().hash(&mut state.trace);
        if let Some(last) = state.lines.as_mut().and_then(|lines| lines.last_mut()) {
            last.push_str(&format!(" => {status}"));
        }
    }
}

impl State {
    fn outcome(&mut self, function: &str, what: &str) -> CallOutcome {
        let call = self.calls;
        self.calls += 1;
        match self.crash_in {
            Some((crashes, 0, side)) if crashes == function => {
                self.crash_in = None;
                self.crash_at = Some((call, side));
            }
            Some((crashes, left, side)) if crashes == function => {
                self.crash_in = Some((crashes, left - 1, side));
            }
            Some(_) | None => {}
        }
        if let Some((operation, side)) = self.crash_on
            && what.ends_with(&format!(".{operation}"))
        {
            self.crash_on = None;
            self.crash_at = Some((call, side));
        }
        let fault_rates = self.fault_rates;
        let drawn = self.rng.u64(0..1_000);
        let kind = self.rng.u64(..);
        let outcome = match self.crash_at {
            Some((at, Side::Before)) if at == call => CallOutcome::CrashBefore,
            Some((at, Side::After)) if at == call => CallOutcome::CrashAfter,
            Some(_) | None => {
                let lost = fault_rates.answer_lost;
                let not_done = lost + fault_rates.not_done;
                let refused = not_done + fault_rates.refused;
                let crash = refused + fault_rates.crash;
                match drawn {
                    drawn if drawn < lost => CallOutcome::AnswerLost,
                    drawn if drawn < not_done => CallOutcome::NotDone,
                    drawn if drawn < refused => CallOutcome::Refused(kind),
                    drawn if drawn < crash && kind.is_multiple_of(2) => CallOutcome::CrashBefore,
                    drawn if drawn < crash => CallOutcome::CrashAfter,
                    _ => CallOutcome::Done,
                }
            }
        };
        self.crashes += u64::from(matches!(
            outcome,
            CallOutcome::CrashBefore | CallOutcome::CrashAfter
        ));
        self.faults += u64::from(outcome != CallOutcome::Done);
        outcome
    }
}

/// Ends the process without a response. Unlike a panic it prints nothing.
fn crash() -> ! {
    resume_unwind(Box::new(Crashed))
}

/// Returns the body with sorted members: the SDKs serialise maps in an order that differs between
/// runs.
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

/// Returns a rate limit or a failure of Drive.
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
