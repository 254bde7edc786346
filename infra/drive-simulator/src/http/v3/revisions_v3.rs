//! v3 `revisions`.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    clock::rfc3339,
    errors::DriveError,
    fields::{Object, Selection},
    http::{
        call::Call,
        media::media_download,
        request_body,
        response::ApiResponse,
        v3::{exports_v3, resources_v3, shapes_v3},
    },
    simulator::Simulator,
    state::{View, items::item_revisions::Revision},
};

fn revision(of: &Revision, view: &View, selection: &Selection) -> Value {
    let mut out = Object::new(selection);
    out.put("kind", || "drive#revision");
    out.put("id", || of.id.as_str());
    out.put("mimeType", || &*of.mime_type);
    out.put("modifiedTime", || rfc3339(of.modified_ms));
    out.put("lastModifyingUser", || {
        resources_v3::user(&of.user, &view.viewer)
    });
    out.put("published", || false);
    match &of.content {
        Some(content) => {
            out.put("keepForever", || of.keep_forever);
            out.put("originalFilename", || of.name.as_str());
            out.put("size", || content.size().to_string());
            out.put_some("md5Checksum", || {
                content.checksums().map(|sums| sums.md5.clone())
            });
        }
        None => out.put_some("exportLinks", || {
            exports_v3::export_links(view.origin.as_deref(), &view.item.id, &of.mime_type)
        }),
    }
    out.finish()
}

/// Computes the checksums that the response will contain.
async fn prepare_checksums(all: &[Revision], selection: &Selection) {
    if selection.member("md5Checksum").is_none() {
        return;
    }
    let contents: Vec<_> = all
        .iter()
        .filter_map(|revision| revision.content.clone())
        .collect();
    resources_v3::compute_checksums(contents).await;
}

/// `revisions.list`.
pub(crate) async fn list(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let size = call.params.page_size("pageSize", 200)?.min(1_000);
    let start = match call.params.text("pageToken") {
        None => 0,
        Some(text) => text
            .strip_prefix("revisions.")
            .and_then(|at| at.parse::<usize>().ok())
            .ok_or_else(|| DriveError::invalid("pageToken"))?,
    };
    let id = call.path("id")?;
    let (view, all) = simulator.with_state(|state| state.revisions(&call.user, id))?;
    let page = all.get(start..).unwrap_or_default();
    let page = page.get(..size).unwrap_or(page);
    if let Some(inner) = call.selection.member("revisions") {
        prepare_checksums(page, inner).await;
    }
    let end = start.saturating_add(page.len());
    let mut out = Object::new(&call.selection);
    out.put("kind", || "drive#revisionList");
    out.put_some("nextPageToken", || {
        (end < all.len()).then(|| format!("revisions.{end}"))
    });
    out.put_built("revisions", |inner| {
        Some(page.iter().map(|one| revision(one, &view, inner)).collect())
    });
    Ok(ApiResponse::Json(out.finish()))
}

/// `revisions.get`, metadata or content.
pub(crate) async fn get(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, revision_id) = (call.path("id")?, call.path("revision")?);
    let (view, found) =
        simulator.with_state(|state| state.revision(&call.user, id, revision_id))?;
    if call.params.text("alt") == Some("media") {
        media_download::check_allowed(&view, call.params.flag("acknowledgeAbuse", false)?)?;
        let content = found.downloadable()?;
        return media_download::respond(content, &found.mime_type, &call.headers)
            .await
            .map(ApiResponse::Raw);
    }
    prepare_checksums(std::slice::from_ref(&found), &call.selection).await;
    Ok(ApiResponse::Json(revision(&found, &view, &call.selection)))
}

/// A revision as a client sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RevisionBody {
    keep_forever: Option<bool>,
}

/// `revisions.update`: only `keepForever` has an effect.
pub(crate) async fn update(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, revision_id) = (call.path("id")?, call.path("revision")?);
    let requested: RevisionBody = request_body::deserialize(request_body::parse_resource(
        &call.body,
        &shapes_v3::REVISION,
    )?)?;
    let (view, found) = simulator.with_state(|state| {
        if let Some(keep) = requested.keep_forever {
            state.keep_forever(&call.user, id, revision_id, keep)?;
        }
        state.revision(&call.user, id, revision_id)
    })?;
    prepare_checksums(std::slice::from_ref(&found), &call.selection).await;
    Ok(ApiResponse::Json(revision(&found, &view, &call.selection)))
}

/// `revisions.delete`.
pub(crate) async fn delete(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, revision_id) = (call.path("id")?, call.path("revision")?);
    simulator.with_state(|state| state.delete_revision(&call.user, id, revision_id))?;
    Ok(ApiResponse::Empty)
}

/// Applies `keepRevisionForever` of an upload.
///
/// # Errors
/// 400 for a value that is not a boolean, or for more than 200 revisions.
pub(crate) fn apply_keep_forever(
    simulator: &Simulator,
    call: &Call,
    id: &str,
) -> Result<(), DriveError> {
    if call.params.flag("keepRevisionForever", false)? {
        simulator.with_state(|state| state.keep_forever(&call.user, id, "head", true))?;
    }
    Ok(())
}
