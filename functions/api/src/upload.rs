//! A file's content, both ways: downloaded by a URL of its own, and brought in one request.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use domain::content::{ContentState, Dealt, Encoding, StoredVersion};
use domain::{Field, FileRecord, Value};
use objects::ContentHasher;
use serde::{Deserialize, Serialize};
use store::{Connection, PageRequest};
use utoipa::{IntoParams, ToSchema};

use crate::content::{self, Asks, Condition, DIRECT_BYTES_MAX, Next};
use crate::extract::{FilePath, Params, idempotency};
use crate::file_view::FileView;
use crate::problem::{Kind, Problem, ProblemBody, UnstoredView};
use crate::{Deps, record};

/// How long a URL is good, in seconds.
const URL_SECONDS: u32 = 15 * 60;

/// Which version is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContentQuery {
    /// Its number; the file's present content where left out.
    #[param(minimum = 1)]
    version: Option<u32>,
}

/// Where content can be downloaded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Download)]
pub(crate) struct DownloadView {
    /// Good for whoever has it, until it expires. It saves under the file's name.
    url: String,
    expires_at: String,
    version: u32,
    sha256: String,
    size_bytes: u64,
    mime_type: String,
    /// `none`, or `zstd` where what comes is compressed. It says so as `Content-Encoding`, so browsers and
    /// `curl --compressed` give the content itself; whoever takes the bytes as they come decompresses them.
    encoding: &'static str,
}

/// The version that is the file's present content: that of its record, or of a document's latest export.
pub(crate) async fn current(
    deps: &Deps,
    at: &FilePath,
    record: &FileRecord,
) -> Result<Option<u32>, Problem> {
    if record.can_hold_content() {
        return Ok((record.content_version > 0).then_some(record.content_version));
    }
    let newest = PageRequest {
        limit: 1,
        cursor: None,
    };
    let page = deps.store.list_versions(&at.key, &at.file, &newest).await?;
    Ok(page.items.first().map(|version| version.number))
}

/// A version that is stored, by its number or the present one.
///
/// # Errors
/// 404 where it is not stored: with how that stands, where it is the present one.
pub(crate) async fn stored(
    deps: &Deps,
    at: &FilePath,
    connection: &Connection,
    record: &FileRecord,
    wanted: Option<u32>,
) -> Result<StoredVersion, Problem> {
    let current = current(deps, at, record).await?;
    let number = wanted.or(current);
    if let Some(number) = number {
        let found = deps.store.version(&at.key, &at.file, number).await?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    if number != current {
        return Err(Problem::not_found("a stored version of that number"));
    }
    let state = deps.store.load_content(&at.key, &at.file).await?;
    let unstored = unstored(connection, record, &state);
    Err(Problem::new(Kind::ContentNotStored, told(&unstored)).unstored(unstored))
}

/// Why the present content is not stored.
fn unstored(connection: &Connection, record: &FileRecord, state: &ContentState) -> UnstoredView {
    if let Some((number, dealt)) = &state.dealt
        && *number == record.content_version
    {
        match dealt {
            Dealt::Unavailable { reason } => {
                let reason = reason.clone();
                return UnstoredView::Unavailable { reason };
            }
            Dealt::Skipped { rule } => {
                let rule = rule.clone();
                return UnstoredView::Skipped { rule };
            }
            Dealt::Released => return UnstoredView::Released,
            Dealt::Stored => {}
        }
    }
    if !connection.content.enabled {
        return UnstoredView::Off;
    }
    let nothing = record.can_hold_content() && record.app(&Field::Content) == Value::Null;
    if nothing {
        return UnstoredView::None;
    }
    UnstoredView::Pending
}

fn told(unstored: &UnstoredView) -> String {
    match unstored {
        UnstoredView::Pending => "it is on its way; ask again".to_owned(),
        UnstoredView::Unavailable { reason } => format!("Drive does not give it out: {reason}"),
        UnstoredView::Skipped { rule } => format!("the connection leaves it out: {rule}"),
        UnstoredView::Released => "it was let go, as the file had gone for long".to_owned(),
        UnstoredView::Off => "the connection mirrors no content".to_owned(),
        UnstoredView::None => "the file holds nothing that could be stored".to_owned(),
    }
}

/// A URL that downloads a file's content, for fifteen minutes.
#[utoipa::path(
    get, operation_id = "get_content", path = "/v1/connections/{connection}/files/{file}/content", tag = "content",
    params(("connection" = String, Path), ("file" = String, Path), ContentQuery),
    responses(
        (status = 200, description = "Where to download it.", body = DownloadView),
        (status = 404, description = "No such file or version, or it is not stored yet; `content` says why.",
            body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
    Params(query): Params<ContentQuery>,
) -> Result<Json<DownloadView>, Problem> {
    let (connection, record) = record::found(&deps, &at).await?;
    let found = stored(&deps, &at, &connection, &record, query.version).await?;
    let file_name = match record.app(&Field::Name) {
        Value::Text(name) => name,
        Value::Null | Value::Flag(_) => String::new(),
    };
    let signed = deps
        .objects
        .presign_get(&found.object, &file_name, &found.mime_type, URL_SECONDS);
    let url = signed.await?;
    let expires_at = deps.clock.now().plus_millis(i64::from(URL_SECONDS) * 1_000);
    Ok(Json(DownloadView {
        url: url.as_str().to_owned(),
        expires_at: expires_at.to_string(),
        version: found.number,
        sha256: found.hash.to_string(),
        size_bytes: found.size_bytes,
        mime_type: found.mime_type,
        encoding: match found.encoding {
            Encoding::None => "none",
            Encoding::Zstd => "zstd",
        },
    }))
}

/// What is known of the bytes that come.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// The `content.version` that the bytes replace; 0 where the file never held any. This or `If-Match` is needed.
    expected_version: Option<u32>,
    /// The SHA-256 of the bytes, in hexadecimal digits, where the header `Content-SHA256` does not say it.
    content_hash: Option<String>,
}

/// Brings the file's next content, up to 4 MiB as the body itself. It is stored when this is answered, and owed to Drive
/// from then on. The same content as before is no new version. What is larger goes by `uploads`.
#[utoipa::path(
    post, operation_id = "put_content", path = "/v1/connections/{connection}/files/{file}/content", tag = "content",
    params(
        ("connection" = String, Path), ("file" = String, Path), UploadQuery,
        ("Content-SHA256" = Option<String>, Header, description = "The SHA-256 of the body, in hexadecimal digits."),
        ("If-Match" = Option<String>, Header, description = "The file's `ETag`, or `*`."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat is answered, not done again."),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "The bytes, of any type."),
    responses(
        (status = 200, description = "The file, with its content's version. `Idempotent-Replayed` where it had been done before.",
            body = FileView, headers(("ETag" = String), ("Idempotent-Replayed" = String))),
        (status = 400, description = "The bytes are not what the hash says, or it is missing.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The content has another version (`current_version`; `current` is the file), an open \
            conflict holds it, the connection mirrors no content, or the file is out of scope.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "The file is gone.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "The file has changed; `current` is what it is now.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "More than 4 MiB: use `uploads`.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The file can hold no bytes.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "Neither `expected_version` nor `If-Match`.",
            body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
    Params(query): Params<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let connection = record::connection(&deps, &at.key).await?;
    let said = said_hash(&query, &headers)?;
    let condition = Condition::of(query.expected_version, &headers)?;
    let bytes = read(body).await?;
    let digest = ContentHasher::of(&bytes);
    if digest.sha256 != said {
        return Err(content::wrong_hash(&said, &digest));
    }
    let route = format!("POST {}/{} content", at.key, at.file);
    let expected = format!("{:?}", query.expected_version);
    let asked = [route.as_str(), &said.to_string(), &expected];
    let next = Next {
        condition,
        request: idempotency(&headers, &at.caller, &asked)?,
        reason: None,
    };
    content::enabled(&connection)?;
    let object = match next.asks(&deps, &at, &said).await? {
        Asks::Nothing => None,
        Asks::Bytes { mime_type } => {
            Some(content::store(&deps, &connection, bytes, &digest, &mime_type).await?)
        }
    };
    let done = next.take(&deps, &at, &connection, &said, object.as_ref());
    done.await?.answer(&deps, &connection).await
}

fn said_hash(
    query: &UploadQuery,
    headers: &HeaderMap,
) -> Result<domain::content::ContentHash, Problem> {
    let header = headers.get("content-sha256");
    let text = match (&query.content_hash, header) {
        (Some(query), None) => query.as_str(),
        (None, Some(header)) => header.to_str().unwrap_or(""),
        (None, None) | (Some(_), Some(_)) => {
            let detail = "send the content's SHA-256 once: as Content-SHA256 or as content_hash";
            return Err(Problem::new(Kind::MalformedRequest, detail));
        }
    };
    content::hash(text)
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    to_bytes(body, DIRECT_BYTES_MAX).await.map_err(|_| {
        let detail = format!(
            "one request brings up to {DIRECT_BYTES_MAX} bytes; POST .../uploads takes more, in parts"
        );
        Problem::new(Kind::BodyTooLarge, detail)
    })
}
