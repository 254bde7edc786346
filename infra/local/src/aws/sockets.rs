//! The open WebSockets and API Gateway's management API for them (`@connections`), which the SDK's
//! real client calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use sdk_in_process::{Body, Handler};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

/// The largest message, in bytes: API Gateway's limit of 128 KB.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// The frames that wait for a client that does not read. API Gateway keeps some too, and says not
/// how many.
const WAITING_MAX: usize = 16;

/// The sockets that are open.
#[derive(Clone, Default)]
pub struct OpenSockets(Arc<Mutex<HashMap<String, Open>>>);

struct Open {
    frames: mpsc::Sender<String>,
    removed: Arc<Notify>,
}

/// An open socket, for its server.
pub struct Opened {
    /// The frames that are to be sent to the client.
    pub frames: mpsc::Receiver<String>,
    /// Says that the socket is to be closed.
    pub removed: Arc<Notify>,
}

impl std::fmt::Debug for OpenSockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenSockets({})", self.count())
    }
}

impl OpenSockets {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a socket.
    #[must_use]
    pub fn add(&self, id: &str) -> Opened {
        let (sender, frames) = mpsc::channel(WAITING_MAX);
        let removed = Arc::new(Notify::new());
        let open = Open {
            frames: sender,
            removed: Arc::clone(&removed),
        };
        self.open().insert(id.to_owned(), open);
        Opened { frames, removed }
    }

    /// Returns the sender of frames to an open socket.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<mpsc::Sender<String>> {
        self.open().get(id).map(|open| open.frames.clone())
    }

    /// Closes a socket. Returns whether it was open.
    pub fn remove(&self, id: &str) -> bool {
        let open = self.open().remove(id);
        if let Some(open) = &open {
            open.removed.notify_one();
        }
        open.is_some()
    }

    /// Returns the number of open sockets.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open().len()
    }
}

/// Returns the management API of these sockets.
pub(super) fn handler(sockets: OpenSockets) -> Handler {
    Arc::new(move |request| {
        let sockets = sockets.clone();
        Box::pin(async move { Ok(respond(&sockets, request).await) })
    })
}

async fn respond(sockets: &OpenSockets, request: Request<Bytes>) -> Response<Body> {
    let path = request.uri().path();
    let id = path.split_once("/@connections/").map(|(_, id)| id);
    let id = id.or_else(|| Some(path.split_once("/%40connections/")?.1));
    let id = id.map(|id| percent_decode_str(id).decode_utf8_lossy().into_owned());
    let gone = || refusal(StatusCode::GONE, "GoneException");
    let Some(id) = id else {
        return refusal(StatusCode::FORBIDDEN, "ForbiddenException");
    };
    let Some(frames) = sockets.get(&id) else {
        return gone();
    };
    let method = request.method().clone();
    if method == Method::POST {
        let body = request.into_body();
        if body.len() > MESSAGE_BYTES_MAX {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException");
        }
        let frame = String::from_utf8_lossy(&body).into_owned();
        return match frames.send(frame).await {
            Ok(()) => answer(StatusCode::OK, String::new()),
            Err(_) => gone(),
        };
    }
    if method == Method::DELETE {
        sockets.remove(&id);
        return answer(StatusCode::NO_CONTENT, String::new());
    }
    let identity = json!({"sourceIp": "127.0.0.1", "userAgent": ""});
    answer(StatusCode::OK, json!({ "identity": identity }).to_string())
}

fn answer(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}

fn refusal(status: StatusCode, code: &'static str) -> Response<Body> {
    let mut response = answer(status, json!({"message": code}).to_string());
    let headers = response.headers_mut();
    headers.insert("x-amzn-errortype", HeaderValue::from_static(code));
    response
}
