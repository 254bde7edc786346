//! The transport for content: one request, and a response whose body is streamed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};

use crate::calls::transport::{client, failed};
use crate::{Transport, TransportError};

/// The body of a response, in pieces as received. An error is the last piece: the body was
/// interrupted.
pub type ContentBody = BoxStream<'static, Result<Bytes, TransportError>>;

/// Sends one request, and returns the response of any status as soon as its headers are received.
/// It does not retry or follow redirects. Request bodies are in memory: a chunk of an upload is
/// one.
pub type ContentTransport = Arc<
    dyn Fn(
            http::Request<Bytes>,
        ) -> BoxFuture<'static, Result<http::Response<ContentBody>, TransportError>>
        + Send
        + Sync,
>;

/// The timeouts for content. There is no total limit: 5 GB take minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentTimeouts {
    /// The time for connecting (name lookup, TCP and TLS).
    pub connect: Duration,
    /// The time for sending the request and receiving the response headers, and for receiving each
    /// piece of the body. The caller's time between two pieces does not count.
    pub idle: Duration,
}

/// 3 s to connect and 60 s idle: a chunk of 16 MiB passes at 0.3 MB/s, and Drive needs some seconds
/// for the last chunk of a large file.
impl Default for ContentTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            idle: Duration::from_secs(60),
        }
    }
}

/// The production transport for content: reqwest over rustls, with a connection pool of its own, so
/// that long downloads don't occupy the connections of other calls.
///
/// # Errors
/// [`TransportError::NotSent`] if TLS can't be set up on this machine.
pub fn reqwest_content_transport(
    timeouts: ContentTimeouts,
) -> Result<ContentTransport, TransportError> {
    let client = client(|builder| {
        let builder = builder.connect_timeout(timeouts.connect);
        builder.read_timeout(timeouts.idle)
    })?;
    Ok(Arc::new(move |request| {
        let client = client.clone();
        Box::pin(async move { send(&client, request).await })
    }))
}

async fn send(
    client: &reqwest::Client,
    request: http::Request<Bytes>,
) -> Result<http::Response<ContentBody>, TransportError> {
    let request = reqwest::Request::try_from(request).map_err(failed)?;
    let answer = client.execute(request).await.map_err(failed)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer
        .bytes_stream()
        .map(|piece| piece.map_err(|error| TransportError::MaybeSent(error.without_url().into())));
    Ok(response(status, headers, body.boxed()))
}

/// Uses an ordinary transport for content, with whole bodies in memory: for tests, and for content
/// that is known to be small.
#[must_use]
pub fn in_memory(transport: Transport) -> ContentTransport {
    Arc::new(move |request| {
        let answer = transport(request);
        Box::pin(async move {
            let (parts, body) = answer.await?.into_parts();
            let body = stream::iter((!body.is_empty()).then_some(Ok(body)));
            Ok(response(parts.status, parts.headers, body.boxed()))
        })
    })
}

fn response(
    status: http::StatusCode,
    headers: http::HeaderMap,
    body: ContentBody,
) -> http::Response<ContentBody> {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
