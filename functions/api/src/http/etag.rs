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
    /// Any of these, of which there is at least one.
    OneOf(Vec<u64>),
}

impl IfMatch {
    /// Reads the header (RFC 9110, 13.1.1); `None` if it is absent. Several lines are one list.
    ///
    /// # Errors
    /// 400 if it is neither `*` nor a list of entity tags; 412 if none of its tags could match:
    /// weak tags match nothing, nor do tags that this API does not make. The resource may be
    /// unchanged, so this is not [`Kind::Stale`].
    pub(crate) fn optional(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let lines = headers.get_all(header::IF_MATCH);
        let mut tags: Vec<(bool, String)> = Vec::new();
        let (mut present, mut any) = (false, false);
        for line in lines {
            present = true;
            let text = String::from_utf8_lossy(line.as_bytes());
            if text.trim_matches(OWS) == "*" {
                any = true;
            } else {
                tags.extend(parse_tags(&text)?);
            }
        }
        let numbers: Vec<u64> = tags.iter().filter_map(strong_number).collect();
        match (any, tags.first()) {
            _ if !present => Ok(None),
            (true, None) => Ok(Some(Self::Any)),
            (true, Some(_)) => Err(malformed("* stands alone, without entity tags")),
            (false, None) => Err(malformed("it is empty")),
            (false, Some(_)) if !numbers.is_empty() => Ok(Some(Self::OneOf(numbers))),
            (false, Some((weak, tag))) => Err(unusable(*weak, tag)),
        }
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

/// Optional white space around the members of a list (RFC 9110, 5.6.3).
const OWS: [char; 2] = [' ', '\t'];

/// Reads a list of entity tags (RFC 9110, 8.8.3): whether each is weak, and what is in its quotes.
/// The quotes may contain commas, and members of the list may be empty.
fn parse_tags(text: &str) -> Result<Vec<(bool, String)>, Problem> {
    let mut tags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        if rest.is_empty() {
            return Ok(tags);
        }
        let weak = rest.strip_prefix("W/");
        let quoted = weak.unwrap_or(rest).strip_prefix('"');
        let Some((tag, after)) = quoted.and_then(|rest| rest.split_once('"')) else {
            let member = rest.split(',').next().unwrap_or_default().trim_matches(OWS);
            return Err(malformed(&format!(
                "{member} is not an entity tag, which is in double quotes: \"1\""
            )));
        };
        if tag.contains(|c: char| c.is_control() || c == ' ') {
            return Err(malformed("an entity tag contains no spaces"));
        }
        tags.push((weak.is_some(), tag.to_owned()));
        rest = after.trim_start_matches(OWS);
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(malformed("entity tags are separated by commas"));
        }
    }
}

/// Returns the revision of a strong tag that this API could have made. Tags are compared character
/// by character, so other digits for the same number are another tag.
fn strong_number((weak, tag): &(bool, String)) -> Option<u64> {
    let number: u64 = tag.parse().ok()?;
    (!weak && number.to_string() == *tag).then_some(number)
}

fn malformed(why: &str) -> Problem {
    let detail = format!("If-Match must be * or entity tags as they were read: {why}");
    Problem::new(Kind::MalformedRequest, detail)
}

fn unusable(weak: bool, tag: &str) -> Problem {
    let detail = if weak {
        format!("If-Match: W/\"{tag}\" is weak and matches nothing; send the ETag without W/")
    } else {
        format!("If-Match: \"{tag}\" is no ETag of this API; send the ETag as it was read, or *")
    };
    Problem::new(Kind::TagUnusable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<IfMatch>, Kind> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(header::IF_MATCH, value);
        }
        IfMatch::optional(&headers).map_err(|problem| problem.kind())
    }

    #[test]
    fn the_header_is_any_or_a_list_of_tags() {
        let one_of = |numbers: &[u64]| Ok(Some(IfMatch::OneOf(numbers.to_vec())));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["*"]), Ok(Some(IfMatch::Any)));
        assert_eq!(read(&[" * "]), Ok(Some(IfMatch::Any)));
        for (values, numbers) in [
            (["\"7\""].as_slice(), [7].as_slice()),
            (&["\"7\", \"8\""], &[7, 8]),
            (&["\"7\",\"8\""], &[7, 8]),
            (&["\"7\"", "\"8\""], &[7, 8]),
            (&[", ,\t\"7\" ,"], &[7]),
            (&["W/\"6\", \"7\""], &[7]),
            (&["\"a,b\", \"7\""], &[7]),
            (&["\"ü\", \"7\""], &[7]),
        ] {
            assert_eq!(read(values), one_of(numbers), "{values:?}");
        }
    }

    #[test]
    fn a_tag_that_could_never_match_is_not_taken_for_a_change() {
        for value in [
            "W/\"7\"",
            "\"abc\"",
            "\"\"",
            "\"-1\"",
            "\"07\"",
            "\"+7\"",
            "\"99999999999999999999999\"",
            "W/\"7\", \"abc\"",
        ] {
            assert_eq!(read(&[value]), Err(Kind::TagUnusable), "{value}");
        }
    }

    #[test]
    fn what_is_no_list_of_tags_is_malformed() {
        for value in [
            "",
            " ",
            ",",
            "7",
            "w/\"7\"",
            "W/7",
            "W/",
            "\"7",
            "7\"",
            "'7'",
            "\"7\" \"8\"",
            "\"7\"x",
            "*, \"7\"",
            "**",
            "\"7 8\"",
        ] {
            assert_eq!(read(&[value]), Err(Kind::MalformedRequest), "{value}");
        }
        assert_eq!(read(&["*", "\"7\""]), Err(Kind::MalformedRequest));
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
