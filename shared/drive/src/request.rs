//! The one small function that every call goes through.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use serde::de::Deserialize;
use url::form_urlencoded;

use crate::error::BadJson;
use crate::reasons::{Asked, classify};
use crate::{DriveClient, DriveError, Kind, Secret, TransportError};

/// A call, up to the access token.
pub(crate) struct Call {
    asked: Asked,
    verb: Method,
    path: String,
    query: String,
    if_match: Option<String>,
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

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, DriveError> {
        let body = serde_json::to_vec(body).map_err(|error| self.unsendable(error))?;
        self.body = body.into();
        Ok(self)
    }

    pub(crate) const fn asked(&self) -> Asked {
        self.asked
    }

    /// What we would send is no HTTP request, now or later.
    fn unsendable(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DriveError {
        let reason = "notARequest".to_owned();
        DriveError::new(self.asked.method, Kind::Permanent { reason }).with_source(error)
    }

    fn build(
        &self,
        base_url: &str,
        quota_user: Option<&str>,
        token: &Secret,
    ) -> Result<http::Request<Bytes>, DriveError> {
        let mut query = self.query.clone();
        if let Some(user) = quota_user {
            append(&mut query, "quotaUser", user);
        }
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{base_url}{}{mark}{query}", self.path);
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|error| self.unsendable(error))?;
        bearer.set_sensitive(true);
        let mut request = http::Request::builder()
            .method(self.verb.clone())
            .uri(url)
            .header(header::AUTHORIZATION, bearer)
            .header(header::ACCEPT, "application/json");
        if let Some(etag) = &self.if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        if !self.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request
            .body(self.body.clone())
            .map_err(|error| self.unsendable(error))
    }
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
        let token = self.tokens.token().await?;
        let refused = match self.once(call, &token).await {
            Err(error) if expired(&error) => error,
            outcome => return outcome,
        };
        match self.tokens.instead_of(&token).await? {
            Some(token) => self.once(call, &token).await,
            None => Err(refused),
        }
    }

    async fn once(&self, call: &Call, token: &Secret) -> Result<Bytes, DriveError> {
        let request = call.build(&self.base_url, self.quota_user.as_deref(), token)?;
        let answer = (self.transport)(request).await.map_err(|error| {
            let kind = match error {
                TransportError::NotSent(_) => Kind::NotSent,
                TransportError::MaybeSent(_) => Kind::Unanswered,
            };
            DriveError::new(call.asked.method, kind).with_source(error)
        })?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let (status, headers) = (answer.status(), answer.headers());
        Err(classify(call.asked, status, headers, answer.body()))
    }
}

fn expired(error: &DriveError) -> bool {
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
