//! The SDKs' HTTP client without sockets: a request goes straight to a handler in this process. Injected faults have their
//! place here.

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
/// What an answer carries: bytes, or a stream of them.
pub use aws_smithy_types::body::SdkBody as Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;

/// A future in a box, as handlers return it.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What every service of the local stack is: a whole request in, an answer out, which may stream.
pub type Handler =
    Arc<dyn Fn(Request<Bytes>) -> BoxFuture<Result<Response<Body>, TransportError>> + Send + Sync>;

/// Why there is no response at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The connection broke after the request was sent.
    #[error("the connection broke before an answer came")]
    AnswerLost,
    /// No answer came in time.
    #[error("no answer came in time")]
    TimedOut,
    /// No service has this host.
    #[error("no service listens at {0}")]
    NoService(String),
    /// The service failed without an answer of its own.
    #[error("the service failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What becomes of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It is done, and the caller is told.
    #[default]
    None,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is not done, and the caller sees a timeout.
    TimedOut,
    /// It is not done, and the caller is refused with this status and, in AWS's JSON shape, this code.
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The error code, as `ThrottlingException`.
        code: String,
    },
}

/// Decides the fault of each request, before the service sees it.
pub type FaultHook = Arc<dyn Fn(&Request<Bytes>) -> Fault + Send + Sync>;

/// What stands between the clients and the services.
pub type Layer = Arc<dyn Fn(Handler) -> Handler + Send + Sync>;

/// A layer that does to each request what `hook` says.
#[must_use]
pub fn faulty(hook: FaultHook) -> Layer {
    Arc::new(move |handler| with_faults(handler, Arc::clone(&hook)))
}

/// A layer in which each request takes so long, of tokio's time, before it is answered.
#[must_use]
pub fn slow(latency: Duration) -> Layer {
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
            let body = serde_json::json!({"__type": code, "message": "injected"}).to_string();
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = status;
            let json = HeaderValue::from_static("application/x-amz-json-1.0");
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, json);
            Box::pin(async { Ok(response) })
        }
    })
}

/// A handler that passes each request to the service of its host (`host` or `host:port`, as in the endpoint's URL).
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
    /// A client whose requests go to this handler. Each yields once before, so that other tasks are not starved.
    #[must_use]
    pub fn new(handler: Handler) -> Self {
        Self {
            handler,
            yields: true,
        }
    }

    /// A client whose requests go to this handler at once: on a runtime of one thread, and where the handler does not wait,
    /// nothing else happens meanwhile. It is for looking on.
    #[must_use]
    pub fn at_once(handler: Handler) -> Self {
        Self {
            handler,
            yields: false,
        }
    }

    /// A client whose requests pass `layer` before they go where this one's go.
    #[must_use]
    pub fn behind(&self, layer: &Layer) -> Self {
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
        // A socket's client adds the host, which signatures cover.
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
