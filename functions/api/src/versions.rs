//! The stored versions of a file's content: listed, pinned, compared, brought back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::content::{Origin, StoredVersion};
use serde::{Deserialize, Serialize};
use store::{PageRequest, Updated};
use utoipa::{IntoParams, ToSchema};

use crate::content::{self, Asks, Condition, Next};
use crate::extract::{FilePath, JsonBody, Params, VersionPath, idempotency, page, typed};
use crate::file_view::FileView;
use crate::files::PageQuery;
use crate::problem::{Kind, Problem, ProblemBody};
use crate::{Deps, record, upload};

/// One content of a file that is stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Version)]
pub(crate) struct VersionView {
    /// Its number. Numbers rise with every change of the content, and may have gaps.
    number: u32,
    sha256: String,
    size_bytes: u64,
    mime_type: String,
    stored_at: String,
    origin: OriginView,
    /// Of an export: the type that the document was exported to.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    /// Who brought it, where that is known.
    by: Option<String>,
    /// Why, of a version that was restored.
    reason: Option<String>,
    /// Whether it is kept whatever the retention says.
    pinned: bool,
    /// Whether it is the file's present content.
    current: bool,
}

/// Where content came from.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Origin)]
enum OriginView {
    Drive,
    Application,
    /// Drive made it out of a document of its own.
    Export,
}

impl VersionView {
    fn new(version: &StoredVersion, current: Option<u32>) -> Self {
        let (origin, format) = match &version.origin {
            Origin::Drive => (OriginView::Drive, None),
            Origin::Application => (OriginView::Application, None),
            Origin::Export { format } => (OriginView::Export, Some(format.clone())),
        };
        Self {
            number: version.number,
            sha256: version.hash.to_string(),
            size_bytes: version.size_bytes,
            mime_type: version.mime_type.clone(),
            stored_at: version.stored_at.to_string(),
            origin,
            format,
            by: version.by.clone(),
            reason: version.reason.clone(),
            pinned: version.pinned,
            current: current == Some(version.number),
        }
    }
}

/// A page of a file's stored versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionList {
    /// Newest first.
    items: Vec<VersionView>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// The stored versions of a file's content, as far back as they are kept.
#[utoipa::path(
    get, operation_id = "list_versions", path = "/v1/connections/{connection}/files/{file}/versions", tag = "content",
    params(("connection" = String, Path), ("file" = String, Path), PageQuery),
    responses((status = 200, description = "A page.", body = VersionList))
)]
pub(crate) async fn list(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
    Params(query): Params<PageQuery>,
) -> Result<Json<VersionList>, Problem> {
    let request = page(query.limit, query.cursor)?;
    let (_, record) = record::found(&deps, &at).await?;
    let current = upload::current(&deps, &at, &record).await?;
    let page = deps.store.list_versions(&at.key, &at.file, &request);
    let page = page.await?;
    let view = |version| VersionView::new(version, current);
    Ok(Json(VersionList {
        items: page.items.iter().map(view).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// What can be changed of a stored version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionPatch {
    /// Whether it is kept whatever the retention says.
    pinned: bool,
}

/// Pins a stored version, so that it is kept, or lets it go again.
#[utoipa::path(
    patch, operation_id = "update_version", path = "/v1/connections/{connection}/files/{file}/versions/{version}", tag = "content",
    params(("connection" = String, Path), ("file" = String, Path), ("version" = u32, Path)),
    request_body(content = VersionPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The version.", body = VersionView))
)]
pub(crate) async fn update(
    State(deps): State<Arc<Deps>>,
    path: VersionPath,
    body: JsonBody,
) -> Result<Json<VersionView>, Problem> {
    let VersionPath { at, number } = path;
    let (_, record) = record::found(&deps, &at).await?;
    let number = number.ok_or_else(unknown)?;
    let patch: VersionPatch = typed(serde_json::Value::Object(body.members), "")?;
    let pin = deps
        .store
        .pin_version(&at.key, &at.file, number, patch.pinned);
    match pin.await? {
        Updated::Done => {}
        Updated::Absent => return Err(unknown()),
    }
    let found = deps.store.version(&at.key, &at.file, number).await?;
    let current = upload::current(&deps, &at, &record).await?;
    let found = found.ok_or_else(unknown)?;
    Ok(Json(VersionView::new(&found, current)))
}

fn unknown() -> Problem {
    Problem::not_found("a stored version of that number")
}

/// Which versions are compared.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CompareQuery {
    /// The older one; where left out, the latest that is stored before `to`, or `to` itself where none is.
    #[param(minimum = 1)]
    from: Option<u32>,
    /// The newer one; the present one where left out.
    #[param(minimum = 1)]
    to: Option<u32>,
}

/// How two stored versions differ.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Comparison)]
pub(crate) struct ComparisonView {
    /// Whether they are the same, byte for byte.
    same: bool,
    from: VersionView,
    to: VersionView,
    /// A unified diff, where both are texts of up to 1 MiB.
    diff: Option<String>,
    /// Why there is no diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_diff: Option<String>,
}

/// Compares two stored versions, and texts of up to 1 MiB line by line.
#[utoipa::path(
    get, operation_id = "compare_versions", path = "/v1/connections/{connection}/files/{file}/versions/compare", tag = "content",
    params(("connection" = String, Path), ("file" = String, Path), CompareQuery),
    responses((status = 200, description = "How they differ.", body = ComparisonView))
)]
pub(crate) async fn compare(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
    Params(query): Params<CompareQuery>,
) -> Result<Json<ComparisonView>, Problem> {
    let (connection, record) = record::found(&deps, &at).await?;
    let to = upload::stored(&deps, &at, &connection, &record, query.to).await?;
    let from = match query.from {
        None => before(&deps, &at, &to).await?,
        Some(number) => upload::stored(&deps, &at, &connection, &record, Some(number)).await?,
    };
    let current = upload::current(&deps, &at, &record).await?;
    let same = from.hash == to.hash;
    let (diff, no_diff) = if same {
        (None, Some("they are the same".to_owned()))
    } else {
        let texts = (content::text(&deps, &from), content::text(&deps, &to));
        match (texts.0.await?, texts.1.await?) {
            (Ok(from), Ok(to)) => {
                let patch = diffy::create_patch(&from, &to);
                (Some(patch.to_string()), None)
            }
            (Err(why), _) | (_, Err(why)) => (None, Some(format!("one of them {why}"))),
        }
    };
    Ok(Json(ComparisonView {
        same,
        from: VersionView::new(&from, current),
        to: VersionView::new(&to, current),
        diff,
        no_diff,
    }))
}

/// The latest version that is stored before this one, or it itself.
async fn before(deps: &Deps, at: &FilePath, to: &StoredVersion) -> Result<StoredVersion, Problem> {
    let mut cursor = None;
    loop {
        let page = PageRequest { limit: 100, cursor };
        let found = deps.store.list_versions(&at.key, &at.file, &page).await?;
        let older = |version: &StoredVersion| version.number < to.number;
        if let Some(version) = found.items.into_iter().find(older) {
            return Ok(version);
        }
        match found.next_cursor {
            None => return Ok(to.clone()),
            next @ Some(_) => cursor = next,
        }
    }
}

/// Which version is to be the file's content again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restoration {
    /// A stored version's number.
    #[schema(minimum = 1)]
    version: u32,
    /// Why: one line, kept with the new version.
    reason: Option<String>,
    /// The `content.version` that it replaces. This or `If-Match` is needed.
    expected_version: Option<u32>,
}

/// Makes a stored version the file's content again: a new version of its own, owed to Drive like any upload.
#[utoipa::path(
    post, operation_id = "restore_version", path = "/v1/connections/{connection}/files/{file}/restore", tag = "content",
    params(
        ("connection" = String, Path), ("file" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The file's `ETag`, or `*`."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat is answered, not done again."),
    ),
    request_body(content = Restoration),
    responses(
        (status = 200, description = "The file, with its content's new version. `Idempotent-Replayed` where it had been done before.",
            body = FileView, headers(("ETag" = String), ("Idempotent-Replayed" = String))),
        (status = 409, description = "The content has another version (`current_version`; `current` is the file), an open \
            conflict holds it, the connection mirrors no content, or the file is out of scope.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "The file is gone, or the version is not stored any more.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "The file has changed; `current` is what it is now.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "Neither `expected_version` nor `If-Match`.",
            body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn restore(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let connection = record::connection(&deps, &at.key).await?;
    let route = format!("POST {}/{} restore", at.key, at.file);
    let request = idempotency(&headers, &at.caller, &[&route, &body.digest])?;
    let wanted: Restoration = typed(serde_json::Value::Object(body.members), "")?;
    let next = Next {
        condition: Condition::of(wanted.expected_version, &headers)?,
        request,
        reason: content::reason(wanted.reason)?,
    };
    content::enabled(&connection)?;
    let record = record::file(&deps, &at.key, &at.file).await?;
    let found = deps
        .store
        .version(&at.key, &at.file, wanted.version)
        .await?;
    let Some(found) = found else {
        return Err(match wanted.version {
            0 => unknown(),
            number if number > record.content_version => unknown(),
            number => {
                let detail = format!("version {number} was released, or was never stored");
                Problem::new(Kind::VersionReleased, detail)
            }
        });
    };
    if !record.can_hold_content() {
        return Err(content::no_content());
    }
    let object = match next.asks(&deps, &at, &found.hash).await? {
        Asks::Nothing => None,
        Asks::Bytes { .. } => {
            let held = content::held(&deps, &at.key, &found.hash).await?;
            Some(held.ok_or_else(|| {
                Problem::new(Kind::VersionReleased, "its bytes are not stored any more")
            })?)
        }
    };
    let done = next.take(&deps, &at, &connection, &found.hash, object.as_ref());
    done.await?.answer(&deps, &connection).await
}
