//! Creates files with pregenerated ids, so that each is created once however often it is tried.

use domain::trail::ErasedPersons;
use domain::{Field, FileId, Patch, Snapshot, Value};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::calls::batch::{Api, snapshot_of};
use crate::calls::request::{Call, ambiguous, parse_json};
use crate::protocol::body::JsonBody;
use crate::protocol::table;
use crate::{BATCH_CALLS_MAX, DriveClient, DriveError, Kind};

/// Drive's type of a folder.
pub const FOLDER: &str = "application/vnd.google-apps.folder";
/// Drive's type of a shortcut.
pub const SHORTCUT: &str = "application/vnd.google-apps.shortcut";
/// The prefix of the types of Google's editors and apps.
pub(crate) const GOOGLE_TYPES: &str = "application/vnd.google-apps.";

/// Returns whether a file of this type can be created with a pregenerated id: folders, shortcuts
/// and files with content of their own can, types of the Docs editors can't (reference of
/// `files.generateIds`).
#[must_use]
pub fn accepts_pregenerated_id(mime_type: &str) -> bool {
    mime_type == FOLDER || mime_type == SHORTCUT || !mime_type.starts_with(GOOGLE_TYPES)
}

/// A file to create.
#[derive(Debug, Clone, Copy)]
pub struct Creation<'a> {
    /// The pregenerated id.
    pub file: &'a FileId,
    /// The MIME type.
    pub mime_type: &'a str,
    /// The target of a shortcut.
    pub shortcut_target: Option<&'a str>,
    /// The initial values of the fields.
    pub patch: &'a Patch,
}

/// The result of a creation.
#[expect(
    clippy::large_enum_variant,
    reason = "a creation nearly always succeeds"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateResult {
    /// The file was created and has this state.
    Created(Snapshot),
    /// An earlier attempt, whose response was lost, created it.
    AlreadyExists,
}

impl CreateResult {
    fn without(self, erased: &ErasedPersons) -> Self {
        match self {
            Self::Created(shown) => Self::Created(shown.without(erased)),
            Self::AlreadyExists => Self::AlreadyExists,
        }
    }
}

/// The request body of v3 `files.create`.
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
    /// Generates an id for a file to create; shortcuts have ids of their own kind.
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
        let answer: GeneratedIds = parse_json(call.context(), &body)?;
        let id = answer.ids.first().and_then(|id| FileId::parse(id).ok());
        id.ok_or_else(|| ambiguous(call.context(), NoId))
    }

    /// Creates files, up to a hundred in one request, and returns one result for each, in order.
    ///
    /// # Errors
    /// Each file has its own result, as for [`DriveClient::write_files`].
    pub async fn create_files(
        &self,
        creations: &[Creation<'_>],
    ) -> Vec<Result<CreateResult, DriveError>> {
        let mut outcomes = Vec::with_capacity(creations.len());
        for creations in creations.chunks(BATCH_CALLS_MAX) {
            let call = |creation| create_call("/drive/v3/files", creation);
            let calls: Vec<_> = creations.iter().map(call).collect();
            let sendable: Vec<Call> = calls.iter().flatten().cloned().collect();
            let mut answers = self.batch(Api::V3, &sendable).await.into_iter();
            for (creation, call) in creations.iter().zip(calls) {
                outcomes.extend(match call {
                    Err(error) => Some(Err(error)),
                    Ok(call) => answers
                        .next()
                        .map(|answer| create_result(&call, creation, answer))
                        .map(|created| created.map(|created| created.without(&self.erased))),
                });
            }
        }
        outcomes
    }
}

/// Drive generated no valid id.
#[derive(Debug, thiserror::Error)]
#[error("the response contains no valid id")]
struct NoId;

fn create_result(
    call: &Call,
    creation: &Creation<'_>,
    answer: Result<JsonBody, DriveError>,
) -> Result<CreateResult, DriveError> {
    match answer {
        Ok(body) => snapshot_of(call, creation.file, &body).map(CreateResult::Created),
        // The id was generated for this file alone, so an earlier attempt created it.
        Err(error) if error.status() == Some(StatusCode::CONFLICT.as_u16()) => {
            Ok(CreateResult::AlreadyExists)
        }
        Err(error) => Err(error),
    }
}

/// Builds v3 `files.create` for one of its two paths: with metadata only, or for an upload.
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
                    call.context().method,
                    Kind::Permanent { reason },
                ));
            }
        }
    }
    call.json(&body)
}
