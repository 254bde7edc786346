//! A function's binary in a process of its own, under the part of Lambda's Runtime API (version
//! 2018-06-01) that a function uses.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// The largest answer that is read, in bytes: more than Lambda accepts.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The result of one invocation.
#[derive(Debug)]
pub enum Invoked {
    /// The function's response.
    Response(Value),
    /// The error that it reported.
    Error(Value),
}

/// An invocation has no result.
#[derive(Debug, thiserror::Error)]
pub enum Crashed {
    /// The process can't be started.
    #[error("the binary cannot be started")]
    Start(#[from] std::io::Error),
    /// The process ended.
    #[error("the process ended")]
    Ended,
    /// The function took longer than it may.
    #[error("the function timed out")]
    TimedOut,
}

/// A running function, which handles one invocation at a time. It ends when this is dropped.
pub struct Process {
    events: mpsc::UnboundedSender<Event>,
    answers: mpsc::UnboundedReceiver<(String, Invoked)>,
    invoked: u64,
    child: Child,
    _server: JoinSet<()>,
}

struct Event {
    id: String,
    deadline_millis: i64,
    body: String,
}

#[derive(Clone)]
struct Shared {
    events: Arc<Mutex<mpsc::UnboundedReceiver<Event>>>,
    answers: mpsc::UnboundedSender<(String, Invoked)>,
}

impl Process {
    /// Starts a binary as Lambda does, with only this environment. Its logs go to the standard
    /// error of this process.
    ///
    /// # Errors
    /// [`Crashed::Start`]
    pub async fn start(
        binary: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Crashed> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (events, waiting) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let shared = Shared {
            events: Arc::new(Mutex::new(waiting)),
            answers: answered,
        };
        let mut server = JoinSet::new();
        server.spawn(async move {
            if let Err(error) = axum::serve(listener, router(shared)).await {
                tracing::error!(%error, "the Runtime API stopped listening");
            }
        });
        let logs = std::io::stderr().as_fd().try_clone_to_owned()?;
        let child = Command::new(binary)
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env(
                "AWS_LAMBDA_FUNCTION_NAME",
                binary.file_name().unwrap_or_default(),
            )
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .env("AWS_REGION", "us-east-1")
            .stdin(Stdio::null())
            .stdout(Stdio::from(logs))
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            events,
            answers,
            invoked: 0,
            child,
            _server: server,
        })
    }

    /// Invokes the function once. After an error it can't be invoked again.
    ///
    /// # Errors
    /// [`Crashed`]
    pub async fn invoke(&mut self, event: &Value, timeout: Duration) -> Result<Invoked, Crashed> {
        self.invoked += 1;
        let id = format!("invocation-{}", self.invoked);
        let millis = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let event = Event {
            id: id.clone(),
            deadline_millis: crate::aws::system_clock()().saturating_add(millis),
            body: event.to_string(),
        };
        self.events.send(event).map_err(|_| Crashed::Ended)?;
        let answered = async {
            loop {
                let (of, answer) = self.answers.recv().await?;
                if of == id {
                    return Some(answer);
                }
            }
        };
        tokio::select! {
            biased;
            answer = answered => answer.ok_or(Crashed::Ended),
            _ = self.child.wait() => Err(Crashed::Ended),
            () = tokio::time::sleep(timeout) => Err(Crashed::TimedOut),
        }
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(response),
        )
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route(
            "/2018-06-01/runtime/init/error",
            post(async || StatusCode::ACCEPTED),
        )
        .layer(axum::extract::DefaultBodyLimit::max(ANSWER_BYTES_MAX))
        .with_state(shared)
}

async fn next(State(shared): State<Shared>) -> Response {
    let Some(event) = shared.events.lock().await.recv().await else {
        return std::future::pending().await;
    };
    let headers = [
        ("lambda-runtime-aws-request-id", event.id),
        (
            "lambda-runtime-deadline-ms",
            event.deadline_millis.to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-6920297f-4c1d8e2a7b3f5d6e9a0c1b2d;Sampled=0".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, event.body).into_response()
}

async fn response(
    State(shared): State<Shared>,
    UrlPath(id): UrlPath<String>,
    body: String,
) -> StatusCode {
    let answer = serde_json::from_str(&body).unwrap_or(Value::Null);
    let _ = shared.answers.send((id, Invoked::Response(answer)));
    StatusCode::ACCEPTED
}

async fn error(
    State(shared): State<Shared>,
    UrlPath(id): UrlPath<String>,
    body: String,
) -> StatusCode {
    let answer = serde_json::from_str(&body).unwrap_or(Value::Null);
    let _ = shared.answers.send((id, Invoked::Error(answer)));
    StatusCode::ACCEPTED
}
