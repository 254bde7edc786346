//! v3 `revisions`.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    Simulator,
    clock::rfc3339,
    errors::DriveError,
    fields::{Object, Selection},
    http::{Answer, Call, body, download, export, files::page_size, render, shapes_content},
    ids::UserId,
    state::revisions::Revision,
};

fn revision(of: &Revision, viewer: &UserId, selection: &Selection) -> Value {
    let mut out = Object::new(selection);
    out.put("kind", || "drive#revision");
    out.put("id", || of.id.as_str());
    out.put("mimeType", || &*of.mime_type);
    out.put("modifiedTime", || rfc3339(of.modified_ms));
    out.put("lastModifyingUser", || render::user(&of.user, viewer));
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
        None => out.put_some("exportLinks", || export::links(&of.id, &of.mime_type)),
    }
    out.finish()
}

/// Computes the checksums that the answer will show, away from the runtime's threads.
async fn prepare(all: &[Revision], selection: &Selection) {
    if selection.member("md5Checksum").is_none() {
        return;
    }
    let contents: Vec<_> = all
        .iter()
        .filter_map(|revision| revision.content.clone())
        .collect();
    render::compute_checksums(contents).await;
}

/// `revisions.list`.
pub(crate) async fn list(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let size = page_size(&call, 200)?.min(1_000);
    let start = match call.params.text("pageToken") {
        None => 0,
        Some(text) => text
            .strip_prefix("revisions.")
            .and_then(|at| at.parse::<usize>().ok())
            .ok_or_else(|| DriveError::invalid("pageToken"))?,
    };
    let id = call.path("id")?;
    let (_, all) = simulator.with(|state| state.revisions(&call.user, id))?;
    let page = all.get(start..).unwrap_or_default();
    let page = page.get(..size).unwrap_or(page);
    if let Some(inner) = call.selection.member("revisions") {
        prepare(page, inner).await;
    }
    let end = start.saturating_add(page.len());
    let mut out = Object::new(&call.selection);
    out.put("kind", || "drive#revisionList");
    out.put_some("nextPageToken", || {
        (end < all.len()).then(|| format!("revisions.{end}"))
    });
    out.put_built("revisions", |inner| {
        Some(
            page.iter()
                .map(|one| revision(one, &call.user, inner))
                .collect(),
        )
    });
    Ok(Answer::Json(out.finish()))
}

/// `revisions.get`, metadata or content.
pub(crate) async fn get(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, revision_id) = (call.path("id")?, call.path("revision")?);
    let (view, found) = simulator.with(|state| state.revision(&call.user, id, revision_id))?;
    if call.params.text("alt") == Some("media") {
        download::check_allowed(&view, call.params.flag("acknowledgeAbuse", false)?)?;
        let content = found.downloadable()?;
        return download::send(content, &found.mime_type, &call.headers)
            .await
            .map(Answer::Raw);
    }
    prepare(std::slice::from_ref(&found), &call.selection).await;
    Ok(Answer::Json(revision(&found, &call.user, &call.selection)))
}

/// A revision as a client writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RevisionBody {
    keep_forever: Option<bool>,
}

/// `revisions.update`: only `keepForever` has an effect.
pub(crate) async fn update(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, revision_id) = (call.path("id")?, call.path("revision")?);
    let asked: RevisionBody = body::typed(body::resource(&call.body, &shapes_content::REVISION)?)?;
    let found = simulator.with(|state| match asked.keep_forever {
        Some(keep) => state.keep_forever(&call.user, id, revision_id, keep),
        None => state
            .revision(&call.user, id, revision_id)
            .map(|(_, found)| found),
    })?;
    prepare(std::slice::from_ref(&found), &call.selection).await;
    Ok(Answer::Json(revision(&found, &call.user, &call.selection)))
}

/// `revisions.delete`.
pub(crate) async fn delete(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, revision_id) = (call.path("id")?, call.path("revision")?);
    simulator.with(|state| state.delete_revision(&call.user, id, revision_id))?;
    Ok(Answer::Empty)
}

/// `keepRevisionForever` of an upload.
///
/// # Errors
/// 400 for a value that is no boolean or for more than 200 revisions.
pub(crate) fn keep_uploaded(
    simulator: &Simulator,
    call: &Call,
    id: &str,
) -> Result<(), DriveError> {
    if call.params.flag("keepRevisionForever", false)? {
        simulator.with(|state| state.keep_forever(&call.user, id, "head", true))?;
    }
    Ok(())
}
