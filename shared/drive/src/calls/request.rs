//! Builds and sends the requests of all calls.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use serde::de::Deserialize;
use url::form_urlencoded;

use crate::calls::multipart;
use crate::failure::classify::{CallContext, classify};
use crate::failure::drive_error::BadJson;
use crate::protocol::body::JsonBody;
use crate::{DriveClient, DriveError, Kind, Secret, TransportError};

const JSON: &str = "application/json";

/// A call, complete except for the access token.
#[derive(Clone)]
pub(crate) struct Call {
    context: CallContext,
    verb: Method,
    path: String,
    query: String,
    if_match: Option<String>,
    accept: &'static str,
    content_type: &'static str,
    /// Additional headers, which parts of a batch can't have.
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// A call of `method`. `path` starts with a slash, and ids in it need no escaping.
    pub(crate) fn new(method: &'static str, verb: Method, path: impl Into<String>) -> Self {
        Self {
            context: CallContext {
                method,
                carries_cursor: false,
                writes: verb != Method::GET,
            },
            verb,
            path: path.into(),
            query: String::new(),
            if_match: None,
            accept: JSON,
            content_type: JSON,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        append(&mut self.query, name, value);
        self
    }

    /// Sets the page token. An error may then mean that the cursor is lost.
    pub(crate) fn cursor(mut self, token: &str) -> Self {
        self.context.carries_cursor = true;
        self.query("pageToken", token)
    }

    pub(crate) fn if_match(mut self, etag: &str) -> Self {
        self.if_match = Some(etag.to_owned());
        self
    }

    /// Adds a header. Parts of a batch can't have one.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, DriveError> {
        let value = HeaderValue::try_from(value).map_err(|error| self.invalid_request(error))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Accepts a response of any type, for content.
    pub(crate) fn accept_any(mut self) -> Self {
        self.accept = "*/*";
        self
    }

    /// Marks a POST as one that changes nothing, so that an ambiguous outcome can be retried.
    pub(crate) fn read_only(mut self) -> Self {
        self.context.writes = false;
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, DriveError> {
        let body = serde_json::to_vec(body).map_err(|error| self.invalid_request(error))?;
        self.body = body.into();
        Ok(self)
    }

    /// Sets a body of any type, which a header names.
    pub(crate) fn bytes(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// Sets a multipart body, and accepts a multipart response.
    pub(crate) fn mixed(mut self, content_type: &'static str, body: Vec<u8>) -> Self {
        self.accept = "multipart/mixed";
        self.content_type = content_type;
        self.body = body.into();
        self
    }

    pub(crate) const fn context(&self) -> CallContext {
        self.context
    }

    /// Returns the error for a call that can't be converted into an HTTP request.
    pub(crate) fn invalid_request(
        &self,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> DriveError {
        invalid_request(self.context.method, error)
    }

    /// Returns the path with the query.
    pub(crate) fn target(&self, quota_user: Option<&str>) -> String {
        let mut query = self.query.clone();
        if let Some(user) = quota_user {
            append(&mut query, "quotaUser", user);
        }
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{mark}{query}", self.path)
    }

    /// Serialises the call as a part of a batch: request line, headers and body. The access token
    /// is in the outer request.
    pub(crate) fn inner(&self, quota_user: Option<&str>) -> Result<Vec<u8>, DriveError> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.verb, self.target(quota_user));
        if let Some(etag) = &self.if_match {
            // An invalid value could inject another header.
            HeaderValue::try_from(etag).map_err(|error| self.invalid_request(error))?;
            text.push_str("If-Match: ");
            text.push_str(etag);
            text.push_str("\r\n");
        }
        if !self.body.is_empty() {
            text.push_str("Content-Type: application/json\r\nContent-Length: ");
            text.push_str(&self.body.len().to_string());
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        Ok([text.as_bytes(), &self.body].concat())
    }

    /// Converts a part of a batch response into the result of this call.
    pub(crate) fn interpret(&self, part: multipart::Answer) -> Result<JsonBody, DriveError> {
        if part.status.is_success() {
            return Ok(JsonBody::new(part.body));
        }
        Err(classify(
            self.context,
            part.status,
            &part.headers,
            &part.body,
        ))
    }

    /// Builds the HTTP request.
    pub(crate) fn build(
        &self,
        base_url: &str,
        quota_user: Option<&str>,
        token: &Secret,
    ) -> Result<http::Request<Bytes>, DriveError> {
        let url = format!("{base_url}{}", self.target(quota_user));
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|error| self.invalid_request(error))?;
        bearer.set_sensitive(true);
        let mut request = http::Request::builder()
            .method(self.verb.clone())
            .uri(url)
            .header(header::AUTHORIZATION, bearer)
            .header(header::ACCEPT, self.accept);
        if let Some(etag) = &self.if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        if !self.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, self.content_type);
        }
        let mut request = request
            .body(self.body.clone())
            .map_err(|error| self.invalid_request(error))?;
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }
}

/// Returns the error for a call that can't be converted into an HTTP request.
pub(crate) fn invalid_request(
    method: &'static str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> DriveError {
    let reason = "notARequest".to_owned();
    DriveError::new(method, Kind::Permanent { reason }).with_source(error)
}

/// Converts a transport error into the error of a call.
pub(crate) fn no_response(method: &'static str, error: TransportError) -> DriveError {
    let kind = match error {
        TransportError::NotSent(_) => Kind::NotSent,
        TransportError::MaybeSent(_) => Kind::Unanswered,
    };
    DriveError::new(method, kind).with_source(error)
}

fn append(query: &mut String, name: &str, value: &str) {
    let so_far = std::mem::take(query);
    *query = form_urlencoded::Serializer::for_suffix(so_far, 0)
        .append_pair(name, value)
        .finish();
}

impl DriveClient {
    /// Makes a call, and returns the body of a 2xx response or the error. After a 401 the call is
    /// made once more with a new access token; nothing else is retried.
    pub(crate) async fn call(&self, call: &Call) -> Result<JsonBody, DriveError> {
        let response = self.call_with_response(call).await?;
        Ok(JsonBody::new(response.into_body()))
    }

    /// Makes a call as [`DriveClient::call`] does, and returns the response with its headers.
    pub(crate) async fn call_with_response(
        &self,
        call: &Call,
    ) -> Result<http::Response<Bytes>, DriveError> {
        let token = self.token().await?;
        let refused = match self.send(call, &token).await {
            Err(error) if token_rejected(&error) => error,
            outcome => return outcome,
        };
        match self.replacement_for(&token).await? {
            Some(token) => self.send(call, &token).await,
            None => Err(refused),
        }
    }

    /// Sends a request of any kind with the account's token, and returns the response of any
    /// status, for programs that examine Drive itself. The URI of the request is a path with a
    /// query.
    ///
    /// # Errors
    /// [`DriveError`] if there is no token, or no response.
    pub async fn send_raw(
        &self,
        mut request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, DriveError> {
        const METHOD: &str = "raw";
        let invalid =
            |error: Box<dyn std::error::Error + Send + Sync>| invalid_request(METHOD, error);
        let token = self.token().await?;
        let uri = format!("{}{}", self.base_url, request.uri());
        *request.uri_mut() = uri.parse().map_err(|error| invalid(Box::new(error)))?;
        let bearer = format!("Bearer {}", token.expose());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|error| invalid(Box::new(error)))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let sent = (self.transport)(request).await;
        sent.map_err(|error| no_response(METHOD, error))
    }

    /// Sends a call once, and returns a successful response or the error.
    pub(crate) async fn send(
        &self,
        call: &Call,
        token: &Secret,
    ) -> Result<http::Response<Bytes>, DriveError> {
        let request = call.build(&self.base_url, self.quota_user.as_deref(), token)?;
        let answer = (self.transport)(request)
            .await
            .map_err(|error| no_response(call.context.method, error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, headers) = (answer.status(), answer.headers());
        Err(classify(call.context, status, headers, answer.body()))
    }
}

/// Returns whether Drive rejected the access token, so that a new one may help.
pub(crate) fn token_rejected(error: &DriveError) -> bool {
    error.status() == Some(StatusCode::UNAUTHORIZED.as_u16())
        && matches!(error.kind(), Kind::AuthLost { .. })
}

/// Parses the JSON of a successful response.
pub(crate) fn parse_json<'a, T: Deserialize<'a>>(
    context: CallContext,
    body: &'a JsonBody,
) -> Result<T, DriveError> {
    serde_json::from_slice(body.text()).map_err(|error| ambiguous(context, BadJson::from(error)))
}

/// Returns the error for a success with an unusable response: a write was executed, with an unknown
/// result.
pub(crate) fn ambiguous(
    context: CallContext,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> DriveError {
    let kind = if context.writes {
        Kind::Unanswered
    } else {
        Kind::Transient
    };
    DriveError::new(context.method, kind).with_source(source)
}
