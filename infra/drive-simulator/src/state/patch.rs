//! What a patch may say, and what it does to one item.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    errors::DriveError,
    ids::UserId,
    state::item::{Content, GOOGLE_TYPES, Item},
};

/// The longest property: bytes of UTF-8 of key and value together.
const PROPERTY_BYTES_MAX: usize = 124;
/// The most properties of one visibility.
const PROPERTIES_MAX: usize = 30;

/// Properties to set, or with `None` to delete.
pub(crate) type PropertyPatch = BTreeMap<String, Option<String>>;

/// What becomes of the time of the last modification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ModifiedTime {
    /// Now, if what people call the document changed: name, description, properties, type or content.
    #[default]
    IfEdited,
    /// Now, whatever changed.
    Now,
    /// As it was.
    Keep,
    /// This, in milliseconds since 1970.
    Set(i64),
}

/// A change of one item, whichever API version asked for it. What is absent stays.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    pub(crate) name: Option<String>,
    pub(crate) mime_type: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) starred: Option<bool>,
    pub(crate) trashed: Option<bool>,
    pub(crate) properties: PropertyPatch,
    pub(crate) app_properties: PropertyPatch,
    pub(crate) modified: ModifiedTime,
    pub(crate) add_parents: Vec<String>,
    pub(crate) remove_parents: Vec<String>,
    pub(crate) content: Option<Arc<Content>>,
    /// Makes a folder one of limited access, or an ordinary one again.
    pub(crate) inherits_nothing: Option<bool>,
}

/// What a patch really changed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// In the words of `X-Goog-Changed`, and `starred`, which Google has no word for.
    pub(crate) aspects: BTreeSet<&'static str>,
    /// Whether people would say that the document was edited.
    pub(crate) edited: bool,
    /// What becomes of the time of the last modification.
    pub(crate) modified: ModifiedTime,
    time_set: bool,
}

impl Changed {
    fn edit(&mut self, aspect: &'static str) {
        self.aspects.insert(aspect);
        self.edited = true;
    }

    /// Whether there is anything to record.
    pub(crate) fn anything(&self) -> bool {
        !self.aspects.is_empty() || self.time_set
    }

    /// Whether nobody but the star's user can see a difference.
    pub(crate) fn only_star(&self) -> bool {
        self.aspects.iter().eq(["starred"].iter()) && !self.time_set
    }
}

/// Applies everything but the parents to an item, and notes what really changed.
///
/// # Errors
/// 400 for a value that Drive does not accept; the item is then to be thrown away.
pub(crate) fn apply_fields(
    item: &mut Item,
    user: &UserId,
    patch: Patch,
    changed: &mut Changed,
) -> Result<(), DriveError> {
    if let Some(name) = patch.name.filter(|name| *name != item.name) {
        item.name = name;
        changed.edit("properties");
    }
    if let Some(mime_type) = patch.mime_type.filter(|kind| **kind != *item.mime_type) {
        if item.mime_type.starts_with(GOOGLE_TYPES) || mime_type.starts_with(GOOGLE_TYPES) {
            return Err(DriveError::invalid_because(
                "mimeType",
                "The type of this file cannot be changed to or from a Google type.",
            ));
        }
        item.mime_type = Arc::from(mime_type);
        changed.edit("properties");
    }
    if let Some(description) = patch.description {
        // An empty description and none are the same thing.
        let description = Some(description).filter(|text| !text.is_empty());
        if description != item.description {
            item.description = description;
            changed.edit("properties");
        }
    }
    for (map, patch, name) in [
        (&mut item.properties, &patch.properties, "properties"),
        (
            &mut item.app_properties,
            &patch.app_properties,
            "appProperties",
        ),
    ] {
        let after = patched(map, patch, name)?;
        if after != *map {
            *map = after;
            changed.edit("properties");
        }
    }
    if let Some(content) = patch.content {
        if item.mime_type.starts_with(GOOGLE_TYPES) {
            return Err(DriveError::bad_request(
                "This file has no content that could be uploaded.",
            ));
        }
        item.content = Some(content);
        changed.edit("content");
    }
    if let Some(starred) = patch
        .starred
        .filter(|starred| *starred != item.starred_by.contains(user))
    {
        if starred {
            item.starred_by.insert(user.clone());
        } else {
            item.starred_by.remove(user);
        }
        changed.aspects.insert("starred");
    }
    if let Some(trashed) = patch
        .trashed
        .filter(|trashed| *trashed != item.explicitly_trashed)
    {
        item.explicitly_trashed = trashed;
        changed.aspects.insert("trashed");
    }
    if let Some(limited) = patch
        .inherits_nothing
        .filter(|limited| *limited != item.inherits_nothing)
    {
        item.inherits_nothing = limited;
        changed.aspects.insert("permissions");
    }
    changed.time_set = matches!(patch.modified, ModifiedTime::Set(ms) if ms != item.modified_ms);
    changed.modified = patch.modified;
    Ok(())
}

/// A map after a patch, within Drive's limits.
///
/// # Errors
/// 400 `invalid` at the map for a property that is too long, has no key, or is one too many.
pub(crate) fn patched(
    map: &BTreeMap<String, String>,
    patch: &PropertyPatch,
    name: &'static str,
) -> Result<BTreeMap<String, String>, DriveError> {
    let mut after = map.clone();
    for (key, value) in patch {
        match value {
            None => {
                after.remove(key);
            }
            Some(value) if key.len() + value.len() > PROPERTY_BYTES_MAX => {
                let message =
                    format!("The property '{key}' is longer than {PROPERTY_BYTES_MAX} bytes.");
                return Err(DriveError::invalid_because(name, message));
            }
            Some(_) if key.is_empty() => {
                return Err(DriveError::invalid_because(name, "A property needs a key."));
            }
            Some(value) => {
                after.insert(key.clone(), value.clone());
            }
        }
    }
    if after.len() > PROPERTIES_MAX {
        return Err(DriveError::invalid_because(
            name,
            format!("A file can have at most {PROPERTIES_MAX} {name}."),
        ));
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(key: &str, value: Option<&str>) -> PropertyPatch {
        BTreeMap::from([(key.to_owned(), value.map(str::to_owned))])
    }

    #[test]
    fn a_property_has_at_most_124_bytes_of_key_and_value_together() {
        let set = |value: &str| {
            patched(
                &BTreeMap::new(),
                &property("key", Some(value)),
                "properties",
            )
        };
        assert!(set(&"v".repeat(121)).is_ok());
        assert!(set(&"v".repeat(122)).is_err());
        assert!(set(&"\u{e9}".repeat(61)).is_err(), "bytes, not characters");
    }

    #[test]
    fn a_null_deletes_a_property_and_the_others_stay() {
        let map = BTreeMap::from(
            [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let after = patched(&map, &property("a", None), "properties").expect("allowed");
        assert_eq!(after.into_keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_file_has_at_most_thirty_properties_of_one_visibility() {
        let many = |count: usize| {
            (0..count)
                .map(|number| (number.to_string(), Some(String::new())))
                .collect()
        };
        assert!(patched(&BTreeMap::new(), &many(30), "properties").is_ok());
        assert!(patched(&BTreeMap::new(), &many(31), "properties").is_err());
    }
}
