//! Drive's JSON, parsed tolerantly: unknown members are skipped, missing ones are `None`, and an
//! int64 is a string or a number.

use std::borrow::Cow;
use std::fmt;

use domain::Capabilities;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `drive#changeList`. The entries stay raw, so that an unreadable one does not fail the page.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangeList<'a> {
    pub(crate) next_page_token: Option<String>,
    pub(crate) new_start_page_token: Option<String>,
    #[serde(borrow, default)]
    pub(crate) changes: Vec<&'a RawValue>,
}

/// One entry of a change log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change<'a> {
    pub(crate) change_type: Option<String>,
    pub(crate) time: Option<String>,
    #[serde(default)]
    pub(crate) removed: Option<bool>,
    pub(crate) file_id: Option<String>,
    #[serde(borrow, default)]
    pub(crate) file: Option<&'a RawValue>,
    pub(crate) drive_id: Option<String>,
    #[serde(default)]
    pub(crate) drive: Option<Drive>,
}

/// `drive#fileList`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileList<'a> {
    pub(crate) next_page_token: Option<String>,
    #[serde(default)]
    pub(crate) incomplete_search: Option<bool>,
    #[serde(borrow, default)]
    pub(crate) files: Vec<&'a RawValue>,
}

/// `drive#fileList` of which only ids, names and drives were requested.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileIdList {
    pub(crate) next_page_token: Option<String>,
    #[serde(default)]
    pub(crate) incomplete_search: Option<bool>,
    #[serde(default)]
    pub(crate) files: Vec<ListedId>,
}

/// One file of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedId {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) drive_id: Option<String>,
    pub(crate) version: Option<Int64>,
}

/// A file of v3 or v2. No member has different meanings in the two versions, so one type reads
/// both; the names are those of [`crate::TABLE`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct File {
    pub(crate) id: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) version: Option<Int64>,
    #[serde(alias = "title")]
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) starred: Option<bool>,
    pub(crate) labels: Option<Labels>,
    pub(crate) explicitly_trashed: Option<bool>,
    pub(crate) parents: Option<Vec<Parent>>,
    pub(crate) properties: Option<Properties>,
    pub(crate) mime_type: Option<String>,
    #[serde(alias = "fileSize")]
    pub(crate) size: Option<Int64>,
    pub(crate) md5_checksum: Option<String>,
    pub(crate) sha256_checksum: Option<String>,
    pub(crate) head_revision_id: Option<String>,
    #[serde(alias = "createdDate")]
    pub(crate) created_time: Option<String>,
    #[serde(alias = "modifiedDate")]
    pub(crate) modified_time: Option<String>,
    pub(crate) last_modifying_user: Option<User>,
    pub(crate) owners: Option<Vec<User>>,
    pub(crate) drive_id: Option<String>,
    pub(crate) shortcut_details: Option<ShortcutDetails>,
    pub(crate) permissions: Option<Vec<crate::calls::permissions::Wire>>,
    pub(crate) permission_ids: Option<Vec<String>>,
    pub(crate) has_augmented_permissions: Option<bool>,
    pub(crate) inherited_permissions_disabled: Option<bool>,
    #[serde(default, deserialize_with = "capabilities")]
    pub(crate) capabilities: Capabilities,
}

/// The labels of v2. Only `starred` is not available elsewhere.
#[derive(Deserialize)]
pub(crate) struct Labels {
    pub(crate) starred: Option<bool>,
}

/// The id of a folder: a string in v3, an object in v2.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Parent {
    V3(String),
    V2 { id: Option<String> },
}

impl Parent {
    pub(crate) fn into_id(self) -> Option<String> {
        match self {
            Self::V3(id) => Some(id),
            Self::V2 { id } => id,
        }
    }
}

/// A user.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    pub(crate) email_address: Option<String>,
    pub(crate) permission_id: Option<String>,
}

/// The target of a shortcut.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShortcutDetails {
    pub(crate) target_id: Option<String>,
    pub(crate) target_mime_type: Option<String>,
}

/// Custom properties: a map of the public ones in v3, a list of public and private ones in v2.
pub(crate) struct Properties(pub(crate) Vec<Property>);

/// v2's `drive#property`.
#[derive(Deserialize)]
pub(crate) struct Property {
    pub(crate) key: String,
    pub(crate) visibility: Option<Cow<'static, str>>,
    pub(crate) value: Option<String>,
}

/// Visible to every application.
pub(crate) const PUBLIC: &str = "PUBLIC";
/// Visible to our application only; the default of v2.
pub(crate) const PRIVATE: &str = "PRIVATE";

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Properties;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("properties as a map or as a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
                let mut properties = Vec::with_capacity(map.size_hint().unwrap_or(0));
                while let Some((key, value)) = map.next_entry()? {
                    let visibility = Some(Cow::Borrowed(PUBLIC));
                    properties.push(Property {
                        key,
                        visibility,
                        value,
                    });
                }
                Ok(Properties(properties))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Properties, A::Error> {
                let mut properties = Vec::with_capacity(list.size_hint().unwrap_or(0));
                while let Some(property) = list.next_element()? {
                    properties.push(property);
                }
                Ok(Properties(properties))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// An int64, which Google writes as a string because JavaScript's numbers are too small for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Int64(pub(crate) u64);

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Int64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a non-negative integer, as a string or a number")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Int64, E> {
                Ok(Int64(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Int64, E> {
                text.parse().map(Int64).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Parses a map of names to booleans into bits, without storing the names.
fn capabilities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Capabilities, D::Error> {
    struct Packed;
    impl<'de> Visitor<'de> for Packed {
        type Value = Capabilities;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of capabilities")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Capabilities, E> {
            Ok(Capabilities::default())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Capabilities, A::Error> {
            let mut set = Capabilities::default();
            while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                if map.next_value::<Option<bool>>()? == Some(true) {
                    set.0 |= Capabilities::from_names([name.as_ref()]).0;
                }
            }
            Ok(set)
        }
    }
    deserializer.deserialize_any(Packed)
}

/// `changes.getStartPageToken`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartPageToken {
    pub(crate) start_page_token: String,
}

/// `api#channel` in a request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChannelOut<'a> {
    pub(crate) id: &'a str,
    pub(crate) r#type: &'static str,
    pub(crate) address: &'a str,
    pub(crate) token: &'a str,
    /// Milliseconds since the epoch, a string like every int64.
    pub(crate) expiration: String,
}

/// `api#channel` in a response.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChannelIn {
    pub(crate) resource_id: String,
    pub(crate) expiration: Option<Int64>,
}

/// The request body of `channels.stop`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stop<'a> {
    pub(crate) id: &'a str,
    pub(crate) resource_id: &'a str,
}

/// `drive#about`.
#[derive(Deserialize)]
pub(crate) struct About {
    pub(crate) user: User,
}

/// `drive#drive`.
#[derive(Deserialize)]
pub(crate) struct Drive {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
}

/// `drive#driveList`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DriveList {
    pub(crate) next_page_token: Option<String>,
    #[serde(default)]
    pub(crate) drives: Vec<Drive>,
}

/// The request body of v2 `files.patch`. Absent members stay unchanged.
#[derive(Default, Serialize)]
pub(crate) struct FilePatch<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<&'a str>,
    #[serde(skip_serializing_if = "LabelsPatch::is_empty")]
    pub(crate) labels: LabelsPatch,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) properties: Option<Vec<PropertyPatch<'a>>>,
}

/// The labels to set.
#[derive(Default, Serialize)]
pub(crate) struct LabelsPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) starred: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trashed: Option<bool>,
}

impl LabelsPatch {
    fn is_empty(&self) -> bool {
        self.starred.is_none() && self.trashed.is_none()
    }
}

/// The new value of a property; without a value the property is deleted.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PropertyPatch<'a> {
    pub(crate) key: JsonText<'a>,
    pub(crate) visibility: &'static str,
    pub(crate) value: Option<JsonText<'a>>,
}

/// A text in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonText<'a> {
    /// A text.
    Text(&'a str),
    /// A string of JSON as Drive sent it, which may not be a text.
    Json(&'a str),
}

impl Serialize for JsonText<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Json(json) => RawValue::from_string((*json).to_owned())
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer),
        }
    }
}
