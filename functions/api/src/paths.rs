//! Paths, derived when they are read: a folder that moves is one write, not one for every descendant.

use std::collections::{BTreeMap, BTreeSet};

use domain::{ConnectionKey, Field, FileId, FileRecord, Value};
use store::{Store, StoreError};

/// Folders above a file that are followed. Drive allows 100 levels in a shared drive.
const LEVELS_MAX: usize = 100;

/// The names and parents that a request has come across.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// By file; `None` where we hold no record of it, or it is gone: that is where paths begin.
    known: BTreeMap<FileId, Option<Place>>,
}

#[derive(Debug, Clone)]
struct Place {
    name: String,
    parent: Option<FileId>,
}

impl Place {
    fn of(record: &FileRecord) -> Self {
        let text = |field| match record.app(field) {
            Value::Text(text) => Some(text),
            Value::Null | Value::Flag(_) => None,
        };
        Self {
            name: text(&Field::Name).unwrap_or_default(),
            parent: text(&Field::Parent).and_then(|id| FileId::parse(&id).ok()),
        }
    }
}

impl Paths {
    /// Reads the folders above the records, a level in one call, so that [`Paths::of`] can tell them all.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn above<'a>(
        store: &Store,
        key: &ConnectionKey,
        records: impl Iterator<Item = &'a FileRecord>,
    ) -> Result<Self, StoreError> {
        let mut paths = Self::default();
        for record in records {
            paths
                .known
                .insert(record.file.clone(), Some(Place::of(record)));
        }
        for _ in 0..LEVELS_MAX {
            let wanted = paths.unknown_parents();
            if wanted.is_empty() {
                break;
            }
            let found = store.load_files(key, &wanted).await?;
            for id in wanted {
                let place = found
                    .get(&id)
                    .filter(|folder| folder.is_present())
                    .map(Place::of);
                paths.known.insert(id, place);
            }
        }
        Ok(paths)
    }

    fn unknown_parents(&self) -> Vec<FileId> {
        let parents = self
            .known
            .values()
            .flatten()
            .filter_map(|place| place.parent.as_ref());
        let unknown: BTreeSet<&FileId> =
            parents.filter(|id| !self.known.contains_key(id)).collect();
        unknown.into_iter().cloned().collect()
    }

    /// The path of a file, if every folder up to the highest that we hold is known, and none twice.
    pub(crate) fn of(&self, file: &FileId) -> Option<String> {
        let mut names = Vec::new();
        let mut at = Some(file.clone());
        while let Some(id) = at {
            match self.known.get(&id) {
                None => return None,
                Some(None) => break,
                Some(Some(_)) if names.len() > LEVELS_MAX => return None,
                Some(Some(place)) => {
                    names.push(place.name.as_str());
                    at = place.parent.clone();
                }
            }
        }
        let from_above = names.iter().rev();
        Some(from_above.fold(String::new(), |path, name| path + "/" + name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> FileId {
        FileId::parse(text).unwrap()
    }

    /// A file's id; its name and parent where we hold a record of it.
    type Row<'a> = (&'a str, Option<(&'a str, Option<&'a str>)>);

    fn paths(places: &[Row<'_>]) -> Paths {
        let place = |(name, parent): (&str, Option<&str>)| Place {
            name: name.to_owned(),
            parent: parent.map(id),
        };
        Paths {
            known: places
                .iter()
                .map(|(file, at)| (id(file), at.map(place)))
                .collect(),
        }
    }

    #[test]
    fn a_path_begins_below_the_highest_folder_that_is_held() {
        let paths = paths(&[
            ("f", Some(("plan.md", Some("b")))),
            ("b", Some(("B", Some("a")))),
            ("a", Some(("A", Some("root")))),
            ("root", None),
            ("shared", Some(("shared.md", None))),
        ]);
        assert_eq!(paths.of(&id("f")).as_deref(), Some("/A/B/plan.md"));
        assert_eq!(paths.of(&id("shared")).as_deref(), Some("/shared.md"));
    }

    #[test]
    fn folders_in_a_circle_or_too_deep_have_no_path() {
        let circle = paths(&[("a", Some(("A", Some("b")))), ("b", Some(("B", Some("a"))))]);
        assert_eq!(circle.of(&id("a")), None);
        let cut = paths(&[("f", Some(("x", Some("never-read"))))]);
        assert_eq!(cut.of(&id("f")), None);
    }
}
