//! Entity tags: a quoted number that moves when anything that a reader sees moves.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::problem::{Kind, Problem};

/// Returns the entity tag of a revision.
pub(crate) fn tag(number: u64) -> HeaderValue {
    // Digits in quotes are always a valid header.
    HeaderValue::from_str(&format!("\"{number}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Returns a JSON response with its entity tag.
pub(crate) fn tagged(number: u64, body: impl Serialize) -> Response {
    ([(header::ETAG, tag(number))], Json(body)).into_response()
}

/// The revisions that a caller is willing to replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// `*`: any.
    Any,
    /// Any of these. Foreign and weak tags match nothing (RFC 9110, 13.1.1).
    OneOf(Vec<u64>),
}

impl IfMatch {
    /// Reads the header; `None` if it is absent.
    pub(crate) fn optional(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let malformed = || {
            let detail = "If-Match must be * or entity tags in double quotes";
            Problem::new(Kind::MalformedRequest, detail)
        };
        let mut tags = Vec::new();
        let mut present = false;
        for value in headers.get_all(header::IF_MATCH) {
            present = true;
            let text = value.to_str().map_err(|_| malformed())?.trim();
            if text == "*" {
                return Ok(Some(Self::Any));
            }
            for part in text.split(',').map(str::trim) {
                let strong = part.strip_prefix("W/").unwrap_or(part);
                let inner = strong
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'));
                let inner = inner.ok_or_else(malformed)?;
                if part == strong
                    && let Ok(number) = inner.parse()
                {
                    tags.push(number);
                }
            }
        }
        Ok(present.then_some(Self::OneOf(tags)))
    }

    /// Reads the header, which must be present.
    pub(crate) fn required(headers: &HeaderMap) -> Result<Self, Problem> {
        Self::optional(headers)?.ok_or_else(|| {
            let detail = "send the ETag that was read as If-Match, or * for any revision";
            Problem::new(Kind::IfMatchRequired, detail)
        })
    }

    /// Returns whether the given revision may be replaced.
    pub(crate) fn allows(&self, number: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(&number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &'static str) -> Result<Option<IfMatch>, Kind> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
        IfMatch::optional(&headers).map_err(|problem| problem.kind())
    }

    #[test]
    fn only_a_strong_numeric_tag_matches() {
        assert_eq!(read("\"7\""), Ok(Some(IfMatch::OneOf(vec![7]))));
        assert_eq!(read("\"7\", \"8\""), Ok(Some(IfMatch::OneOf(vec![7, 8]))));
        assert_eq!(read("*"), Ok(Some(IfMatch::Any)));
        assert_eq!(read("W/\"7\""), Ok(Some(IfMatch::OneOf(vec![]))));
        assert_eq!(read("\"abc\""), Ok(Some(IfMatch::OneOf(vec![]))));
        assert_eq!(read("7"), Err(Kind::MalformedRequest));
        assert_eq!(IfMatch::optional(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_tag_reads_back_as_its_number() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, tag(42));
        assert!(IfMatch::required(&headers).unwrap().allows(42));
        assert!(!IfMatch::required(&headers).unwrap().allows(41));
        let missing = IfMatch::required(&HeaderMap::new()).unwrap_err();
        assert_eq!(missing.status(), 428);
    }
}
