//! Corrupt responses: cut off, altered, too long, of another type, or not Google's at all.

use std::io;

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http::{StatusCode, header};
use serde_json::Value;

use crate::fault_injection::CorruptBody;

/// Returns an error page as a front end sends it.
pub(crate) fn html_page(status: u16) -> Response {
    let page = "<!DOCTYPE html><html><title>Error</title><p>That\u{2019}s an error.</html>";
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = header::HeaderValue::from_static("text/html; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Returns a response that is not Google's: a text as it is, anything else as JSON. An empty
/// `kind` leaves the header `Content-Type` out.
pub(crate) fn foreign(status: u16, body: &Value, kind: Option<&str>) -> Response {
    let text = body
        .as_str()
        .map_or_else(|| body.to_string(), str::to_owned);
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    set_content_type(
        &mut response,
        kind.unwrap_or("application/json; charset=UTF-8"),
    );
    response
}

/// Sets the header `Content-Type`; an empty `kind` removes it.
pub(crate) fn set_content_type(response: &mut Response, kind: &str) {
    response.headers_mut().remove(header::CONTENT_TYPE);
    if !kind.is_empty()
        && let Ok(kind) = kind.parse()
    {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
}

/// Corrupts the body of a response.
pub(crate) fn corrupted(response: Response, corrupt: &CorruptBody) -> Response {
    let (mut parts, body) = response.into_parts();
    if corrupt.append_bytes.is_some() || corrupt.end_after.is_some() {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    let chunks = body
        .into_data_stream()
        .map(|chunk| chunk.map_err(io::Error::other));
    let extra = corrupt.append_bytes.unwrap_or(0);
    let extra = usize::try_from(extra).unwrap_or(usize::MAX);
    let appended = stream::iter((extra > 0).then(|| Ok(Bytes::from(vec![b'+'; extra]))));
    let stream = corrupted_stream(chunks.chain(appended), *corrupt);
    Response::from_parts(parts, Body::from_stream(stream))
}

/// Alters one byte and ends or breaks off the stream of chunks.
fn corrupted_stream(
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    corrupt: CorruptBody,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let end = corrupt.cut_after.or(corrupt.end_after);
    let from = (Box::pin(chunks), 0_u64);
    stream::try_unfold(from, move |(mut chunks, at)| async move {
        if end.is_some_and(|end| at >= end) {
            if corrupt.cut_after.is_none() {
                return Ok(None);
            }
            // The preceding bytes are sent first: an error right after them would discard them.
            tokio::task::yield_now().await;
            return Err(io::Error::other("cut off by a fault"));
        }
        let Some(chunk) = chunks.next().await.transpose()? else {
            return Ok(None);
        };
        let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let room = end.map_or(length, |end| end.saturating_sub(at).min(length));
        let kept = usize::try_from(room).unwrap_or(usize::MAX);
        let kept = chunk.slice(..kept.min(chunk.len()));
        let kept = match corrupt
            .flip_at
            .and_then(|position| position.checked_sub(at))
        {
            Some(position) => flipped(kept, position),
            None => kept,
        };
        Ok(Some((kept, (chunks, at.saturating_add(room)))))
    })
}

fn flipped(chunk: Bytes, position: u64) -> Bytes {
    let mut chunk = BytesMut::from(chunk);
    if let Some(byte) = usize::try_from(position)
        .ok()
        .and_then(|position| chunk.get_mut(position))
    {
        *byte = !*byte;
    }
    chunk.freeze()
}
