//! Files that the application creates.

use std::collections::BTreeMap;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::content::{ContentHash, StoredObject};
use domain::{Field, FileId, FileRecord, Gone, NewFile, Value};
use drive::{SHORTCUT, accepts_pregenerated_id};
use objects::{ContentHasher, Digest};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use store::{Connection, Scope};
use utoipa::ToSchema;

use crate::content::{content_condition, content_writes};
use crate::described::check::checked;
use crate::described::texts::{IdText, MimeTypeText, PropertyText, Sha256Text};
use crate::edits;
use crate::files::edit_problems::refused;
use crate::files::file_patch::{parse, without_erased};
use crate::files::file_view::{self, FileView};
use crate::files::new_id::{self, generate_id};
use crate::http::{ConnectionPath, JsonBody, Keyed, Kind, Problem, created};
use crate::{App, Deps, lookups, wakes};

/// A file to create. Drive creates it empty; its content, if any, follows.
#[derive(ToSchema)]
#[schema(as = NewFile)]
#[expect(dead_code, reason = "describes what `new_file` reads")]
pub(crate) struct NewFileBody {
    /// Not empty.
    #[schema(min_length = 1, max_length = 32_768)]
    name: String,
    /// `application/vnd.google-apps.folder`, `application/vnd.google-apps.shortcut`, or the type of
    /// a file with content of its own, which those of Google's editors are not.
    #[schema(value_type = MimeTypeText)]
    mime_type: String,
    /// The id of a shortcut's target.
    #[schema(value_type = Option<IdText>)]
    shortcut_target: Option<String>,
    /// The id of the folder; the default is the root of the connection's shared drive or of My
    /// Drive.
    #[schema(value_type = Option<IdText>)]
    parent: Option<String>,
    #[schema(max_length = 32_768)]
    description: Option<String>,
    /// Whether the connection's user has starred it.
    starred: Option<bool>,
    /// By key. A key and its value may have 124 bytes together.
    #[schema(value_type = Option<BTreeMap<String, PropertyText>>)]
    properties: Option<BTreeMap<String, Option<String>>>,
    /// The content, as far as it fits into the body. Larger content is uploaded after the file has
    /// been created.
    content: Option<NewContentBody>,
    /// The SHA-256 of the content in hexadecimal digits. Required with `content`.
    #[schema(value_type = Option<Sha256Text>)]
    content_hash: Option<String>,
    /// 0, since a new file has no content yet. For callers that send it with every upload.
    #[schema(format = Int64, maximum = 4_294_967_295_u32)]
    expected_version: Option<u32>,
}

/// The content of a new file: exactly one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewContent)]
pub(crate) struct NewContentBody {
    /// A text, stored in UTF-8.
    text: Option<String>,
    /// Bytes in base64 with padding.
    base64: Option<String>,
}

/// Creates a file.
///
/// It exists at once, as `creating`, with the id that it will have in Drive.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/files", tag = "files",
    params(ConnectionPath),
    request_body(content = NewFileBody),
    responses(
        (status = 201, description = "The file with its intent.", body = FileView,
            headers(("Location" = String), ("ETag" = String))),
        (status = 200, description = "A repeat within a day: the file now.", body = FileView,
            headers(("Idempotent-Replayed" = String), ("ETag" = String))),
        (status = 400,
            description = "The request is malformed, or the content does not match its hash."),
        (status = 409, description = "The expected version is not 0, or the connection does not \
            mirror content."),
    )
)]
pub(crate) async fn create_file(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
    body: JsonBody,
) -> Result<Response, Problem> {
    let mut members = body.members::<NewFileBody>()?;
    let connection = lookups::connection(&deps, &at.key).await?;
    // A member that is null might as well be absent.
    members.retain(|_, json| !json.is_null());
    let content = NewContent::take(&mut members, &connection)?;
    let mut new = new_file(members, &connection)?;
    new.values = without_erased(&deps, &at.key.tenant, new.values).await?;
    let object = match content {
        Some(content) => Some(content.store(&deps, &connection, &new.mime_type).await?),
        None => None,
    };
    new.file = generate_id(&deps, &connection, &new.mime_type).await?;
    if let Some(object) = &object {
        new.values
            .insert(Field::Content, content_writes::value(&object.hash));
    }
    let by = at.caller.subject.as_str();
    let context = edits::context(deps.clock.now(), &connection.policies);
    let transition = FileRecord::creating(&new, by, context).map_err(|why| {
        let absent = FileRecord::tombstone(new.file.clone(), Gone::Removed, context.now);
        refused(&absent, why)
    })?;
    let location = format!("/v1/connections/{}/files/{}", at.key.connection, new.file);
    keyed.creates(&location);
    keyed.tell("file", new.file.as_str());
    let record = edits::create(&deps, &keyed, &at.key, transition, object.as_ref(), by).await?;
    wakes::wake_push_if_due(&deps, &at.key, &record).await;
    let response = file_view::respond(&deps, &connection, &record).await?;
    Ok(created(response, &location))
}

/// The content of a file that is created with some.
struct NewContent {
    bytes: Bytes,
    digest: Digest,
}

impl NewContent {
    /// Removes the members that describe the content from a body.
    fn take(
        members: &mut Map<String, Json>,
        connection: &Connection,
    ) -> Result<Option<Self>, Problem> {
        let refused = |detail: &str, at: &str| Problem::new(Kind::ValueNotAllowed, detail).at(at);
        let (json, hash) = (members.remove("content"), members.remove("content_hash"));
        if members
            .remove("expected_version")
            .is_some_and(|version| version != 0)
        {
            return Err(content_condition::version_mismatch(0));
        }
        let Some(json) = json else {
            return Ok(None);
        };
        let body: NewContentBody = checked(json, "/content")?;
        let bytes = match (body.text, body.base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(text)) => {
                let invalid = |_| refused("base64 must be base64 with padding", "/content/base64");
                Bytes::from(STANDARD.decode(text).map_err(invalid)?)
            }
            (None, None) | (Some(_), Some(_)) => {
                return Err(refused("either text or base64 is required", "/content"));
            }
        };
        let expected = hash
            .as_ref()
            .and_then(Json::as_str)
            .and_then(|text| ContentHash::parse(text).ok())
            .ok_or_else(|| {
                let detail = "content_hash must be the content's SHA-256 in hexadecimal digits";
                refused(detail, "/content_hash")
            })?;
        let digest = ContentHasher::of(&bytes);
        if digest.sha256 != expected {
            return Err(content_writes::hash_mismatch(&expected, &digest));
        }
        content_writes::require_enabled(connection)?;
        Ok(Some(Self { bytes, digest }))
    }

    async fn store(
        self,
        deps: &Deps,
        connection: &Connection,
        mime_type: &str,
    ) -> Result<StoredObject, Problem> {
        if mime_type.starts_with("application/vnd.google-apps") {
            return Err(content_condition::holds_no_content().at("/content"));
        }
        content_writes::store(deps, connection, self.bytes, &self.digest, mime_type).await
    }
}

/// Reads the file that a body describes, with a placeholder for its id.
fn new_file(mut members: Map<String, Json>, connection: &Connection) -> Result<NewFile, Problem> {
    let mime_type = mime_type(members.remove("mime_type").as_ref())?;
    let target = target(members.remove("shortcut_target").as_ref(), &mime_type)?;
    let mut values = parse(&members)?;
    if let (Scope::SharedDrive(drive), None) = (&connection.scope, values.get(&Field::Parent)) {
        values.insert(Field::Parent, Value::text(drive.as_str()));
    }
    Ok(NewFile {
        file: new_id::placeholder()?,
        mime_type,
        shortcut_target: target,
        values,
    })
}

fn mime_type(json: Option<&Json>) -> Result<String, Problem> {
    let refused = |detail: &str| Problem::new(Kind::ValueNotAllowed, detail).at("/mime_type");
    let mime_type = json.and_then(Json::as_str).unwrap_or_default();
    let graphic = mime_type.bytes().all(|byte| byte.is_ascii_graphic());
    let has_subtype = mime_type
        .split_once('/')
        .is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
    if !graphic || !has_subtype {
        return Err(refused("mime_type must be a MIME type like text/plain"));
    }
    if !accepts_pregenerated_id(mime_type) {
        return Err(refused(
            "create files of Google's editors in Drive: it generates no ids for them in advance, \
             so a repeat could create a second one",
        ));
    }
    Ok(mime_type.to_owned())
}

fn target(json: Option<&Json>, mime_type: &str) -> Result<Option<FileId>, Problem> {
    let at = "/shortcut_target";
    match (json, mime_type == SHORTCUT) {
        (None, false) => Ok(None),
        (None, true) => {
            Err(Problem::new(Kind::ValueNotAllowed, "a shortcut requires a target").at(at))
        }
        (Some(_), false) => {
            Err(Problem::new(Kind::MemberNotAllowed, "only a shortcut has a target").at(at))
        }
        (Some(json), true) => {
            let id = json.as_str().and_then(|id| FileId::parse(id).ok());
            let id = id.ok_or_else(|| {
                Problem::new(Kind::ValueNotAllowed, "shortcut_target must be an id").at(at)
            })?;
            Ok(Some(id))
        }
    }
}
