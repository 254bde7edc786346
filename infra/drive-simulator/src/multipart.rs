//! Multipart bodies: the parts of an upload (`multipart/related`) and of a batch
//! (`multipart/mixed`).

use bytes::{BufMut, Bytes, BytesMut};

/// One part of a multipart body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Header names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Part {
    /// Returns the first header with this name, which must be in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Returns the boundary of a `Content-Type`: of an upload or a batch, not of a form, which any page
/// can send.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    if !matches!(kind.as_str(), "multipart/related" | "multipart/mixed") {
        return None;
    }
    parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// Splits a body into its parts. Lines may end in CRLF or, as Python's `email` package writes them,
/// in LF. `None` if the body is not well formed.
pub(crate) fn split(body: &Bytes, boundary: &str) -> Option<Vec<Part>> {
    let delimiter = format!("--{boundary}");
    let first = find(body, delimiter.as_bytes(), 0)?;
    let crlf = body.get(first + delimiter.len()..)?.starts_with(b"\r\n");
    let inner = format!("{}{delimiter}", if crlf { "\r\n" } else { "\n" });
    let mut parts = Vec::new();
    let mut at = first + delimiter.len();
    loop {
        let rest = body.get(at..)?;
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        let start = at + line_end(rest)?;
        let end = find(
            body,
            inner.as_bytes(),
            start.saturating_sub(inner.len() - delimiter.len()),
        )?;
        parts.push(part(&body.slice(start.min(end)..end))?);
        at = end + inner.len();
    }
}

/// Parses `name: value` lines up to an empty line; the rest is the body.
pub(crate) fn part(bytes: &Bytes) -> Option<Part> {
    let (mut headers, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = bytes.get(at..)?;
        let length = line_end(rest).unwrap_or(rest.len());
        let line = std::str::from_utf8(rest.get(..length)?)
            .ok()?
            .trim_end_matches(['\r', '\n']);
        at += length;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    Some(Part {
        headers,
        body: bytes.slice(at..),
    })
}

/// Joins parts into one body.
pub(crate) fn join(parts: &[Part], boundary: &str) -> Bytes {
    let mut body = BytesMut::new();
    for part in parts {
        body.put(format!("--{boundary}\r\n").as_bytes());
        for (name, value) in &part.headers {
            body.put(format!("{name}: {value}\r\n").as_bytes());
        }
        body.put(&b"\r\n"[..]);
        body.put(part.body.clone());
        body.put(&b"\r\n"[..]);
    }
    body.put(format!("--{boundary}--\r\n").as_bytes());
    body.freeze()
}

/// Returns the length of the first line, its line ending included.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .map(|at| at + 1)
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    haystack
        .get(from..)?
        .windows(needle.len())
        .position(|window| window == needle)
        .map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_boundary_is_read_with_or_without_quotes() {
        assert_eq!(
            boundary("multipart/mixed; boundary=\"==1==\""),
            Some("==1==".to_owned())
        );
        assert_eq!(
            boundary("multipart/related; charset=x; Boundary=b"),
            Some("b".to_owned())
        );
        assert_eq!(boundary("application/json; boundary=b"), None);
        assert_eq!(boundary("multipart/form-data; boundary=b"), None);
        assert_eq!(boundary("multipart/mixed"), None);
    }

    #[test]
    fn either_line_ending_is_split_and_bytes_are_kept() {
        for end in ["\r\n", "\n"] {
            let first = format!("--b{end}Content-Type: text/plain{end}{end}one\r\n-- not{end}");
            let body = format!("{first}--b{end}{end}two{end}--b--");
            let parts = split(&Bytes::from(body), "b").expect("well formed");
            assert_eq!(parts.len(), 2, "{end:?}");
            assert_eq!(parts[0].header("content-type"), Some("text/plain"));
            assert_eq!(parts[0].body, "one\r\n-- not");
            assert_eq!(parts[1].body, "two");
        }
    }

    #[test]
    fn an_unterminated_body_is_refused() {
        assert_eq!(split(&Bytes::from_static(b"--b\r\n\r\nx"), "b"), None);
        assert_eq!(split(&Bytes::from_static(b"nothing"), "b"), None);
    }

    proptest! {
        #[test]
        fn joined_parts_are_split_again(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..5),
        ) {
            let part = |body: Vec<u8>| Part {
                headers: vec![("a".to_owned(), "b".to_owned())],
                body: body.into(),
            };
            let parts: Vec<Part> = bodies.into_iter().map(part).collect();
            prop_assume!(!parts.is_empty());
            let joined = join(&parts, "boundary-of-this-test");
            prop_assert_eq!(split(&joined, "boundary-of-this-test"), Some(parts));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            split(&Bytes::from(body), "b");
        }
    }
}
