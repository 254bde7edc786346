//! The client that posts to endpoints.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use domain::Timestamp;
use domain::webhook::{EndpointUrl, Reachable};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{Refused, Rules};

/// The time of a request: Standard Webhooks asks for 15 to 30 s.
pub const TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);
const HEADERS_MAX: usize = 64;
/// The longest `Retry-After` that is understood, in seconds: 10 days.
const RETRY_AFTER_SECONDS_MAX: u64 = 10 * 86_400;

/// The response to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its body; `None` if it is larger than what is read.
    pub body: Option<Bytes>,
}

/// The most bytes of a response's body that are read. A request without it is answered by the head
/// of the response alone.
#[derive(Debug, Clone, Copy)]
struct BodyBytesMax(usize);

/// The head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The seconds of its `Retry-After`, if there is one.
    pub retry_after_seconds: Option<u64>,
}

/// The reason why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The endpoint is not allowed: nothing was sent.
    #[error("the endpoint is refused")]
    Refused(#[from] Refused),
    /// No connection was made, or it could not be secured: nothing was sent.
    #[error("no connection to the endpoint")]
    NotConnected(#[source] Box<dyn Error + Send + Sync>),
    /// The response took too long.
    #[error("the endpoint did not answer in time")]
    Timeout,
    /// The connection ended before the response, or the response is not HTTP.
    #[error("the endpoint did not answer with HTTP")]
    NoAnswer(#[source] Box<dyn Error + Send + Sync>),
}

/// Sends a request, and returns the response: with its body if that is wanted and not larger than
/// what is read. In tests it is a closure that calls a
/// server in the same process.
pub type Transport = Arc<
    dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Option<Bytes>>, PostError>>
        + Send
        + Sync,
>;

/// Returns all addresses of a name.
pub type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// A client that posts to endpoints. See the documentation of the crate for what it refuses.
#[derive(Clone)]
pub struct Client {
    rules: Arc<Rules>,
    transport: Transport,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("rules", &self.rules)
            .finish()
    }
}

impl Client {
    /// Builds a client that resolves names by `lookup`, and gives a request as much time from the
    /// lookup to the head of the response; [`TIMEOUT`] in production.
    ///
    /// # Errors
    /// TLS can't be set up on this machine.
    pub fn new(rules: Rules, lookup: Lookup, timeout: Duration) -> Result<Self, PostError> {
        let rules = Arc::new(rules);
        let guard = Guard {
            rules: rules.clone(),
            lookup,
        };
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(guard))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .http1_max_headers(HEADERS_MAX)
            .https_only(rules.reachable == Reachable::Public)
            .connect_timeout(CONNECT)
            .timeout(timeout)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("drivesync/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| PostError::NotConnected(error.into()))?;
        let transport: Transport = Arc::new(move |request| {
            let client = client.clone();
            Box::pin(async move { send(&client, request).await })
        });
        Ok(Self { rules, transport })
    }

    /// Returns a client that sends by a given transport what the rules allow.
    #[must_use]
    pub fn with_transport(rules: Rules, transport: Transport) -> Self {
        let rules = Arc::new(rules);
        Self { rules, transport }
    }

    /// Returns a client that connects to no endpoint, for systems without receivers.
    #[must_use]
    pub fn disconnected() -> Self {
        let refuse = |_| -> BoxFuture<'static, _> {
            let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            Box::pin(async { Err(PostError::NotConnected(refused.into())) })
        };
        let rules = Rules {
            own_hosts: Vec::new(),
            reachable: Reachable::Public,
        };
        Self::with_transport(rules, Arc::new(refuse))
    }

    /// Returns what endpoints are allowed.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Posts a body to a URL.
    ///
    /// # Errors
    /// [`PostError`] if there is no response. A response of any status is an answer.
    pub async fn post(
        &self,
        url: &EndpointUrl,
        headers: HeaderMap,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Answer, PostError> {
        let request = self.request(url, headers, body)?;
        let answer = (self.transport)(request).await?;
        Ok(Answer {
            status: answer.status(),
            retry_after_seconds: retry_after_seconds(answer.headers(), now),
        })
    }

    /// Posts a body to a URL, and reads at most `bytes_max` of what is answered, which must be
    /// there within a time, and within that of the client.
    ///
    /// # Errors
    /// [`PostError`] if there is no response, or not all of it. A response of any status is one.
    pub async fn ask(
        &self,
        url: &EndpointUrl,
        headers: HeaderMap,
        body: Bytes,
        (bytes_max, within): (usize, Duration),
    ) -> Result<Reply, PostError> {
        let mut request = self.request(url, headers, body)?;
        request.extensions_mut().insert(BodyBytesMax(bytes_max));
        let answer = tokio::time::timeout(within, (self.transport)(request));
        let answer = answer.await.map_err(|_| PostError::Timeout)??;
        Ok(Reply {
            status: answer.status(),
            body: answer.into_body(),
        })
    }

    /// Returns a request to an endpoint that the rules allow.
    fn request(
        &self,
        url: &EndpointUrl,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Request<Bytes>, PostError> {
        self.rules.check(url)?;
        let request = Request::post(url.as_str()).body(body);
        let mut request = request.map_err(|error| PostError::NotConnected(error.into()))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Returns the lookup of the operating system.
#[must_use]
pub fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// A resolver that returns admitted addresses only.
struct Guard {
    rules: Arc<Rules>,
    lookup: Lookup,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, lookup) = (self.rules.clone(), self.lookup.clone());
        Box::pin(async move {
            let found = lookup(name.as_str().to_owned()).await?;
            let admitted: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| rules.admits(name.as_str(), *address))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if admitted.is_empty() {
                return Err(Refused::Address.into());
            }
            let admitted: Addrs = Box::new(admitted.into_iter());
            Ok(admitted)
        })
    }
}

async fn send(
    client: &reqwest::Client,
    request: Request<Bytes>,
) -> Result<http::Response<Option<Bytes>>, PostError> {
    let wanted = request.extensions().get::<BodyBytesMax>().copied();
    let request = reqwest::Request::try_from(request).map_err(failed)?;
    let mut answer = client.execute(request).await.map_err(failed)?;
    let mut head = http::Response::new(None);
    *head.status_mut() = answer.status();
    *head.headers_mut() = answer.headers().clone();
    let Some(BodyBytesMax(bytes_max)) = wanted else {
        // The body is never read: the connection is closed.
        return Ok(head);
    };
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > bytes_max {
            return Ok(head);
        }
        body.extend_from_slice(&chunk);
    }
    *head.body_mut() = Some(body.freeze());
    Ok(head)
}

fn failed(error: reqwest::Error) -> PostError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(at) = cause {
        if let Some(refused) = at.downcast_ref::<Refused>() {
            return PostError::Refused(*refused);
        }
        cause = at.source();
    }
    // A URL may have a secret in its path, and errors are logged.
    let (not_connected, timeout) = (error.is_connect() || error.is_builder(), error.is_timeout());
    let error = error.without_url().into();
    match (not_connected, timeout) {
        (true, _) => PostError::NotConnected(error),
        (false, true) => PostError::Timeout,
        (false, false) => PostError::NoAnswer(error),
    }
}

/// Returns the seconds of `Retry-After`, in both of its forms.
fn retry_after_seconds(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            let at = at.duration_since(UNIX_EPOCH).ok()?.as_secs();
            at.saturating_sub(u64::try_from(now.as_seconds()).ok()?)
        }
    };
    Some(seconds.min(RETRY_AFTER_SECONDS_MAX))
}

#[cfg(test)]
mod tests;
