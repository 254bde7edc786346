//! A journal of edits in their order, for tests that verify that none is lost.

use serde::Serialize;

use crate::{ids::UserId, state::items::item::Item};

/// A text of one item that was replaced by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct JournalEntry {
    /// The item's id.
    pub(crate) file: String,
    /// `name`, `description` or `properties.KEY`.
    pub(crate) field: String,
    /// The text before; absent if there was none.
    pub(crate) from: Option<String>,
    /// The text after; absent if there is none.
    pub(crate) to: Option<String>,
    /// The user who made the edit.
    pub(crate) by: String,
}

/// The edits since recording was started.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    recording: bool,
    entries: Vec<JournalEntry>,
}

impl Journal {
    /// Starts recording, or stops it and discards the entries.
    pub(crate) fn set_recording(&mut self, recording: bool) {
        self.recording = recording;
        if !recording {
            self.entries = Vec::new();
        }
    }

    /// Returns the entries, oldest first.
    pub(crate) fn entries(&self) -> &[JournalEntry] {
        &self.entries
    }

    /// Records the texts in which an item differs from its state before.
    pub(crate) fn record(&mut self, before: &Item, after: &Item, user: &UserId) {
        if !self.recording {
            return;
        }
        let mut replaced = |field: String, from: Option<&String>, to: Option<&String>| {
            if from != to {
                self.entries.push(JournalEntry {
                    file: after.id.to_string(),
                    field,
                    from: from.cloned(),
                    to: to.cloned(),
                    by: user.to_string(),
                });
            }
        };
        replaced("name".to_owned(), Some(&before.name), Some(&after.name));
        let (from, to) = (before.description.as_ref(), after.description.as_ref());
        replaced("description".to_owned(), from, to);
        for (key, from) in &before.properties {
            let to = after.properties.get(key);
            replaced(format!("properties.{key}"), Some(from), to);
        }
        for (key, to) in &after.properties {
            if !before.properties.contains_key(key) {
                replaced(format!("properties.{key}"), None, Some(to));
            }
        }
    }
}
