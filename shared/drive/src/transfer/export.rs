//! Content that Google generates on demand: exports, and downloads that are prepared first.

use std::fmt;

use domain::FileId;
use http::{HeaderValue, Method, header};
use serde::Deserialize;
use url::Url;

use crate::calls::request::{Call, ambiguous, invalid_request, parse_json, token_rejected};
use crate::failure::classify::CallContext;
use crate::transfer::download::{range_error, start_download};
use crate::{Download, DriveClient, DriveError, Expected, Kind, RevisionId, Secret};

/// The longest accepted preparation id, in bytes.
const ID_BYTES_MAX: usize = 1_024;

/// The id of a long-running operation that prepares content. It is valid for a day (reference of
/// `files.download`) and stored as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparationId(String);

/// A text is not a valid preparation id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid preparation id")]
pub struct InvalidPreparationId;

impl PreparationId {
    /// Parses an id, as received or stored.
    ///
    /// # Errors
    /// [`InvalidPreparationId`] for an empty or very long text, and for invalid characters.
    pub fn parse(text: &str) -> Result<Self, InvalidPreparationId> {
        let name = text.strip_prefix("operations/").unwrap_or(text);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~=:".contains(&byte);
        if name.is_empty() || name.len() > ID_BYTES_MAX || !name.bytes().all(fits) || name == ".." {
            return Err(InvalidPreparationId);
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Content that is ready to be downloaded from a secret address.
#[derive(Clone)]
pub struct PreparedContent {
    address: Secret,
    /// Ranges can be requested. Otherwise an interrupted download starts again.
    pub supports_ranges: bool,
}

impl fmt::Debug for PreparedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedContent")
            .field("supports_ranges", &self.supports_ranges)
            .finish_non_exhaustive()
    }
}

/// The state of a preparation.
#[derive(Debug, Clone)]
pub enum Preparation {
    /// Not ready: check again after some seconds.
    Pending(PreparationId),
    /// Ready for [`DriveClient::download_prepared`].
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

/// `google.rpc.Status` without the message, which may contain names.
#[derive(Deserialize)]
struct Status {
    code: Option<i64>,
}

/// An unusable operation.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("an operation without a name")]
    NoName,
    #[error("a completed operation without an address")]
    NoAddress,
}

impl DriveClient {
    /// Exports a Google document in another format, up to 10 MB (v3 `files.export`). Its size and
    /// checksum are not known in advance.
    ///
    /// # Errors
    /// [`DriveError`]; [`DriveError::content_unavailable`] returns why Drive does not provide it.
    /// For [`crate::Unavailable::TooLarge`], use [`DriveClient::prepare_download`].
    pub async fn export(&self, file: &FileId, mime_type: &str) -> Result<Download, DriveError> {
        let path = format!("/drive/v3/files/{file}/export");
        let call = Call::new("files.export", Method::GET, path)
            .query("mimeType", mime_type)
            .query("alt", "media");
        self.call_for_content(call, 0, of_type(mime_type)).await
    }

    /// Starts the preparation of a file's content, of any size (v3 `files.download`): a Google
    /// document in a given format, other files unchanged. The file does not change; each call
    /// starts another preparation.
    ///
    /// # Errors
    /// [`DriveError`]; [`DriveError::content_unavailable`] returns why Drive does not provide it.
    pub async fn prepare_download(
        &self,
        file: &FileId,
        mime_type: Option<&str>,
        revision: Option<&RevisionId>,
    ) -> Result<Preparation, DriveError> {
        let path = format!("/drive/v3/files/{file}/download");
        let mut call = Call::new("files.download", Method::POST, path).read_only();
        if let Some(mime_type) = mime_type {
            call = call.query("mimeType", mime_type);
        }
        if let Some(revision) = revision {
            call = call.query("revisionId", revision.as_str());
        }
        let body = self.call(&call).await?;
        preparation(call.context(), parse_json(call.context(), &body)?)
    }

    /// Reads the state of a preparation (v3 `operations.get`).
    ///
    /// # Errors
    /// [`DriveError`] of the call or of the failed preparation. [`Kind::NotFound`] if Drive does
    /// not know the preparation any more.
    pub async fn get_preparation(&self, id: &PreparationId) -> Result<Preparation, DriveError> {
        let path = format!("/drive/v3/operations/{}", id.as_str());
        let call = Call::new("operations.get", Method::GET, path);
        let body = self.call(&call).await?;
        preparation(call.context(), parse_json(call.context(), &body)?)
    }

    /// Downloads prepared content from a byte on.
    ///
    /// # Errors
    /// As for [`DriveClient::download`]. The address of another server is [`Kind::Permanent`], and
    /// nothing is sent to it.
    pub async fn download_prepared(
        &self,
        content: &PreparedContent,
        from_byte: u64,
        expected: Expected<'_>,
    ) -> Result<Download, DriveError> {
        let token = self.token().await?;
        let first = self.fetch(content, &token, from_byte, expected).await;
        let refused = match first {
            Err(error) if token_rejected(&error) => error,
            outcome => return outcome,
        };
        match self.replacement_for(&token).await? {
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
        let context = CallContext {
            method: "operations.media",
            carries_cursor: false,
            writes: false,
        };
        let refused = |error: http::Error| invalid_request(context.method, error);
        let address = Url::parse(content.address.expose())
            .map_err(|error| invalid_request(context.method, error))?;
        if !self.is_own(&address) {
            return Err(invalid_request(context.method, ForeignAddress));
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
        let answer = self.send_following_redirects(context, request).await;
        let answer = answer.map_err(|error| range_error(context.method, error))?;
        start_download(context.method, answer, from_byte, expected)
            .map_err(|bad| DriveError::new(context.method, Kind::BadContent(bad)))
    }
}

/// The address of the prepared content is on another server.
#[derive(Debug, thiserror::Error)]
#[error("the address is on another server")]
struct ForeignAddress;

const fn of_type(mime_type: &str) -> Expected<'_> {
    Expected {
        mime_type: Some(mime_type),
        size_bytes: None,
    }
}

fn preparation(context: CallContext, operation: Operation) -> Result<Preparation, DriveError> {
    if let Some(status) = operation.error {
        return Err(failed(context.method, status.code));
    }
    if operation.done {
        let response = operation.response;
        let supports_ranges = response
            .as_ref()
            .and_then(|response| response.partial_download_allowed);
        let address = response.and_then(|response| response.download_uri);
        let address = address.ok_or_else(|| ambiguous(context, Unusable::NoAddress))?;
        return Ok(Preparation::Ready(PreparedContent {
            address: Secret::new(address),
            supports_ranges: supports_ranges.unwrap_or(false),
        }));
    }
    let name = operation.name.as_deref().map(PreparationId::parse);
    match name {
        Some(Ok(id)) => Ok(Preparation::Pending(id)),
        Some(Err(_)) | None => Err(ambiguous(context, Unusable::NoName)),
    }
}

/// Classifies a failed preparation by its `google.rpc.Code`.
fn failed(method: &'static str, code: Option<i64>) -> DriveError {
    let reason = || format!("operation{}", code.unwrap_or_default());
    let kind = match code {
        // Invalid argument, already exists, permission denied, failed precondition, out of range,
        // unimplemented.
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
    fn a_preparation_id_is_a_valid_path_segment() {
        assert_eq!(
            PreparationId::parse("operations/a-B_9").unwrap().as_str(),
            "a-B_9"
        );
        for text in ["", "operations/", "a/b", "a?b", "..", "a b", "a%2fb"] {
            assert_eq!(
                PreparationId::parse(text),
                Err(InvalidPreparationId),
                "{text}"
            );
        }
    }

    #[test]
    fn a_failed_preparation_is_classified_by_its_code() {
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
