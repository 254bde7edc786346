//! Seeded bugs of a client that draws more from Drive's answers than they say. Each stands between
//! the product and the wire, and rewrites the answers to what such a client would have understood.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

/// What a client believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misreading {
    /// One 404 of Google's means that the file is gone, for good.
    OneNotFound,
    /// A page of HTML says what its status says.
    Pages,
    /// Whatever refuses a write is about the write.
    Trouble,
}

/// Returns a transport that misreads the answers of `inner`.
pub(super) fn misreads(inner: drive::Transport, misreading: Misreading) -> drive::Transport {
    // The files that the client believes to be gone.
    let believed_gone = Arc::new(Mutex::new(BTreeSet::new()));
    Arc::new(move |request: Request<Bytes>| {
        let calls = calls(&request);
        let (inner, believed_gone) = (Arc::clone(&inner), Arc::clone(&believed_gone));
        Box::pin(async move {
            let answer = inner(request).await?;
            let mut gone = believed_gone.lock().unwrap();
            Ok(rewritten(answer, &calls, |call, status, body| {
                misreading.read(&mut gone, call, status, body)
            }))
        })
    })
}

impl Misreading {
    /// Returns what the client understands in place of an answer, if that differs.
    fn read(
        self,
        gone: &mut BTreeSet<String>,
        call: &str,
        status: u16,
        body: &str,
    ) -> Option<(u16, Value)> {
        let (method, path) = call.split_once(' ')?;
        let place = path.split('?').next().unwrap_or(path);
        let (_, file) = place.split_once("/files/").unwrap_or_default();
        let json = serde_json::from_str::<Value>(body).ok();
        match self {
            Self::OneNotFound | Self::Pages => {
                let says_so = (self == Self::OneNotFound) == json.is_some();
                if !file.is_empty() && method == "GET" && status == 404 && says_so {
                    gone.insert(file.to_owned());
                }
                let believed = gone.contains(file);
                believed.then(|| (404, error(404, "notFound")))
            }
            Self::Trouble => {
                let refused = method == "PATCH" && (status >= 500 || status == 403);
                // A reason for which an edit is not tried again by itself.
                refused.then(|| (400, error(400, "invalid")))
            }
        }
    }
}

/// Returns the calls in a request, each as method and path: itself, or the parts of a batch.
fn calls(request: &Request<Bytes>) -> Vec<String> {
    if !request.uri().path().starts_with("/batch/") {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        return vec![format!("{} {path}", request.method())];
    }
    let text = String::from_utf8_lossy(request.body());
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let is_call = path.starts_with('/') && method.chars().all(|c| c.is_ascii_uppercase());
        is_call.then(|| format!("{method} {path}"))
    });
    lines.collect()
}

/// Rewrites an answer, or each part of a batch's.
fn rewritten(
    answer: Response<Bytes>,
    calls: &[String],
    mut read: impl FnMut(&str, u16, &str) -> Option<(u16, Value)>,
) -> Response<Bytes> {
    let (mut parts, bytes) = answer.into_parts();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if let [call] = calls
        && !text.contains("\r\nHTTP/1.1 ")
    {
        let Some((status, body)) = read(call, parts.status.as_u16(), &text) else {
            return Response::from_parts(parts, bytes);
        };
        parts.status = StatusCode::from_u16(status).unwrap();
        parts
            .headers
            .insert("content-type", "application/json".parse().unwrap());
        return Response::from_parts(parts, Bytes::from(body.to_string()));
    }
    let mut pieces = text.split("HTTP/1.1 ");
    let mut all = pieces.next().unwrap_or_default().to_owned();
    for (piece, call) in pieces.zip(calls) {
        let end = piece.rfind("\r\n--").unwrap_or(piece.len());
        let (answer, tail) = piece.split_at(end);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        let status = head
            .get(..3)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        all.push_str("HTTP/1.1 ");
        match read(call, status, body) {
            None => all.push_str(answer),
            Some((status, body)) => {
                let body = body.to_string();
                all.push_str(&format!(
                    "{status} Read\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n\
                     {body}",
                    body.len()
                ));
            }
        }
        all.push_str(tail);
    }
    parts.headers.remove("content-length");
    Response::from_parts(parts, Bytes::from(all))
}

fn error(status: u16, reason: &str) -> Value {
    let detail = json!({"domain": "global", "reason": reason, "message": "misread"});
    json!({"error": {"code": status, "message": "misread", "errors": [detail]}})
}
