//! The part of Lambda's Runtime API (version 2018-06-01) that the tests need.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};

const INVOCATION: Duration = Duration::from_secs(30);

/// The result of one invocation.
#[derive(Debug)]
pub enum Invoked {
    Response(Value),
    Error(Value),
}

/// A running function.
pub struct RuntimeApi {
    events: mpsc::UnboundedSender<(String, String)>,
    answers: mpsc::UnboundedReceiver<(String, Invoked)>,
    invoked: u64,
    _process: Child,
}

#[derive(Clone)]
struct Shared {
    events: Arc<Mutex<mpsc::UnboundedReceiver<(String, String)>>>,
    answers: mpsc::UnboundedSender<(String, Invoked)>,
}

impl RuntimeApi {
    /// Starts a binary as Lambda does, with only this environment.
    pub async fn start(binary: &Path, environment: &BTreeMap<String, String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, waiting) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let shared = Shared {
            events: Arc::new(Mutex::new(waiting)),
            answers: answered,
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route(
                "/2018-06-01/runtime/init/error",
                post(async || http::StatusCode::ACCEPTED),
            )
            .with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let process = Command::new(binary)
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", binary.file_name().unwrap())
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .env("AWS_REGION", "us-east-1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            events,
            answers,
            invoked: 0,
            _process: process,
        }
    }

    /// Invokes the function once.
    pub async fn invoke(&mut self, event: &Value) -> Invoked {
        self.invoked += 1;
        let id = format!("invocation-{}", self.invoked);
        self.events.send((id.clone(), event.to_string())).unwrap();
        let answer = tokio::time::timeout(INVOCATION, self.answers.recv()).await;
        let (of, answer) = answer
            .expect("no answer within 30 s")
            .expect("the function has ended");
        assert_eq!(of, id, "an answer to another invocation");
        answer
    }
}

async fn next(State(shared): State<Shared>) -> Response {
    let Some((id, event)) = shared.events.lock().await.recv().await else {
        return std::future::pending().await;
    };
    let deadline = local::aws::system_clock()() + 900_000;
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
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
    (headers, event).into_response()
}

async fn response(
    State(shared): State<Shared>,
    UrlPath(id): UrlPath<String>,
    body: String,
) -> http::StatusCode {
    let answer = serde_json::from_str(&body).unwrap_or(Value::Null);
    let _ = shared.answers.send((id, Invoked::Response(answer)));
    http::StatusCode::ACCEPTED
}

async fn error(
    State(shared): State<Shared>,
    UrlPath(id): UrlPath<String>,
    body: String,
) -> http::StatusCode {
    let answer = serde_json::from_str(&body).unwrap_or(Value::Null);
    let _ = shared.answers.send((id, Invoked::Error(answer)));
    http::StatusCode::ACCEPTED
}
