//! The answer to a batch: `multipart/mixed`, with an HTTP answer in each part.
//!
//! Strict where a mistake would give one file's answer to another: a part counts only if it is whole and
//! says which call it answers. Forgiving in all else: line ends, what stands around the parts, headers.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// The answer to one call of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The boundary that a `Content-Type` names; `None` where it is not a multipart one.
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

/// The answers by the `Content-ID` of the call that each names (`response-x` answers `x`). A part that
/// breaks off, that can't be read or names no call is left out, and so are both of two that name the same.
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

/// What stands between one delimiter and the next: the last part of a body that breaks off is none.
fn parts(body: &Bytes, boundary: &str) -> Vec<Bytes> {
    let delimiter = format!("--{boundary}");
    let end = format!("--{boundary}--");
    let (mut parts, mut begun, mut at) = (Vec::new(), None, 0);
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        let last = text == end.as_bytes();
        if last || text == delimiter.as_bytes() {
            if let Some(from) = begun {
                parts.push(body.slice(from..at));
            }
            if last {
                break;
            }
            begun = Some(at + line.len());
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
        // The line end before the delimiter is not the body's.
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

/// Headers up to an empty line, and what follows it. What is no header is skipped.
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

/// The first line, without its end, and the rest.
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
            "a preamble that nobody asked for",
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
    fn every_part_is_the_answer_to_the_call_that_it_names() {
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
    fn a_body_that_breaks_off_anywhere_never_yields_half_a_part() {
        let whole = two("\r\n");
        let full = read(whole.clone());
        for at in 0..whole.len() {
            for (id, answer) in read(whole[..at].to_owned()) {
                assert_eq!(full[&id], answer, "cut at {at}");
            }
        }
    }

    #[test]
    fn two_answers_to_one_call_are_none() {
        let text = two("\r\n").replace("response-1", "response-0");
        assert_eq!(read(text), BTreeMap::new());
    }

    #[test]
    fn a_part_that_is_shorter_than_it_says_is_left_out() {
        let text = two("\r\n").replace("Content-Length: 2", "Content-Length: 3000");
        assert_eq!(read(text).keys().collect::<Vec<_>>(), ["0"]);
    }

    #[test]
    fn a_part_that_names_no_call_or_holds_no_answer_is_left_out() {
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
    fn only_a_multipart_answer_has_a_boundary() {
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
