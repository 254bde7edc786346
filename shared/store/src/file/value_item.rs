//! Values, fields and Drive metadata in the form that items store: shared by file records, history
//! and conflicts.

use std::collections::BTreeMap;

use domain::{Capabilities, DriveMetadata, Field, Timestamp, Value};
use serde::{Deserialize, Serialize};

use crate::file::permission_item::PermissionsItem;
use crate::table::item::Checksum;

/// A defect of an item, worded for its `Corrupt` error.
pub(crate) type ItemDefect = &'static str;

/// A value: NULL, BOOL or S.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ValueItem {
    Null,
    Flag(bool),
    Text(String),
}

impl From<&Value> for ValueItem {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Flag(flag) => Self::Flag(*flag),
            Value::Text(text) => Self::Text(text.clone()),
        }
    }
}

impl From<ValueItem> for Value {
    fn from(item: ValueItem) -> Self {
        match item {
            ValueItem::Null => Self::Null,
            ValueItem::Flag(flag) => Self::Flag(flag),
            ValueItem::Text(text) => Self::Text(text),
        }
    }
}

/// Returns a field as the name of a map's member: one letter, or a dot and the property's key, or
/// an `@` and the permission's principal.
pub(crate) fn field_code(field: &Field) -> String {
    match field {
        Field::Existence => "e".to_owned(),
        Field::Name => "n".to_owned(),
        Field::Description => "d".to_owned(),
        Field::Starred => "s".to_owned(),
        Field::Trashed => "t".to_owned(),
        Field::Parent => "p".to_owned(),
        Field::Content => "c".to_owned(),
        Field::Property(key) => format!(".{key}"),
        Field::Permission(principal) => format!("@{principal}"),
    }
}

/// The inverse of [`field_code`].
pub(crate) fn parse_field_code(code: &str) -> Result<Field, ItemDefect> {
    Ok(match code {
        "e" => Field::Existence,
        "n" => Field::Name,
        "d" => Field::Description,
        "s" => Field::Starred,
        "t" => Field::Trashed,
        "p" => Field::Parent,
        "c" => Field::Content,
        other => match other.split_at_checked(1) {
            Some((".", key)) => Field::Property(key.to_owned()),
            Some(("@", principal)) => Field::Permission(principal.to_owned()),
            Some(_) | None => return Err("it names an unknown field"),
        },
    })
}

/// A map by field.
pub(crate) type ByField<T> = BTreeMap<String, T>;

pub(crate) fn by_field<'a, T: 'a, U>(
    all: impl IntoIterator<Item = (&'a Field, &'a T)>,
    into: impl Fn(&'a T) -> U,
) -> ByField<U> {
    let each = |(field, value): (&'a Field, &'a T)| (field_code(field), into(value));
    all.into_iter().map(each).collect()
}

pub(crate) fn from_fields<T, U>(
    all: ByField<T>,
    into: impl Fn(T) -> U,
) -> Result<BTreeMap<Field, U>, ItemDefect> {
    let each = |(name, value): (String, T)| Ok((parse_field_code(&name)?, into(value)));
    all.into_iter().map(each).collect()
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The metadata that Drive alone decides. Times in milliseconds, checksums as bytes, capabilities
/// as bits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct MetadataItem {
    #[serde(rename = "t", default, skip_serializing_if = "String::is_empty")]
    mime_type: String,
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    #[serde(rename = "5", default, skip_serializing_if = "Option::is_none")]
    md5: Option<Checksum>,
    #[serde(rename = "2", default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Checksum>,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    head_revision_id: Option<String>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    created_at: Option<i64>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    modified_at: Option<i64>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    modified_by: Option<String>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    drive_id: Option<String>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    shortcut_target: Option<String>,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    shortcut_mime_type: Option<String>,
    #[serde(rename = "a", default)]
    capabilities: u16,
    #[serde(
        rename = "p",
        default,
        skip_serializing_if = "PermissionsItem::is_empty"
    )]
    permissions: PermissionsItem,
}

impl From<&DriveMetadata> for MetadataItem {
    fn from(metadata: &DriveMetadata) -> Self {
        Self {
            mime_type: metadata.mime_type.clone(),
            size_bytes: metadata.size_bytes,
            md5: metadata.md5.as_deref().map(Checksum::of),
            sha256: metadata.sha256.as_deref().map(Checksum::of),
            head_revision_id: metadata.head_revision_id.clone(),
            created_at: metadata.created_at.map(Timestamp::as_millis),
            modified_at: metadata.modified_at.map(Timestamp::as_millis),
            modified_by: metadata.modified_by.clone(),
            owner: metadata.owner.clone(),
            drive_id: metadata.drive_id.clone(),
            shortcut_target: metadata.shortcut_target.clone(),
            shortcut_mime_type: metadata.shortcut_mime_type.clone(),
            capabilities: metadata.capabilities.0,
            permissions: metadata.into(),
        }
    }
}

impl From<MetadataItem> for DriveMetadata {
    fn from(item: MetadataItem) -> Self {
        let metadata = Self {
            mime_type: item.mime_type,
            size_bytes: item.size_bytes,
            md5: item.md5.map(Checksum::into_text),
            sha256: item.sha256.map(Checksum::into_text),
            head_revision_id: item.head_revision_id,
            created_at: item.created_at.map(at),
            modified_at: item.modified_at.map(at),
            modified_by: item.modified_by,
            owner: item.owner,
            drive_id: item.drive_id,
            shortcut_target: item.shortcut_target,
            shortcut_mime_type: item.shortcut_mime_type,
            capabilities: Capabilities(item.capabilities),
            ..Self::default()
        };
        item.permissions.into_metadata(metadata)
    }
}
