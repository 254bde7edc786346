//! The stored versions of a file's content: listed, pinned, compared, restored.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::content::{ContentOrigin, StoredVersion};
use serde::{Deserialize, Serialize};
use store::{PageRequest, Updated};
use utoipa::{IntoParams, ToSchema};

use crate::content::content_condition::{ContentCondition, holds_no_content};
use crate::content::content_writes::{self, ContentChange};
use crate::content::{stored_versions, text_merge};
use crate::described::query::Params;
use crate::http::{
    ConditionallyEditedFile, ContentEditHeaders, FilePath, JsonBody, JsonResult, Keyed, Kind,
    PageQuery, Problem, VersionPath, fits, page_that_fits, reason,
};
use crate::{App, Deps, lookups};

/// A stored version of a file's content.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Version)]
pub(crate) struct VersionView {
    /// Its number. Numbers rise with every change of the content and may have gaps.
    number: u32,
    sha256: String,
    size_bytes: u64,
    mime_type: String,
    stored_at: String,
    origin: OriginView,
    /// For an export: the type that the document was exported to.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    /// Its author, if known.
    by: Option<String>,
    /// For a restored version: the reason.
    reason: Option<String>,
    /// Whether it is kept regardless of the retention.
    pinned: bool,
    /// Whether it is the file's current content.
    current: bool,
}

/// The origin of content.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Origin)]
enum OriginView {
    Drive,
    Application,
    /// Exported by Drive from a document of Google's editors.
    Export,
}

impl VersionView {
    fn new(version: &StoredVersion, current: Option<u32>) -> Self {
        let (origin, format) = match &version.origin {
            ContentOrigin::Drive => (OriginView::Drive, None),
            ContentOrigin::Application => (OriginView::Application, None),
            ContentOrigin::Export { format } => (OriginView::Export, Some(format.clone())),
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
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// Lists the stored versions of a file's content.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/files/{file}/versions", tag = "content",
    params(FilePath, PageQuery),
    responses((status = 200, description = "A page.", body = VersionList))
)]
pub(crate) async fn list_versions(
    deps: App,
    at: FilePath,
    Params(query): Params<PageQuery>,
) -> JsonResult<VersionList> {
    let request = query.page();
    let (_, record) = lookups::connection_and_file(&deps, &at).await?;
    let current = stored_versions::current(&deps, &at, &record).await?;
    let (deps, at) = (&deps, &at);
    let read = |request: PageRequest| async move {
        let page = deps.store.list_versions(&at.key, &at.file, &request);
        let page = page.await?;
        let view = |version| VersionView::new(version, current);
        Ok((page.items.iter().map(view).collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(VersionList { items, next_cursor }))
}

/// The changes of a stored version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionPatch {
    /// Whether it is kept regardless of the retention.
    pinned: bool,
}

/// Pins a stored version, so that it is kept, or unpins it.
#[utoipa::path(
    patch, path = "/v1/connections/{connection}/files/{file}/versions/{version}", tag = "content",
    params(VersionPath),
    request_body(content = VersionPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The version.", body = VersionView))
)]
pub(crate) async fn update_version(
    deps: App,
    path: VersionPath,
    keyed: Keyed,
    body: JsonBody,
) -> JsonResult<VersionView> {
    let VersionPath { at, number } = path;
    let patch: VersionPatch = body.read()?;
    let (_, record) = lookups::connection_and_file(&deps, &at).await?;
    let number = number.ok_or_else(stored_versions::not_found)?;
    if keyed.first_answer().is_none() {
        let store = keyed.store(&deps);
        let pinned = store.pin_version(&at.key, &at.file, number, patch.pinned);
        match pinned.await? {
            Updated::Done => {}
            Updated::Absent => return Err(stored_versions::not_found()),
        }
    }
    let found = deps.store.load_version(&at.key, &at.file, number).await?;
    let current = stored_versions::current(&deps, &at, &record).await?;
    let found = found.ok_or_else(stored_versions::not_found)?;
    Ok(Json(VersionView::new(&found, current)))
}

/// The versions to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CompareQuery {
    /// The older one; the default is the latest one that is stored before `to`, or `to` itself if
    /// there is none.
    #[param(format = Int64, minimum = 1, maximum = 4_294_967_295_u32)]
    from: Option<u32>,
    /// The newer one; the default is the current one.
    #[param(format = Int64, minimum = 1, maximum = 4_294_967_295_u32)]
    to: Option<u32>,
}

/// The difference of two stored versions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Comparison)]
pub(crate) struct ComparisonView {
    /// Whether they have the same bytes.
    same: bool,
    from: VersionView,
    to: VersionView,
    /// A unified diff, if both are texts of up to 1 MiB that are not too different.
    diff: Option<String>,
    /// The reason why there is no diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_diff: Option<String>,
}

/// Compares two stored versions; texts of up to 1 MiB line by line.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/files/{file}/versions/compare", tag = "content",
    params(FilePath, CompareQuery),
    responses((status = 200, description = "The difference.", body = ComparisonView))
)]
pub(crate) async fn compare_versions(
    deps: App,
    at: FilePath,
    Params(query): Params<CompareQuery>,
) -> JsonResult<ComparisonView> {
    let (connection, record) = lookups::connection_and_file(&deps, &at).await?;
    let load = |number| stored_versions::load(&deps, &at, &connection, &record, number);
    let to = load(query.to).await?;
    let from = match query.from {
        None => previous(&deps, &at, &to).await?,
        number @ Some(_) => load(number).await?,
    };
    let current = stored_versions::current(&deps, &at, &record).await?;
    let same = from.hash == to.hash;
    let (diff, no_diff) = if same {
        (None, Some("they are the same".to_owned()))
    } else {
        let from_text = stored_versions::text(&deps, &from).await?;
        let to_text = stored_versions::text(&deps, &to).await?;
        match (from_text, to_text) {
            (Ok(from), Ok(to)) => match text_merge::diff(from, to).await? {
                Some(patch) if fits(&patch) => (Some(patch), None),
                Some(_) => (None, Some("it is too large for a response".to_owned())),
                None => (None, Some("they are too different".to_owned())),
            },
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

/// Returns the latest version that is stored before this one, or this one if there is none.
async fn previous(
    deps: &Deps,
    at: &FilePath,
    to: &StoredVersion,
) -> Result<StoredVersion, Problem> {
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

/// The version to restore.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restoration {
    /// A stored version's number.
    #[schema(format = Int64, minimum = 1, maximum = 4_294_967_295_u32)]
    version: u32,
    /// The reason, which is stored with the new version: one line.
    #[schema(max_length = 500)]
    reason: Option<String>,
    /// The `content.version` to replace. This or `If-Match` is required.
    #[schema(format = Int64, maximum = 4_294_967_295_u32)]
    expected_version: Option<u32>,
}

/// Makes a stored version the file's content again.
///
/// This makes a new version, which is owed to Drive like an upload.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/files/{file}/restore", tag = "content",
    params(FilePath, ContentEditHeaders),
    request_body(content = Restoration),
    responses(
        ConditionallyEditedFile,
        (status = 409, description = "The content has another version (`current_version`; \
            `current` is the file), an open conflict holds it, the connection does not mirror \
            content, or the file is out of scope."),
        (status = 410, description = "The file is gone, or the version is no longer stored."),
    )
)]
pub(crate) async fn restore_version(
    deps: App,
    at: FilePath,
    keyed: Keyed,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let restoration: Restoration = body.read()?;
    let connection = lookups::connection(&deps, &at.key).await?;
    let condition = ContentCondition::read(restoration.expected_version, &headers)?;
    let reason = reason(restoration.reason)?;
    content_writes::require_enabled(&connection)?;
    let record = lookups::file(&deps, &at.key, &at.file).await?;
    let number = restoration.version;
    let found = deps.store.load_version(&at.key, &at.file, number).await?;
    let Some(found) = found else {
        if number == 0 || number > record.content_version {
            return Err(stored_versions::not_found());
        }
        let detail = format!("version {number} was deleted, or was never stored");
        return Err(Problem::new(Kind::VersionReleased, detail));
    };
    if !record.can_hold_content() {
        return Err(holds_no_content());
    }
    let change = ContentChange {
        deps: &deps,
        connection: &connection,
        at: &at,
        hash: found.hash,
        condition,
        keyed: &keyed,
        reason,
    };
    let object = match change.needs_bytes().await? {
        None => None,
        Some(_) => {
            let object = content_writes::retain(&deps, &at.key, &found.hash).await?;
            let released = || Problem::new(Kind::VersionReleased, "its bytes are no longer stored");
            Some(object.ok_or_else(released)?)
        }
    };
    let edited = change.apply(object.as_ref()).await?;
    edited.respond(&deps, &connection).await
}
