//! Conflicted copies: a new file beside the original that receives the application's content after
//! both sides have changed it.

use std::collections::BTreeMap;

use crate::{Field, FileId, FileRecord, NAME_BYTES_MAX, NewFile, Timestamp, Value};

/// The longest file extension that is recognised, including the dot, in bytes.
const ENDING_BYTES_MAX: usize = 16;
/// The most characters of an author's name that are kept.
const WHO_CHARS_MAX: usize = 100;

impl FileRecord {
    /// Returns the conflicted copy: a new file with this id beside this one, with the application's
    /// content. Returns `None` if the application has no content.
    #[must_use]
    pub fn conflicted_copy(&self, file: FileId, now: Timestamp) -> Option<NewFile> {
        let content = self.app(&Field::Content);
        if content == Value::Null {
            return None;
        }
        let edit = self.edits.get(&Field::Content);
        let who = edit.map_or("application", |edit| edit.by.as_str());
        Some(self.copy_with(file, content, who, now))
    }

    /// Returns a new file with this id beside this one, with other content, by `who`.
    #[must_use]
    pub fn copy_with(&self, file: FileId, content: Value, who: &str, now: Timestamp) -> NewFile {
        let name = match self.app(&Field::Name) {
            Value::Text(name) => name,
            Value::Null | Value::Flag(_) => String::new(),
        };
        let mut values = BTreeMap::from([
            (Field::Name, Value::Text(conflicted_name(&name, who, now))),
            (Field::Content, content),
        ]);
        if let parent @ Value::Text(_) = self.app(&Field::Parent) {
            values.insert(Field::Parent, parent);
        }
        NewFile {
            file,
            mime_type: self.metadata.mime_type.clone(),
            shortcut_target: None,
            values,
        }
    }
}

/// Returns `name (conflicted copy <who> <date>).ext`, with the date in UTC, no longer than a name
/// may be.
#[must_use]
pub fn conflicted_name(name: &str, who: &str, now: Timestamp) -> String {
    let (stem, ending) = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= ENDING_BYTES_MAX => name.split_at(dot),
        Some(_) | None => (name, ""),
    };
    let who: String = who
        .chars()
        .filter(|letter| !letter.is_control())
        .take(WHO_CHARS_MAX)
        .collect();
    let date: String = now.to_string().chars().take(10).collect();
    let suffix = format!(" (conflicted copy {who} {date}){ending}");
    let mut end = stem.len().min(NAME_BYTES_MAX.saturating_sub(suffix.len()));
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", stem.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_copy_names_its_author_and_keeps_its_extension() {
        let now = Timestamp::parse_rfc3339("2026-11-21T23:59:59.000Z").unwrap();
        let named = |name| conflicted_name(name, "ann", now);
        assert_eq!(
            named("document.txt"),
            "document (conflicted copy ann 2026-11-21).txt"
        );
        assert_eq!(
            named("a.tar.gz"),
            "a.tar (conflicted copy ann 2026-11-21).gz"
        );
        assert_eq!(named(".env"), ".env (conflicted copy ann 2026-11-21)");
        assert_eq!(
            named("v1. A long sentence"),
            "v1. A long sentence (conflicted copy ann 2026-11-21)"
        );
        assert_eq!(named(""), " (conflicted copy ann 2026-11-21)");
        let long = named(&"ü".repeat(NAME_BYTES_MAX));
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with("2026-11-21)"));
    }
}
