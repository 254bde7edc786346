//! Request bodies: JSON resources, uploads, and the wire types that clients send.

use std::{collections::BTreeMap, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use http::header;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{
    clock::parse_time,
    errors::DriveError,
    fields::Shape,
    http::call::Call,
    multipart,
    state::items::{
        file_content::Content,
        item_edits::NewItem,
        item_patch::{ModifiedTime, Patch, PropertyPatch},
    },
};

/// A file as a client of v3 sends it. [`parse_file`] refuses members that are not writable.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FileBody {
    id: Option<String>,
    name: Option<String>,
    mime_type: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    description: Option<String>,
    starred: Option<bool>,
    trashed: Option<bool>,
    parents: Option<Vec<String>>,
    properties: Option<PropertyPatch>,
    app_properties: Option<PropertyPatch>,
    created_time: Option<String>,
    modified_time: Option<String>,
    shortcut_details: Option<ShortcutBody>,
    inherited_permissions_disabled: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShortcutBody {
    target_id: String,
}

/// Distinguishes a null, which clears the member, from an absent one.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Some(
        Option::<String>::deserialize(deserializer)?.unwrap_or_default(),
    ))
}

/// The members of a file that a client of v3 can write, in a create and in an update. Those that
/// [`FileBody`] lacks are accepted without effect.
const WRITABLE: &str = "name mimeType description starred trashed properties appProperties \
                        modifiedTime kind contentHints contentRestrictions \
                        copyRequiresWriterPermission folderColorRgb originalFilename \
                        viewedByMeTime writersCanShare inheritedPermissionsDisabled \
                        downloadRestrictions";
/// The members that only a create accepts.
const WRITABLE_ONCE: &str = "id parents createdTime shortcutDetails spaces";

impl FileBody {
    /// Converts the body of a create.
    ///
    /// # Errors
    /// 400 for an invalid time.
    pub(crate) fn into_new(self, content: Option<Arc<Content>>) -> Result<NewItem, DriveError> {
        let created_ms = self
            .created_time
            .as_deref()
            .map(|text| parse_time_member("createdTime", text))
            .transpose()?;
        let (id, parents) = (self.id.clone(), self.parents.clone().unwrap_or_default());
        let shortcut_target = self
            .shortcut_details
            .as_ref()
            .map(|details| details.target_id.clone());
        Ok(NewItem {
            id,
            parents,
            created_ms,
            shortcut_target,
            fields: self.into_patch(content)?,
        })
    }

    /// Converts the body of an update, without its parents.
    ///
    /// # Errors
    /// 400 for an invalid time.
    pub(crate) fn into_patch(self, content: Option<Arc<Content>>) -> Result<Patch, DriveError> {
        let modified = match self.modified_time.as_deref() {
            Some(text) => ModifiedTime::Set(parse_time_member("modifiedTime", text)?),
            None => ModifiedTime::IfEdited,
        };
        Ok(Patch {
            name: self.name,
            mime_type: self.mime_type,
            description: self.description,
            starred: self.starred,
            trashed: self.trashed,
            properties: self.properties.unwrap_or_default(),
            app_properties: self.app_properties.unwrap_or_default(),
            modified,
            content,
            limited_access: self.inherited_permissions_disabled,
            ..Patch::default()
        })
    }
}

/// Parses a time.
///
/// # Errors
/// 400 `invalid` at the member.
pub(crate) fn parse_time_member(member: &'static str, text: &str) -> Result<i64, DriveError> {
    parse_time(text).ok_or_else(|| {
        DriveError::invalid_because(
            member,
            format!("Invalid value for: Invalid format: \"{text}\""),
        )
    })
}

/// Parses a v3 file and checks its members.
///
/// # Errors
/// 400 for an unknown member or a wrong type, 403 `fieldNotWritable` for a member that this call
/// cannot write.
pub(crate) fn parse_file(
    bytes: &[u8],
    shape: &Shape,
    create: bool,
) -> Result<FileBody, DriveError> {
    let value = parse_resource(bytes, shape)?;
    for name in value
        .as_object()
        .into_iter()
        .flat_map(|members| members.keys())
    {
        let fits = |list: &str| list.split_ascii_whitespace().any(|known| known == name);
        if name == "parents" && !create {
            return Err(DriveError::not_writable(
                "The parents field is not directly writable in update requests. Use the addParents \
                 and removeParents parameters instead.",
            ));
        }
        let writable = fits(WRITABLE) || (create && fits(WRITABLE_ONCE));
        if !writable {
            return Err(DriveError::not_writable(
                "The resource body includes fields which are not directly writable.",
            ));
        }
    }
    deserialize(value)
}

/// Parses a JSON object and checks its member names; an empty body is an empty object.
///
/// # Errors
/// 400 `parseError` for anything but a JSON object, 400 `badRequest` for a member that the resource
/// lacks.
pub(crate) fn parse_resource(bytes: &[u8], shape: &Shape) -> Result<Value, DriveError> {
    let value = parse_object(bytes)?;
    for name in value
        .as_object()
        .into_iter()
        .flat_map(|members| members.keys())
    {
        let leaf = shape
            .leaves
            .split_ascii_whitespace()
            .any(|known| known == name);
        if !leaf && !shape.parts.iter().any(|(known, _)| known == name) {
            let message = format!(
                "Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."
            );
            return Err(DriveError::bad_request(message));
        }
    }
    Ok(value)
}

fn parse_object(bytes: &[u8]) -> Result<Value, DriveError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) | Err(_) => Err(DriveError::new(400, "parseError", "Parse Error")),
    }
}

/// Converts JSON to a wire type.
///
/// # Errors
/// 400 `badRequest` with the first mismatch.
pub(crate) fn deserialize<T: for<'de> Deserialize<'de>>(value: Value) -> Result<T, DriveError> {
    serde_json::from_value(value)
        .map_err(|error| DriveError::bad_request(format!("Invalid JSON payload received. {error}")))
}

/// The maximum length of a body, in bytes.
const BODY_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Reads a whole body.
///
/// # Errors
/// 413 if it breaks off or is too long.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, DriveError> {
    axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| {
            DriveError::new(
                413,
                "uploadTooLarge",
                format!("The body could not be read: {error}"),
            )
        })
}

/// The metadata and the content of an upload.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The JSON resource, as bytes; empty for a simple upload.
    pub(crate) metadata: Bytes,
    pub(crate) content: Arc<Content>,
    /// The MIME type that the client declared for the content.
    pub(crate) mime_type: Option<String>,
}

/// Parses an upload in one request.
///
/// # Errors
/// 400 for an unknown `uploadType` or a body that does not match it; 501 for resumable uploads.
pub(crate) fn parse_upload(call: &Call) -> Result<Upload, DriveError> {
    let content_type = call.header(header::CONTENT_TYPE);
    match call.params.text("uploadType") {
        Some("media") => Ok(Upload {
            metadata: Bytes::new(),
            content: Arc::new(Content::uploaded(call.body.clone())),
            mime_type: content_type.map(str::to_owned),
        }),
        Some("multipart") => {
            let malformed = || DriveError::bad_request("Malformed multipart body.");
            let boundary = content_type
                .and_then(multipart::boundary)
                .ok_or_else(malformed)?;
            let parts = multipart::split(&call.body, &boundary).ok_or_else(malformed)?;
            let [metadata, media] = parts.as_slice() else {
                return Err(malformed());
            };
            Ok(Upload {
                metadata: metadata.body.clone(),
                content: Arc::new(Content::uploaded(media_bytes(media).ok_or_else(malformed)?)),
                mime_type: media.header("content-type").map(str::to_owned),
            })
        }
        Some("resumable") => Err(DriveError::not_implemented("resumable uploads")),
        Some(other) => Err(DriveError::invalid_parameter(
            "uploadType",
            format!("Invalid value '{other}'."),
        )),
        None => Err(DriveError::required("uploadType")),
    }
}

fn media_bytes(part: &multipart::Part) -> Option<Bytes> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    if !part
        .header("content-transfer-encoding")
        .is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"))
    {
        return Some(part.body.clone());
    }
    let text: Vec<u8> = part
        .body
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    STANDARD.decode(text).ok().map(Bytes::from)
}

/// Decodes a form.
pub(crate) fn parse_form(bytes: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}
