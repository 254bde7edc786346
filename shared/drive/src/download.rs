//! Content out of Drive, piece by piece, and never silently less or more of it.

use bytes::Bytes;
use domain::FileId;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode, header};

use crate::media::is_past_the_end;
use crate::request::Call;
use crate::{ContentBody, DriveClient, DriveError, Kind};

/// What is wrong with content that Drive sent as if all were well. Asking again may mend it: [`Kind::BadContent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadContent {
    /// It ended, stood still for too long, or was cut off before its end. What came is good as far as it goes:
    /// ask for the rest from [`Download::next_byte`].
    #[error("the content broke off")]
    BrokeOff,
    /// It goes on beyond its end: nothing of it can be trusted.
    #[error("the content is longer than it should be")]
    TooLong,
    /// Something else came in its place, such as an error page with the status 200.
    #[error("something else than the content came")]
    SomethingElse,
    /// Another part of it came than was asked for.
    #[error("another part of the content came")]
    OtherPart,
    /// It is of another size than was expected, or ends before the byte that was asked for: look at the file again.
    #[error("the content has another size")]
    OtherSize,
}

/// What the caller knows of the content beforehand, and wants it to be. What is `None` is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected<'a> {
    /// Its type.
    pub mime_type: Option<&'a str>,
    /// Its size as a whole, in bytes.
    pub size_bytes: Option<u64>,
}

/// Content on its way. It is read by [`Download::chunk`] until that gives `None`, in constant memory.
///
/// Whether the bytes are the right ones is for the caller to check, by Drive's checksums.
pub struct Download {
    method: &'static str,
    body: Option<ContentBody>,
    /// Bytes that come first and were not asked for: the server took no notice of the range.
    skip: u64,
    next_byte: u64,
    /// Where the content ends, if anybody said so.
    end: Option<u64>,
    mime_type: Option<String>,
    bad: Option<BadContent>,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("method", &self.method)
            .field("next_byte", &self.next_byte)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Download {
    /// The size of the content as a whole, in bytes, where Drive or the caller knows it: not that of an export.
    #[must_use]
    pub const fn total_bytes(&self) -> Option<u64> {
        self.end
    }

    /// The position, in the content as a whole, of the first byte that the next chunk will have: where to go on after an
    /// error.
    #[must_use]
    pub const fn next_byte(&self) -> u64 {
        self.next_byte
    }

    /// The type that Drive gives it, parameters such as `charset` included.
    #[must_use]
    pub fn mime_type(&self) -> Option<&str> {
        self.mime_type.as_deref()
    }

    /// The next bytes, never none of them; `None` at the end, which is where it should be.
    ///
    /// # Errors
    /// [`Kind::BadContent`] where the content ends early, late, or stands still; asked again, the same.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, DriveError> {
        loop {
            if let Some(bad) = self.bad {
                return Err(DriveError::new(self.method, Kind::BadContent(bad)));
            }
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            match body.next().await {
                Some(Ok(piece)) => {
                    let piece = self.unskipped(piece);
                    if !piece.is_empty() {
                        return self.taken(piece).map(Some);
                    }
                }
                Some(Err(error)) => {
                    return Err(self.broken(BadContent::BrokeOff).with_source(error));
                }
                None => {
                    self.body = None;
                    if self.skip > 0 || self.end.is_some_and(|end| self.next_byte < end) {
                        return Err(self.broken(BadContent::BrokeOff));
                    }
                }
            }
        }
    }

    /// The piece without what of it was not asked for.
    fn unskipped(&mut self, mut piece: Bytes) -> Bytes {
        let skipped = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        self.skip -= length(skipped);
        piece.split_off(skipped)
    }

    fn taken(&mut self, piece: Bytes) -> Result<Bytes, DriveError> {
        let next = self.next_byte.saturating_add(length(piece.len()));
        if self.end.is_some_and(|end| next > end) {
            return Err(self.broken(BadContent::TooLong));
        }
        self.next_byte = next;
        Ok(piece)
    }

    fn broken(&mut self, bad: BadContent) -> DriveError {
        self.body = None;
        self.bad = Some(bad);
        DriveError::new(self.method, Kind::BadContent(bad))
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl DriveClient {
    /// The content of a file, from this byte on (v3 `files.get` with `alt=media`). Malware is never downloaded.
    ///
    /// A file whose size is `from_byte` is at its end already, unless that is 0: nothing is asked then.
    ///
    /// # Errors
    /// [`DriveError`]; [`DriveError::content_unavailable`] says why Drive does not give it. [`Kind::BadContent`] for what is
    /// not this content, also from [`Download::chunk`].
    pub async fn download(
        &self,
        file: &FileId,
        from_byte: u64,
        expected: Expected<'_>,
    ) -> Result<Download, DriveError> {
        let call = Call::new("files.get", Method::GET, format!("/drive/v3/files/{file}"))
            .query("alt", "media")
            .query("supportsAllDrives", "true")
            .query("acknowledgeAbuse", "false");
        self.content_of(call, from_byte, expected).await
    }

    /// The answer to a call for content, from this byte on.
    pub(crate) async fn content_of(
        &self,
        call: Call,
        from_byte: u64,
        expected: Expected<'_>,
    ) -> Result<Download, DriveError> {
        let method = call.asked().method;
        if from_byte > 0 && expected.size_bytes == Some(from_byte) {
            return Ok(at_the_end(method, from_byte));
        }
        let mut call = call
            .any_answer()
            .header(header::ACCEPT_ENCODING, "identity")?;
        if from_byte > 0 {
            call = call.header(header::RANGE, &format!("bytes={from_byte}-"))?;
        }
        let answer = self
            .open(&call)
            .await
            .map_err(|error| past_the_end(method, error))?;
        begun(method, answer, from_byte, expected)
            .map_err(|bad| DriveError::new(method, Kind::BadContent(bad)))
    }
}

fn at_the_end(method: &'static str, end: u64) -> Download {
    Download {
        method,
        body: None,
        skip: 0,
        next_byte: end,
        end: Some(end),
        mime_type: None,
        bad: None,
    }
}

/// A byte that is not there is one that was: the content has become shorter since the caller looked.
pub(crate) fn past_the_end(method: &'static str, error: DriveError) -> DriveError {
    if !is_past_the_end(&error) {
        return error;
    }
    let kind = Kind::BadContent(BadContent::OtherSize);
    DriveError::new(method, kind)
        .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
        .with_reason(error.reason().map(str::to_owned))
}

/// A download of an answer of success, if that is what was asked for.
pub(crate) fn begun(
    method: &'static str,
    answer: http::Response<ContentBody>,
    from_byte: u64,
    expected: Expected<'_>,
) -> Result<Download, BadContent> {
    let (parts, body) = answer.into_parts();
    let headers = &parts.headers;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (skip, told) = if parts.status == StatusCode::PARTIAL_CONTENT {
        let part = text(header::CONTENT_RANGE).and_then(Part::parse);
        let part = part.filter(|part| part.first == from_byte);
        (0, part.ok_or(BadContent::OtherPart)?.total)
    } else {
        (from_byte, content_length(headers))
    };
    let mime_type = text(header::CONTENT_TYPE);
    if told.is_none() || told != expected.size_bytes {
        let other = mime_type.is_some_and(|kind| is_error_page(kind, expected.mime_type));
        if other || is_encoded(headers) {
            return Err(BadContent::SomethingElse);
        }
    }
    if let (Some(told), Some(expected)) = (told, expected.size_bytes)
        && told != expected
    {
        return Err(BadContent::OtherSize);
    }
    let end = told.or(expected.size_bytes);
    if end.is_some_and(|end| end < from_byte) {
        return Err(BadContent::OtherSize);
    }
    Ok(Download {
        method,
        body: Some(body),
        skip,
        next_byte: from_byte,
        end,
        mime_type: mime_type.map(str::to_owned),
        bad: None,
    })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Compressed on its way, although we said that we take no such thing: its length is not that of the content.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity")
}

/// Whether what came is of a type that errors have, and the content is not. Drive has been seen to send both of them
/// with the status 200.
fn is_error_page(kind: &str, expected: Option<&str>) -> bool {
    let essence = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    };
    let Some(expected) = expected.map(essence) else {
        return false;
    };
    match essence(kind).as_str() {
        "text/html" => expected != "text/html",
        "application/json" => expected != "application/json" && !expected.ends_with("+json"),
        _ => false,
    }
}

/// What a `Content-Range` says (RFC 9110, section 14.4).
#[derive(Debug, PartialEq, Eq)]
struct Part {
    first: u64,
    total: Option<u64>,
}

impl Part {
    fn parse(text: &str) -> Option<Self> {
        let (span, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
        let (first, last) = span.split_once('-')?;
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let total = match total.trim() {
            "*" => None,
            number => Some(number.parse::<u64>().ok()?),
        };
        let ordered = first <= last && total.is_none_or(|total| last < total);
        ordered.then_some(Self { first, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_as_http_defines_it() {
        let part = |first, total| Some(Part { first, total });
        assert_eq!(Part::parse("bytes 0-9/10"), part(0, Some(10)));
        assert_eq!(Part::parse("bytes 5-9/*"), part(5, None));
        let wrong = [
            "",
            "bytes",
            "bytes 9-5/10",
            "bytes 0-10/10",
            "bytes */10",
            "items 0-9/10",
            "bytes -1-9/10",
        ];
        for text in wrong {
            assert_eq!(Part::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_what_errors_come_as_and_the_file_is_not_is_an_error_page() {
        let error = |kind, expected| is_error_page(kind, Some(expected));
        assert!(error("text/html; charset=UTF-8", "image/png"));
        assert!(error("application/json", "text/html"));
        assert!(error("Text/HTML", "application/json"));
        assert!(!error("text/html; charset=utf-8", "text/html"));
        assert!(!error(
            "application/json",
            "application/vnd.google-apps.script+json"
        ));
        assert!(!error("application/octet-stream", "image/png"));
        assert!(!is_error_page("text/html", None));
    }
}
