//! The transport for calls: one HTTP request and its response, both with whole bodies in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Sends one request, and returns the response of any status. It does not retry or follow
/// redirects. In tests it is a closure that calls a server in the same process.
pub type Transport = Arc<
    dyn Fn(
            http::Request<Bytes>,
        ) -> BoxFuture<'static, Result<http::Response<Bytes>, TransportError>>
        + Send
        + Sync,
>;

/// The timeouts of a request. Both are required, so that no call waits forever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The time for connecting (name lookup, TCP and TLS).
    pub connect: Duration,
    /// The total time up to the last byte of the response body, including connecting.
    pub total: Duration,
}

/// 3 s to connect and 20 s in total: Drive returns a page of 1,000 changes within a few seconds,
/// and the functions that call it run for at least 15 to 30 s.
impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(20),
        }
    }
}

/// The reason why there is no response, classified by whether the server may have executed the
/// request.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The request was not sent: no connection was established, or the request could not be built.
    #[error("the request was not sent")]
    NotSent(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request may have been sent and executed: a timeout, a reset, an interrupted response.
    #[error("no response; the request may have been executed")]
    MaybeSent(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The production transport: reqwest over rustls, with one connection pool for all its clones.
///
/// # Errors
/// [`TransportError::NotSent`] if TLS can't be set up on this machine.
pub fn reqwest_transport(timeouts: Timeouts) -> Result<Transport, TransportError> {
    let client = client(|builder| {
        let builder = builder.connect_timeout(timeouts.connect);
        builder.timeout(timeouts.total)
    })?;
    Ok(Arc::new(move |request| {
        let client = client.clone();
        Box::pin(async move { send(&client, request).await })
    }))
}

/// Builds an HTTP client with our user agent, without redirects and without retries: a call has one
/// retry owner, the queue. `limit` sets the timeouts.
pub(crate) fn client(
    limit: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, TransportError> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(concat!("drivesync/", env!("CARGO_PKG_VERSION")));
    let client = limit(builder).build();
    client.map_err(|error| TransportError::NotSent(error.into()))
}

async fn send(
    client: &reqwest::Client,
    request: http::Request<Bytes>,
) -> Result<http::Response<Bytes>, TransportError> {
    let request = reqwest::Request::try_from(request).map_err(failed)?;
    let answer = client.execute(request).await.map_err(failed)?;
    let mut whole = http::Response::new(Bytes::new());
    *whole.status_mut() = answer.status();
    *whole.headers_mut() = answer.headers().clone();
    // From here on, the request was sent, regardless of the kind of the error.
    *whole.body_mut() = answer
        .bytes()
        .await
        .map_err(|error| TransportError::MaybeSent(error.without_url().into()))?;
    Ok(whole)
}

pub(crate) fn failed(error: reqwest::Error) -> TransportError {
    let not_sent = error.is_connect() || error.is_builder();
    // The URL contains page tokens, and errors are logged.
    let error = Box::new(error.without_url());
    if not_sent {
        TransportError::NotSent(error)
    } else {
        TransportError::MaybeSent(error)
    }
}
