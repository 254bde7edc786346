//! What of a Drive the application sees: rules of a connection, matched without any state.

mod glob;

use std::fmt;

use crate::FileId;
use crate::derive::Lineage;

pub use glob::Glob;

/// Rules of one connection, include and exclude together.
pub const RULES_MAX: usize = 100;

/// What a connection takes in. Without rules: everything.
///
/// An item is in scope if some `include` rule matches it (or there is none), and no `exclude` rule does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// At least one must match, where there are any.
    pub include: Vec<Rule>,
    /// None may match. They count for more than `include`.
    pub exclude: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// That folder and everything below it. A drive's root is a folder, too.
    Folder(FileId),
    /// Items of that type; a folder's type says nothing of what it holds.
    MimeType(MimePattern),
    /// Items of such a name, and everything below a folder of such a name.
    Name(Glob),
}

impl Rules {
    /// Whether everything is in scope, so that nobody needs to look.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a file is in scope. The rules filter what is in Drive, so a lineage of Drive's side is
    /// wanted: an edit that moves a file out of scope still goes to Drive.
    #[must_use]
    pub fn take(&self, lineage: &Lineage<'_>) -> bool {
        let any = |rules: &[Rule]| rules.iter().any(|rule| rule.matches(lineage));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

impl Rule {
    /// Whether the rule matches a file. What is above a folder that we don't know matches nothing.
    #[must_use]
    pub fn matches(&self, lineage: &Lineage<'_>) -> bool {
        match self {
            Self::Folder(id) => lineage.has(id),
            Self::MimeType(pattern) => pattern.matches(lineage.mime_type()),
            Self::Name(glob) => lineage.names().iter().any(|name| glob.matches(name)),
        }
    }
}

/// A MIME type, or all that begin alike (`image/*`, `application/vnd.google-apps.*`). Case does not count
/// (RFC 2045, 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MimePattern(String);

/// Why a text is no rule. `Display` says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidRule {
    /// Not a MIME type.
    MimeType,
    /// Not a pattern for names.
    Glob(&'static str),
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MimeType => f.write_str(
                "must be a MIME type, as text/plain, or the beginning of some, as image/*",
            ),
            Self::Glob(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for InvalidRule {}

/// RFC 6838, 4.2: 127 characters on each side of the slash.
const MIME_BYTES_MAX: usize = 255;

impl MimePattern {
    /// Parses a text.
    ///
    /// # Errors
    /// [`InvalidRule`] where it is no `type/subtype` in the characters of RFC 6838, perhaps with one star at
    /// its end.
    pub fn parse(text: &str) -> Result<Self, InvalidRule> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
        let all = |part: &str| part.bytes().all(allowed);
        match text.split_once('/') {
            Some((family, subtype))
                if text.len() <= MIME_BYTES_MAX
                    && !family.is_empty()
                    && !subtype.is_empty()
                    && all(family)
                    && all(subtype.strip_suffix('*').unwrap_or(subtype)) =>
            {
                Ok(Self(text.to_ascii_lowercase()))
            }
            Some(_) | None => Err(InvalidRule::MimeType),
        }
    }

    /// The pattern, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a MIME type is that one, or begins so.
    #[must_use]
    pub fn matches(&self, mime_type: &str) -> bool {
        let Some(family) = self.0.strip_suffix('*') else {
            return self.0.eq_ignore_ascii_case(mime_type);
        };
        let head = mime_type.get(..family.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(family))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mime_pattern_is_one_type_or_one_family() {
        let matches =
            |pattern: &str, kind: &str| MimePattern::parse(pattern).unwrap().matches(kind);
        assert!(matches("image/*", "image/png"));
        assert!(matches("IMAGE/*", "Image/PNG"));
        assert!(!matches("image/*", "imagery/png"));
        assert!(!matches("image/*", "ima"));
        assert!(matches("text/plain", "text/Plain"));
        assert!(!matches("text/plain", "text/plain2"));
        assert!(matches(
            "application/vnd.google-apps.*",
            "application/vnd.google-apps.document"
        ));
        for bad in [
            "", "image", "image/", "/png", "*/*", "*/png", "image/*p", "a/b/c", "a b/c", "ä/b",
        ] {
            assert_eq!(MimePattern::parse(bad), Err(InvalidRule::MimeType), "{bad}");
        }
    }
}
