//! The file beside a file that holds the application's content, where both sides had changed it.

use std::collections::BTreeMap;

use crate::{Field, FileId, FileRecord, NAME_BYTES_MAX, NewFile, Timestamp, Value};

/// The longest ending that counts as one, dot included, in bytes.
const ENDING_BYTES_MAX: usize = 16;
/// Of a name of somebody, so much is kept, in characters.
const WHO_CHARS_MAX: usize = 100;

impl FileRecord {
    /// The conflicted copy: a file with this id that holds the application's content of this one, beside it.
    /// `None` where the application has none.
    #[must_use]
    pub fn conflicted_copy(&self, file: FileId, now: Timestamp) -> Option<NewFile> {
        let content = self.app(&Field::Content);
        if content == Value::Null {
            return None;
        }
        let edit = self.edits.get(&Field::Content);
        let who = edit.map_or("application", |edit| edit.by.as_str());
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
        Some(NewFile {
            file,
            mime_type: self.mirror.mime_type.clone(),
            shortcut_target: None,
            values,
        })
    }
}

/// `name (conflicted copy <who> <date>).ext`, with the date in UTC; no longer than a name may be.
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
    let told = format!(" (conflicted copy {who} {date}){ending}");
    let mut end = stem.len().min(NAME_BYTES_MAX.saturating_sub(told.len()));
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{told}", stem.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_whose_copy_it_is_and_keeps_its_ending() {
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
