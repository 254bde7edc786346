//! API Gateway on one machine: one address for users and for Drive, with tokens validated and
//! claims passed on.

mod event;
mod identity;
mod limits;
pub mod metrics;
mod play;
mod sign_in;
pub mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as AxumBody, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode, header};
use lambda_http::Body;
use lambda_http::request::RequestContext;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

pub use self::identity::{Identity, IdentityError};
pub use self::play::{Play, PlayClock};
use self::sign_in::SignIns;
use crate::canary::Canary;
use crate::system::Functions;

/// The timeouts of the functions, as on AWS.
const RECEIVE_NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(5);
const API_TIMEOUT: Duration = Duration::from_secs(29);

/// The HTTP gateway in front of the functions.
#[derive(Clone)]
pub struct HttpGateway {
    receive_notification: Arc<receive_notification::Deps>,
    api: axum::Router,
    console: Arc<console::Site>,
    identity: Identity,
    play: Option<Play>,
    canary: Option<Canary>,
    sign_ins: SignIns,
}

impl HttpGateway {
    /// Returns a gateway to the functions that accepts the tokens of `identity`.
    #[must_use]
    pub fn new(functions: &Functions, identity: Identity) -> Self {
        Self {
            receive_notification: functions.receive_notification.clone(),
            api: api::router(functions.api.as_ref().clone()),
            console: functions.console.clone(),
            sign_ins: SignIns::new(identity.clone(), functions.api.clock.clone()),
            identity,
            play: None,
            canary: functions.canary.clone(),
        }
    }

    /// Lets administrators play with the system.
    #[must_use]
    pub fn with_play(self, play: Option<Play>) -> Self {
        Self { play, ..self }
    }

    /// Returns the router for a listener.
    pub fn router(self) -> axum::Router {
        axum::Router::new().fallback(respond).with_state(self)
    }

    /// Answers one request in this process, within the sizes that API Gateway and Lambda accept.
    pub async fn call(&self, request: http::Request<Vec<u8>>) -> http::Response<Vec<u8>> {
        if request.body().len() > limits::BODY_BYTES_MAX {
            return too_large("the body", request.body().len());
        }
        if let Some(bytes) = limits::excess_event(&request) {
            return too_large("the request as an event", bytes);
        }
        let response = self.answer(request).await;
        match limits::excess_answer(&response) {
            None => response,
            Some(bytes) => {
                tracing::error!(bytes, "the function's answer is larger than Lambda allows");
                let detail = format!("the answer has {bytes} bytes, more than Lambda allows");
                problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &detail)
            }
        }
    }

    async fn answer(&self, request: http::Request<Vec<u8>>) -> http::Response<Vec<u8>> {
        let (mut parts, body) = request.into_parts();
        if parts.uri.path() == "/webhooks/drive" && parts.method == Method::POST {
            let function = ("receive-notification", RECEIVE_NOTIFICATION_TIMEOUT);
            let context = event::context(&parts, None);
            if let Some(answered) = self.in_other_build(function, &parts, &body, &context).await {
                return answered;
            }
            let request = http::Request::from_parts(parts, lambda_body(body));
            let deps = &self.receive_notification;
            return into_bytes(receive_notification::handle(&request, deps).await);
        }
        if parts.uri.path() == console::LOCAL_TOKEN_PATH && parts.method == Method::POST {
            return self.sign_ins.answer(&body);
        }
        if parts.method == Method::GET && is_console(parts.uri.path()) {
            let request = http::Request::from_parts(parts, lambda_body(body));
            return into_bytes(console::handle(&request, &self.console));
        }
        if parts.method == Method::GET && parts.uri.path() == metrics::PATH {
            return measured();
        }
        let is_public =
            parts.method == Method::GET && matches!(parts.uri.path(), "/health" | "/openapi.json");
        let claims = bearer(&parts.headers).and_then(|token| self.identity.claims(token));
        let Some(claims) = claims.or_else(|| is_public.then(Map::new)) else {
            return unauthorized();
        };
        if let Some(play) = &self.play
            && parts.uri.path().starts_with(play::PATH)
        {
            let request = http::Request::from_parts(parts, body);
            return play.call(request, &claims).await;
        }
        let context = event::context(&parts, Some(claims));
        let function = ("api", API_TIMEOUT);
        if let Some(answered) = self.in_other_build(function, &parts, &body, &context).await {
            return answered;
        }
        let Ok(context) = serde_json::from_value(context) else {
            return unauthorized();
        };
        parts
            .extensions
            .insert(RequestContext::ApiGatewayV2(context));
        let request = http::Request::from_parts(parts, AxumBody::from(body));
        let Ok(response) = self.api.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        http::Response::from_parts(parts, body.to_vec())
    }

    /// Answers a request in the other build, if this invocation is drawn for it.
    async fn in_other_build(
        &self,
        (function, timeout): (&'static str, Duration),
        parts: &http::request::Parts,
        body: &[u8],
        context: &Value,
    ) -> Option<http::Response<Vec<u8>>> {
        let other = self.canary.as_ref()?.draw(function)?;
        let event = event::event(parts, body, context);
        let answer: Option<event::Answer> = other.invoke(event, timeout).await;
        Some(
            answer
                .and_then(event::Answer::into_response)
                .unwrap_or_else(|| {
                    let detail = "the function failed";
                    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
                }),
        )
    }
}

/// Returns the metrics: counts and durations, which are no tenant's.
fn measured() -> http::Response<Vec<u8>> {
    let mut response = http::Response::new(metrics::measurements().text().into_bytes());
    let value = header::HeaderValue::from_static(metrics::CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

/// Returns whether a path is one of the routes to the console.
fn is_console(path: &str) -> bool {
    path == "/" || path == console::PATH || path.starts_with("/console/")
}

async fn respond(State(gateway): State<HttpGateway>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, limits::BODY_BYTES_MAX).await else {
        return too_large("the body", limits::BODY_BYTES_MAX + 1).map(AxumBody::from);
    };
    gateway
        .call(http::Request::from_parts(parts, body.to_vec()))
        .await
        .map(AxumBody::from)
}

fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

fn unauthorized() -> http::Response<Vec<u8>> {
    let detail =
        "send `Authorization: Bearer <token>` with a token of this system that has not expired";
    let mut response = problem(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        http::HeaderValue::from_static("Bearer"),
    );
    response
}

fn too_large(what: &str, bytes: usize) -> http::Response<Vec<u8>> {
    let detail = format!("{what} has {bytes} bytes or more: API Gateway and Lambda refuse it");
    problem(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", &detail)
}

/// Returns a problem in the form of the API.
pub(crate) fn problem(status: StatusCode, kind: &str, detail: &str) -> http::Response<Vec<u8>> {
    let body = json!({
        "type": format!("urn:drivesync:problem:{kind}"),
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response = http::Response::new(body.to_string().into_bytes());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/problem+json"),
    );
    response
}

fn lambda_body(bytes: Vec<u8>) -> Body {
    if bytes.is_empty() {
        Body::Empty
    } else {
        Body::Binary(bytes)
    }
}

fn into_bytes(response: lambda_http::Response<Body>) -> http::Response<Vec<u8>> {
    response.map(|body| body.to_vec())
}
