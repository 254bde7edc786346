//! Content that is too large for one request: sent to the bucket in parts, then taken.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::content::{ContentHash, ObjectKey, Place};
use objects::{ContentHasher, Digest, ObjectsError, Part, PartPlan};
use serde::{Deserialize, Serialize};
use store::{Connection, Incoming};
use utoipa::{IntoParams, ToSchema};

use crate::content::{self, Asks, Condition, Next};
use crate::extract::{FilePath, JsonBody, Params, UploadPath, idempotency, typed};
use crate::file_view::FileView;
use crate::problem::{Kind, Problem, ProblemBody};
use crate::{Deps, record};

/// The largest upload, in bytes: 1 GiB. A commit reads all of it again to verify it, and API Gateway ends a call after 30 s.
const SIZE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// URLs in one answer.
const URLS_MAX: u32 = 1_000;
/// How long a URL is good, in seconds: an hour. Fresh ones are given as often as they are asked for.
const URL_SECONDS: u32 = 3_600;
/// How long an upload may take, in milliseconds: a day.
const UPLOAD_MILLIS: i64 = 24 * 3_600 * 1_000;
/// The type of the object in the bucket: what it holds is said by the version that names it.
const MIME_TYPE: &str = "application/octet-stream";

/// An upload to be begun.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUpload)]
pub(crate) struct UploadBody {
    /// 1 byte to 1 GiB.
    #[schema(minimum = 1, maximum = 1_073_741_824_u64)]
    size_bytes: u64,
    /// The SHA-256 of the bytes, in hexadecimal digits.
    #[schema(min_length = 64, max_length = 64, pattern = "^[0-9a-fA-F]{64}$")]
    content_hash: String,
    /// The `content.version` that the bytes replace; 0 where the file never held any.
    expected_version: u32,
}

/// An upload that is under way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upload)]
pub(crate) struct UploadView {
    id: String,
    size_bytes: u64,
    content_hash: String,
    expected_version: u32,
    /// When it is forgotten unless it is committed.
    expires_at: String,
    /// How many parts the bytes are sent in.
    part_count: u32,
    /// Where to PUT each part, up to 1,000 of them; `GET` gives more, and fresh ones.
    parts: Vec<PartView>,
    /// When these URLs end.
    urls_expire_at: String,
}

/// Where one part is to be PUT.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UploadPart)]
struct PartView {
    /// From 1, in the order of the bytes.
    number: u32,
    url: String,
    /// How many bytes it must have.
    size_bytes: u64,
}

/// Begins to bring the file's next content in parts: each is PUT to its URL, then the upload is committed. One that is
/// abandoned is forgotten after a day.
#[utoipa::path(
    post, operation_id = "begin_upload", path = "/v1/connections/{connection}/files/{file}/uploads", tag = "content",
    params(("connection" = String, Path), ("file" = String, Path)),
    request_body(content = UploadBody),
    responses(
        (status = 201, description = "Where to send the parts.", body = UploadView, headers(("Location" = String))),
        (status = 409, description = "The content has another version (`current_version`; `current` is the file), an open \
            conflict holds it, or the connection mirrors no content.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "The file is gone.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "More than 1 GiB: a larger file is brought to Drive itself, from where it is mirrored.",
            body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn begin(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
    body: JsonBody,
) -> Result<Response, Problem> {
    let connection = record::connection(&deps, &at.key).await?;
    let wanted: UploadBody = typed(serde_json::Value::Object(body.members), "")?;
    let hash = ContentHash::parse(&wanted.content_hash)
        .map_err(|why| Problem::new(Kind::ValueNotAllowed, why.to_string()).at("/content_hash"))?;
    let plan = plan(wanted.size_bytes)?;
    content::enabled(&connection)?;
    let next = Next {
        condition: Condition::version(wanted.expected_version),
        request: None,
        reason: None,
    };
    next.asks(&deps, &at, &hash).await?;
    let object = ObjectKey::content(&at.key.tenant, &hash, deps.entropy.next());
    let class = connection.content.storage_class;
    let upload = deps.objects.begin_presigned(&object, MIME_TYPE, class);
    let incoming = Incoming {
        id: format!("{:016x}{:016x}", deps.entropy.next(), deps.entropy.next()),
        file: at.file.clone(),
        hash,
        size_bytes: wanted.size_bytes,
        expected_version: wanted.expected_version,
        upload: upload.await?,
        object,
        part_bytes: plan.part_bytes(),
        expires_at: deps.clock.now().plus_millis(UPLOAD_MILLIS),
    };
    match deps.store.keep_incoming(&at.key, &incoming).await? {
        store::Created::Created => {}
        store::Created::Exists(_) => return Err(Problem::busy("try again", 1)),
    }
    let view = view(&deps, &incoming, plan, 1).await?;
    let (connection, file) = (&at.key.connection, &at.file);
    let location = format!(
        "/v1/connections/{connection}/files/{file}/uploads/{}",
        incoming.id
    );
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn plan(size_bytes: u64) -> Result<PartPlan, Problem> {
    if size_bytes == 0 {
        let detail = "content without bytes is POSTed to .../content";
        return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/size_bytes"));
    }
    let too_large = || {
        let detail = format!(
            "an upload may have {SIZE_BYTES_MAX} bytes: committing it reads all of them within one call. Bring a larger \
             file to Drive itself; it is mirrored from there"
        );
        Problem::new(Kind::BodyTooLarge, detail).at("/size_bytes")
    };
    if size_bytes > SIZE_BYTES_MAX {
        return Err(too_large());
    }
    PartPlan::of(size_bytes).map_err(|_| too_large())
}

async fn view(
    deps: &Deps,
    incoming: &Incoming,
    plan: PartPlan,
    from: u32,
) -> Result<UploadView, Problem> {
    let numbers = from.max(1)..=plan.count().min(from.saturating_add(URLS_MAX - 1));
    let signed = deps.objects.presign_parts(
        &incoming.object,
        &incoming.upload,
        plan,
        numbers,
        URL_SECONDS,
    );
    let parts = signed.await?.into_iter().map(|part| PartView {
        number: part.number,
        url: part.url.as_str().to_owned(),
        size_bytes: part.size_bytes,
    });
    let urls_expire_at = deps.clock.now().plus_millis(i64::from(URL_SECONDS) * 1_000);
    Ok(UploadView {
        id: incoming.id.clone(),
        size_bytes: incoming.size_bytes,
        content_hash: incoming.hash.to_string(),
        expected_version: incoming.expected_version,
        expires_at: incoming.expires_at.to_string(),
        part_count: plan.count(),
        parts: parts.collect(),
        urls_expire_at: urls_expire_at.to_string(),
    })
}

/// From which part on URLs are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PartsQuery {
    /// 1 where left out.
    #[param(minimum = 1)]
    from: Option<u32>,
}

/// An upload that is under way, with fresh URLs.
#[utoipa::path(
    get, operation_id = "get_upload", path = "/v1/connections/{connection}/files/{file}/uploads/{upload}", tag = "content",
    params(("connection" = String, Path), ("file" = String, Path), ("upload" = String, Path), PartsQuery),
    responses((status = 200, description = "The upload.", body = UploadView))
)]
pub(crate) async fn get(
    State(deps): State<Arc<Deps>>,
    path: UploadPath,
    Params(query): Params<PartsQuery>,
) -> Result<Json<UploadView>, Problem> {
    record::connection(&deps, &path.at.key).await?;
    let incoming = load(&deps, &path).await?;
    let plan = resumed(&incoming)?;
    view(&deps, &incoming, plan, query.from.unwrap_or(1))
        .await
        .map(Json)
}

async fn load(deps: &Deps, path: &UploadPath) -> Result<Incoming, Problem> {
    let UploadPath { at, upload } = path;
    let found = deps
        .store
        .incoming(&at.key, upload, deps.clock.now())
        .await?;
    found
        .filter(|incoming| incoming.file == at.file)
        .ok_or_else(|| Problem::not_found("the upload"))
}

fn resumed(incoming: &Incoming) -> Result<PartPlan, Problem> {
    PartPlan::resumed(incoming.size_bytes, incoming.part_bytes)
        .map_err(|_| Problem::new(Kind::Internal, "the upload can't be planned"))
}

/// Takes the parts that were sent as the file's next content. The bytes are read again and verified; where they are not
/// what was said, nothing of them is kept.
#[utoipa::path(
    post, operation_id = "commit_upload", path = "/v1/connections/{connection}/files/{file}/uploads/{upload}/commit", tag = "content",
    params(
        ("connection" = String, Path), ("file" = String, Path), ("upload" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat is answered, not done again."),
    ),
    responses(
        (status = 200, description = "The file, with its content's version. `Idempotent-Replayed` where it had been done before.",
            body = FileView, headers(("ETag" = String), ("Idempotent-Replayed" = String))),
        (status = 400, description = "The bytes are not what the hash says; the upload is over.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Parts are missing, the content has another version (`current_version`; `current` is the \
            file), an open conflict holds it, the connection mirrors no content, or the file is out of scope.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "The file is gone.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn commit(
    State(deps): State<Arc<Deps>>,
    path: UploadPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let at = &path.at;
    let connection = record::connection(&deps, &at.key).await?;
    let route = format!("POST {}/{} commit {}", at.key, at.file, path.upload);
    let request = idempotency(&headers, &at.caller, &[&route])?;
    let incoming = match load(&deps, &path).await {
        Ok(incoming) => incoming,
        Err(unknown) => return replayed(&deps, at, &connection, request, unknown).await,
    };
    content::enabled(&connection)?;
    let next = Next {
        condition: Condition::version(incoming.expected_version),
        request,
        reason: None,
    };
    let object = match next.asks(&deps, at, &incoming.hash).await? {
        Asks::Nothing => None,
        Asks::Bytes { .. } => Some(complete(&deps, at, &incoming).await?),
    };
    let done = next.take(&deps, at, &connection, &incoming.hash, object.as_ref());
    let done = done.await?;
    // What is left of it is aborted by the bucket's lifecycle, and forgotten in a day.
    let dropped = deps.store.drop_incoming(&at.key, &incoming.id).await;
    if let Err(error) = dropped {
        tracing::warn!(
            error = runtime::telemetry::chain(&error),
            "an upload was not forgotten"
        );
    }
    done.answer(&deps, &connection).await
}

/// An upload that is over is known by the key of the request that took it.
async fn replayed(
    deps: &Deps,
    at: &FilePath,
    connection: &Connection,
    request: Option<domain::Request>,
    unknown: Problem,
) -> Result<Response, Problem> {
    let Some(request) = request else {
        return Err(unknown);
    };
    let record = record::file(deps, &at.key, &at.file).await?;
    if record.last_request.as_ref() != Some(&request) {
        return Err(unknown);
    }
    let replayed = true;
    let done = crate::files::Done { record, replayed };
    done.answer(deps, connection).await
}

/// Has the parts stored as one verified object.
async fn complete(
    deps: &Deps,
    at: &FilePath,
    incoming: &Incoming,
) -> Result<domain::content::StoredObject, Problem> {
    // A commit that died after this step, or was told to try again, finds the object whole.
    if deps.objects.head(&incoming.object).await?.is_none() {
        let Some(parts) = parts(deps, incoming).await? else {
            // A commit before this one found the same content stored already, deleted its own and died.
            let stands = content::held(deps, &at.key, &incoming.hash).await?;
            return stands.ok_or_else(|| Problem::not_found("the upload"));
        };
        let completed = deps
            .objects
            .complete(&incoming.object, &incoming.upload, &parts);
        completed.await?;
    }
    let found = read(deps, incoming).await?;
    if found.sha256 != incoming.hash {
        content::discard(deps, &incoming.object).await;
        deps.store.drop_incoming(&at.key, &incoming.id).await?;
        return Err(content::wrong_hash(&incoming.hash, &found));
    }
    // It lies there as it was sent: what is brought to Drive in pieces must be readable in pieces.
    let place = Place::plain(incoming.object.clone(), found.size_bytes);
    content::name(deps, &at.key, place, &found).await
}

/// All parts, where all of them have come; `None` where the upload is not there any more.
async fn parts(deps: &Deps, incoming: &Incoming) -> Result<Option<Vec<Part>>, Problem> {
    let plan = resumed(incoming)?;
    let listed = deps
        .objects
        .list_parts(&incoming.object, &incoming.upload)
        .await;
    let parts = match listed {
        Ok(parts) => parts,
        Err(ObjectsError::UploadGone(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size = |number| plan.range(number).map(|range| range.end - range.start);
    let came = |part: &&Part| size(part.number) == Some(part.size_bytes);
    let whole = parts.iter().filter(came).count();
    if u32::try_from(whole) != Ok(plan.count()) || parts.len() != whole {
        let detail = format!(
            "{whole} of {} parts have come; send the others first",
            plan.count()
        );
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    Ok(Some(parts))
}

async fn read(deps: &Deps, incoming: &Incoming) -> Result<Digest, Problem> {
    let body = deps.objects.get(&incoming.object, None).await?;
    let mut body = body.ok_or_else(|| Problem::busy("the parts are still being joined", 2))?;
    let mut hasher = ContentHasher::new();
    while let Some(piece) = body.next().await? {
        hasher.update(&piece);
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_a_byte_at_least_and_a_gibibyte_at_most() {
        assert_eq!(plan(0).unwrap_err().status(), 422);
        assert_eq!(plan(SIZE_BYTES_MAX).unwrap().count(), 128);
        assert_eq!(plan(SIZE_BYTES_MAX + 1).unwrap_err().status(), 413);
    }
}
