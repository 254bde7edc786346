//! v2 `files`, with the etag and conditional writes that v3 lacks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use http::header;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    clock::rfc3339,
    errors::DriveError,
    fields::Object,
    http::{
        call::Call,
        media::media_download,
        request_body::{Upload, deserialize, parse_resource, parse_time_member},
        response::ApiResponse,
        v2::{resources_v2, shapes_v2},
        v3::{
            files_v3::{SearchWords, search_request},
            resources_v3,
        },
    },
    simulator::Simulator,
    state::{
        View,
        items::{
            breaches::Breach,
            file_content::Content,
            item_edits::NewItem,
            item_patch::{ModifiedTime, Patch, PropertyPatch},
        },
    },
};

/// A file as a client of v2 sends it. Members that only Drive writes are ignored, so that a whole
/// resource can be sent back; unknown ones are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FileBody {
    id: Option<String>,
    title: Option<String>,
    mime_type: Option<String>,
    #[serde(deserialize_with = "present")]
    description: Option<Value>,
    labels: Option<LabelsBody>,
    parents: Option<Vec<ParentBody>>,
    properties: Option<Vec<PropertyBody>>,
    modified_date: Option<String>,
    shortcut_details: Option<ShortcutBody>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShortcutBody {
    target_id: String,
}

/// Distinguishes an absent member from one that is null.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LabelsBody {
    starred: Option<bool>,
    trashed: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct ParentBody {
    id: String,
}

#[derive(Debug, Deserialize)]
struct PropertyBody {
    key: String,
    value: Option<String>,
    visibility: Option<String>,
}

/// `v2.files.get`.
pub(crate) async fn get(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    call.params.flag("updateViewedDate", false)?;
    let view = simulator.with_state(|state| state.find(&call.user, id, all_drives))?;
    if call.params.text("alt") == Some("media") {
        return media_download::download(
            &view,
            call.params.flag("acknowledgeAbuse", false)?,
            &call.headers,
        )
        .await
        .map(ApiResponse::Raw);
    }
    let mut answer = tagged(&call, &view).await?;
    if simulator.with_state(|state| state.breaches.has(Breach::VersionsAgree)) {
        let earlier = rfc3339(view.item.modified_ms - 1_000);
        if let ApiResponse::Tagged(file, _) = &mut answer
            && let Some(shown) = file.get_mut("modifiedDate")
        {
            *shown = Value::from(earlier);
        }
    }
    Ok(answer)
}

/// What v2 calls the terms of a search and the keys of an order.
const SEARCH_WORDS: SearchWords = SearchWords {
    page_size: "maxResults",
    renamed: &[
        ("title", "name"),
        ("title_natural", "name_natural"),
        ("modifiedDate", "modifiedTime"),
        ("createdDate", "createdTime"),
    ],
};

/// `v2.files.list`.
pub(crate) async fn list(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let request = search_request(&call, &SEARCH_WORDS)?;
    let page = simulator.with_state(|state| state.search(&call.user, &request))?;
    if let Some(inner) = call.selection.member("items") {
        resources_v3::prepare_checksums(&page.views, inner).await;
    }
    let link = "https://www.googleapis.com/drive/v2/files";
    let mut out = Object::new(&call.selection);
    out.put("kind", || "drive#fileList");
    out.put("selfLink", || link);
    out.put("incompleteSearch", || page.incomplete);
    out.put_some("nextLink", || {
        let token = page.next_page_token.as_ref()?;
        Some(format!("{link}?pageToken={token}"))
    });
    out.put_some("nextPageToken", || page.next_page_token.clone());
    out.put_built("items", |inner| {
        let files = page.views.iter();
        Some(files.map(|view| resources_v2::file(view, inner)).collect())
    });
    Ok(ApiResponse::Json(out.finish()))
}

/// `v2.files.insert` with metadata only.
pub(crate) async fn insert(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let file = deserialize(parse_resource(&call.body, &shapes_v2::FILE)?)?;
    insert_item(&simulator, &call, file, None).await
}

/// Creates a file from a completed upload.
///
/// # Errors
/// Those of `v2.files.insert`.
pub(crate) async fn insert_uploaded(
    simulator: &Simulator,
    call: &Call,
    upload: Upload,
) -> Result<ApiResponse, DriveError> {
    let mut file: FileBody = deserialize(parse_resource(&upload.metadata, &shapes_v2::FILE)?)?;
    file.mime_type = file.mime_type.or(upload.mime_type);
    insert_item(simulator, call, file, Some(upload.content)).await
}

async fn insert_item(
    simulator: &Simulator,
    call: &Call,
    file: FileBody,
    content: Option<Arc<Content>>,
) -> Result<ApiResponse, DriveError> {
    let all_drives = call.all_drives()?;
    let modified_ms = file.modified_date.as_deref();
    let modified_ms = modified_ms
        .map(|text| parse_time_member("modifiedDate", text))
        .transpose()?;
    let parents = file.parents.iter().flatten();
    let new = NewItem {
        id: file.id.clone(),
        parents: parents.map(|parent| parent.id.clone()).collect(),
        created_ms: None,
        shortcut_target: file
            .shortcut_details
            .as_ref()
            .map(|details| details.target_id.clone()),
        fields: Patch {
            content,
            modified: modified_ms.map_or(ModifiedTime::IfEdited, ModifiedTime::Set),
            ..into_patch(file)?
        },
    };
    let view = simulator.with_state(|state| {
        let id = state.create(&call.user, new, all_drives)?;
        state.find(&call.user, id.as_str(), true)
    })?;
    tagged(call, &view).await
}

/// `v2.files.trash`.
pub(crate) async fn trash(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    set_trashed(&simulator, &call, true).await
}

/// `v2.files.untrash`.
pub(crate) async fn untrash(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    set_trashed(&simulator, &call, false).await
}

async fn set_trashed(
    simulator: &Simulator,
    call: &Call,
    trashed: bool,
) -> Result<ApiResponse, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let patch = Patch {
        trashed: Some(trashed),
        ..Patch::default()
    };
    let view = simulator.with_state(|state| {
        let id = state.patch(&call.user, id, all_drives, None, patch)?;
        state.find(&call.user, id.as_str(), true)
    })?;
    tagged(call, &view).await
}

/// Responds with a file and its etag.
async fn tagged(call: &Call, view: &View) -> Result<ApiResponse, DriveError> {
    resources_v3::prepare_checksums([view], &call.selection).await;
    Ok(ApiResponse::Tagged(
        resources_v2::file(view, &call.selection),
        view.item.etag(),
    ))
}

/// `v2.files.patch` and `v2.files.update`. Both leave members alone that the body lacks.
pub(crate) async fn patch(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let file = deserialize(parse_resource(&call.body, &shapes_v2::FILE)?)?;
    let if_match = if_match(&call);
    let if_match = simulator.with_state(|state| {
        let breaches = &state.breaches;
        breaches.condition(Breach::StaleEtagIsRefused, if_match)
    });
    patch_item(&simulator, &call, file, None, if_match).await
}

/// Replaces a file's content with a completed upload, if the file still matches `if_match`.
///
/// # Errors
/// Those of `v2.files.update`.
pub(crate) async fn update_uploaded(
    simulator: &Simulator,
    call: &Call,
    upload: Upload,
    if_match: Option<&str>,
) -> Result<ApiResponse, DriveError> {
    let mut file: FileBody = deserialize(parse_resource(&upload.metadata, &shapes_v2::FILE)?)?;
    file.mime_type = file.mime_type.or(upload.mime_type);
    patch_item(simulator, call, file, Some(upload.content), if_match).await
}

/// Checks the metadata of an upload that begins.
///
/// # Errors
/// Those of `v2.files.update` that concern the metadata.
pub(crate) fn check_metadata(call: &Call) -> Result<(), DriveError> {
    let file: FileBody = deserialize(parse_resource(&call.body, &shapes_v2::FILE)?)?;
    into_patch(file).map(|_| ())
}

/// Returns the etag in the call's `If-Match`.
pub(crate) fn if_match(call: &Call) -> Option<&str> {
    call.header(header::IF_MATCH).map(str::trim)
}

/// `v2.files.delete`, conditional if the call has an `If-Match`, which v3 does not support.
pub(crate) async fn delete(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let if_match = if_match(&call);
    simulator.with_state(|state| {
        let breaches = &state.breaches;
        let if_match = breaches.condition(Breach::StaleEtagStopsDeletion, if_match);
        let refused = breaches.refuses_current(if_match);
        let etag = state.find(&call.user, id, all_drives)?.item.etag();
        if refused || if_match.is_some_and(|wanted| wanted != "*" && wanted != etag) {
            return Err(DriveError::condition_not_met());
        }
        state.delete(&call.user, id, all_drives)
    })?;
    Ok(ApiResponse::Empty)
}

async fn patch_item(
    simulator: &Simulator,
    call: &Call,
    file: FileBody,
    content: Option<Arc<Content>>,
    if_match: Option<&str>,
) -> Result<ApiResponse, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    call.params.flag("updateViewedDate", true)?;
    let modified = modified(call, file.modified_date.as_deref())?;
    let parents = file
        .parents
        .as_ref()
        .map(|parents| parents.iter().map(|parent| parent.id.clone()).collect());
    let mut patch = into_patch(file)?;
    patch.modified = modified;
    patch.content = content;
    patch.add_parents = call.params.list("addParents");
    patch.remove_parents = call.params.list("removeParents");
    let (view, etag) = simulator.with_state(|state| {
        let before = state.find(&call.user, id, all_drives)?;
        check_parents(parents, &before)?;
        if state.breaches.refuses_current(if_match) {
            return Err(DriveError::condition_not_met());
        }
        state.breaches.distort(&mut patch, &before.item);
        let id = state.patch(&call.user, id, all_drives, if_match, patch)?;
        let after = state.find(&call.user, id.as_str(), true)?;
        let shown = if state.drift.stale_answers {
            before
        } else {
            after.clone()
        };
        Ok((after, shown.item.etag()))
    })?;
    resources_v3::prepare_checksums([&view], &call.selection).await;
    let mut rendered = resources_v2::file(&view, &call.selection);
    if let Some(shown) = rendered.get_mut("etag") {
        *shown = Value::from(etag.as_str());
    }
    Ok(ApiResponse::Tagged(rendered, etag))
}

/// Checks that `parents`, if sent, is unchanged as a set: it is changed by `addParents` and
/// `removeParents` only.
fn check_parents(sent: Option<BTreeSet<String>>, view: &View) -> Result<(), DriveError> {
    let current = view.item.parents().into_iter().map(ToString::to_string);
    match sent {
        Some(sent) if sent != current.collect::<BTreeSet<_>>() => Err(DriveError::not_writable(
            "The parents field is not directly writable in update requests. Use the addParents \
                 and removeParents parameters instead.",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Parses `modifiedDateBehavior`, or `setModifiedDate` in its absence.
fn modified(call: &Call, date: Option<&str>) -> Result<ModifiedTime, DriveError> {
    let date = date
        .map(|text| parse_time_member("modifiedDate", text))
        .transpose()?;
    let from_body = |otherwise| date.map_or(otherwise, ModifiedTime::Set);
    let set = call.params.flag("setModifiedDate", false)?;
    match call.params.text("modifiedDateBehavior") {
        None if set => Ok(from_body(ModifiedTime::Now)),
        None | Some("nowIfNeeded") => Ok(ModifiedTime::IfEdited),
        Some("now") => Ok(ModifiedTime::Now),
        Some("noChange") => Ok(ModifiedTime::Keep),
        Some("fromBody") => Ok(from_body(ModifiedTime::Keep)),
        Some("fromBodyIfNeeded") => Ok(from_body(ModifiedTime::IfEdited)),
        Some("fromBodyOrNow") => Ok(from_body(ModifiedTime::Now)),
        Some(other) => Err(DriveError::invalid_parameter(
            "modifiedDateBehavior",
            format!("Invalid value '{other}'."),
        )),
    }
}

fn into_patch(file: FileBody) -> Result<Patch, DriveError> {
    let labels = file.labels.unwrap_or_default();
    let (properties, app_properties) = split_properties(file.properties.unwrap_or_default())?;
    let description = match file.description {
        None => None,
        Some(Value::Null) => Some(String::new()),
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err(DriveError::invalid("description")),
    };
    Ok(Patch {
        name: file.title,
        mime_type: file.mime_type,
        description,
        starred: labels.starred,
        trashed: labels.trashed,
        properties,
        app_properties,
        ..Patch::default()
    })
}

/// Splits the array by visibility, which is PRIVATE by default. It is merged by key: a null value
/// deletes, absent keys stay.
fn split_properties(
    given: Vec<PropertyBody>,
) -> Result<(PropertyPatch, PropertyPatch), DriveError> {
    let (mut public, mut private) = (BTreeMap::new(), BTreeMap::new());
    for property in given {
        match property.visibility.as_deref() {
            Some("PUBLIC") => public.insert(property.key, property.value),
            None | Some("PRIVATE") => private.insert(property.key, property.value),
            Some(other) => {
                return Err(DriveError::invalid_because(
                    "visibility",
                    format!("Invalid value '{other}'."),
                ));
            }
        };
    }
    Ok((public, private))
}
