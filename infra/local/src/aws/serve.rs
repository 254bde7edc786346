//! A handler over a socket: what other processes, and tools like the AWS CLI, talk to.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use tokio::net::TcpListener;

use super::in_process::{Handler, TransportError};

/// The longest request body that is read whole, in bytes. The services that are served so take a mebibyte at most.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Serves one handler on one listener until `shutdown` completes; then requests in progress are finished.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    handler: Handler,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new().fallback(move |request: Request| {
        let handler = handler.clone();
        async move { answer(&handler, request).await }
    });
    serve_router(listener, router, shutdown).await
}

/// Serves one router in the same way: the bucket's, whose bodies stream.
///
/// # Errors
/// The listener failed.
pub async fn serve_router(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await
}

async fn answer(handler: &Handler, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match handler(http::Request::from_parts(parts, body)).await {
        Ok(response) => response.map(axum::body::Body::new),
        // A fault meant for a caller in this process; here the closest that HTTP has.
        Err(TransportError::TimedOut) => StatusCode::GATEWAY_TIMEOUT.into_response(),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a request failed");
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::aws::sqs::{self, Attributes, NewMessage, Sqs};
    use crate::aws::system_clock;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_handler_answers_over_a_socket_with_urls_of_its_address() {
        let sqs = Sqs::open(None, system_clock()).unwrap();
        let attributes = Attributes::from([("FifoQueue".to_owned(), "true".to_owned())]);
        sqs.create_queue("q.fifo", &attributes).unwrap();
        sqs.send("q.fifo", NewMessage::new("a", "1", "body"))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, sqs::handler(sqs), async {
            let _closed = stopped.await;
        }));

        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let body = r#"{"QueueName":"q.fifo"}"#;
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-target: AmazonSQS.GetQueueUrl\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
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
