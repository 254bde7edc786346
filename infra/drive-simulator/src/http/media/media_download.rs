//! Downloads of content, whole or in ranges.

use std::{io, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom};

use crate::{
    errors::DriveError,
    http::response::error_response,
    state::{
        View,
        items::file_content::{Content, PART_BYTES},
    },
};

/// The headers by which a browser does not take content for a page.
const NEVER_A_PAGE: [(header::HeaderName, &str); 3] = [
    (header::CONTENT_DISPOSITION, "attachment"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "sandbox; default-src 'none'",
    ),
];

/// A parsed `Range` header.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// The whole content: no header, or one that is not understood, which HTTP tells a server to
    /// ignore.
    Whole,
    /// From the first to the last byte, both inclusive.
    Part(u64, u64),
    /// A range outside the content.
    Unsatisfiable,
}

fn parse_range(header: Option<&str>, size: u64) -> Range {
    let Some((first, last)) = header
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|text| text.split_once('-'))
    else {
        return Range::Whole;
    };
    let bounds = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => return Range::Whole,
        (Ok(first), Ok(last)) => (first, last),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, u64::MAX),
        (Err(_), Ok(0)) if first.trim().is_empty() => return Range::Unsatisfiable,
        (Err(_), Ok(count)) if first.trim().is_empty() => (size.saturating_sub(count), u64::MAX),
        _ => return Range::Whole,
    };
    if bounds.0 >= size {
        Range::Unsatisfiable
    } else {
        Range::Part(bounds.0, bounds.1.min(size - 1))
    }
}

/// Checks that the viewer may download the content of an item.
///
/// # Errors
/// 403 `fileNotDownloadable` for an item that is not downloadable, 403 `cannotDownloadAbusiveFile`
/// for malware that its owner (or an organizer) has not acknowledged.
pub(crate) fn check_allowed(view: &View, acknowledge_abuse: bool) -> Result<(), DriveError> {
    let rule = view.item.rule;
    if rule.not_downloadable {
        let message = "This file cannot be downloaded by the user.";
        return Err(DriveError::new(403, "fileNotDownloadable", message).at("alt"));
    }
    if rule.abusive && !(acknowledge_abuse && view.role.can_delete()) {
        let message = "This file has been identified as malware or spam and cannot be downloaded.";
        return Err(DriveError::new(403, "cannotDownloadAbusiveFile", message).at("alt"));
    }
    Ok(())
}

/// Responds with the content of an item.
///
/// # Errors
/// 403 `fileNotDownloadable` for items without binary content, and the errors of [`check_allowed`].
pub(crate) async fn download(
    view: &View,
    acknowledge_abuse: bool,
    headers: &HeaderMap,
) -> Result<Response, DriveError> {
    let Some(content) = &view.item.content else {
        let message = "Only files with binary content can be directly downloaded. Use Export with \
                       Docs Editors files.";
        return Err(DriveError::new(403, "fileNotDownloadable", message).at("alt"));
    };
    check_allowed(view, acknowledge_abuse)?;
    respond(content, &view.item.mime_type, headers).await
}

/// Responds with content, whole or the requested range; 416 for a range beyond the end. Only one
/// part of it is in memory at a time.
///
/// # Errors
/// 500 if a file of this machine cannot be read.
pub(crate) async fn respond(
    content: &Arc<Content>,
    mime_type: &str,
    headers: &HeaderMap,
) -> Result<Response, DriveError> {
    let size = content.size();
    let requested = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let (status, first, length) = match parse_range(requested, size) {
        Range::Whole => (StatusCode::OK, 0, size),
        Range::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Range::Unsatisfiable => {
            let reason = "requestedRangeNotSatisfiable";
            let error = DriveError::new(416, reason, "Request range not satisfiable");
            let mut response = error_response(&error);
            if let Ok(span) = format!("bytes */{size}").parse() {
                response.headers_mut().insert(header::CONTENT_RANGE, span);
            }
            return Ok(response);
        }
    };
    let mut response = Response::new(content_body(content, first, length).await?);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Ok(kind) = mime_type.parse() {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    // Content is anybody's: a browser saves it, and runs nothing of it in this server's name.
    for (name, value) in NEVER_A_PAGE {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(span) = format!("bytes {first}-{}/{size}", first + length - 1).parse()
    {
        headers.insert(header::CONTENT_RANGE, span);
    }
    Ok(response)
}

async fn content_body(content: &Arc<Content>, first: u64, length: u64) -> Result<Body, DriveError> {
    let Some(path) = content.path() else {
        let content = Arc::clone(content);
        let parts = stream::iter(parts(first, length)).map(move |(from, length)| {
            let part = content.part(from, length).unwrap_or_default();
            Ok::<_, io::Error>(part)
        });
        return Ok(Body::from_stream(parts));
    };
    let unreadable = |error: io::Error| {
        DriveError::new(
            500,
            "internalError",
            format!("The file of the library cannot be read: {error}"),
        )
    };
    let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    file.seek(SeekFrom::Start(first))
        .await
        .map_err(unreadable)?;
    Ok(Body::from_stream(stream::try_unfold(
        (file, length),
        |(mut file, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let mut buffer = vec![0_u8; usize::try_from(left.min(PART_BYTES)).unwrap_or_default()];
            let read = file.read(&mut buffer).await?;
            if read == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file of the library became shorter",
                ));
            }
            buffer.truncate(read);
            let left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
            Ok(Some((Bytes::from(buffer), (file, left))))
        },
    )))
}

/// Returns the positions and lengths of the parts of a range.
fn parts(first: u64, length: u64) -> impl Iterator<Item = (u64, u64)> + Send {
    let end = first.saturating_add(length);
    std::iter::successors((length > 0).then_some(first), move |from| {
        from.checked_add(PART_BYTES).filter(|next| *next < end)
    })
    .map(move |from| (from, PART_BYTES.min(end - from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_split_into_parts_without_gaps() {
        let of = |first, length| parts(first, length).collect::<Vec<_>>();
        assert_eq!(of(7, 0), []);
        assert_eq!(of(7, 1), [(7, 1)]);
        assert_eq!(of(7, PART_BYTES), [(7, PART_BYTES)]);
        assert_eq!(
            of(7, PART_BYTES + 2),
            [(7, PART_BYTES), (7 + PART_BYTES, 2)]
        );
    }

    #[test]
    fn ranges_are_parsed_as_http_defines_them() {
        assert_eq!(parse_range(None, 10), Range::Whole);
        assert_eq!(parse_range(Some("bytes=2-4"), 10), Range::Part(2, 4));
        assert_eq!(parse_range(Some("bytes=2-"), 10), Range::Part(2, 9));
        assert_eq!(parse_range(Some("bytes=-3"), 10), Range::Part(7, 9));
        assert_eq!(parse_range(Some("bytes=5-99"), 10), Range::Part(5, 9));
        assert_eq!(parse_range(Some("bytes=10-"), 10), Range::Unsatisfiable);
        assert_eq!(parse_range(Some("bytes=-0"), 10), Range::Unsatisfiable);
        assert_eq!(parse_range(Some("bytes=4-2"), 10), Range::Whole);
        assert_eq!(parse_range(Some("bytes=1-2,4-5"), 10), Range::Whole);
        assert_eq!(parse_range(Some("bytes=0-"), 0), Range::Unsatisfiable);
    }
}
