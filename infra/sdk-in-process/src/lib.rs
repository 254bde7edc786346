#![doc = include_str!("../README.md")]

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
/// The body of a response: bytes, or a stream of them.
pub use aws_smithy_types::body::SdkBody as Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;

/// A boxed future, as returned by handlers.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A service: takes a whole request and returns a response, which may stream.
pub type Handler =
    Arc<dyn Fn(Request<Bytes>) -> BoxFuture<Result<Response<Body>, TransportError>> + Send + Sync>;

/// The reason why there is no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The connection broke after the request was sent.
    #[error("the connection was closed before a response arrived")]
    AnswerLost,
    /// No response arrived in time.
    #[error("the request timed out")]
    TimedOut,
    /// No service has this host.
    #[error("no service listens at {0}")]
    NoService(String),
    /// The service failed without a response.
    #[error("the service failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The fate of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// The request is executed and answered.
    #[default]
    None,
    /// The request is executed, and its response is lost.
    AnswerLost,
    /// The request is not executed and times out.
    TimedOut,
    /// The request is not executed and is refused with an error in AWS's JSON form.
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The error code, such as `ThrottlingException`.
        code: String,
    },
}

/// Decides the fate of each request before it reaches the service.
pub type FaultHook = Arc<dyn Fn(&Request<Bytes>) -> Fault + Send + Sync>;

/// A wrapper around a handler, between the clients and the service.
pub type Layer = Arc<dyn Fn(Handler) -> Handler + Send + Sync>;

/// Returns a layer that injects the faults that `hook` decides.
#[must_use]
pub fn fault_layer(hook: FaultHook) -> Layer {
    Arc::new(move |handler| with_faults(handler, Arc::clone(&hook)))
}

/// Returns a layer that delays each response by `latency` in tokio's time.
#[must_use]
pub fn latency_layer(latency: Duration) -> Layer {
    Arc::new(move |handler: Handler| {
        Arc::new(move |request| {
            let answer = handler(request);
            Box::pin(async move {
                tokio::time::sleep(latency).await;
                answer.await
            })
        })
    })
}

fn with_faults(handler: Handler, hook: FaultHook) -> Handler {
    Arc::new(move |request| match hook(&request) {
        Fault::None => handler(request),
        Fault::AnswerLost => {
            let answer = handler(request);
            Box::pin(async move {
                answer.await?;
                Err(TransportError::AnswerLost)
            })
        }
        Fault::TimedOut => Box::pin(async { Err(TransportError::TimedOut) }),
        Fault::Refused { status, code } => {
            let body = serde_json::json!({"__type": code, "message": "injected"});
            Box::pin(async move { Ok(json_response(status, body.to_string())) })
        }
    })
}

/// Returns the operation that a request of an AWS JSON protocol names, `PutItem` for instance, or
/// an empty text.
#[must_use]
pub fn operation(request: &Request<Bytes>) -> &str {
    let target = request.headers().get("x-amz-target");
    let target = target.and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.rsplit('.').next());
    operation.unwrap_or_default()
}

/// Returns a response of an AWS JSON protocol.
#[must_use]
pub fn json_response(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/x-amz-json-1.0");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}

/// Returns a handler that passes each request to the service of its host (`host` or `host:port`, as
/// in the endpoint's URL).
#[must_use]
pub fn router(services: BTreeMap<String, Handler>) -> Handler {
    Arc::new(move |request| {
        let header = request
            .headers()
            .get(http::header::HOST)
            .and_then(|h| h.to_str().ok());
        let host = request
            .uri()
            .authority()
            .map(http::uri::Authority::as_str)
            .or(header);
        let host = host.unwrap_or_default().to_owned();
        match services.get(&host) {
            Some(handler) => handler(request),
            None => Box::pin(async move { Err(TransportError::NoService(host)) }),
        }
    })
}

/// An HTTP client for the SDKs that never opens a socket.
#[derive(Clone)]
pub struct InProcess {
    handler: Handler,
    yields: bool,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess")
            .field("yields", &self.yields)
            .finish_non_exhaustive()
    }
}

impl InProcess {
    /// Returns a client of this handler. Each request yields to the runtime once, so that other
    /// tasks are not starved.
    #[must_use]
    pub fn new(handler: Handler) -> Self {
        Self {
            handler,
            yields: true,
        }
    }

    /// Returns a client of this handler whose requests do not yield: on a runtime of one thread,
    /// and where the handler does not wait, no other task runs meanwhile.
    #[must_use]
    pub fn without_yield(handler: Handler) -> Self {
        Self {
            handler,
            yields: false,
        }
    }

    /// Returns a client of the same handler, wrapped in `layer`.
    #[must_use]
    pub fn layered(&self, layer: &Layer) -> Self {
        Self {
            handler: layer(Arc::clone(&self.handler)),
            yields: self.yields,
        }
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request
            .try_into_http1x()
            .map_err(|e| ConnectorError::user(e.into()))?;
        let (mut parts, body) = request.into_parts();
        // An HTTP client over sockets adds the host, which signatures cover.
        if let (false, Some(authority)) = (
            parts.headers.contains_key(http::header::HOST),
            parts.uri.authority(),
        ) {
            let host = HeaderValue::from_str(authority.as_str());
            let host = host.map_err(|e| ConnectorError::user(e.into()))?;
            parts.headers.insert(http::header::HOST, host);
        }
        let body = body
            .collect()
            .await
            .map_err(ConnectorError::user)?
            .to_bytes();
        if self.yields {
            tokio::task::yield_now().await;
        }
        let response = (self.handler)(Request::from_parts(parts, body)).await;
        let response = response.map_err(|error| match error {
            TransportError::TimedOut => ConnectorError::timeout(error.into()),
            TransportError::AnswerLost
            | TransportError::NoService(_)
            | TransportError::Failed(_) => ConnectorError::io(error.into()),
        })?;
        HttpResponse::try_from(response).map_err(|e| ConnectorError::other(e.into(), None))
    }
}

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}
