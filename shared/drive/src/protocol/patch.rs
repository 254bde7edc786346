//! Converts a patch of domain fields into a v2 `files.patch`.

use domain::{Field, Patch, Value};

use crate::calls::request::Call;
use crate::protocol::wire::{FilePatch, PRIVATE, PUBLIC, PropertyPatch};
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
    let public = |(field, value): (&'a Field, &'a Value)| {
        let Field::Property(key) = field else {
            return None;
        };
        let value = match value {
            Value::Text(text) => Some(text.as_str()),
            Value::Null | Value::Flag(_) => None,
        };
        Some(PropertyPatch {
            key,
            visibility: PUBLIC,
            value,
        })
    };
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
            key: &property.key,
            visibility: PRIVATE,
            value: Some(&property.value),
        });
    unchanged.chain(changed).chain(private).collect()
}
