//! Services on sockets, for other processes and for tools like the AWS CLI.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use drive_simulator::Hosts;
use http::StatusCode;
use sdk_in_process::{Handler, TransportError};
use tokio::net::TcpListener;

use crate::gateway::problem;

/// The longest request body, in bytes. The services that are served this way accept 1 MiB at most.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Serves a router on a listener until `shutdown` completes, then finishes the requests in
/// progress. A request for another host than these is answered 421, so that no page in a browser of
/// this machine takes the server for its own.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    hosts: Hosts,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let guard = from_fn(move |request: Request, next: Next| {
        let admitted = hosts.admit(&request);
        async move {
            if admitted {
                next.run(request).await
            } else {
                misdirected()
            }
        }
    });
    axum::serve(listener, router.layer(guard))
        .with_graceful_shutdown(shutdown)
        .await
}

fn misdirected() -> Response {
    let status = StatusCode::MISDIRECTED_REQUEST;
    let detail = "the Host of the request is no name of this server: call it by its address or as \
                  localhost, or start it with --allow-host";
    problem(status, "misdirected", detail).map(axum::body::Body::from)
}

/// Returns a router that passes all requests to a handler.
pub fn router(handler: Handler) -> Router {
    Router::new().fallback(move |request: Request| {
        let handler = handler.clone();
        async move { respond(&handler, request).await }
    })
}

async fn respond(handler: &Handler, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match handler(http::Request::from_parts(parts, body)).await {
        Ok(response) => response.map(axum::body::Body::new),
        // An injected timeout has no equivalent over HTTP; 504 is the closest.
        Err(TransportError::TimedOut) => StatusCode::GATEWAY_TIMEOUT.into_response(),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "local AWS request failed"
            );
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::aws::{sqs_handler, system_clock};
    use sqs_fifo::{Attributes, NewMessage, Sqs};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_served_handler_returns_urls_of_its_address() {
        let sqs = Sqs::open(None, system_clock()).unwrap();
        let attributes = Attributes::from([("FifoQueue".to_owned(), "true".to_owned())]);
        sqs.create_queue("q.fifo", &attributes).unwrap();
        sqs.send("q.fifo", NewMessage::new("a", "1", "body"))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = router(sqs_handler(sqs));
        let server = tokio::spawn(serve(listener, served, Hosts::default(), async {
            let _closed = stopped.await;
        }));

        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let body = r#"{"QueueName":"q.fifo"}"#;
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-target: AmazonSQS.GetQueueUrl\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = socket.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), read)
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains(&format!("http://{address}/000000000000/q.fifo")),
            "{answer}"
        );
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
