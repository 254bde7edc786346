//! Content on its way: one request, and an answer whose body comes piece by piece.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};

use crate::transport::{client, failed};
use crate::{Transport, TransportError};

/// The body of an answer, in pieces of the network's choosing. An error is the last piece: the body broke off.
pub type ContentBody = BoxStream<'static, Result<Bytes, TransportError>>;

/// Sends one request and returns its answer as soon as its headers are there, whatever its status. It retries nothing
/// and follows no redirect. Requests have whole bodies: a chunk of an upload is one.
pub type ContentTransport = Arc<
    dyn Fn(
            http::Request<Bytes>,
        ) -> BoxFuture<'static, Result<http::Response<ContentBody>, TransportError>>
        + Send
        + Sync,
>;

/// How long content may stand still. There is no limit in all: 5 GB take minutes, and may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentTimeouts {
    /// Until the connection stands (name lookup, TCP and TLS).
    pub connect: Duration,
    /// Until the answer's headers are there, the sending of the request included; and then from each piece of its body
    /// to the next. The time that the caller takes between two pieces does not count.
    pub idle: Duration,
}

/// 3 s to connect, 60 s between two signs of life: a chunk of 16 MiB gets through at 0.3 MB/s, and Drive needs some
/// seconds for the last one of a large file.
impl Default for ContentTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            idle: Duration::from_secs(60),
        }
    }
}

/// The transport of production for content: reqwest over rustls, with a pool of its own, so that long downloads take
/// no connection away from the calls.
///
/// # Errors
/// [`TransportError::NotSent`] where the TLS set-up of the machine can't be loaded.
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

/// Content through the ordinary door: whole bodies, in memory. For tests, and for content that is known to be small.
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
