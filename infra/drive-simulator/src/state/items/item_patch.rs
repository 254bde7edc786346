//! Patches, and their application to one item.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    errors::DriveError,
    ids::UserId,
    state::items::{
        file_content::Content,
        item::{GOOGLE_TYPES, Item},
    },
};

/// The maximum size of a property: bytes of UTF-8 of key and value together.
const PROPERTY_BYTES_MAX: usize = 124;
/// The maximum number of properties of one visibility.
const PROPERTIES_MAX: usize = 30;

/// Properties to set, or with `None` to delete.
pub(crate) type PropertyPatch = BTreeMap<String, Option<String>>;

/// The effect of a patch on the modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ModifiedTime {
    /// The current time, if name, description, properties, type or content changed.
    #[default]
    IfEdited,
    /// The current time, whatever changed.
    Now,
    /// Unchanged.
    Keep,
    /// This time, in milliseconds since 1970.
    Set(i64),
}

/// A change of one item, in either API version. Absent values stay.
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
    /// Turns the limited access of a folder on or off.
    pub(crate) limited_access: Option<bool>,
}

/// The effective changes of a patch.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// The aspects in the terms of `X-Goog-Changed`, plus `starred` and `labels`, for which Google
    /// has no terms.
    pub(crate) aspects: BTreeSet<&'static str>,
    /// The change counts as an edit of the document, with a modification time and user.
    pub(crate) edited: bool,
    /// The effect on the modification time.
    pub(crate) modified: ModifiedTime,
    time_set: bool,
}

impl Changed {
    fn edit(&mut self, aspect: &'static str) {
        self.aspects.insert(aspect);
        self.edited = true;
    }

    /// Returns whether there is anything to record.
    pub(crate) fn is_change(&self) -> bool {
        !self.aspects.is_empty() || self.time_set
    }

    /// Returns whether only the user who starred the item can see a difference.
    pub(crate) fn only_star(&self) -> bool {
        self.aspects.iter().eq(["starred"].iter()) && !self.time_set
    }
}

/// Applies everything but the parents to an item, and collects the effective changes.
///
/// # Errors
/// 400 for an invalid value; the item must then be discarded.
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
        // An empty description is the same as none.
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
        let after = patch_properties(map, patch, name)?;
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
        .limited_access
        .filter(|limited| *limited != item.limited_access)
    {
        item.limited_access = limited;
        changed.aspects.insert("permissions");
    }
    changed.time_set = matches!(patch.modified, ModifiedTime::Set(ms) if ms != item.modified_ms);
    changed.modified = patch.modified;
    Ok(())
}

/// Applies a patch to a map of properties, within Drive's limits.
///
/// # Errors
/// 400 `invalid` at the map for a property that is too long or has no key, or for too many
/// properties.
pub(crate) fn patch_properties(
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
    fn key_and_value_of_a_property_have_at_most_124_bytes() {
        let set = |value: &str| {
            patch_properties(
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
    fn a_null_deletes_one_property_only() {
        let map = BTreeMap::from(
            [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let after = patch_properties(&map, &property("a", None), "properties").expect("allowed");
        assert_eq!(after.into_keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_file_has_at_most_thirty_properties_of_one_visibility() {
        let many = |count: usize| {
            (0..count)
                .map(|number| (number.to_string(), Some(String::new())))
                .collect()
        };
        assert!(patch_properties(&BTreeMap::new(), &many(30), "properties").is_ok());
        assert!(patch_properties(&BTreeMap::new(), &many(31), "properties").is_err());
    }
}
