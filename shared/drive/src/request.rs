//! The one small function that every call goes through.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use serde::de::Deserialize;
use url::form_urlencoded;

use crate::error::BadJson;
use crate::reasons::{Asked, classify};
use crate::{DriveClient, DriveError, Kind, Secret, TransportError, multipart};

const JSON: &str = "application/json";

/// A call, up to the access token.
#[derive(Clone)]
pub(crate) struct Call {
    asked: Asked,
    verb: Method,
    path: String,
    query: String,
    if_match: Option<String>,
    accept: &'static str,
    content_type: &'static str,
    /// What only some calls say. Parts of a batch can't.
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// `path` starts with a slash; ids in it hold no character that a path could not.
    pub(crate) fn new(method: &'static str, verb: Method, path: impl Into<String>) -> Self {
        Self {
            asked: Asked {
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

    /// The position to go on from: an answer may now mean that it is lost.
    pub(crate) fn cursor(mut self, token: &str) -> Self {
        self.asked.carries_cursor = true;
        self.query("pageToken", token)
    }

    pub(crate) fn if_match(mut self, etag: &str) -> Self {
        self.if_match = Some(etag.to_owned());
        self
    }

    /// A header that only some calls have. No part of a batch has one.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, DriveError> {
        let value = HeaderValue::try_from(value).map_err(|error| self.unsendable(error))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// The answer is content, whatever its type.
    pub(crate) fn any_answer(mut self) -> Self {
        self.accept = "*/*";
        self
    }

    /// A POST that changes nothing: what is unclear about it can be asked again.
    pub(crate) fn changes_nothing(mut self) -> Self {
        self.asked.writes = false;
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, DriveError> {
        let body = serde_json::to_vec(body).map_err(|error| self.unsendable(error))?;
        self.body = body.into();
        Ok(self)
    }

    /// A body that is not JSON, and an answer that is not either.
    pub(crate) fn mixed(mut self, content_type: &'static str, body: Vec<u8>) -> Self {
        self.accept = "multipart/mixed";
        self.content_type = content_type;
        self.body = body.into();
        self
    }

    pub(crate) const fn asked(&self) -> Asked {
        self.asked
    }

    /// What we would send is no HTTP request, now or later.
    pub(crate) fn unsendable(
        &self,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> DriveError {
        unsendable(self.asked.method, error)
    }

    /// Path and query.
    pub(crate) fn target(&self, quota_user: Option<&str>) -> String {
        let mut query = self.query.clone();
        if let Some(user) = quota_user {
            append(&mut query, "quotaUser", user);
        }
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{mark}{query}", self.path)
    }

    /// The call as a part of a batch: its request line, headers and body. What goes for all parts (the
    /// access token) is said outside.
    pub(crate) fn inner(&self, quota_user: Option<&str>) -> Result<Vec<u8>, DriveError> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.verb, self.target(quota_user));
        if let Some(etag) = &self.if_match {
            // Whatever can't be a header's value could end the header, and begin another.
            HeaderValue::try_from(etag).map_err(|error| self.unsendable(error))?;
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

    /// What a part of a batch's answer means for this call.
    pub(crate) fn judged(&self, part: multipart::Answer) -> Result<Bytes, DriveError> {
        if part.status.is_success() {
            return Ok(part.body);
        }
        Err(classify(self.asked, part.status, &part.headers, &part.body))
    }

    /// The request itself.
    pub(crate) fn build(
        &self,
        base_url: &str,
        quota_user: Option<&str>,
        token: &Secret,
    ) -> Result<http::Request<Bytes>, DriveError> {
        let url = format!("{base_url}{}", self.target(quota_user));
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|error| self.unsendable(error))?;
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
            .map_err(|error| self.unsendable(error))?;
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }
}

/// What we would send is no HTTP request, now or later.
pub(crate) fn unsendable(
    method: &'static str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> DriveError {
    let reason = "notARequest".to_owned();
    DriveError::new(method, Kind::Permanent { reason }).with_source(error)
}

/// Why there is no answer, as an error of the call.
pub(crate) fn unanswered(method: &'static str, error: TransportError) -> DriveError {
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
    /// Makes a call: the body of a 2xx answer, or what went wrong. A 401 is tried once more with a new
    /// access token; nothing else is tried again.
    pub(crate) async fn call(&self, call: &Call) -> Result<Bytes, DriveError> {
        self.answered(call).await.map(http::Response::into_body)
    }

    /// The same, with the answer's headers.
    pub(crate) async fn answered(&self, call: &Call) -> Result<http::Response<Bytes>, DriveError> {
        let token = self.tokens.token().await?;
        let refused = match self.send(call, &token).await {
            Err(error) if expired(&error) => error,
            outcome => return outcome,
        };
        match self.tokens.instead_of(&token).await? {
            Some(token) => self.send(call, &token).await,
            None => Err(refused),
        }
    }

    /// Sends a call once: an answer of success, whole, or what went wrong.
    pub(crate) async fn send(
        &self,
        call: &Call,
        token: &Secret,
    ) -> Result<http::Response<Bytes>, DriveError> {
        let request = call.build(&self.base_url, self.quota_user.as_deref(), token)?;
        let answer = (self.transport)(request)
            .await
            .map_err(|error| unanswered(call.asked.method, error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, headers) = (answer.status(), answer.headers());
        Err(classify(call.asked, status, headers, answer.body()))
    }
}

/// Drive refused the access token, which another one may mend.
pub(crate) fn expired(error: &DriveError) -> bool {
    error.status() == Some(StatusCode::UNAUTHORIZED.as_u16())
        && matches!(error.kind(), Kind::AuthLost { .. })
}

/// Reads the JSON of a successful answer.
pub(crate) fn parsed<'a, T: Deserialize<'a>>(
    asked: Asked,
    body: &'a Bytes,
) -> Result<T, DriveError> {
    serde_json::from_slice(body).map_err(|error| unclear(asked, BadJson::from(error)))
}

/// A success that says nothing we can use. A write has been done then, but with what result?
pub(crate) fn unclear(
    asked: Asked,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> DriveError {
    let kind = if asked.writes {
        Kind::Unanswered
    } else {
        Kind::Transient
    };
    DriveError::new(asked.method, kind).with_source(source)
}
