//! Answers that arrive damaged: cut off, altered, too long, or as a page of HTML.

use std::io;

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http::{StatusCode, header};

use crate::faults::Spoil;

/// A page as a front end sends it.
pub(crate) fn page(status: u16) -> Response {
    let page = "<!DOCTYPE html><html><title>Error</title><p>That\u{2019}s an error.</html>";
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = header::HeaderValue::from_static("text/html; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An answer whose body is damaged on its way.
pub(crate) fn spoiled(response: Response, spoil: &Spoil) -> Response {
    let (mut parts, body) = response.into_parts();
    if spoil.append_bytes.is_some() || spoil.end_after.is_some() {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    let pieces = body
        .into_data_stream()
        .map(|piece| piece.map_err(io::Error::other));
    let extra = spoil.append_bytes.unwrap_or(0);
    let extra = usize::try_from(extra).unwrap_or(usize::MAX);
    let more = stream::iter((extra > 0).then(|| Ok(Bytes::from(vec![b'+'; extra]))));
    let damaged = damaged(pieces.chain(more), *spoil);
    Response::from_parts(parts, Body::from_stream(damaged))
}

/// The pieces with one byte altered, up to where they end or break off.
fn damaged(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    spoil: Spoil,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let end = spoil.cut_after.or(spoil.end_after);
    let from = (Box::pin(pieces), 0_u64);
    stream::try_unfold(from, move |(mut pieces, at)| async move {
        if end.is_some_and(|end| at >= end) {
            if spoil.cut_after.is_none() {
                return Ok(None);
            }
            // What came before is sent first: an error right after it would take it along.
            tokio::task::yield_now().await;
            return Err(io::Error::other("cut off, as a fault asked"));
        }
        let Some(piece) = pieces.next().await.transpose()? else {
            return Ok(None);
        };
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let room = end.map_or(length, |end| end.saturating_sub(at).min(length));
        let kept = usize::try_from(room).unwrap_or(usize::MAX);
        let kept = piece.slice(..kept.min(piece.len()));
        let kept = match spoil.flip_at.and_then(|position| position.checked_sub(at)) {
            Some(position) => flipped(kept, position),
            None => kept,
        };
        Ok(Some((kept, (pieces, at.saturating_add(room)))))
    })
}

fn flipped(piece: Bytes, position: u64) -> Bytes {
    let mut piece = BytesMut::from(piece);
    if let Some(byte) = usize::try_from(position)
        .ok()
        .and_then(|position| piece.get_mut(position))
    {
        *byte = !*byte;
    }
    piece.freeze()
}
