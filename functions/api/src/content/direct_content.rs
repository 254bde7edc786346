//! A file's content in one request: a URL to download it from, and uploads of up to 4 MiB.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use domain::Timestamp;
use domain::content::{ContentHash, Encoding};
use objects::ContentHasher;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::content::content_condition::ContentCondition;
use crate::content::content_writes::{self, ContentChange};
use crate::content::stored_versions;
use crate::described::query::Params;
use crate::described::texts::BytesBody;
use crate::files::derived;
use crate::files::file_view::FileView;
use crate::http::{
    ConditionallyEditedFile, ContentEditHeaders, FilePath, JsonResult, Keyed, Kind, Problem,
};
use crate::{App, lookups};

/// The validity of a URL, in seconds.
pub(crate) const URL_SECONDS: u32 = 15 * 60;
/// The largest content in one request, in bytes: 4 MiB. Lambda accepts 6 MB, and API Gateway passes
/// binary bodies to it as base64, which adds a third.
const DIRECT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The version to download.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContentQuery {
    /// Its number; the default is the file's current content.
    #[param(format = Int64, minimum = 1, maximum = 4_294_967_295_u32)]
    version: Option<u32>,
}

/// A URL to download content from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Download)]
pub(crate) struct DownloadView {
    /// Valid for any holder until it expires. It saves under the file's name.
    url: String,
    expires_at: String,
    version: u32,
    sha256: String,
    size_bytes: u64,
    mime_type: String,
    /// `none`, or `zstd` if the response is compressed. It is sent as `Content-Encoding`, so
    /// browsers and `curl --compressed` return the content itself; other clients must decompress
    /// the bytes.
    encoding: &'static str,
}

/// Returns a URL to download a file's content from, valid for fifteen minutes.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/files/{file}/content", tag = "content",
    params(FilePath, ContentQuery),
    responses(
        (status = 200, description = "The URL.", body = DownloadView),
        (status = 404, description = "There is no such file or version, or it is not stored; \
            `content` has the reason."),
    )
)]
pub(crate) async fn get_content(
    deps: App,
    at: FilePath,
    keyed: Keyed,
    Params(query): Params<ContentQuery>,
) -> JsonResult<DownloadView> {
    let (connection, record) = lookups::connection_and_file(&deps, &at).await?;
    let found = stored_versions::load(&deps, &at, &connection, &record, query.version).await?;
    let file_name = derived::name(&record);
    let expires_at = url_expires_at(deps.clock.now());
    let url = match &deps.distribution {
        Some(distribution) => distribution.link(&found, &file_name, expires_at).await?,
        None => {
            let (object, mime_type) = (&found.object, &found.mime_type);
            let signed = deps
                .objects
                .presign_get(object, &file_name, mime_type, URL_SECONDS);
            signed.await?
        }
    };
    keyed.tell("version", found.number);
    keyed.record(&deps).await?;
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

/// Returns when a URL expires that is made now.
pub(crate) fn url_expires_at(now: Timestamp) -> Timestamp {
    now.plus_millis(i64::from(URL_SECONDS) * 1_000)
}

/// The condition and the hash of an upload.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// The `content.version` to replace; 0 if the file never had content. This or `If-Match` is
    /// required.
    #[param(format = Int64, maximum = 4_294_967_295_u32)]
    expected_version: Option<u32>,
    /// The SHA-256 of the bytes in hexadecimal digits, unless the header `Content-SHA256` has it.
    #[param(min_length = 64, max_length = 64, pattern = "^[0-9a-fA-F]{64}$")]
    content_hash: Option<String>,
}

/// The file with its new content and its intent. Not `File` by name: clients that are generated for
/// Python take that for the bytes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the response, which is a `FileView`")]
pub(crate) struct UploadedFile(FileView);

/// Uploads a file's next content of up to 4 MiB as the body.
///
/// It is stored when the response is sent, and owed to Drive from then on. The same content as
/// before makes no new version. Use `uploads` for larger content.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/files/{file}/content", tag = "content",
    params(
        FilePath, UploadQuery,
        ("Content-SHA256" = Option<String>, Header, min_length = 64, max_length = 64,
            pattern = "^[0-9a-fA-F]{64}$",
            description = "The SHA-256 of the body in hexadecimal digits."),
        ContentEditHeaders,
    ),
    request_body(content = inline(BytesBody), content_type = "application/octet-stream",
        description = "The bytes, of any type."),
    responses(
        ConditionallyEditedFile,
        (status = 200, description = "The file with its intent. `Idempotent-Replayed` is set if \
            the request had been carried out before.", body = UploadedFile,
            headers(("ETag" = String), ("Idempotent-Replayed" = String))),
        (status = 400, description = "The bytes do not match the hash, or it is missing."),
        (status = 409, description = "The content has another version (`current_version`; \
            `current` is the file), an open conflict holds it, the connection does not mirror \
            content, or the file is out of scope."),
        (status = 413, description = "More than 4 MiB: use `uploads`."),
        (status = 422, description = "The file can't have content."),
    )
)]
pub(crate) async fn put_content(
    deps: App,
    at: FilePath,
    Params(query): Params<UploadQuery>,
    keyed: Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let connection = lookups::connection(&deps, &at.key).await?;
    let hash = expected_hash(&query, &headers)?;
    let condition = ContentCondition::read(query.expected_version, &headers)?;
    let bytes = read(body).await?;
    let digest = ContentHasher::of(&bytes);
    if digest.sha256 != hash {
        return Err(content_writes::hash_mismatch(&hash, &digest));
    }
    let change = ContentChange {
        deps: &deps,
        connection: &connection,
        at: &at,
        hash,
        condition,
        keyed: &keyed,
        reason: None,
    };
    content_writes::require_enabled(&connection)?;
    let object = match change.needs_bytes().await? {
        None => None,
        Some(mime_type) => {
            let stored = content_writes::store(&deps, &connection, bytes, &digest, &mime_type);
            Some(stored.await?)
        }
    };
    let edited = change.apply(object.as_ref()).await?;
    edited.respond(&deps, &connection).await
}

fn expected_hash(query: &UploadQuery, headers: &HeaderMap) -> Result<ContentHash, Problem> {
    let text = match (&query.content_hash, headers.get("content-sha256")) {
        (Some(query), None) => query.as_str(),
        (None, Some(header)) => header.to_str().unwrap_or(""),
        (None, None) | (Some(_), Some(_)) => {
            let detail = "send the content's SHA-256 once: as Content-SHA256 or as content_hash";
            return Err(Problem::new(Kind::MalformedRequest, detail));
        }
    };
    ContentHash::parse(text).map_err(|_| {
        let detail = "the content's hash must be its SHA-256: 64 hexadecimal digits";
        Problem::new(Kind::MalformedRequest, detail)
    })
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    to_bytes(body, DIRECT_BYTES_MAX).await.map_err(|_| {
        let detail = format!(
            "one request may have at most {DIRECT_BYTES_MAX} bytes; POST .../uploads accepts more"
        );
        Problem::new(Kind::BodyTooLarge, detail)
    })
}
