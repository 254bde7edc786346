//! Converts a patch of domain fields into a v2 `files.patch`.

use std::collections::BTreeMap;

use domain::{Field, Patch, Value};

use crate::calls::request::Call;
use crate::protocol::body::OriginalProperty;
use crate::protocol::wire::{FilePatch, JsonText, PRIVATE, PUBLIC, PropertyPatch};
use crate::{DriveError, Kind, Read};

/// Adds the values to the call in the places that [`crate::TABLE`] defines for v2.
pub(crate) fn fill(mut call: Call, read: &Read, patch: &Patch) -> Result<Call, DriveError> {
    let mut body = FilePatch::default();
    let mut properties = false;
    for (field, value) in &patch.values {
        match (field, value) {
            (Field::Name, Value::Text(name)) => body.title = Some(name),
            (Field::Description, Value::Text(text)) => body.description = Some(text),
            (Field::Starred, Value::Flag(starred)) => body.labels.starred = Some(*starred),
            (Field::Trashed, Value::Flag(trashed)) => body.labels.trashed = Some(*trashed),
            (Field::Parent, Value::Text(folder)) => call = moved(call, read, folder),
            (Field::Property(_), Value::Text(_) | Value::Null) => properties = true,
            (Field::Existence | Field::Content | Field::Permission(_), _)
            | (Field::Name | Field::Description | Field::Parent, Value::Null | Value::Flag(_))
            | (Field::Starred | Field::Trashed, Value::Null | Value::Text(_))
            | (Field::Property(_), Value::Flag(_)) => {
                let reason = "notWritable".to_owned();
                return Err(DriveError::new(
                    call.context().method,
                    Kind::Permanent { reason },
                ));
            }
        }
    }
    if properties {
        body.properties = Some(all_properties(read, patch));
    }
    call.json(&body)
}

/// Moves the file out of the parent that it is known in, and out of no other that it may have.
fn moved(call: Call, read: &Read, folder: &str) -> Call {
    let is_in = |parent: &str| match &read.snapshot.metadata.parents {
        several if several.is_empty() => read.parent.as_ref().is_some_and(|p| p.as_str() == parent),
        several => several.contains(parent),
    };
    let call = if is_in(folder) {
        call
    } else {
        call.query("addParents", folder)
    };
    match &read.parent {
        Some(parent) if parent.as_str() != folder && is_in(parent.as_str()) => {
            call.query("removeParents", parent.as_str())
        }
        Some(_) | None => call,
    }
}

/// Returns all properties with their new values, including the unchanged ones: the outcome is then
/// the same whether v2 replaces the list or merges it by key. Public properties are marked as such,
/// since v2 makes them private by default.
fn all_properties<'a>(read: &'a Read, patch: &'a Patch) -> Vec<PropertyPatch<'a>> {
    if let Some(original) = &read.original_properties {
        return original_with(original, patch);
    }
    let unchanged = read
        .snapshot
        .fields
        .iter()
        .filter(|(field, _)| !patch.values.contains_key(*field))
        .filter_map(public);
    let changed = patch.values.iter().filter_map(public);
    let private = read
        .private_properties
        .iter()
        .map(|property| PropertyPatch {
            key: JsonText::Text(&property.key),
            visibility: PRIVATE,
            value: Some(JsonText::Text(&property.value)),
        });
    unchanged.chain(changed).chain(private).collect()
}

fn public<'a>((field, value): (&'a Field, &'a Value)) -> Option<PropertyPatch<'a>> {
    let Field::Property(key) = field else {
        return None;
    };
    let value = match value {
        Value::Text(text) => Some(JsonText::Text(text)),
        Value::Null | Value::Flag(_) => None,
    };
    Some(PropertyPatch {
        key: JsonText::Text(key),
        visibility: PUBLIC,
        value,
    })
}

/// Returns the properties as they were received with the patch's values. Of two keys that are read
/// alike, the first one is the one that was read.
fn original_with<'a>(original: &'a [OriginalProperty], patch: &'a Patch) -> Vec<PropertyPatch<'a>> {
    let mut changed: BTreeMap<&str, PropertyPatch<'a>> = BTreeMap::new();
    for (field, value) in &patch.values {
        if let (Field::Property(key), Some(property)) = (field, public((field, value))) {
            changed.insert(key, property);
        }
    }
    let mut all = Vec::with_capacity(original.len() + changed.len());
    for property in original {
        let key = JsonText::Json(&property.key);
        let new = match property.public {
            true => changed.remove(property.shown_key.as_str()),
            false => None,
        };
        all.push(match new {
            Some(new) => PropertyPatch { key, ..new },
            None => PropertyPatch {
                key,
                visibility: if property.public { PUBLIC } else { PRIVATE },
                value: Some(JsonText::Json(&property.value)),
            },
        });
    }
    all.extend(changed.into_values());
    all
}
