//! Sessions of resumable uploads: the bytes received so far, and the rules for chunks.

use std::{collections::HashMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use serde_json::Value;

use crate::{
    errors::DriveError,
    http::{call::Call, request_body::Upload},
    state::items::file_content::Content,
};

/// The lifetime of a session, in milliseconds: a week (the Drive guide "Upload file data").
const LIFETIME_MS: i64 = 7 * 24 * 3_600 * 1_000;
/// Every chunk but the last is a multiple of this, in bytes (the same guide).
const CHUNK_BYTES: u64 = 256 * 1024;

/// The write that an upload ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadTarget {
    /// A new file.
    Create,
    /// The content of the file that the call names.
    Update,
    /// The same through v2, where the call may carry the file's etag.
    UpdateV2,
    /// A new file, through v2.
    CreateV2,
}

/// The moments at which the `If-Match` of a resumable upload is checked. Google does not document
/// them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadCondition {
    /// When the upload begins, and again when it completes.
    #[default]
    Both,
    /// Only when it begins: a change made in the meantime is overwritten.
    Begin,
    /// Only when it completes.
    End,
    /// Never: a resumable upload ignores the header.
    Never,
}

impl UploadCondition {
    /// Returns whether the condition is checked when an upload begins.
    pub(crate) fn at_begin(self) -> bool {
        match self {
            Self::Both | Self::Begin => true,
            Self::End | Self::Never => false,
        }
    }

    /// Returns whether the condition is checked when an upload completes.
    pub(crate) fn at_end(self) -> bool {
        match self {
            Self::Both | Self::End => true,
            Self::Begin | Self::Never => false,
        }
    }
}

/// The part of a chunk that Drive keeps, for so many chunks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartialChunks {
    pub(crate) keep_bytes: u64,
    /// `None` is every chunk from now on.
    pub(crate) chunks: Option<u64>,
}

/// One resumable upload.
#[derive(Debug)]
pub(crate) struct Session {
    call: Arc<Call>,
    target: UploadTarget,
    mime_type: Option<String>,
    total: Option<u64>,
    received: BytesMut,
    started_ms: i64,
    /// All bytes have been received and the file is being written.
    finishing: bool,
    /// The response to the last chunk, sent again to repeated requests.
    response: Option<Value>,
}

/// The open sessions.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    sessions: HashMap<String, Session>,
    pub(crate) condition: UploadCondition,
    /// Chunks of which only the beginning is kept.
    pub(crate) partial: Option<PartialChunks>,
}

impl Uploads {
    /// Returns the number of bytes of the next chunk that are kept, if not all of them are.
    pub(crate) fn take_partial(&mut self) -> Option<u64> {
        let partial = self.partial.as_mut()?;
        let keep_bytes = partial.keep_bytes;
        if let Some(chunks) = &mut partial.chunks {
            *chunks = chunks.saturating_sub(1);
            if *chunks == 0 {
                self.partial = None;
            }
        }
        Some(keep_bytes)
    }

    /// Opens a session under an unused id.
    pub(crate) fn open(&mut self, id: String, session: Session) {
        self.sessions.insert(id, session);
    }

    /// Returns the session with this id, unless it has expired.
    ///
    /// # Errors
    /// 404 `notFound`.
    pub(crate) fn session(&mut self, id: &str, now_ms: i64) -> Result<&mut Session, DriveError> {
        self.sessions
            .retain(|_, session| now_ms.saturating_sub(session.started_ms) <= LIFETIME_MS);
        self.sessions
            .get_mut(id)
            .ok_or_else(|| DriveError::new(404, "notFound", "Upload session not found."))
    }

    /// Stores the response to the last chunk of a session.
    pub(crate) fn complete(&mut self, id: &str, response: Value, now_ms: i64) {
        if let Ok(session) = self.session(id, now_ms) {
            session.response = Some(response);
        }
    }

    /// Removes a session.
    pub(crate) fn remove(&mut self, id: &str) {
        self.sessions.remove(id);
    }
}

/// An upload of which every byte has been received.
pub(crate) struct CompleteUpload {
    pub(crate) call: Arc<Call>,
    pub(crate) target: UploadTarget,
    pub(crate) upload: Upload,
}

/// The state of a session after a request to it.
pub(crate) enum UploadState {
    /// This many bytes have been received, and more are missing.
    Incomplete(u64),
    /// This request brought the last byte.
    Complete(CompleteUpload),
    /// An earlier request completed the upload, with this response.
    Finished(Value),
}

/// The `Content-Range` of a request.
#[derive(Debug, PartialEq, Eq)]
enum ContentRange {
    /// No bytes: `bytes */TOTAL` asks how many have been received.
    Status(Option<u64>),
    /// The first and the last byte, both inclusive, and the total if it is known.
    Chunk(u64, u64, Option<u64>),
}

fn parse_content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let total = match total.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    if range.trim() == "*" {
        return Some(ContentRange::Status(total));
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let ordered = first <= last && total.is_none_or(|total| last < total);
    ordered.then_some(ContentRange::Chunk(first, last, total))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Session {
    /// Starts an upload.
    pub(crate) fn new(
        call: Call,
        target: UploadTarget,
        mime_type: Option<String>,
        total: Option<u64>,
        now_ms: i64,
    ) -> Self {
        Self {
            call: Arc::new(call),
            target,
            mime_type,
            total,
            received: BytesMut::new(),
            started_ms: now_ms,
            finishing: false,
            response: None,
        }
    }

    /// Processes the bytes of one request, of which at most `keep_bytes` are kept.
    ///
    /// # Errors
    /// 400 for a range that does not fit the body, the bytes received so far, or the size of a
    /// chunk; 503 while the file is being written.
    pub(crate) fn receive(
        &mut self,
        headers: &HeaderMap,
        bytes: &Bytes,
        keep_bytes: Option<u64>,
    ) -> Result<UploadState, DriveError> {
        if let Some(response) = &self.response {
            return Ok(UploadState::Finished(response.clone()));
        }
        if self.finishing {
            return Err(DriveError::new(503, "backendError", "Backend Error"));
        }
        self.append_request(headers, bytes, keep_bytes)?;
        let received = length(&self.received);
        Ok(if self.total == Some(received) {
            UploadState::Complete(self.finish())
        } else {
            UploadState::Incomplete(received)
        })
    }

    fn append_request(
        &mut self,
        headers: &HeaderMap,
        bytes: &Bytes,
        keep_bytes: Option<u64>,
    ) -> Result<(), DriveError> {
        let header = headers
            .get(header::CONTENT_RANGE)
            .map(|value| value.to_str().unwrap_or_default());
        let range = match header {
            Some(text) => parse_content_range(text).ok_or_else(|| {
                DriveError::bad_request(format!("Failed to parse Content-Range header: {text}"))
            })?,
            None if bytes.is_empty() => ContentRange::Status(Some(0)),
            None => ContentRange::Chunk(0, length(bytes) - 1, Some(length(bytes))),
        };
        match range {
            ContentRange::Status(total) => self.set_total(total),
            ContentRange::Chunk(first, last, total) => {
                self.set_total(total)?;
                self.append(first, last, bytes, keep_bytes)
            }
        }
    }

    fn set_total(&mut self, total: Option<u64>) -> Result<(), DriveError> {
        match (self.total, total) {
            (Some(known), Some(total)) if known != total => Err(DriveError::bad_request(format!(
                "Invalid request. The total size was {known} bytes and is {total} bytes now."
            ))),
            (Some(_), _) | (None, None) => Ok(()),
            (None, Some(total)) => {
                self.total = Some(total);
                Ok(())
            }
        }
    }

    fn append(
        &mut self,
        first: u64,
        last: u64,
        bytes: &Bytes,
        keep_bytes: Option<u64>,
    ) -> Result<(), DriveError> {
        let (sent, received) = (length(bytes), length(&self.received));
        if sent != last - first + 1 {
            return Err(DriveError::bad_request(format!(
                "Invalid request. The body has {sent} bytes, its Content-Range names {}.",
                last - first + 1
            )));
        }
        if first > received {
            return Err(DriveError::bad_request(format!(
                "Invalid request. According to the Content-Range header, the upload offset is \
                 {first} byte(s), which exceeds already uploaded size of {received} byte(s)."
            )));
        }
        if self.total != Some(last + 1) && !sent.is_multiple_of(CHUNK_BYTES) {
            return Err(DriveError::bad_request(format!(
                "Invalid request. The size of a chunk must be a multiple of {CHUNK_BYTES} bytes, \
                 except for the last one."
            )));
        }
        // Bytes received before are not overwritten: only the new part of a repeated chunk counts.
        let known = usize::try_from(received - first).unwrap_or(usize::MAX);
        let new = bytes.get(known..).unwrap_or_default();
        let kept = keep_bytes.map_or(new.len(), |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX).min(new.len())
        });
        self.received
            .extend_from_slice(new.get(..kept).unwrap_or_default());
        Ok(())
    }

    /// Takes the bytes out of the session, without copying them.
    fn finish(&mut self) -> CompleteUpload {
        self.finishing = true;
        CompleteUpload {
            call: Arc::clone(&self.call),
            target: self.target,
            upload: Upload {
                metadata: self.call.body.clone(),
                content: Arc::new(Content::uploaded(self.received.split().freeze())),
                mime_type: self.mime_type.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_a_status_request_or_a_chunk() {
        assert_eq!(
            parse_content_range("bytes */100"),
            Some(ContentRange::Status(Some(100)))
        );
        assert_eq!(
            parse_content_range("bytes */*"),
            Some(ContentRange::Status(None))
        );
        assert_eq!(
            parse_content_range("bytes 0-9/100"),
            Some(ContentRange::Chunk(0, 9, Some(100)))
        );
        assert_eq!(
            parse_content_range("bytes 5-9/*"),
            Some(ContentRange::Chunk(5, 9, None))
        );
        for bad in [
            "",
            "bytes",
            "bytes 9-5/10",
            "bytes 0-10/10",
            "bytes a-b/c",
            "0-9/10",
        ] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
