//! What a person who tries the system can do to it, below `/v1/play`: be anybody in the simulated
//! Drive, make Drive misbehave, advance the clock, kill a function. AWS has no such routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::{Body, to_bytes};
use domain::Role;
use drive_simulator::Simulator;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use runtime::Clock;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use super::problem;
use crate::sources::{FUNCTIONS, Invocations};

/// The path of everything here.
pub(super) const PATH: &str = "/v1/play";
/// The most seconds that the clock is advanced at once: a year.
const ADVANCE_SECONDS_MAX: u32 = 366 * 24 * 3_600;
/// The largest answer of Drive that is passed on.
const ANSWER_BYTES_MAX: usize = 5 << 20;

/// A clock that can be advanced.
#[derive(Clone)]
pub struct PlayClock {
    real: Clock,
    ahead_seconds: Arc<AtomicI64>,
}

impl PlayClock {
    /// Returns a clock that is not ahead of `real`.
    #[must_use]
    pub fn new(real: Clock) -> Self {
        Self {
            real,
            ahead_seconds: Arc::default(),
        }
    }

    /// Returns the clock for the functions.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let this = self.clone();
        Clock::new(move || {
            let ahead_ms = this.ahead_seconds.load(Ordering::Relaxed) * 1_000;
            this.real.now().plus_millis(ahead_ms)
        })
    }
}

/// The parts of the system that a person plays with.
#[derive(Clone)]
pub struct Play {
    /// The simulated Drive, in this process.
    pub simulator: Simulator,
    /// The clock of the functions.
    pub clock: PlayClock,
    /// The invocations of the functions.
    pub invocations: Invocations,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kill {
    function: String,
}

impl Play {
    /// Answers a request below `/v1/play` of a caller with these claims.
    pub(super) async fn call(
        &self,
        request: http::Request<Vec<u8>>,
        claims: &Map<String, Value>,
    ) -> http::Response<Vec<u8>> {
        let role = claims.get(api::ClaimNames::default().role.as_str());
        if role.and_then(Value::as_str) != Some(Role::Admin.as_str()) {
            let detail = "who plays can be anybody in Drive, so this needs the role `admin`";
            return problem(StatusCode::FORBIDDEN, "forbidden", detail);
        }
        let path = request.uri().path().to_owned();
        let rest = path.strip_prefix(PATH).unwrap_or_default();
        let parts: Vec<&str> = rest.trim_start_matches('/').splitn(3, '/').collect();
        let answer = match (request.method().clone(), parts.as_slice()) {
            (Method::GET, [""]) => Ok(self.state()),
            (Method::POST, ["clock"]) => body(&request).and_then(|order| self.advance(&order)),
            (Method::POST, ["kill"]) => body(&request).and_then(|order| self.kill(&order)),
            (_, ["control", command]) => {
                let path = format!("/_control/{command}");
                return self.drive(request, &path, None).await;
            }
            (_, ["as", user, path]) => {
                let path = format!("/{path}");
                return self.drive(request, &path, Some(user)).await;
            }
            _ => {
                let detail = "no such route: see infra/local/README.md";
                return problem(StatusCode::NOT_FOUND, "not-found", detail);
            }
        };
        match answer {
            Ok(state) => json_response(&state),
            Err(detail) => problem(StatusCode::BAD_REQUEST, "invalid-request", &detail),
        }
    }

    fn state(&self) -> Value {
        json!({
            "now": self.clock.clock().now().to_string(),
            "ahead_seconds": self.clock.ahead_seconds.load(Ordering::Relaxed),
            "owner": Simulator::library_owner(),
            "functions": self.invocations.running(),
        })
    }

    fn advance(&self, order: &Advance) -> Result<Value, String> {
        let seconds = order.advance_seconds;
        if seconds > ADVANCE_SECONDS_MAX {
            return Err(format!(
                "`advance_seconds` is at most {ADVANCE_SECONDS_MAX}"
            ));
        }
        let ahead = &self.clock.ahead_seconds;
        ahead.fetch_add(seconds.into(), Ordering::Relaxed);
        self.simulator.advance_clock(seconds.into());
        Ok(self.state())
    }

    fn kill(&self, order: &Kill) -> Result<Value, String> {
        let known = FUNCTIONS.into_iter().find(|name| *name == order.function);
        let function = known.ok_or_else(|| format!("`function` is one of {FUNCTIONS:?}"))?;
        let killed = self.invocations.kill(function);
        Ok(json!({"function": function, "killed": killed, "next": killed == 0}))
    }

    /// Calls the simulated Drive, as a user or with a control command.
    async fn drive(
        &self,
        request: http::Request<Vec<u8>>,
        path: &str,
        user: Option<&str>,
    ) -> http::Response<Vec<u8>> {
        let (mut parts, body) = request.into_parts();
        let query = parts
            .uri
            .query()
            .map_or_else(String::new, |q| format!("?{q}"));
        let uri = format!("{path}{query}").parse::<Uri>();
        let bearer = user.map(|user| HeaderValue::try_from(format!("Bearer user:{user}")));
        let (Ok(uri), Ok(bearer)) = (uri, bearer.transpose()) else {
            let detail = "the path is not one of Drive's";
            return problem(StatusCode::BAD_REQUEST, "invalid-request", detail);
        };
        parts.uri = uri;
        // The caller's other headers are for this system: a fault for calls with a `User-Agent`
        // meets the functions, and no person.
        let content_type = parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.clear();
        let content_type = content_type.map(|value| (header::CONTENT_TYPE, value));
        let bearer = bearer.map(|value| (header::AUTHORIZATION, value));
        parts.headers.extend(content_type.into_iter().chain(bearer));
        let request = http::Request::from_parts(parts, Body::from(body));
        let Ok(response) = self.simulator.router().oneshot(request).await;
        let (parts, body) = response.into_parts();
        match to_bytes(body, ANSWER_BYTES_MAX).await {
            Ok(body) => http::Response::from_parts(parts, body.to_vec()),
            Err(_) => {
                let detail = "Drive's answer is cut off or too large: ask it without the console";
                problem(StatusCode::BAD_GATEWAY, "drive-answer", detail)
            }
        }
    }
}

fn body<'a, T: Deserialize<'a>>(request: &'a http::Request<Vec<u8>>) -> Result<T, String> {
    serde_json::from_slice(request.body()).map_err(|_| {
        "the body is `{\"advance_seconds\": 3600}` or `{\"function\": \"apply-snapshots\"}`"
            .to_owned()
    })
}

fn json_response(body: &Value) -> http::Response<Vec<u8>> {
    let mut response = http::Response::new(body.to_string().into_bytes());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
