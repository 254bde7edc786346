//! Making files with ids that Drive gave out beforehand, so that each is made once however often it is asked.

use bytes::Bytes;
use domain::{Field, FileId, Patch, Snapshot, Value};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::batch::{Api, snapshot_of};
use crate::request::{Call, parsed, unclear};
use crate::{BATCH_CALLS_MAX, DriveClient, DriveError, Kind, table};

/// Drive's type of a folder.
pub const FOLDER: &str = "application/vnd.google-apps.folder";
/// Drive's type of a shortcut.
pub const SHORTCUT: &str = "application/vnd.google-apps.shortcut";
/// What the types of Google's own editors and apps begin with.
pub(crate) const GOOGLE_TYPES: &str = "application/vnd.google-apps.";

/// Whether a file of this type can be made with an id that was given out beforehand: folders, shortcuts and
/// everything that has content of its own, but none of the Docs editors' types (reference of
/// `files.generateIds`).
#[must_use]
pub fn takes_given_id(mime_type: &str) -> bool {
    mime_type == FOLDER || mime_type == SHORTCUT || !mime_type.starts_with(GOOGLE_TYPES)
}

/// A file to be made.
#[derive(Debug, Clone, Copy)]
pub struct Creation<'a> {
    /// The id that Drive gave out for it.
    pub file: &'a FileId,
    /// Its type.
    pub mime_type: &'a str,
    /// What it points to, where it is a shortcut.
    pub shortcut_target: Option<&'a str>,
    /// The fields that are set.
    pub patch: &'a Patch,
}

/// What became of a creation.
#[expect(
    clippy::large_enum_variant,
    reason = "a creation nearly always makes a file"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The file was made, and is as it says.
    Made(Snapshot),
    /// It was made before, by an attempt whose answer was lost.
    Already,
}

/// What v3 `files.create` takes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewFile<'a> {
    id: &'a str,
    mime_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shortcut_details: Option<Shortcut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starred: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parents: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shortcut<'a> {
    target_id: &'a str,
}

#[derive(Deserialize)]
struct GeneratedIds {
    ids: Vec<String>,
}

impl DriveClient {
    /// An id for a file that will be made: of a shortcut, or of anything else.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn generate_id(&self, mime_type: &str) -> Result<FileId, DriveError> {
        let call = Call::new(
            "files.generateIds",
            Method::GET,
            "/drive/v3/files/generateIds",
        );
        let kind = if mime_type == SHORTCUT {
            "shortcuts"
        } else {
            "files"
        };
        let call = call
            .query("count", "1")
            .query("space", "drive")
            .query("type", kind)
            .query("fields", "ids");
        let body = self.call(&call).await?;
        let answer: GeneratedIds = parsed(call.asked(), &body)?;
        let id = answer.ids.first().and_then(|id| FileId::parse(id).ok());
        id.ok_or_else(|| unclear(call.asked(), NoId))
    }

    /// Makes files, up to a hundred in one call, and returns what became of each, in their order.
    ///
    /// # Errors
    /// Each file has its own, as for [`DriveClient::write_files`].
    pub async fn create_files(
        &self,
        creations: &[Creation<'_>],
    ) -> Vec<Result<Created, DriveError>> {
        let mut outcomes = Vec::with_capacity(creations.len());
        for creations in creations.chunks(BATCH_CALLS_MAX) {
            let call = |creation| create_call("/drive/v3/files", creation);
            let calls: Vec<_> = creations.iter().map(call).collect();
            let sendable: Vec<Call> = calls.iter().flatten().cloned().collect();
            let mut answers = self.batch(Api::V3, &sendable).await.into_iter();
            for (creation, call) in creations.iter().zip(calls) {
                outcomes.extend(match call {
                    Err(error) => Some(Err(error)),
                    Ok(call) => answers.next().map(|answer| made(&call, creation, answer)),
                });
            }
        }
        outcomes
    }
}

/// Drive gave out no id, or none that we could use.
#[derive(Debug, thiserror::Error)]
#[error("the answer holds no id")]
struct NoId;

fn made(
    call: &Call,
    creation: &Creation<'_>,
    answer: Result<Bytes, DriveError>,
) -> Result<Created, DriveError> {
    match answer {
        Ok(body) => snapshot_of(call, creation.file, &body).map(Created::Made),
        // The id is ours alone, so it was we who made it.
        Err(error) if error.status() == Some(StatusCode::CONFLICT.as_u16()) => Ok(Created::Already),
        Err(error) => Err(error),
    }
}

/// v3 `files.create` at one of its two paths: that of files alone, or that of uploads.
pub(crate) fn create_call(path: &str, creation: &Creation<'_>) -> Result<Call, DriveError> {
    let call = Call::new("files.create", Method::POST, path)
        .query("supportsAllDrives", "true")
        .query("fields", &table::V3_FILE);
    let mut body = NewFile {
        id: creation.file.as_str(),
        mime_type: creation.mime_type,
        shortcut_details: creation
            .shortcut_target
            .map(|id| Shortcut { target_id: id }),
        name: None,
        description: None,
        starred: None,
        parents: None,
        properties: BTreeMap::new(),
    };
    for (field, value) in &creation.patch.values {
        match (field, value) {
            (Field::Existence, _) => {}
            (Field::Name, Value::Text(name)) => body.name = Some(name),
            (Field::Description, Value::Text(text)) => body.description = Some(text),
            (Field::Starred, Value::Flag(starred)) => body.starred = Some(*starred),
            (Field::Parent, Value::Text(folder)) => body.parents = Some([folder]),
            (Field::Property(key), Value::Text(text)) => {
                body.properties.insert(key, text);
            }
            (Field::Trashed | Field::Content | Field::Permission(_), _)
            | (Field::Name | Field::Description | Field::Parent, Value::Null | Value::Flag(_))
            | (Field::Starred, Value::Null | Value::Text(_))
            | (Field::Property(_), Value::Null | Value::Flag(_)) => {
                let reason = "notWritable".to_owned();
                return Err(DriveError::new(
                    call.asked().method,
                    Kind::Permanent { reason },
                ));
            }
        }
    }
    call.json(&body)
}
