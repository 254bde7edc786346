//! Sending content into Drive, chunk by chunk (Drive guide "Upload file data", resumable uploads).

use bytes::Bytes;
use domain::{FileId, Snapshot};
use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use crate::media::{head, whole};
use crate::reasons::{Asked, classify};
use crate::request::{parsed, unclear, unsendable};
use crate::{ContentBody, DriveClient, DriveError, Kind, Secret, normalise, wire};

/// Every chunk but the last is a multiple of so many bytes.
pub const UPLOAD_STEP_BYTES: u64 = 256 * 1024;

const ASKED: Asked = Asked {
    method: "uploads.put",
    carries_cursor: false,
    writes: true,
};
/// What Google answers to an upload that was given up.
const GIVEN_UP: u16 = 499;

/// An upload that has begun, for a week at most. Whoever knows its address can write the file's content: it is stored
/// like a secret, and never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSession {
    file: FileId,
    address: Secret,
}

impl UploadSession {
    /// The session of a file at an address, as it was stored.
    #[must_use]
    pub const fn new(file: FileId, address: String) -> Self {
        Self {
            file,
            address: Secret::new(address),
        }
    }

    /// The file that is written.
    #[must_use]
    pub const fn file(&self) -> &FileId {
        &self.file
    }

    /// The address, for the one place that stores it.
    #[must_use]
    pub const fn expose_address(&self) -> &String {
        self.address.expose()
    }
}

/// How far an upload is.
#[expect(
    clippy::large_enum_variant,
    reason = "made once for every few megabytes"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadProgress {
    /// Drive has everything before this byte: go on there. It may be less than was sent.
    Stored {
        /// The position of the next byte to send.
        next_byte: u64,
    },
    /// All is there, and the file is in this state. Its checksums say whether the bytes got through.
    Done(Snapshot),
    /// The session is over and the content was not written by it: begin again. For a replacement that includes reading
    /// the file again, since an upload whose answer was lost may have been the last thing that Drive knew of it.
    SessionGone,
    /// There is a file with the new file's id already: see [`crate::UploadStart::Exists`].
    Exists,
}

/// A chunk that can't be sent as it is.
#[derive(Debug, thiserror::Error)]
enum BadChunk {
    #[error("the chunk goes beyond the end")]
    BeyondTheEnd,
    #[error("the chunk has no bytes")]
    Empty,
    #[error("a chunk that is not the last has no multiple of {UPLOAD_STEP_BYTES} bytes")]
    NoMultiple,
}

/// An answer that does not say how much has arrived.
#[derive(Debug, thiserror::Error)]
#[error("no telling how much has arrived")]
struct NoTelling;

impl DriveClient {
    /// Sends bytes of the content, from a position on: where the last answer said. All chunks but the last are
    /// multiples of [`UPLOAD_STEP_BYTES`]. For content without any bytes it is [`DriveClient::upload_state`] that
    /// completes it.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::Stale`] where the file is no longer as it was when the upload began. After every other
    /// error [`DriveClient::upload_state`] tells how far the upload is: some of the bytes, or all, may have arrived.
    /// A chunk that no upload could have is [`Kind::Permanent`] with the reason `notARequest`, and nothing is sent.
    pub async fn upload_chunk(
        &self,
        session: &UploadSession,
        from_byte: u64,
        total_bytes: u64,
        chunk: Bytes,
    ) -> Result<UploadProgress, DriveError> {
        let last = last_byte(from_byte, total_bytes, &chunk)
            .map_err(|bad| unsendable(ASKED.method, bad))?;
        let range = format!("bytes {from_byte}-{last}/{total_bytes}");
        self.put(session, &range, total_bytes, chunk).await
    }

    /// How far an upload is: after a lost answer, a crash, or an error. One that is done says so again. Content of no
    /// bytes at all is uploaded by this.
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

    /// Gives an upload up: nothing of it is written. One that is over already is as good.
    ///
    /// # Errors
    /// [`DriveError`]; it goes by itself after a week.
    pub async fn cancel_upload(&self, session: &UploadSession) -> Result<(), DriveError> {
        let Some(address) = self.address_of(session) else {
            return Ok(());
        };
        let request = http::Request::delete(address.as_str())
            .header(header::CONTENT_LENGTH, 0)
            .body(Bytes::new())
            .map_err(|error| unsendable(ASKED.method, error))?;
        let (parts, body) = self.exchange(ASKED, request).await?.into_parts();
        match parts.status {
            status if status.is_success() || is_over(status) => Ok(()),
            status => Err(classify(ASKED, status, &parts.headers, &head(body).await)),
        }
    }

    /// The session's address, if it is one of this Drive's: one that was begun elsewhere is of no use here, and the
    /// content must not go there.
    fn address_of(&self, session: &UploadSession) -> Option<Url> {
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
        let Some(address) = self.address_of(session) else {
            return Ok(UploadProgress::SessionGone);
        };
        // The address is all the authority that Drive asks for, and the access token may have ended since.
        let request = http::Request::builder()
            .method(Method::PUT)
            .uri(address.as_str())
            .header(header::CONTENT_RANGE, range)
            .header(header::CONTENT_LENGTH, chunk.len())
            .body(chunk)
            .map_err(|error| unsendable(ASKED.method, error))?;
        let (parts, body) = self.exchange(ASKED, request).await?.into_parts();
        match parts.status {
            StatusCode::PERMANENT_REDIRECT => {
                stored(&parts.headers, total_bytes).ok_or_else(|| unclear(ASKED, NoTelling))
            }
            StatusCode::OK | StatusCode::CREATED => self.done(session, body).await,
            StatusCode::CONFLICT => Ok(UploadProgress::Exists),
            status if is_over(status) => Ok(UploadProgress::SessionGone),
            status => {
                let error = classify(ASKED, status, &parts.headers, &head(body).await);
                Err(match error.kind() {
                    // An answer of success that is none of the protocol's.
                    _ if status.is_success() => unclear(ASKED, NoTelling),
                    Kind::AuthLost { .. } => DriveError::new(ASKED.method, Kind::Transient)
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

    /// The file as the last answer shows it. Where that is no complete snapshot of this file, it is read.
    async fn done(
        &self,
        session: &UploadSession,
        body: ContentBody,
    ) -> Result<UploadProgress, DriveError> {
        let body = whole(ASKED, body).await?;
        let shown = parsed::<wire::File>(ASKED, &body)
            .ok()
            .and_then(|file| normalise::snapshot(file).ok())
            .filter(|snapshot| snapshot.file == session.file);
        match shown {
            Some(snapshot) => Ok(UploadProgress::Done(snapshot)),
            None => {
                let read = self.read_file(&session.file).await?;
                Ok(UploadProgress::Done(read.snapshot))
            }
        }
    }
}

/// Not known, not any more, or given up.
fn is_over(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) || status.as_u16() == GIVEN_UP
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

/// What a 308 says has arrived: nothing, where it has no `Range`.
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

    fn told(range: &str, total_bytes: u64) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        match stored(&headers, total_bytes) {
            Some(UploadProgress::Stored { next_byte }) => Some(next_byte),
            _ => None,
        }
    }

    #[test]
    fn a_308_says_what_has_arrived() {
        assert_eq!(told("bytes=0-262143", 300_000), Some(262_144));
        assert_eq!(told("0-9", 10), Some(10));
        assert_eq!(
            stored(&HeaderMap::new(), 10),
            Some(UploadProgress::Stored { next_byte: 0 })
        );
        for nonsense in [
            "bytes=1-9",
            "bytes=0-10",
            "bytes=0-",
            "x",
            "bytes=0-18446744073709551615",
        ] {
            assert_eq!(told(nonsense, 10), None, "{nonsense}");
        }
    }

    #[test]
    fn only_the_last_chunk_is_of_any_size() {
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
