//! Streaming downloads of content that detect missing and surplus bytes.

use bytes::Bytes;
use domain::FileId;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode, header};

use crate::calls::request::Call;
use crate::transfer::media::is_range_not_satisfiable;
use crate::{ContentBody, DriveClient, DriveError, Kind};

/// A defect of content that Drive sent with a success status. A retry may succeed: see
/// [`Kind::BadContent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadContent {
    /// The content ended early, stalled or was cut off. The bytes so far are valid: request the
    /// rest from [`Download::next_byte`].
    #[error("the content ended early")]
    Interrupted,
    /// The content continues beyond its end: none of it can be trusted.
    #[error("the content is longer than expected")]
    TooLong,
    /// The body is something else, such as an error page with the status 200.
    #[error("the response body is not the content")]
    UnexpectedBody,
    /// The response contains another range than the requested one.
    #[error("the response contains another range")]
    WrongRange,
    /// The size differs from the expected one, or the content ends before the first requested byte:
    /// the file must be read again.
    #[error("the content has another size than expected")]
    WrongSize,
}

/// The properties that the caller expects of the content. `None` is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected<'a> {
    /// The MIME type.
    pub mime_type: Option<&'a str>,
    /// The size of the whole content, in bytes.
    pub size_bytes: Option<u64>,
}

/// A download in progress. [`Download::chunk`] is called until it returns `None`; memory use is
/// constant.
///
/// The caller verifies the bytes against Drive's checksums.
pub struct Download {
    method: &'static str,
    body: Option<ContentBody>,
    /// The number of leading bytes to skip, if the server ignored the range.
    skip: u64,
    next_byte: u64,
    /// The size of the whole content, if known.
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
    /// Returns the size of the whole content in bytes, if Drive or the caller knows it. The size of
    /// an export is unknown.
    #[must_use]
    pub const fn total_bytes(&self) -> Option<u64> {
        self.end
    }

    /// Returns the position of the next byte in the whole content: the place to resume after an
    /// error.
    #[must_use]
    pub const fn next_byte(&self) -> u64 {
        self.next_byte
    }

    /// Returns the MIME type that Drive sent, including parameters such as `charset`.
    #[must_use]
    pub fn mime_type(&self) -> Option<&str> {
        self.mime_type.as_deref()
    }

    /// Returns the next bytes, at least one; `None` at the end, after checking that it is the end.
    ///
    /// # Errors
    /// [`Kind::BadContent`] if the content ends early or late, or stalls. Later calls return the
    /// same error.
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
                    let piece = self.without_skipped(piece);
                    if !piece.is_empty() {
                        return self.count(piece).map(Some);
                    }
                }
                Some(Err(error)) => {
                    return Err(self.fail(BadContent::Interrupted).with_source(error));
                }
                None => {
                    self.body = None;
                    if self.skip > 0 || self.end.is_some_and(|end| self.next_byte < end) {
                        return Err(self.fail(BadContent::Interrupted));
                    }
                }
            }
        }
    }

    /// Removes the bytes to skip from a piece.
    fn without_skipped(&mut self, mut piece: Bytes) -> Bytes {
        let skipped = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        self.skip -= length(skipped);
        piece.split_off(skipped)
    }

    fn count(&mut self, piece: Bytes) -> Result<Bytes, DriveError> {
        let next = self.next_byte.saturating_add(length(piece.len()));
        if self.end.is_some_and(|end| next > end) {
            return Err(self.fail(BadContent::TooLong));
        }
        self.next_byte = next;
        Ok(piece)
    }

    fn fail(&mut self, bad: BadContent) -> DriveError {
        self.body = None;
        self.bad = Some(bad);
        DriveError::new(self.method, Kind::BadContent(bad))
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl DriveClient {
    /// Downloads the content of a file from a byte on (v3 `files.get` with `alt=media`). Malware is
    /// never downloaded.
    ///
    /// If `from_byte` is the size of the file and not 0, the download is complete and nothing is
    /// sent.
    ///
    /// # Errors
    /// [`DriveError`]; [`DriveError::content_unavailable`] returns why Drive does not provide it.
    /// [`Kind::BadContent`] for anything but this content, also from [`Download::chunk`].
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
        self.call_for_content(call, from_byte, expected).await
    }

    /// Makes a call whose response is content, from a byte on.
    pub(crate) async fn call_for_content(
        &self,
        call: Call,
        from_byte: u64,
        expected: Expected<'_>,
    ) -> Result<Download, DriveError> {
        let method = call.context().method;
        if from_byte > 0 && expected.size_bytes == Some(from_byte) {
            return Ok(completed(method, from_byte));
        }
        let mut call = call
            .accept_any()
            .header(header::ACCEPT_ENCODING, "identity")?;
        if from_byte > 0 {
            call = call.header(header::RANGE, &format!("bytes={from_byte}-"))?;
        }
        let answer = self
            .open(&call)
            .await
            .map_err(|error| range_error(method, error))?;
        start_download(method, answer, from_byte, expected)
            .map_err(|bad| DriveError::new(method, Kind::BadContent(bad)))
    }
}

fn completed(method: &'static str, end: u64) -> Download {
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

/// Converts the error for a range beyond the end: the content has become shorter since it was last
/// read.
pub(crate) fn range_error(method: &'static str, error: DriveError) -> DriveError {
    if !is_range_not_satisfiable(&error) {
        return error;
    }
    let kind = Kind::BadContent(BadContent::WrongSize);
    DriveError::new(method, kind)
        .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
        .with_reason(error.reason().map(str::to_owned))
}

/// Starts a download from a successful response, after checking its range, size and type.
pub(crate) fn start_download(
    method: &'static str,
    answer: http::Response<ContentBody>,
    from_byte: u64,
    expected: Expected<'_>,
) -> Result<Download, BadContent> {
    let (parts, body) = answer.into_parts();
    let headers = &parts.headers;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (skip, size) = if parts.status == StatusCode::PARTIAL_CONTENT {
        let part = text(header::CONTENT_RANGE).and_then(Part::parse);
        let part = part.filter(|part| part.first == from_byte);
        (0, part.ok_or(BadContent::WrongRange)?.total)
    } else {
        (from_byte, content_length(headers))
    };
    let mime_type = text(header::CONTENT_TYPE);
    if size.is_none() || size != expected.size_bytes {
        let other = mime_type.is_some_and(|kind| is_error_page(kind, expected.mime_type));
        if other || is_encoded(headers) {
            return Err(BadContent::UnexpectedBody);
        }
    }
    if let (Some(size), Some(expected)) = (size, expected.size_bytes)
        && size != expected
    {
        return Err(BadContent::WrongSize);
    }
    let end = size.or(expected.size_bytes);
    if end.is_some_and(|end| end < from_byte) {
        return Err(BadContent::WrongSize);
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

/// Returns whether the body is compressed although the request does not accept that: its length is
/// not the length of the content.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity")
}

/// Returns whether the type is one of error responses and differs from the expected one. Drive has
/// been seen to send both types with the status 200.
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

/// A parsed `Content-Range` (RFC 9110, section 14.4).
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
    fn a_content_range_is_parsed_as_http_defines_it() {
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
    fn only_a_type_of_errors_that_is_not_expected_is_an_error_page() {
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
