//! Resumable uploads: content is sent to Drive in chunks (Drive guide "Upload file data").

use bytes::Bytes;
use domain::{FileId, Snapshot};
use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use crate::calls::request::{ambiguous, invalid_request, parse_json};
use crate::failure::classify::{CallContext, classify};
use crate::protocol::body::JsonBody;
use crate::protocol::normalise;
use crate::protocol::wire;
use crate::transfer::media::{head, whole};
use crate::{ContentBody, DriveClient, DriveError, Kind, Secret};

/// The size of every chunk but the last is a multiple of this, in bytes.
pub const UPLOAD_STEP_BYTES: u64 = 256 * 1024;

const CONTEXT: CallContext = CallContext {
    method: "uploads.put",
    carries_cursor: false,
    writes: true,
};
/// The status of a cancelled upload.
const CANCELLED: u16 = 499;

/// A started upload, valid for a week at most. Its address authorises writing the file's content,
/// so it is never shown, and stored only as [`DriveClient::seal_session`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSession {
    file: FileId,
    address: Secret,
}

impl UploadSession {
    /// The session of a file at an address.
    #[must_use]
    pub(crate) const fn new(file: FileId, address: String) -> Self {
        Self {
            file,
            address: Secret::new(address),
        }
    }

    /// Returns the file that is written.
    #[must_use]
    pub const fn file(&self) -> &FileId {
        &self.file
    }

    /// Returns the address, for the code that calls or seals it.
    pub(crate) const fn expose_address(&self) -> &String {
        self.address.expose()
    }
}

/// The progress of an upload.
#[expect(
    clippy::large_enum_variant,
    reason = "created once for every few megabytes"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadProgress {
    /// Drive has stored everything before this byte, which may be less than was sent.
    Stored {
        /// The position of the next byte to send.
        next_byte: u64,
    },
    /// The upload is complete and the file has this state. Its checksums verify the bytes.
    Done(Snapshot),
    /// The session has ended without writing the content: start again. For a replacement, read the
    /// file again first, since an upload whose response was lost may have succeeded.
    SessionGone,
    /// A file with the new file's id exists already: see [`crate::UploadStart::Exists`].
    Exists,
}

/// An invalid chunk.
#[derive(Debug, thiserror::Error)]
enum BadChunk {
    #[error("the chunk goes beyond the end")]
    BeyondTheEnd,
    #[error("the chunk has no bytes")]
    Empty,
    #[error("the size of a chunk that is not the last is no multiple of {UPLOAD_STEP_BYTES} bytes")]
    NoMultiple,
}

/// A response does not tell the progress.
#[derive(Debug, thiserror::Error)]
#[error("the response does not tell the progress of the upload")]
struct UnknownProgress;

impl DriveClient {
    /// Sends a chunk of the content, from the position of the last response on. The sizes of all
    /// chunks but the last are multiples of [`UPLOAD_STEP_BYTES`]. Empty content is completed by
    /// [`DriveClient::upload_state`].
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::Stale`] if the file has changed since the start of the upload. After
    /// every other error some or all of the bytes may have arrived; [`DriveClient::upload_state`]
    /// tells. An invalid chunk is [`Kind::Permanent`] with the reason `notARequest`, and nothing is
    /// sent.
    pub async fn upload_chunk(
        &self,
        session: &UploadSession,
        from_byte: u64,
        total_bytes: u64,
        chunk: Bytes,
    ) -> Result<UploadProgress, DriveError> {
        let last = last_byte(from_byte, total_bytes, &chunk)
            .map_err(|bad| invalid_request(CONTEXT.method, bad))?;
        let range = format!("bytes {from_byte}-{last}/{total_bytes}");
        self.put(session, &range, total_bytes, chunk).await
    }

    /// Reads the progress of an upload: after a lost response, a crash, or an error. A completed
    /// upload reports its completion again. Empty content is uploaded by this call.
    ///
    /// # Errors
    /// As for [`DriveClient::upload_chunk`].
    pub async fn upload_state(
        &self,
        session: &UploadSession,
        total_bytes: u64,
    ) -> Result<UploadProgress, DriveError> {
        let range = format!("bytes */{total_bytes}");
        self.put(session, &range, total_bytes, Bytes::new()).await
    }

    /// Cancels an upload: nothing is written. Succeeds if the upload has ended already.
    ///
    /// # Errors
    /// [`DriveError`]; the upload expires after a week anyway.
    pub async fn cancel_upload(&self, session: &UploadSession) -> Result<(), DriveError> {
        let Some(address) = self.own_address(session) else {
            return Ok(());
        };
        let request = http::Request::delete(address.as_str())
            .header(header::CONTENT_LENGTH, 0)
            .body(Bytes::new())
            .map_err(|error| invalid_request(CONTEXT.method, error))?;
        let (parts, body) = self.exchange(CONTEXT, request).await?.into_parts();
        match parts.status {
            status if status.is_success() || has_ended(status) => Ok(()),
            status => Err(classify(CONTEXT, status, &parts.headers, &head(body).await)),
        }
    }

    /// Returns the session's address if it belongs to the configured Drive. Content must not be
    /// sent to another server.
    fn own_address(&self, session: &UploadSession) -> Option<Url> {
        let address = Url::parse(session.expose_address()).ok();
        address.filter(|address| self.is_own(address))
    }

    async fn put(
        &self,
        session: &UploadSession,
        range: &str,
        total_bytes: u64,
        chunk: Bytes,
    ) -> Result<UploadProgress, DriveError> {
        let Some(address) = self.own_address(session) else {
            return Ok(UploadProgress::SessionGone);
        };
        // The address authorises the request; an access token could have expired since.
        let request = http::Request::builder()
            .method(Method::PUT)
            .uri(address.as_str())
            .header(header::CONTENT_RANGE, range)
            .header(header::CONTENT_LENGTH, chunk.len())
            .body(chunk)
            .map_err(|error| invalid_request(CONTEXT.method, error))?;
        let (parts, body) = self.exchange(CONTEXT, request).await?.into_parts();
        match parts.status {
            StatusCode::PERMANENT_REDIRECT => stored(&parts.headers, total_bytes)
                .ok_or_else(|| ambiguous(CONTEXT, UnknownProgress)),
            StatusCode::OK | StatusCode::CREATED => self.done(session, body).await,
            StatusCode::CONFLICT => Ok(UploadProgress::Exists),
            status if has_ended(status) => Ok(UploadProgress::SessionGone),
            status => {
                let error = classify(CONTEXT, status, &parts.headers, &head(body).await);
                Err(match error.kind() {
                    // A success status that the protocol does not define.
                    _ if status.is_success() => ambiguous(CONTEXT, UnknownProgress),
                    Kind::AuthLost { .. } => DriveError::new(CONTEXT.method, Kind::Transient)
                        .with_status(status)
                        .with_reason(error.reason().map(str::to_owned)),
                    Kind::CursorLost
                    | Kind::RateLimited { .. }
                    | Kind::DailyLimit
                    | Kind::NotFound
                    | Kind::AccessDenied { .. }
                    | Kind::Stale
                    | Kind::Permanent { .. }
                    | Kind::BadContent(_)
                    | Kind::Transient
                    | Kind::Unanswered
                    | Kind::NotSent => error,
                })
            }
        }
    }

    /// Returns the file from the last response. If that is not a complete snapshot of this file,
    /// reads the file.
    async fn done(
        &self,
        session: &UploadSession,
        body: ContentBody,
    ) -> Result<UploadProgress, DriveError> {
        let body = JsonBody::new(whole(CONTEXT, body).await?);
        let shown = parse_json::<wire::File>(CONTEXT, &body)
            .ok()
            .and_then(|file| normalise::snapshot(file).ok())
            .filter(|snapshot| snapshot.file == session.file);
        match shown {
            Some(snapshot) => Ok(UploadProgress::Done(snapshot.without(&self.erased))),
            None => {
                let read = self.read_file(&session.file).await?;
                Ok(UploadProgress::Done(read.snapshot))
            }
        }
    }
}

/// Returns whether the status means that the session is unknown, expired or cancelled.
fn has_ended(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) || status.as_u16() == CANCELLED
}

fn last_byte(from_byte: u64, total_bytes: u64, chunk: &Bytes) -> Result<u64, BadChunk> {
    let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
    let end = from_byte.saturating_add(bytes);
    let last = end.checked_sub(1).filter(|_| bytes > 0);
    let last = last.ok_or(BadChunk::Empty)?;
    if end > total_bytes {
        return Err(BadChunk::BeyondTheEnd);
    }
    if end < total_bytes && !bytes.is_multiple_of(UPLOAD_STEP_BYTES) {
        return Err(BadChunk::NoMultiple);
    }
    Ok(last)
}

/// Parses the progress in a 308. Without a `Range`, nothing has arrived.
fn stored(headers: &HeaderMap, total_bytes: u64) -> Option<UploadProgress> {
    let next_byte = match headers.get(header::RANGE) {
        None => 0,
        Some(range) => {
            let range = range.to_str().ok()?.trim();
            let range = range.strip_prefix("bytes=").unwrap_or(range);
            let last: u64 = range.strip_prefix("0-")?.parse().ok()?;
            last.checked_add(1)?
        }
    };
    (next_byte <= total_bytes).then_some(UploadProgress::Stored { next_byte })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_byte(range: &str, total_bytes: u64) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        match stored(&headers, total_bytes) {
            Some(UploadProgress::Stored { next_byte }) => Some(next_byte),
            _ => None,
        }
    }

    #[test]
    fn a_308_tells_how_many_bytes_have_arrived() {
        assert_eq!(next_byte("bytes=0-262143", 300_000), Some(262_144));
        assert_eq!(next_byte("0-9", 10), Some(10));
        assert_eq!(
            stored(&HeaderMap::new(), 10),
            Some(UploadProgress::Stored { next_byte: 0 })
        );
        for invalid in [
            "bytes=1-9",
            "bytes=0-10",
            "bytes=0-",
            "x",
            "bytes=0-18446744073709551615",
        ] {
            assert_eq!(next_byte(invalid, 10), None, "{invalid}");
        }
    }

    #[test]
    fn only_the_last_chunk_may_have_any_size() {
        let bytes = |count: u64| Bytes::from(vec![0; usize::try_from(count).unwrap()]);
        let step = UPLOAD_STEP_BYTES;
        assert_eq!(last_byte(0, step * 2, &bytes(step)).unwrap(), step - 1);
        assert_eq!(last_byte(step, step + 3, &bytes(3)).unwrap(), step + 2);
        assert!(matches!(
            last_byte(0, 9, &bytes(3)),
            Err(BadChunk::NoMultiple)
        ));
        assert!(matches!(
            last_byte(8, 9, &bytes(3)),
            Err(BadChunk::BeyondTheEnd)
        ));
        assert!(matches!(last_byte(0, 0, &bytes(0)), Err(BadChunk::Empty)));
    }

    #[test]
    fn a_sessions_address_is_never_shown() {
        let file = FileId::parse("f").unwrap();
        let session = UploadSession::new(file, "https://x.test/?upload_id=s3cret".to_owned());
        assert!(!format!("{session:?}").contains("s3cret"));
    }
}
