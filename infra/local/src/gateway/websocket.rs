//! API Gateway's WebSockets on one machine: one address, the routes of `infra/live.yaml`, and the
//! limits that AWS has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use runtime::{Clock, Deadline};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::problem;
use crate::aws::sockets::{MESSAGE_BYTES_MAX, OpenSockets};
use crate::canary::Canary;
use crate::sources::{Shutdown, stopped};

/// The path of the WebSocket.
pub const PATH: &str = "/live";
/// The largest frame of a client, in bytes: API Gateway's limit of 32 KB.
const FRAME_BYTES_MAX: usize = 32 * 1024;
/// The timeout of the function, in milliseconds, as on AWS.
const FUNCTION_MILLIS: i64 = 15_000;
/// The routes besides `$connect`, `$disconnect` and `$default`.
const ROUTES: [&str; 3] = ["subscribe", "unsubscribe", "ping"];
/// The answer of the route `ping`, which invokes nothing.
const PONG: &str = r#"{"type":"pong"}"#;
/// The time for what is sent to a socket to reach it before it is closed.
const FLUSH: Duration = Duration::from_secs(1);

/// How long a socket stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketTimes {
    /// Without a message in either direction.
    pub idle: Duration,
    /// In all.
    pub lifetime: Duration,
}

/// API Gateway's: 10 minutes and 2 hours.
impl Default for SocketTimes {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(10),
            lifetime: Duration::from_hours(2),
        }
    }
}

/// The WebSockets in front of the function `live`.
#[derive(Clone)]
pub struct SocketGateway {
    pub(crate) live: Arc<live::Deps>,
    pub(crate) canary: Option<Canary>,
    pub(crate) open: OpenSockets,
    pub(crate) times: SocketTimes,
    pub(crate) clock: Clock,
    pub(crate) stop: Shutdown,
}

/// Why a socket is closed, in the numbers of RFC 6455.
mod code {
    pub(super) const AWAY: u16 = 1001;
    pub(super) const NOT_TEXT: u16 = 1003;
    pub(super) const TOO_LARGE: u16 = 1009;
    pub(super) const NORMAL: u16 = 1000;
}

impl SocketGateway {
    /// Returns the route for a listener.
    pub fn router(self) -> axum::Router {
        let upgrade = axum::routing::get(open);
        axum::Router::new().route(PATH, upgrade).with_state(self)
    }

    /// Invokes the function, as API Gateway does. Returns the status of its response.
    async fn invoke(&self, id: &str, route: &str, more: Value) -> u16 {
        let kind = match route {
            "$connect" => "CONNECT",
            "$disconnect" => "DISCONNECT",
            _ => "MESSAGE",
        };
        let now = self.clock.now();
        let mut event = json!({
            "requestContext": {
                "routeKey": route, "eventType": kind, "connectionId": id,
                "messageDirection": "IN", "stage": "live", "apiId": "local",
                "domainName": "localhost", "requestId": uuid::Uuid::new_v4().to_string(),
                "connectedAt": now.as_millis(), "requestTimeEpoch": now.as_millis(),
                "identity": {"sourceIp": "127.0.0.1"},
            },
            "isBase64Encoded": false,
        });
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        if let Some(other) = self.canary.as_ref().and_then(|canary| canary.draw("live")) {
            let timeout = Duration::from_millis(FUNCTION_MILLIS.unsigned_abs());
            let answer: Option<Value> = other.invoke(event, timeout).await;
            let status = answer.and_then(|answer| answer.get("statusCode")?.as_u64());
            return status.and_then(|code| code.try_into().ok()).unwrap_or(500);
        }
        let Ok(request) = serde_json::from_value(event) else {
            return 500;
        };
        let at = now.plus_millis(FUNCTION_MILLIS).as_millis();
        let deadline = Deadline::of_invocation(u64::try_from(at).unwrap_or(0));
        let deps = Arc::clone(&self.live);
        // In a task of its own: a panic is a crash of the function, not of the socket.
        let handled =
            tokio::spawn(async move { live::handle_socket(request, deadline, &deps).await });
        handled.await.unwrap_or(500)
    }
}

async fn open(
    State(gateway): State<SocketGateway>,
    Query(query): Query<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let query = json!({ "queryStringParameters": query });
    let status = gateway.invoke(&id, "$connect", query).await;
    if status != 200 {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = "the socket is not opened: ask for a new ticket at POST /v1/live/tickets";
        return problem(status, "live", detail)
            .map(axum::body::Body::from)
            .into_response();
    }
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .on_upgrade(move |socket| serve(gateway, id, socket))
}

/// The time of the last message of a socket, in either direction.
#[derive(Clone)]
struct LastMessage(Arc<Mutex<Instant>>);

impl LastMessage {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn at(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a socket until either side closes it.
async fn serve(gateway: SocketGateway, id: String, socket: WebSocket) {
    let opened = gateway.open.add(&id);
    let (mut waiting, removed) = (opened.frames, opened.removed);
    let last = LastMessage(Arc::new(Mutex::new(Instant::now())));
    let (mut sink, mut messages) = socket.split();
    let (say_goodbye, mut goodbye) = mpsc::channel::<CloseFrame>(1);
    let sent = last.clone();
    // A client that does not read holds up this task alone.
    let mut writer = tokio::spawn(async move {
        while let Some(frame) = waiting.recv().await {
            sent.now();
            if sink.send(Message::text(frame)).await.is_err() {
                break;
            }
        }
        let frame = goodbye.recv().await;
        let _ = sink.send(Message::Close(frame)).await;
    });
    let removed = removed.notified();
    tokio::pin!(removed);
    let ends = Instant::now() + gateway.times.lifetime;
    let mut stop = gateway.stop.clone();
    let status = loop {
        let idle = last.at() + gateway.times.idle;
        let message = tokio::select! {
            () = stopped(&mut stop) => break code::AWAY,
            () = &mut removed => break code::NORMAL,
            () = tokio::time::sleep_until(ends) => break code::AWAY,
            () = tokio::time::sleep_until(idle) => {
                if last.at() + gateway.times.idle <= Instant::now() {
                    break code::AWAY;
                }
                continue;
            }
            message = messages.next() => message,
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                last.now();
                Box::pin(received(&gateway, &id, text.as_str())).await;
            }
            Some(Ok(Message::Binary(_))) => break code::NOT_TEXT,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) | None => break code::NORMAL,
            // What is no frame, or too large a one.
            Some(Err(_)) => break code::TOO_LARGE,
        }
    };
    gateway.open.remove(&id);
    let frame = CloseFrame {
        code: status,
        reason: "".into(),
    };
    let _ = say_goodbye.try_send(frame);
    if tokio::time::timeout(FLUSH, &mut writer).await.is_err() {
        writer.abort();
    }
    gateway.invoke(&id, "$disconnect", json!({})).await;
}

/// Routes a message by its `action`, as the API's route selection expression says.
async fn received(gateway: &SocketGateway, id: &str, text: &str) {
    let parsed = serde_json::from_str::<Value>(text).unwrap_or_default();
    let action = parsed.get("action").and_then(Value::as_str);
    let route = action.filter(|action| ROUTES.contains(action));
    let reply = match route {
        Some("ping") => PONG.to_owned(),
        route => {
            let body = json!({ "body": text });
            let route = route.unwrap_or("$default");
            if gateway.invoke(id, route, body).await != 500 {
                return;
            }
            json!({"message": "Internal server error", "connectionId": id}).to_string()
        }
    };
    if let Some(frames) = gateway.open.get(id) {
        let _ = frames.send(reply).await;
    }
}
