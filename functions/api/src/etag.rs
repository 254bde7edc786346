//! Entity tags: a number in quotes that moves when something that a reader sees moves.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::problem::{Kind, Problem};

/// The tag of a state.
pub(crate) fn tag(number: u64) -> HeaderValue {
    // Digits in quotes are always a valid header.
    HeaderValue::from_str(&format!("\"{number}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// What a caller asks of the state that it writes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// `*`: whatever it is now.
    Any,
    /// One of these; tags that are not ours, and weak ones, match nothing (RFC 9110, 13.1.1).
    OneOf(Vec<u64>),
}

impl IfMatch {
    /// Reads the header; `None` where there is none.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let malformed = || {
            let detail = "If-Match must be * or entity tags in double quotes";
            Problem::new(Kind::MalformedRequest, detail)
        };
        let mut tags = Vec::new();
        let mut seen = false;
        for value in headers.get_all(header::IF_MATCH) {
            seen = true;
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
        Ok(seen.then_some(Self::OneOf(tags)))
    }

    /// [`IfMatch::of`] where it must be there.
    pub(crate) fn required(headers: &HeaderMap) -> Result<Self, Problem> {
        Self::of(headers)?.ok_or_else(|| {
            let detail = "send the ETag of what you read as If-Match, or * to write on anything";
            Problem::new(Kind::IfMatchRequired, detail)
        })
    }

    /// Whether the state with this number may be written on.
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
        IfMatch::of(&headers).map_err(|problem| problem.kind())
    }

    #[test]
    fn only_a_strong_tag_of_ours_matches() {
        assert_eq!(read("\"7\""), Ok(Some(IfMatch::OneOf(vec![7]))));
        assert_eq!(read("\"7\", \"8\""), Ok(Some(IfMatch::OneOf(vec![7, 8]))));
        assert_eq!(read("*"), Ok(Some(IfMatch::Any)));
        assert_eq!(read("W/\"7\""), Ok(Some(IfMatch::OneOf(vec![]))));
        assert_eq!(read("\"abc\""), Ok(Some(IfMatch::OneOf(vec![]))));
        assert_eq!(read("7"), Err(Kind::MalformedRequest));
        assert_eq!(IfMatch::of(&HeaderMap::new()).unwrap(), None);
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
