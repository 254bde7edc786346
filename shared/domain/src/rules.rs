//! Rules: the part of a Drive that a connection includes, matched without any state.

mod glob;
mod spelling;

use std::fmt;

use crate::FileId;
use crate::derive::Lineage;

pub use glob::Glob;
pub use spelling::NameSearch;

/// The most rules of one connection, include and exclude together.
pub const RULES_MAX: usize = 100;

/// The rules of a connection. Without rules everything is in scope.
///
/// An item is in scope if some `include` rule matches it (or there is none) and no `exclude` rule
/// does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// At least one must match, if there are any.
    pub include: Vec<Rule>,
    /// None may match. Takes precedence over `include`.
    pub exclude: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A folder and everything below it. A drive's root is a folder too.
    Folder(FileId),
    /// Items of a MIME type. A folder's type says nothing about its contents.
    MimeType(MimePattern),
    /// Items with a matching name, and everything below a folder with a matching name.
    Name(Glob),
}

/// What of a connection's rules leaves a file out of scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excluded<'a> {
    /// This `exclude` rule matches it.
    By(&'a Rule),
    /// None of the `include` rules matches it.
    NotIncluded,
}

impl Rules {
    /// Returns whether there are no rules, so everything is in scope.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Returns whether a file is in scope. The rules filter what is in Drive, so the lineage must
    /// be that of Drive's side: an edit that moves a file out of scope still goes to Drive.
    #[must_use]
    pub fn includes(&self, lineage: &Lineage<'_>) -> bool {
        self.excluded(lineage).is_none()
    }

    /// Returns what leaves a file out of scope; `None` if it is in scope. The lineage is that of
    /// [`Rules::includes`].
    #[must_use]
    pub fn excluded(&self, lineage: &Lineage<'_>) -> Option<Excluded<'_>> {
        let matches = |rule: &&Rule| rule.matches(lineage);
        let excluded = self.exclude.iter().find(matches).map(Excluded::By);
        let included = self.include.is_empty() || self.include.iter().any(|rule| matches(&rule));
        excluded.or((!included).then_some(Excluded::NotIncluded))
    }

    /// Returns whether a folder may bring something below it into scope when its lineage changes
    /// from `before` to `after`. Only rules that reach below a folder matter: a file's own type and
    /// name do not affect other files.
    #[must_use]
    pub fn brings_into_scope(&self, before: &Lineage<'_>, after: &Lineage<'_>) -> bool {
        let any = |rules: &[Rule], lineage: &Lineage<'_>| {
            let mut below = rules.iter().filter(|rule| rule.reaches_below());
            below.any(|rule| rule.matches(lineage))
        };
        let included = |lineage| self.include.is_empty() || any(&self.include, lineage);
        let excluded = |lineage| any(&self.exclude, lineage);
        !excluded(after) && (excluded(before) || included(after) && !included(before))
    }
}

impl Rule {
    /// Returns whether a rule that matches a folder also matches what is below it.
    fn reaches_below(&self) -> bool {
        match self {
            Self::Folder(_) | Self::Name(_) => true,
            Self::MimeType(_) => false,
        }
    }

    /// Returns whether the rule matches a file. Unknown folders above match nothing.
    #[must_use]
    pub fn matches(&self, lineage: &Lineage<'_>) -> bool {
        match self {
            Self::Folder(id) => lineage.contains(id),
            Self::MimeType(pattern) => pattern.matches(lineage.mime_type()),
            Self::Name(glob) => lineage.names().iter().any(|name| glob.matches(name)),
        }
    }
}

/// A MIME type, or all types with a prefix (`image/*`, `application/vnd.google-apps.*`).
/// Case-insensitive (RFC 2045, 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MimePattern(String);

/// A text that is not a valid rule. `Display` says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidRule {
    /// The text is not a MIME type.
    MimeType,
    /// The text is not a name pattern.
    Glob(&'static str),
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MimeType => {
                f.write_str("must be a MIME type such as text/plain, or a prefix such as image/*")
            }
            Self::Glob(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for InvalidRule {}

/// RFC 6838, 4.2: 127 characters on each side of the slash.
const MIME_BYTES_MAX: usize = 255;

impl MimePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`InvalidRule`] if the text is not a `type/subtype` in the characters of RFC 6838,
    /// optionally with one star at its end.
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

    /// Returns the pattern in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a MIME type matches the pattern.
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
    use crate::fixture::{snapshot, text};
    use crate::{Ancestry, Field, FileRecord, Side};

    fn folder(id: &str, name: &str, parent: &str) -> FileRecord {
        let fields = [(Field::Name, text(name)), (Field::Parent, text(parent))];
        let mut shown = snapshot(1, &fields);
        shown.file = FileId::parse(id).unwrap();
        shown.metadata.mime_type = crate::FOLDER.to_owned();
        FileRecord::from_snapshot(&shown)
    }

    /// Returns whether moving the folder `moved` between these places (name and parent) brings
    /// something into scope.
    fn brings(rules: &Rules, before: Option<(&str, &str)>, after: (&str, &str)) -> bool {
        let moved = FileId::parse("moved").unwrap();
        let ancestry = |place: Option<(&str, &str)>| {
            let mut ancestry = Ancestry::below(FileId::parse("root").ok());
            match place {
                Some((name, parent)) => ancestry.add(&folder("moved", name, parent)),
                None => ancestry.add_unknown(moved.clone()),
            }
            for above in ["inside", "outside"] {
                ancestry.add(&folder(above, above, "root"));
            }
            ancestry
        };
        let (before, after) = (ancestry(before), ancestry(Some(after)));
        let lineages = [&before, &after].map(|all| all.lineage(&moved, Side::Drive));
        rules.brings_into_scope(&lineages[0], &lineages[1])
    }

    #[test]
    fn a_moved_folder_brings_its_contents_into_scope_if_rules_reach_below() {
        let rule = |text: &str| match text.split_once('/') {
            Some(_) => Rule::MimeType(MimePattern::parse(text).unwrap()),
            None => Rule::Folder(FileId::parse(text).unwrap()),
        };
        let rules = |include: &[&str], exclude: &[&str]| Rules {
            include: include.iter().map(|text| rule(text)).collect(),
            exclude: exclude.iter().map(|text| rule(text)).collect(),
        };
        let (outside, inside) = (("f", "outside"), ("f", "inside"));
        for rules in [
            rules(&["inside"], &[]),
            rules(&[], &["outside"]),
            rules(&["text/*", "inside"], &["outside"]),
        ] {
            assert!(brings(&rules, Some(outside), inside), "{rules:?}");
            assert!(!brings(&rules, Some(inside), outside), "{rules:?}");
            assert!(!brings(&rules, Some(inside), ("g", "inside")), "{rules:?}");
            assert!(
                !brings(&rules, Some(outside), ("g", "outside")),
                "{rules:?}"
            );
        }
        // The folders above an unknown folder are unknown.
        assert!(brings(&rules(&["inside"], &[]), None, inside));
        assert!(!brings(&rules(&["inside"], &[]), None, outside));
        assert!(!brings(&rules(&["moved"], &[]), None, inside));
        assert!(!brings(&rules(&["text/*"], &[]), None, inside));
        let folders = [crate::FOLDER];
        assert!(!brings(&rules(&folders, &folders), Some(outside), inside));
        assert!(!brings(&Rules::default(), Some(outside), inside));

        let glob = |text: &str| Rule::Name(Glob::parse(text).unwrap());
        let named = Rules {
            include: Vec::new(),
            exclude: vec![glob("draft*")],
        };
        let (draft, done) = (("drafts", "inside"), ("done", "inside"));
        assert!(brings(&named, Some(draft), done));
        assert!(!brings(&named, Some(done), draft));
    }

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
