//! Serves a database of queues over HTTP: `serve [ADDRESS [FILE]]`.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use sqs_fifo::Sqs;

/// The longest request body, in bytes: more than the 1 MiB of messages that SQS accepts in one.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:9324".to_owned());
    let file = arguments.next().map(PathBuf::from);
    let sqs = Sqs::open(file.as_deref(), Arc::new(unix_millis))?;
    let router = Router::new().fallback(move |request| respond(sqs.clone(), request));
    let listener = tokio::net::TcpListener::bind(address).await?;
    eprintln!(
        "serving SQS FIFO queues at http://{}",
        listener.local_addr()?
    );
    Ok(axum::serve(listener, router).await?)
}

async fn respond(sqs: Sqs, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let request = axum::http::Request::from_parts(parts, body);
    sqs_fifo::respond(&sqs, &request).await.map(Body::from)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the machine's time enters the program here"
)]
fn unix_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
