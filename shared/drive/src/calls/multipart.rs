//! The response to a batch: `multipart/mixed` with an HTTP response in each part.
//!
//! The parser is strict where a mistake would assign a response to another file: a part counts only
//! if it is complete and names its call. It tolerates different line ends, text around the parts
//! and invalid headers.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// The response to one call of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Returns the boundary in a `Content-Type`; `None` if it is not multipart.
pub(crate) fn boundary(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = kind.split(';').map(str::trim);
    let multipart = |kind: &str| kind.to_ascii_lowercase().starts_with("multipart/");
    parts.next().filter(|kind| multipart(kind))?;
    parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty())
            .then(|| value.to_owned())
    })
}

/// Parses the responses, by the `Content-ID` of their calls (`response-x` belongs to `x`). Parts
/// that are incomplete, unreadable or without a call are left out, and so are all parts of one call
/// if there are several.
pub(crate) fn answers(body: &Bytes, boundary: &str) -> BTreeMap<String, Answer> {
    let mut found: BTreeMap<String, Option<Answer>> = BTreeMap::new();
    for part in parts(body, boundary) {
        let Some((id, answer)) = answer(&part) else {
            continue;
        };
        found
            .entry(id)
            .and_modify(|twice| *twice = None)
            .or_insert(Some(answer));
    }
    let whole = |(id, answer): (String, Option<Answer>)| Some((id, answer?));
    found.into_iter().filter_map(whole).collect()
}

/// Splits the body at its delimiters. The last part of an incomplete body is left out.
fn parts(body: &Bytes, boundary: &str) -> Vec<Bytes> {
    let delimiter = format!("--{boundary}");
    let end = format!("--{boundary}--");
    let (mut parts, mut start, mut at) = (Vec::new(), None, 0);
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        let last = text == end.as_bytes();
        if last || text == delimiter.as_bytes() {
            if let Some(from) = start {
                parts.push(body.slice(from..at));
            }
            if last {
                break;
            }
            start = Some(at + line.len());
        }
        at += line.len();
    }
    parts
}

fn answer(part: &Bytes) -> Option<(String, Answer)> {
    let (headers, inner) = headed(part)?;
    let id = headers.get("content-id")?.to_str().ok()?.trim();
    let id = id.trim_start_matches('<').trim_end_matches('>');
    let id = id.strip_prefix("response-")?.to_owned();
    let (line, rest) = line(&inner);
    // `HTTP/1.1 200 OK`
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|word| word.starts_with("HTTP/"))?;
    let status = StatusCode::from_bytes(words.next()?.as_bytes()).ok()?;
    let (headers, body) = headed(&inner.slice_ref(rest))?;
    let body = match headers.get(header::CONTENT_LENGTH) {
        // The line end before the delimiter is not part of the body.
        None => body.slice_ref(body.trim_ascii_end()),
        Some(length) => {
            let length = length.to_str().ok()?.trim().parse().ok()?;
            body.slice_ref(body.get(..length)?)
        }
    };
    let answer = Answer {
        status,
        headers,
        body,
    };
    Some((id, answer))
}

/// Parses the headers up to an empty line, and returns them with the text that follows. Invalid
/// headers are skipped.
fn headed(text: &Bytes) -> Option<(HeaderMap, Bytes)> {
    let mut headers = HeaderMap::new();
    let mut rest: &[u8] = text;
    while !rest.is_empty() {
        let (first, behind) = line(rest);
        rest = behind;
        if first.is_empty() {
            return Some((headers, text.slice_ref(rest)));
        }
        let named = std::str::from_utf8(first).ok()?.split_once(':');
        if let Some((name, value)) = named
            && let Ok(name) = HeaderName::from_bytes(name.trim().as_bytes())
            && let Ok(value) = HeaderValue::from_str(value.trim())
        {
            headers.append(name, value);
        }
    }
    None
}

/// Splits off the first line, without its end.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n');
    let (first, rest) = text.split_at(end.map_or(text.len(), |at| at + 1));
    (first.trim_ascii_end(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(end: &str) -> String {
        [
            "a preamble",
            "--b",
            "Content-Type: application/http",
            "Content-ID: <response-0>",
            "",
            "HTTP/1.1 200 OK",
            "ETag: \"x\"",
            "",
            "{\"id\":\"one\"}",
            "--b",
            "content-id: response-1",
            "",
            "HTTP/1.1 412 Precondition Failed",
            "Content-Length: 2",
            "",
            "{}",
            "--b--",
            "an epilogue",
        ]
        .join(end)
    }

    fn read(text: impl Into<Bytes>) -> BTreeMap<String, (u16, Bytes)> {
        let answers = answers(&text.into(), "b").into_iter();
        answers
            .map(|(id, answer)| (id, (answer.status.as_u16(), answer.body)))
            .collect()
    }

    #[test]
    fn every_part_is_assigned_to_the_call_that_it_names() {
        for end in ["\r\n", "\n"] {
            let found = read(two(end));
            assert_eq!(
                found["0"],
                (200, Bytes::from("{\"id\":\"one\"}")),
                "{end:?}"
            );
            assert_eq!(found["1"], (412, Bytes::from("{}")));
            assert_eq!(found.len(), 2);
        }
    }

    #[test]
    fn a_truncated_body_never_yields_an_incomplete_part() {
        let whole = two("\r\n");
        let full = read(whole.clone());
        for at in 0..whole.len() {
            for (id, answer) in read(whole[..at].to_owned()) {
                assert_eq!(full[&id], answer, "cut at {at}");
            }
        }
    }

    #[test]
    fn two_responses_to_one_call_are_both_left_out() {
        let text = two("\r\n").replace("response-1", "response-0");
        assert_eq!(read(text), BTreeMap::new());
    }

    #[test]
    fn a_part_that_is_shorter_than_its_content_length_is_left_out() {
        let text = two("\r\n").replace("Content-Length: 2", "Content-Length: 3000");
        assert_eq!(read(text).keys().collect::<Vec<_>>(), ["0"]);
    }

    #[test]
    fn a_part_without_a_call_or_a_response_is_left_out() {
        for (from, to) in [
            ("content-id: response-1", "x: y"),
            ("content-id: response-1", "content-id: 1"),
            ("HTTP/1.1 412", "412"),
            ("HTTP/1.1 412", "HTTP/1.1 many"),
        ] {
            let found = read(two("\n").replace(from, to));
            assert_eq!(found.keys().collect::<Vec<_>>(), ["0"], "{to}");
        }
    }

    #[test]
    fn only_a_multipart_response_has_a_boundary() {
        let named = |kind: &'static str| {
            let kind = HeaderValue::from_static(kind);
            boundary(&HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]))
        };
        assert_eq!(
            named("multipart/mixed; boundary=\"b 1\""),
            Some("b 1".to_owned())
        );
        assert_eq!(
            named("Multipart/Mixed; charset=x; Boundary=b"),
            Some("b".to_owned())
        );
        for kind in [
            "text/html; boundary=b",
            "multipart/mixed",
            "multipart/mixed; boundary=",
        ] {
            assert_eq!(named(kind), None, "{kind}");
        }
        assert_eq!(boundary(&HeaderMap::new()), None);
    }
}
