//! A receiver of webhooks: an HTTP server that records what it gets, and answers as a test wants.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// How a receiver answers.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16),
    /// A status with `Retry-After`.
    Later(u16, &'static str),
    /// A redirect to this address.
    Elsewhere(String),
    /// Nothing, ever.
    Never,
    /// 200, and a body without end.
    Endless,
    /// 200, and this body.
    Body(String),
    /// The same, once the test says so.
    Held(Arc<Notify>, String),
}

/// What a receiver got.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The files that its events are about.
    pub(crate) fn files(&self) -> Vec<String> {
        let file = |event: Value| {
            let subject = event["subject"].as_str()?.strip_prefix("files/")?;
            Some(subject.to_owned())
        };
        self.events().into_iter().filter_map(file).collect()
    }
}

#[derive(Default)]
struct State {
    got: Vec<Got>,
    replies: VecDeque<Reply>,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// Starts one that answers 200.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let mine = Arc::clone(&state);
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let reply = {
                let mut state = mine.lock().unwrap();
                state.got.push(Got { headers, body });
                state.replies.pop_front().unwrap_or(Reply::Status(200))
            };
            respond(reply)
        });
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state }
    }

    /// Answers the next requests like this, and those after them with 200.
    pub(crate) fn replies(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().unwrap().replies = replies.into_iter().collect();
    }

    /// Returns what it got since it was asked last.
    pub(crate) fn got(&self) -> Vec<Got> {
        std::mem::take(&mut self.state.lock().unwrap().got)
    }

    /// Returns the files of all that it got since it was asked last.
    pub(crate) fn files(&self) -> Vec<String> {
        self.got().iter().flat_map(Got::files).collect()
    }
}

async fn respond(reply: Reply) -> Response {
    let mut response = Response::new(Body::empty());
    let mut set = |name, text: &str| {
        response.headers_mut().insert(name, text.parse().unwrap());
    };
    let status = match reply {
        Reply::Status(status) => status,
        Reply::Later(status, seconds) => {
            set(header::RETRY_AFTER, seconds);
            status
        }
        Reply::Elsewhere(url) => {
            set(header::LOCATION, &url);
            307
        }
        Reply::Never => std::future::pending().await,
        Reply::Endless => {
            let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 65_536]));
            let chunks = stream::repeat_with(chunk);
            *response.body_mut() = Body::from_stream(chunks);
            200
        }
        Reply::Body(body) => {
            *response.body_mut() = Body::from(body);
            200
        }
        Reply::Held(until, body) => {
            until.notified().await;
            *response.body_mut() = Body::from(body);
            200
        }
    };
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
