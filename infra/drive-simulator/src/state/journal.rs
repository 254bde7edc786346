//! What was written to items, in the order in which it came about: for those who have to show that none of it was lost.

use serde::Serialize;

use crate::{ids::UserId, state::item::Item};

/// A text of one item that was replaced by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Written {
    /// The item's id.
    pub(crate) file: String,
    /// `name`, `description` or `properties.KEY`.
    pub(crate) field: String,
    /// What was there before; absent where nothing was.
    pub(crate) from: Option<String>,
    /// What is there since; absent where nothing is.
    pub(crate) to: Option<String>,
    /// The user who wrote it.
    pub(crate) by: String,
}

/// What was written since somebody asked for it to be kept.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    kept: bool,
    written: Vec<Written>,
}

impl Journal {
    /// Keeps what is written from now on, or forgets everything.
    pub(crate) fn keep(&mut self, kept: bool) {
        self.kept = kept;
        if !kept {
            self.written = Vec::new();
        }
    }

    /// What was kept, the oldest first.
    pub(crate) fn written(&self) -> &[Written] {
        &self.written
    }

    /// Notes in what texts an item differs from what it was.
    pub(crate) fn note(&mut self, before: &Item, after: &Item, user: &UserId) {
        if !self.kept {
            return;
        }
        let mut replaced = |field: String, from: Option<&String>, to: Option<&String>| {
            if from != to {
                self.written.push(Written {
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
