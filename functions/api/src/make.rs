//! Files that are made and deleted by the application: edits of whether a file is there at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::content::{ContentHash, StoredObject};
use domain::{Field, FileId, FileRecord, NewFile, Revision, Step, Value};
use drive::{DriveError, Kind as DriveKind, SHORTCUT, takes_given_id};
use objects::{ContentHasher, Digest};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use store::{Committed, Connection, Nonce, PageRequest, Scope, Tombstones};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::content::{self, link, value, version_of};
use crate::etag::IfMatch;
use crate::extract::{ConnectionPath, FilePath, JsonBody, Params, idempotency, repeat, typed};
use crate::file_patch::parse;
use crate::file_view::FileView;
use crate::files::{REPLAYED, answer, refused, write};
use crate::problem::{Kind, Problem, ProblemBody};
use crate::{Deps, record};

/// How long a request's key is remembered, in milliseconds: a day.
pub(crate) const MADE_MILLIS: i64 = 24 * 3_600 * 1_000;
/// The longest type that is taken, in bytes (RFC 6838, section 4.2: 127 on either side of the slash).
const MIME_TYPE_BYTES_MAX: usize = 255;

/// A file to be made. Drive makes it empty; its content, where it is given one, follows.
#[derive(ToSchema)]
#[schema(as = NewFile)]
#[expect(dead_code, reason = "describes what `new_file` takes")]
pub(crate) struct NewFileBody {
    /// Not empty.
    #[schema(min_length = 1)]
    name: String,
    /// `application/vnd.google-apps.folder`, `application/vnd.google-apps.shortcut`, or any type of a
    /// file with content of its own. Not those of Google's editors.
    mime_type: String,
    /// The id of what a shortcut points to.
    shortcut_target: Option<String>,
    /// The id of the folder; where left out, the top of the connection's shared drive or of My Drive.
    parent: Option<String>,
    description: Option<String>,
    starred: Option<bool>,
    properties: Option<BTreeMap<String, String>>,
    /// What the file holds, as far as the body may be long. Larger content is brought once the file is made.
    content: Option<NewContentBody>,
    /// The SHA-256 of the content, in hexadecimal digits: needed with `content`.
    content_hash: Option<String>,
    /// 0: a new file never held anything. For whoever says it with every upload.
    expected_version: Option<u32>,
}

/// What a new file holds: exactly one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewContent)]
pub(crate) struct NewContentBody {
    /// A text, stored in UTF-8.
    text: Option<String>,
    /// Bytes in base64, with padding.
    base64: Option<String>,
}

/// Makes a file. It is there at once, `creating`, with the id that it will have in Drive.
#[utoipa::path(
    post, operation_id = "create_file", path = "/v1/connections/{connection}/files", tag = "files",
    params(
        ("connection" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat within a day is answered, not done again."),
    ),
    request_body(content = NewFileBody),
    responses(
        (status = 201, description = "The file, and that it is owed to Drive.", body = FileView,
            headers(("Location" = String), ("ETag" = String))),
        (status = 200, description = "A repeat: the file as it is now.", body = FileView,
            headers(("Idempotent-Replayed" = String), ("ETag" = String))),
        (status = 400, description = "The request can't be read, or the content is not what its hash says.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A version other than 0 was expected, or the connection mirrors no content.",
            body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let route = format!("POST {}", at.key);
    let request = idempotency(&headers, &at.caller, &[&route, &body.digest])?;
    let connection = record::connection(&deps, &at.key).await?;
    let mut members = body.members;
    let content = NewContent::of(&mut members, &connection)?;
    let wanted = wanted(members, &connection)?;
    let object = match content {
        Some(content) => Some(content.store(&deps, &connection, &wanted.mime_type).await?),
        None => None,
    };
    let made = match &request {
        Some(request) => deps.store.load_made(&at.key, request).await?,
        None => None,
    };
    let file = match made {
        Some(made) => repeated(&made, request.as_ref())?,
        None => {
            let file = given_id(&deps, &connection, &wanted.mime_type).await?;
            match &request {
                Some(request) => {
                    let expires = deps.clock.now().plus_millis(MADE_MILLIS);
                    let kept = deps.store.keep_made(&at.key, request, &file, expires);
                    repeated(&kept.await?, Some(request))?
                }
                None => file,
            }
        }
    };
    let moment = record::moment(deps.clock.now(), &connection.policies);
    let mut new = NewFile {
        file: file.clone(),
        ..wanted
    };
    if let Some(object) = &object {
        new.values.insert(Field::Content, value(&object.hash));
    }
    let step = FileRecord::creating(&new, &at.caller.subject, moment).map_err(|why| {
        refused(
            &FileRecord::never_seen(file, domain::Gone::Removed, moment.now),
            why,
        )
    })?;
    store(&deps, &connection, step, object.as_ref(), &at.caller).await
}

/// The content of a file that is made with some.
struct NewContent {
    bytes: Bytes,
    digest: Digest,
}

impl NewContent {
    /// Takes what says it out of a body's members.
    fn of(
        members: &mut Map<String, Json>,
        connection: &Connection,
    ) -> Result<Option<Self>, Problem> {
        let (json, hash) = (members.remove("content"), members.remove("content_hash"));
        match members.remove("expected_version") {
            None | Some(Json::Null) => {}
            Some(Json::Number(number)) if number.as_u64() == Some(0) => {}
            Some(Json::Number(_)) => return Err(content::mismatch(0)),
            Some(_) => {
                let detail = "expected_version must be a number";
                return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/expected_version"));
            }
        }
        let Some(json) = json.filter(|json| !json.is_null()) else {
            return Ok(None);
        };
        let body: NewContentBody = typed(json, "/content")?;
        let refused = |detail: &str, at: &str| Problem::new(Kind::ValueNotAllowed, detail).at(at);
        let bytes = match (body.text, body.base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(text)) => {
                let bytes = STANDARD.decode(text).map_err(|_| {
                    refused("base64 must be base64 with padding", "/content/base64")
                })?;
                Bytes::from(bytes)
            }
            (None, None) | (Some(_), Some(_)) => {
                return Err(refused("either text or base64 is needed", "/content"));
            }
        };
        let said = hash.as_ref().and_then(Json::as_str);
        let said = said.and_then(|text| ContentHash::parse(text).ok());
        let said = said.ok_or_else(|| {
            let detail = "content_hash must be the content's SHA-256, in hexadecimal digits";
            refused(detail, "/content_hash")
        })?;
        let digest = ContentHasher::of(&bytes);
        if digest.sha256 != said {
            return Err(content::wrong_hash(&said, &digest));
        }
        content::enabled(connection)?;
        Ok(Some(Self { bytes, digest }))
    }

    async fn store(
        self,
        deps: &Deps,
        connection: &Connection,
        mime_type: &str,
    ) -> Result<StoredObject, Problem> {
        if mime_type.starts_with("application/vnd.google-apps") {
            return Err(content::no_content().at("/content"));
        }
        content::store(deps, connection, self.bytes, &self.digest, mime_type).await
    }
}

/// The record is made once: a repeat finds it, whatever has become of it since.
async fn store(
    deps: &Deps,
    connection: &Connection,
    step: Step,
    object: Option<&StoredObject>,
    caller: &Caller,
) -> Result<Response, Problem> {
    let key = &connection.key;
    let nonce = Nonce(deps.entropy.next());
    let committed = deps.store.commit(key, Revision(0), &step, nonce).await?;
    let (record, status) = match committed {
        Committed::Done => (step.record, StatusCode::CREATED),
        Committed::Stale(Some(there)) => (*there, StatusCode::OK),
        Committed::Stale(None) => return Err(Problem::busy("the file came and went", 1)),
    };
    if let Some(object) = object
        && status == StatusCode::CREATED
    {
        let number = record.content_version;
        let version = version_of(deps, &record, object, number, &caller.subject);
        link(deps, key, &record, version, None).await;
    }
    record::wake_push(deps, key, &record).await;
    let mut response = answer(deps, connection, &record).await?;
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status == StatusCode::OK {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    let location = format!("/v1/connections/{}/files/{}", key.connection, record.file);
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}

fn repeated(made: &store::Made, request: Option<&domain::Request>) -> Result<FileId, Problem> {
    let first = request.map(|request| domain::Request {
        key: request.key.clone(),
        digest: made.digest.clone(),
    });
    // The same key with another body is a mistake.
    repeat(request, first.as_ref())?;
    Ok(made.file.clone())
}

/// An id that Drive gives out for the file, so that it can be made once only.
pub(crate) async fn given_id(
    deps: &Deps,
    connection: &Connection,
    mime_type: &str,
) -> Result<FileId, Problem> {
    let drive = deps.gate.open(connection).await.map_err(|e| no_id(&e))?;
    drive.generate_id(mime_type).await.map_err(|e| no_id(&e))
}

fn no_id(error: &DriveError) -> Problem {
    tracing::warn!(
        error = runtime::telemetry::chain(error),
        "Drive gave out no id"
    );
    match error.kind() {
        DriveKind::AuthLost { reason } => Problem::new(
            Kind::StateNotAllowed,
            format!("Drive does not take the connection's credentials: {reason}"),
        ),
        DriveKind::DailyLimit => Problem::busy("Drive's daily limit is used up", 3_600),
        DriveKind::RateLimited { retry_after_millis } => {
            let seconds = retry_after_millis.unwrap_or(1_000).div_ceil(1_000);
            Problem::busy("Drive asks us to wait", seconds)
        }
        DriveKind::CursorLost
        | DriveKind::NotFound
        | DriveKind::AccessDenied { .. }
        | DriveKind::Stale
        | DriveKind::Permanent { .. }
        | DriveKind::BadContent(_)
        | DriveKind::Transient
        | DriveKind::Unanswered
        | DriveKind::NotSent => Problem::busy("Drive gives out no id for the file now", 2),
    }
}

/// The file that a body describes, its id still to be given.
fn wanted(mut members: Map<String, Json>, connection: &Connection) -> Result<NewFile, Problem> {
    let mime_type = mime_type(members.remove("mime_type").as_ref())?;
    let target = target(members.remove("shortcut_target").as_ref(), &mime_type)?;
    for later in ["trashed", "permissions"] {
        if members.contains_key(later) {
            let detail = format!("{later} can be changed once the file is made");
            return Err(Problem::new(Kind::MemberNotAllowed, detail).at(format!("/{later}")));
        }
    }
    let mut values = parse(&members)?;
    if !values.contains_key(&Field::Name) {
        return Err(Problem::new(Kind::ValueNotAllowed, "name is needed").at("/name"));
    }
    if let (Scope::SharedDrive(drive), None) = (&connection.scope, values.get(&Field::Parent)) {
        values.insert(Field::Parent, Value::text(drive.as_str()));
    }
    let nobody =
        FileId::parse("none").map_err(|_| Problem::new(Kind::Internal, "no id could be made"))?;
    Ok(NewFile {
        file: nobody,
        mime_type,
        shortcut_target: target,
        values,
    })
}

fn mime_type(json: Option<&Json>) -> Result<String, Problem> {
    let refused = |detail: &str| Problem::new(Kind::ValueNotAllowed, detail).at("/mime_type");
    let Some(mime_type) = json.and_then(Json::as_str) else {
        return Err(refused("mime_type is needed, as a text"));
    };
    let graphic = mime_type.bytes().all(|byte| byte.is_ascii_graphic());
    let two = mime_type
        .split_once('/')
        .is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
    if !graphic || !two || mime_type.len() > MIME_TYPE_BYTES_MAX {
        return Err(refused("mime_type must be a type like text/plain"));
    }
    if !takes_given_id(mime_type) {
        return Err(refused(
            "Drive gives out no ids for files of Google's editors beforehand, so making one could \
             make two; make it in Drive",
        ));
    }
    Ok(mime_type.to_owned())
}

fn target(json: Option<&Json>, mime_type: &str) -> Result<Option<FileId>, Problem> {
    let at = "/shortcut_target";
    match (json, mime_type == SHORTCUT) {
        (None, false) => Ok(None),
        (None, true) => {
            Err(Problem::new(Kind::ValueNotAllowed, "a shortcut needs a target").at(at))
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

/// How much is to be deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Whether a folder may go with what lies in it.
    recursive: Option<bool>,
}

/// Deletes a file for good, not into the trash. It is owed to Drive from then on; if somebody changes the
/// file first, that becomes a conflict on `existence`. A file that is still being made is not made.
#[utoipa::path(
    delete, operation_id = "delete_file", path = "/v1/connections/{connection}/files/{file}", tag = "files",
    params(
        ("connection" = String, Path), ("file" = String, Path), DeleteQuery,
        ("If-Match" = String, Header, description = "The `ETag` of what was read, or `*`."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat is answered, not done again."),
    ),
    responses(
        (status = 200, description = "The file, and what is owed. `Idempotent-Replayed` where it had been done before.",
            body = FileView, headers(("ETag" = String), ("Idempotent-Replayed" = String))),
        (status = 409, description = "A conflict holds it, or it is a folder that is not empty.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "The file is gone.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "It has changed; `current` is the file now.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "No `If-Match`.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
    Params(query): Params<DeleteQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let if_match = IfMatch::required(&headers)?;
    let recursive = query.recursive == Some(true);
    let route = format!("DELETE {}/{} {recursive}", at.key, at.file);
    let request = idempotency(&headers, &at.caller, &[&route])?;
    let connection = record::connection(&deps, &at.key).await?;
    let emptied = recursive || is_empty(&deps, &at).await?;
    write(
        &deps,
        &at,
        &connection,
        if_match,
        request,
        |record, moment| {
            if !emptied && !record.is_gone() {
                let detail =
                    "the folder is not empty; `recursive=true` deletes it with what lies in it";
                return Err(Problem::new(Kind::StateNotAllowed, detail));
            }
            let step = record.delete(&at.caller.subject, moment);
            step.map_err(|why| refused(record, why))
        },
    )
    .await
}

/// Whether we know of nothing that lies in the folder. A file that is no folder has nothing in it.
async fn is_empty(deps: &Deps, at: &FilePath) -> Result<bool, Problem> {
    let mut cursor = None;
    loop {
        let page = PageRequest { limit: 1, cursor };
        let found = deps
            .store
            .list_files(&at.key, Some(&at.file), Tombstones::Skip, &page)
            .await?;
        if !found.items.is_empty() {
            return Ok(false);
        }
        // The index may still name one that is gone.
        match found.next_cursor {
            None => return Ok(true),
            next @ Some(_) => cursor = next,
        }
    }
}
