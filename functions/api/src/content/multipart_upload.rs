//! Multipart uploads of content that is too large for one request: sent to the bucket in parts,
//! then committed.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::content::{ContentHash, ObjectKey, ObjectLocation, StoredObject};
use domain::rate_limit::SlotKind;
use objects::{ContentHasher, Digest, ObjectsError, Part, PartPlan};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Created, MultipartUpload};
use utoipa::{IntoParams, ToSchema};

use crate::content::content_condition::ContentCondition;
use crate::content::content_writes::{self, ContentChange};
use crate::described::query::Params;
use crate::described::texts::Sha256Text;
use crate::fairness::admission::{self, Wanted};
use crate::http::{
    EditedFile, FilePath, JsonBody, JsonResult, Keyed, Kind, Problem, UploadPath, created,
};
use crate::{App, Deps, lookups};

/// The largest upload, in bytes: 1 GiB. A commit reads all of it again to verify it, and API
/// Gateway ends a call after 30 s.
const SIZE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// URLs in one response.
const URLS_MAX: u32 = 1_000;
/// The validity of a URL, in seconds: an hour. New ones are available at any time.
const URL_SECONDS: u32 = 3_600;
/// The longest duration of an upload, in milliseconds: a day.
const UPLOAD_MILLIS: i64 = 24 * 3_600 * 1_000;

/// An upload to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUpload)]
pub(crate) struct UploadBody {
    /// 1 byte to 1 GiB. Empty content is sent to `content`.
    #[schema(minimum = 1, maximum = 1_073_741_824_u64)]
    size_bytes: u64,
    /// The SHA-256 of the bytes in hexadecimal digits.
    #[schema(value_type = Sha256Text)]
    content_hash: String,
    /// The `content.version` to replace; 0 if the file never had content.
    #[schema(format = Int64, maximum = 4_294_967_295_u32)]
    expected_version: u32,
}

/// An upload in progress.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upload)]
pub(crate) struct UploadView {
    id: String,
    size_bytes: u64,
    content_hash: String,
    expected_version: u32,
    /// When it expires unless it is committed.
    expires_at: String,
    /// The number of parts.
    part_count: u32,
    /// The URLs of up to 1,000 parts, to be sent with PUT; `GET` returns further and new ones.
    parts: Vec<PartView>,
    /// When the URLs expire.
    urls_expire_at: String,
}

/// The URL of one part.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UploadPart)]
struct PartView {
    /// Counted from 1 in the order of the bytes.
    number: u32,
    url: String,
    /// The required number of bytes.
    size_bytes: u64,
}

/// Begins to upload a file's next content in parts.
///
/// Each part is PUT to its URL, then the upload is committed. An abandoned upload expires after a
/// day.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/files/{file}/uploads", tag = "content",
    params(FilePath),
    request_body(content = UploadBody),
    responses(
        (status = 201, description = "The URLs of the parts.", body = UploadView,
            headers(("Location" = String))),
        (status = 409, description = "The content has another version (`current_version`; \
            `current` is the file), an open conflict holds it, or the connection does not mirror \
            content."),
        (status = 410, description = "The file is gone."),
        (status = 413, description = "More than 1 GiB: upload a larger file to Drive itself, from \
            where it is mirrored."),
    )
)]
pub(crate) async fn begin_upload(
    deps: App,
    at: FilePath,
    keyed: Keyed,
    body: JsonBody,
) -> Result<Response, Problem> {
    let size = body.unchecked("size_bytes").and_then(Value::as_u64);
    if size.is_some_and(|size| size > SIZE_BYTES_MAX) {
        return Err(too_large());
    }
    let body: UploadBody = body.read()?;
    let connection = lookups::connection(&deps, &at.key).await?;
    let hash = ContentHash::parse(&body.content_hash)
        .map_err(|why| Problem::new(Kind::ValueNotAllowed, why.to_string()).at("/content_hash"))?;
    let plan = PartPlan::new(body.size_bytes).map_err(|_| too_large())?;
    content_writes::require_enabled(&connection)?;
    let change = ContentChange {
        deps: &deps,
        connection: &connection,
        at: &at,
        hash,
        condition: ContentCondition::version(body.expected_version),
        keyed: &keyed,
        reason: None,
    };
    change.needs_bytes().await?;
    let object = ObjectKey::content(&at.key.tenant, &hash, deps.entropy.next());
    let class = connection.content.storage_class;
    let begun = deps.objects.create_presigned_upload(&object, class);
    let upload = MultipartUpload {
        id: format!("{:016x}{:016x}", deps.entropy.next(), deps.entropy.next()),
        file: at.file.clone(),
        hash,
        size_bytes: body.size_bytes,
        expected_version: body.expected_version,
        upload: begun.await?,
        object,
        part_bytes: plan.part_bytes(),
        expires_at: deps.clock.now().plus_millis(UPLOAD_MILLIS),
    };
    let (connection, file, id) = (&at.key.connection, &at.file, &upload.id);
    let location = format!("/v1/connections/{connection}/files/{file}/uploads/{id}");
    keyed.creates(&location);
    keyed.tell("upload", id.as_str());
    let slot = SlotKind::Upload {
        id: upload.id.clone(),
        bytes: upload.size_bytes,
    };
    let (wanted, upload) = (Wanted::Slots(&at.key, vec![slot]), &upload);
    let (deps, keyed, key) = (&deps, &keyed, &at.key);
    let saved = admission::begin(deps, wanted, |admission| async move {
        let store = keyed.store(deps).admitting(&admission);
        match store.save_multipart_upload(key, upload).await? {
            Created::Created => Ok(()),
            Created::Exists(_) => Err(Problem::busy("try again", 1)),
        }
    });
    if let Err(problem) = saved.await {
        if problem.status() == StatusCode::TOO_MANY_REQUESTS.as_u16() {
            abort(deps, upload).await;
        }
        return Err(problem);
    }
    let view = view(deps, upload, plan, 1).await?;
    Ok(created(Json(view).into_response(), &location))
}

fn too_large() -> Problem {
    let detail = format!(
        "an upload may have at most {SIZE_BYTES_MAX} bytes, because a commit reads all of them in \
         one call; upload a larger file to Drive itself, from where it is mirrored"
    );
    Problem::new(Kind::BodyTooLarge, detail).at("/size_bytes")
}

async fn view(
    deps: &Deps,
    upload: &MultipartUpload,
    plan: PartPlan,
    from: u32,
) -> Result<UploadView, Problem> {
    let numbers = from.max(1)..=plan.count().min(from.saturating_add(URLS_MAX - 1));
    let signed =
        deps.objects
            .presign_parts(&upload.object, &upload.upload, plan, numbers, URL_SECONDS);
    let parts = signed.await?.into_iter().map(|part| PartView {
        number: part.number,
        url: part.url.as_str().to_owned(),
        size_bytes: part.size_bytes,
    });
    let urls_expire_at = deps.clock.now().plus_millis(i64::from(URL_SECONDS) * 1_000);
    Ok(UploadView {
        id: upload.id.clone(),
        size_bytes: upload.size_bytes,
        content_hash: upload.hash.to_string(),
        expected_version: upload.expected_version,
        expires_at: upload.expires_at.to_string(),
        part_count: plan.count(),
        parts: parts.collect(),
        urls_expire_at: urls_expire_at.to_string(),
    })
}

/// The first part whose URL is requested.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PartsQuery {
    /// The default is 1.
    #[param(format = Int64, minimum = 1, maximum = 4_294_967_295_u32)]
    from: Option<u32>,
}

/// Returns an upload in progress with new URLs.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/files/{file}/uploads/{upload}", tag = "content",
    params(UploadPath, PartsQuery),
    responses((status = 200, description = "The upload.", body = UploadView))
)]
pub(crate) async fn get_upload(
    deps: App,
    path: UploadPath,
    keyed: Keyed,
    Params(query): Params<PartsQuery>,
) -> JsonResult<UploadView> {
    lookups::connection(&deps, &path.at.key).await?;
    let upload = load(&deps, &path).await?;
    let plan = plan_of(&upload)?;
    keyed.record(&deps).await?;
    let view = view(&deps, &upload, plan, query.from.unwrap_or(1));
    view.await.map(Json)
}

async fn load(deps: &Deps, path: &UploadPath) -> Result<MultipartUpload, Problem> {
    let UploadPath { at, upload } = path;
    let found = deps
        .store
        .load_multipart_upload(&at.key, upload, deps.clock.now());
    let found = found.await?;
    found
        .filter(|upload| upload.file == at.file)
        .ok_or_else(|| Problem::not_found("the upload"))
}

fn plan_of(upload: &MultipartUpload) -> Result<PartPlan, Problem> {
    PartPlan::resume(upload.size_bytes, upload.part_bytes)
        .map_err(|_| Problem::new(Kind::Internal, "the upload has no valid parts"))
}

/// Makes the uploaded parts the file's next content.
///
/// The bytes are read again and verified. If they do not match the hash, they are deleted.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/files/{file}/uploads/{upload}/commit",
    tag = "content",
    params(UploadPath),
    responses(
        EditedFile,
        (status = 400, description = "The bytes do not match the hash; the upload has ended."),
        (status = 409, description = "Parts are missing, the content has another version \
            (`current_version`; `current` is the file), an open conflict holds it, the connection \
            does not mirror content, or the file is out of scope."),
    )
)]
pub(crate) async fn commit_upload(
    deps: App,
    path: UploadPath,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let at = &path.at;
    let connection = lookups::connection(&deps, &at.key).await?;
    let upload = load(&deps, &path).await?;
    content_writes::require_enabled(&connection)?;
    let change = ContentChange {
        deps: &deps,
        connection: &connection,
        at,
        hash: upload.hash,
        condition: ContentCondition::version(upload.expected_version),
        keyed: &keyed,
        reason: None,
    };
    let object = match change.needs_bytes().await? {
        None => None,
        Some(_) => Some(complete(&deps, at, &upload).await?),
    };
    let edited = change.apply(object.as_ref()).await?;
    // The content was known already, so its parts are left.
    if object.is_none() {
        abort(&deps, &upload).await;
    }
    // If this fails, the record expires within a day.
    if let Err(error) = deps
        .store
        .delete_multipart_upload(&at.key, &upload.id)
        .await
    {
        let error = runtime::telemetry::chain(&error);
        tracing::warn!(error, "could not delete the record of a committed upload");
    }
    edited.respond(&deps, &connection).await
}

/// Deletes the parts of an upload, if there are any. If that fails, the bucket's lifecycle does.
async fn abort(deps: &Deps, upload: &MultipartUpload) {
    let aborted = deps.objects.abort_upload(&upload.object, &upload.upload);
    if let Err(error) = aborted.await {
        let error = runtime::telemetry::chain(&error);
        tracing::warn!(error, "could not delete the parts of an upload");
    }
}

/// Ends an upload that is not committed, and deletes its parts.
#[utoipa::path(
    delete, path = "/v1/connections/{connection}/files/{file}/uploads/{upload}", tag = "content",
    params(UploadPath),
    responses((status = 204, description = "The upload has ended."))
)]
pub(crate) async fn abort_upload(
    deps: App,
    path: UploadPath,
    keyed: Keyed,
) -> Result<StatusCode, Problem> {
    let key = &path.at.key;
    lookups::connection(&deps, key).await?;
    let upload = load(&deps, &path).await?;
    keyed.deletes();
    admission::give_up(&deps, &keyed.store(&deps), key, &upload).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Joins the parts to one object, verifies and records it.
async fn complete(
    deps: &Deps,
    at: &FilePath,
    upload: &MultipartUpload,
) -> Result<StoredObject, Problem> {
    // A commit that was interrupted after this step finds the complete object.
    if deps.objects.head(&upload.object).await?.is_none() {
        let Some(parts) = list_parts(deps, upload).await? else {
            // An earlier commit found the same content stored, deleted its own and was interrupted.
            // Without that, the tenant may have the announced content, but not from here.
            let brought = deps.store.holds_object(&at.key, &upload.hash).await?;
            let existing = match brought {
                true => content_writes::retain(deps, &at.key, &upload.hash).await?,
                false => None,
            };
            return existing.ok_or_else(|| Problem::not_found("the upload"));
        };
        let completed = deps
            .objects
            .complete_upload(&upload.object, &upload.upload, &parts);
        completed.await?;
    }
    let found = read(deps, upload).await?;
    if found.sha256 != upload.hash {
        content_writes::delete_bytes(deps, &upload.object).await;
        deps.store
            .delete_multipart_upload(&at.key, &upload.id)
            .await?;
        return Err(content_writes::hash_mismatch(&upload.hash, &found));
    }
    // Where the same content is stored already, these bytes are deleted: that they were brought
    // here is recorded first, for a commit that is repeated after an interruption.
    deps.store.hold_object(&at.key, &upload.hash).await?;
    // It is stored as it was sent, since content that is uploaded to Drive in ranges must be
    // readable in ranges.
    let place = ObjectLocation::plain(upload.object.clone(), found.size_bytes);
    content_writes::record_object(deps, &at.key, place, &found).await
}

/// Returns all parts, which must be complete; `None` if the upload no longer exists in the bucket.
async fn list_parts(deps: &Deps, upload: &MultipartUpload) -> Result<Option<Vec<Part>>, Problem> {
    let plan = plan_of(upload)?;
    let listed = deps.objects.list_parts(&upload.object, &upload.upload);
    let parts = match listed.await {
        Ok(parts) => parts,
        Err(ObjectsError::UploadGone(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size = |number| plan.range(number).map(|range| range.end - range.start);
    let is_complete = |part: &&Part| size(part.number) == Some(part.size_bytes);
    let complete = parts.iter().filter(is_complete).count();
    if u32::try_from(complete) != Ok(plan.count()) || parts.len() != complete {
        let count = plan.count();
        let detail = format!("{complete} of {count} parts are complete; send the others first");
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    Ok(Some(parts))
}

async fn read(deps: &Deps, upload: &MultipartUpload) -> Result<Digest, Problem> {
    let body = deps.objects.get(&upload.object, None).await?;
    let mut body = body.ok_or_else(|| Problem::busy("the parts are still being joined", 2))?;
    let mut hasher = ContentHasher::new();
    while let Some(piece) = body.next().await? {
        hasher.update(&piece);
    }
    Ok(hasher.finish())
}
