//! Content that Google makes on demand: exports of its own documents, and what has to be prepared first.

use std::fmt;

use domain::FileId;
use http::{HeaderValue, Method, header};
use serde::Deserialize;
use url::Url;

use crate::download::{begun, past_the_end};
use crate::reasons::Asked;
use crate::request::{Call, expired, parsed, unclear, unsendable};
use crate::{Download, DriveClient, DriveError, Expected, Kind, RevisionId, Secret};

/// The longest id of a preparation that we keep, in bytes.
const ID_BYTES_MAX: usize = 1_024;

/// What Drive calls a long-running operation that prepares content. It is good for a day (reference of
/// `files.download`), and is stored as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparationId(String);

/// A text that is no preparation's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no preparation has such an id")]
pub struct PreparationIdRefused;

impl PreparationId {
    /// The id of a text, as it was given or stored.
    ///
    /// # Errors
    /// [`PreparationIdRefused`] for an empty text, a very long one, and one with what no id has.
    pub fn parse(text: &str) -> Result<Self, PreparationIdRefused> {
        let name = text.strip_prefix("operations/").unwrap_or(text);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~=:".contains(&byte);
        if name.is_empty() || name.len() > ID_BYTES_MAX || !name.bytes().all(fits) || name == ".." {
            return Err(PreparationIdRefused);
        }
        Ok(Self(name.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Content that is ready to be fetched, at an address that only we may know.
#[derive(Clone)]
pub struct PreparedContent {
    address: Secret,
    /// Whether it can be fetched in parts. Where it can't, a download that breaks off begins again.
    pub in_parts: bool,
}

impl fmt::Debug for PreparedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedContent")
            .field("in_parts", &self.in_parts)
            .finish_non_exhaustive()
    }
}

/// How far a preparation is.
#[derive(Debug, Clone)]
pub enum Preparation {
    /// Not ready: ask again after some seconds, for as long as the caller likes.
    UnderWay(PreparationId),
    /// Ready: [`DriveClient::download_prepared`].
    Ready(PreparedContent),
}

#[derive(Deserialize)]
struct Operation {
    name: Option<String>,
    #[serde(default)]
    done: bool,
    response: Option<Response>,
    error: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    download_uri: Option<String>,
    partial_download_allowed: Option<bool>,
}

/// `google.rpc.Status`, without its message: that may hold names.
#[derive(Deserialize)]
struct Status {
    code: Option<i64>,
}

/// An operation that can't be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("an operation without a name")]
    NoName,
    #[error("an operation that is done and names no address")]
    NoAddress,
}

impl DriveClient {
    /// A document of Google's in another format, up to 10 MB of it (v3 `files.export`). Nobody knows its size or its
    /// checksum beforehand.
    ///
    /// # Errors
    /// [`DriveError`]; [`DriveError::content_unavailable`] says why Drive does not give it: for
    /// [`crate::Unavailable::TooLarge`], [`DriveClient::prepare_download`] is the way.
    pub async fn export(&self, file: &FileId, mime_type: &str) -> Result<Download, DriveError> {
        let path = format!("/drive/v3/files/{file}/export");
        let call = Call::new("files.export", Method::GET, path)
            .query("mimeType", mime_type)
            .query("alt", "media");
        self.content_of(call, 0, of_type(mime_type)).await
    }

    /// Has Drive prepare the content of a file, whatever its size (v3 `files.download`): of one of Google's documents in
    /// a format, of anything else as it is. Nothing of the file changes; asked twice, it is prepared twice.
    ///
    /// # Errors
    /// [`DriveError`]; [`DriveError::content_unavailable`] says why Drive does not give it.
    pub async fn prepare_download(
        &self,
        file: &FileId,
        mime_type: Option<&str>,
        revision: Option<&RevisionId>,
    ) -> Result<Preparation, DriveError> {
        let path = format!("/drive/v3/files/{file}/download");
        let mut call = Call::new("files.download", Method::POST, path).changes_nothing();
        if let Some(mime_type) = mime_type {
            call = call.query("mimeType", mime_type);
        }
        if let Some(revision) = revision {
            call = call.query("revisionId", revision.as_str());
        }
        let body = self.call(&call).await?;
        preparation(call.asked(), parsed(call.asked(), &body)?)
    }

    /// How far a preparation is (v3 `operations.get`).
    ///
    /// # Errors
    /// [`DriveError`]: what Drive refuses, and what became of the preparation where it failed. [`Kind::NotFound`] for one
    /// that Drive no longer knows.
    pub async fn prepared(&self, id: &PreparationId) -> Result<Preparation, DriveError> {
        let path = format!("/drive/v3/operations/{}", id.as_str());
        let call = Call::new("operations.get", Method::GET, path);
        let body = self.call(&call).await?;
        preparation(call.asked(), parsed(call.asked(), &body)?)
    }

    /// Prepared content, from this byte on.
    ///
    /// # Errors
    /// As for [`DriveClient::download`]. An address that is not this Drive's is [`Kind::Permanent`], and nothing is sent
    /// there.
    pub async fn download_prepared(
        &self,
        content: &PreparedContent,
        from_byte: u64,
        expected: Expected<'_>,
    ) -> Result<Download, DriveError> {
        let token = self.tokens.token().await?;
        let first = self.fetch(content, &token, from_byte, expected).await;
        let refused = match first {
            Err(error) if expired(&error) => error,
            outcome => return outcome,
        };
        match self.tokens.instead_of(&token).await? {
            Some(token) => self.fetch(content, &token, from_byte, expected).await,
            None => Err(refused),
        }
    }

    async fn fetch(
        &self,
        content: &PreparedContent,
        token: &Secret,
        from_byte: u64,
        expected: Expected<'_>,
    ) -> Result<Download, DriveError> {
        let asked = Asked {
            method: "operations.media",
            carries_cursor: false,
            writes: false,
        };
        let refused = |error: http::Error| unsendable(asked.method, error);
        let address = Url::parse(content.address.expose())
            .map_err(|error| unsendable(asked.method, error))?;
        if !self.is_own(&address) {
            return Err(unsendable(asked.method, ElsewhereAddress));
        }
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|error| refused(error.into()))?;
        bearer.set_sensitive(true);
        let mut request = http::Request::get(address.as_str())
            .header(header::AUTHORIZATION, bearer)
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity");
        if from_byte > 0 {
            request = request.header(header::RANGE, format!("bytes={from_byte}-"));
        }
        let request = request.body(bytes::Bytes::new()).map_err(refused)?;
        let answer = self.follow(asked, request).await;
        let answer = answer.map_err(|error| past_the_end(asked.method, error))?;
        begun(asked.method, answer, from_byte, expected)
            .map_err(|bad| DriveError::new(asked.method, Kind::BadContent(bad)))
    }
}

/// The prepared content lies at an address that is not this Drive's.
#[derive(Debug, thiserror::Error)]
#[error("the address is not one of this Drive")]
struct ElsewhereAddress;

const fn of_type(mime_type: &str) -> Expected<'_> {
    Expected {
        mime_type: Some(mime_type),
        size_bytes: None,
    }
}

fn preparation(asked: Asked, operation: Operation) -> Result<Preparation, DriveError> {
    if let Some(status) = operation.error {
        return Err(failed(asked.method, status.code));
    }
    if operation.done {
        let response = operation.response;
        let in_parts = response
            .as_ref()
            .and_then(|response| response.partial_download_allowed);
        let address = response.and_then(|response| response.download_uri);
        let address = address.ok_or_else(|| unclear(asked, Unusable::NoAddress))?;
        return Ok(Preparation::Ready(PreparedContent {
            address: Secret::new(address),
            in_parts: in_parts.unwrap_or(false),
        }));
    }
    let name = operation.name.as_deref().map(PreparationId::parse);
    match name {
        Some(Ok(id)) => Ok(Preparation::UnderWay(id)),
        Some(Err(_)) | None => Err(unclear(asked, Unusable::NoName)),
    }
}

/// A preparation that failed, by its code of `google.rpc.Code`: those that will fail again, one that says that the file
/// is gone, one that says that it was too much, and the rest.
fn failed(method: &'static str, code: Option<i64>) -> DriveError {
    let reason = || format!("operation{}", code.unwrap_or_default());
    let kind = match code {
        // Invalid argument, already exists, permission denied, failed precondition, out of range, unimplemented.
        Some(3 | 6 | 7 | 9 | 11 | 12) => Kind::Permanent { reason: reason() },
        Some(5) => Kind::NotFound,
        Some(8) => Kind::RateLimited {
            retry_after_millis: None,
        },
        Some(_) | None => Kind::Transient,
    };
    DriveError::new(method, kind).with_reason(Some(reason()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_preparation_can_be_a_part_of_a_path() {
        assert_eq!(
            PreparationId::parse("operations/a-B_9").unwrap().as_str(),
            "a-B_9"
        );
        for text in ["", "operations/", "a/b", "a?b", "..", "a b", "a%2fb"] {
            assert_eq!(
                PreparationId::parse(text),
                Err(PreparationIdRefused),
                "{text}"
            );
        }
    }

    #[test]
    fn a_failed_preparation_is_judged_by_its_code() {
        let kind = |code| failed("operations.get", code).kind().clone();
        let reason = "operation7".to_owned();
        assert_eq!(kind(Some(7)), Kind::Permanent { reason });
        assert_eq!(kind(Some(5)), Kind::NotFound);
        assert!(matches!(kind(Some(8)), Kind::RateLimited { .. }));
        for code in [Some(14), Some(13), Some(99), None] {
            assert_eq!(kind(code), Kind::Transient);
        }
    }
}
