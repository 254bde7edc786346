//! One HTTP request and its answer, whole bodies both ways: the only door to the network.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Sends one request and returns its answer, whatever its status. It retries nothing and follows no
/// redirect. A test puts a closure here that calls a server in the same process.
pub type Transport = Arc<
    dyn Fn(
            http::Request<Bytes>,
        ) -> BoxFuture<'static, Result<http::Response<Bytes>, TransportError>>
        + Send
        + Sync,
>;

/// How long a request may take. Both are required: no call to Drive waits for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands (name lookup, TCP and TLS).
    pub connect: Duration,
    /// Until the last byte of the answer's body, the connecting included.
    pub total: Duration,
}

/// 3 s to connect and 20 s in all: Drive answers a page of 1,000 changes within a few seconds, and the
/// shortest function that calls it may run for 15 to 30 s.
impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(20),
        }
    }
}

/// Why there is no answer, told apart by what the server may have done.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Surely not sent: no connection was made, or the request could not be built.
    #[error("the request was not sent")]
    NotSent(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It may have been sent, and so carried out: a timeout, a reset, a broken answer.
    #[error("no answer; the request may have been carried out")]
    MaybeSent(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The transport of production: reqwest over rustls, one pool of connections for all its clones.
///
/// # Errors
/// [`TransportError::NotSent`] where the TLS set-up of the machine can't be loaded.
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

/// A client that says who calls, follows no redirect and repeats nothing: one retry owner per call, and that is the queue.
/// `limit` sets its timeouts.
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
    // From here on the request has been sent, whatever the error calls itself.
    *whole.body_mut() = answer
        .bytes()
        .await
        .map_err(|error| TransportError::MaybeSent(error.without_url().into()))?;
    Ok(whole)
}

pub(crate) fn failed(error: reqwest::Error) -> TransportError {
    let not_sent = error.is_connect() || error.is_builder();
    // The URL holds page tokens, and errors are logged.
    let error = Box::new(error.without_url());
    if not_sent {
        TransportError::NotSent(error)
    } else {
        TransportError::MaybeSent(error)
    }
}
