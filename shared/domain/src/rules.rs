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

    /// Whether a folder may bring something below it into scope, when its lineage goes from `before` to `after`. Only rules
    /// that reach what lies in a folder say so: a file's own type and name move with nobody else.
    #[must_use]
    pub fn bring(&self, before: &Lineage<'_>, after: &Lineage<'_>) -> bool {
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
    /// Whether what lies in a folder that the rule matches is matched with it.
    fn reaches_below(&self) -> bool {
        match self {
            Self::Folder(_) | Self::Name(_) => true,
            Self::MimeType(_) => false,
        }
    }

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
    use crate::fixture::{snapshot, text};
    use crate::{Ancestry, Field, FileRecord, Side};

    fn folder(id: &str, name: &str, parent: &str) -> FileRecord {
        let fields = [(Field::Name, text(name)), (Field::Parent, text(parent))];
        let mut shown = snapshot(1, &fields);
        shown.file = FileId::parse(id).unwrap();
        shown.mirror.mime_type = crate::mirroring::FOLDER.to_owned();
        FileRecord::first_sight(&shown)
    }

    /// Whether the folder `moved`, in these places (name and parent), brings something.
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
        rules.bring(&lineages[0], &lineages[1])
    }

    #[test]
    fn a_folder_brings_what_lies_in_it_where_rules_that_reach_it_let_it_in() {
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
        // Until a folder is known, nobody knows what is above it.
        assert!(brings(&rules(&["inside"], &[]), None, inside));
        assert!(!brings(&rules(&["inside"], &[]), None, outside));
        assert!(!brings(&rules(&["moved"], &[]), None, inside));
        assert!(!brings(&rules(&["text/*"], &[]), None, inside));
        let folders = [crate::mirroring::FOLDER];
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
