//! v3 `files`.

use serde_json::{Value, json};

use crate::{
    errors::DriveError,
    fields::{Object, Selection},
    http::{
        call::Call,
        media::media_download,
        params::page_size_out_of_range,
        request_body::{self, Upload},
        response::ApiResponse,
        v3::{resources_v3, revisions_v3, shapes_v3},
    },
    ids::{DriveId, FileId, UserId},
    query::Query,
    simulator::Simulator,
    state::items::{
        item_edits::NewItem,
        item_patch::Patch,
        item_search::{Corpus, SearchRequest, parse_order},
    },
};

/// The maximum number of ids per `generateIds`.
const IDS_MAX: usize = 1_000;

/// `files.list`.
pub(crate) async fn list(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let request = search_request(&call, &SEARCH_WORDS)?;
    let page = simulator.with_state(|state| state.search(&call.user, &request))?;
    if let Some(inner) = call.selection.member("files") {
        resources_v3::prepare_checksums(&page.views, inner).await;
    }
    let mut out = Object::new(&call.selection);
    out.put("kind", || "drive#fileList");
    out.put("incompleteSearch", || page.incomplete);
    out.put_some("nextPageToken", || page.next_page_token);
    out.put_built("files", |inner| {
        Some(
            page.views
                .iter()
                .map(|view| resources_v3::file(view, inner))
                .collect(),
        )
    });
    Ok(ApiResponse::Json(out.finish()))
}

/// The names by which a version of the API searches.
pub(crate) struct SearchWords {
    pub(crate) page_size: &'static str,
    /// Pairs of a name of this version and that of v3, in `q` and `orderBy`.
    pub(crate) renamed: &'static [(&'static str, &'static str)],
}

const SEARCH_WORDS: SearchWords = SearchWords {
    page_size: "pageSize",
    renamed: &[],
};

/// Parses the parameters of a `files.list`.
///
/// # Errors
/// 400 for an invalid value, 403 for items of shared drives without support for them.
pub(crate) fn search_request(
    call: &Call,
    words: &SearchWords,
) -> Result<SearchRequest, DriveError> {
    let params = &call.params;
    let page_size = params.page_size(words.page_size, 100)?;
    if page_size > 1_000 {
        return Err(page_size_out_of_range(words.page_size, page_size, 1_000));
    }
    call.check_all_drives_requested()?;
    let (q, order_by) = (params.text("q"), params.text("orderBy"));
    let corpus = corpus(call)?;
    let fingerprint = fingerprint(&format!("{:?} {q:?} {order_by:?} {corpus:?}", call.user));
    Ok(SearchRequest {
        query: q.map(|q| Query::parse(q, words.renamed)).transpose()?,
        order: order_by
            .map(|keys| parse_order(keys, words.renamed))
            .transpose()?
            .unwrap_or_default(),
        corpus,
        page_size,
        page_token: params.text("pageToken").map(str::to_owned),
        fingerprint,
        app_data_only: params.only_app_data()?,
    })
}

fn corpus(call: &Call) -> Result<Corpus, DriveError> {
    let params = &call.params;
    let corpora = params
        .text("corpora")
        .or_else(|| params.text("corpus"))
        .unwrap_or("user");
    let drive = params
        .text("driveId")
        .or_else(|| params.text("teamDriveId"));
    let include = call.include_all_drives()?;
    let one_drive = matches!(corpora, "drive" | "teamDrive");
    let all_drives = matches!(corpora, "allDrives" | "allTeamDrives");
    if one_drive != drive.is_some() {
        let message =
            "The driveId parameter must be specified if and only if corpora is set to drive.";
        return Err(DriveError::invalid_because("driveId", message));
    }
    if (one_drive || all_drives) && !include {
        let message =
            "The includeItemsFromAllDrives and supportsAllDrives parameters must be set to true.";
        return Err(DriveError::invalid_because(
            "includeItemsFromAllDrives",
            message,
        ));
    }
    match drive {
        Some(id) => Ok(Corpus::Drive(DriveId::from(id))),
        None if include => Ok(Corpus::All),
        None if matches!(corpora, "user" | "domain") => Ok(Corpus::User),
        None => Err(DriveError::invalid_parameter(
            "corpora",
            format!("Invalid value '{corpora}'."),
        )),
    }
}

/// Returns 16 hexadecimal digits that depend on the text only (FNV-1a).
fn fingerprint(text: &str) -> String {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}

/// `files.get`, metadata or content.
pub(crate) async fn get(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let media = call.params.text("alt") == Some("media");
    if !media && call.params.flag("acknowledgeAbuse", false)? {
        let message = "The acknowledgeAbuse parameter is only applicable for download requests.";
        let error = DriveError::new(403, "invalidAbuseAcknowledgment", message);
        return Err(error.at("acknowledgeAbuse"));
    }
    let view = simulator.with_state(|state| state.find(&call.user, id, all_drives))?;
    if media {
        return media_download::download(
            &view,
            call.params.flag("acknowledgeAbuse", false)?,
            &call.headers,
        )
        .await
        .map(ApiResponse::Raw);
    }
    resources_v3::prepare_checksums([&view], &call.selection).await;
    Ok(ApiResponse::Json(resources_v3::file(
        &view,
        &call.selection,
    )))
}

/// `files.create` with metadata only.
pub(crate) async fn create(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let new = request_body::parse_file(&call.body, &shapes_v3::FILE, true)?.into_new(None)?;
    create_item(&simulator, &call, new).await
}

/// Creates a file from a completed upload.
///
/// # Errors
/// Those of `files.create`.
pub(crate) async fn create_uploaded(
    simulator: &Simulator,
    call: &Call,
    upload: Upload,
) -> Result<ApiResponse, DriveError> {
    let mut new = request_body::parse_file(&upload.metadata, &shapes_v3::FILE, true)?
        .into_new(Some(upload.content))?;
    new.fields.mime_type = new.fields.mime_type.or(upload.mime_type);
    create_item(simulator, call, new).await
}

async fn create_item(
    simulator: &Simulator,
    call: &Call,
    new: NewItem,
) -> Result<ApiResponse, DriveError> {
    let all_drives = call.all_drives()?;
    let uploaded = new.fields.content.is_some();
    let id = simulator.with_state(|state| state.create(&call.user, new, all_drives))?;
    if uploaded {
        revisions_v3::apply_keep_forever(simulator, call, id.as_str())?;
    }
    item_response(simulator, &call.user, &id, &call.selection).await
}

/// Responds with the current state of the item, as all writes do.
async fn item_response(
    simulator: &Simulator,
    user: &UserId,
    id: &FileId,
    selection: &Selection,
) -> Result<ApiResponse, DriveError> {
    let view = simulator.with_state(|state| state.find(user, id.as_str(), true))?;
    resources_v3::prepare_checksums([&view], selection).await;
    Ok(ApiResponse::Json(resources_v3::file(&view, selection)))
}

/// `files.update` with metadata only.
pub(crate) async fn update(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let patch = request_body::parse_file(&call.body, &shapes_v3::FILE, false)?.into_patch(None)?;
    update_item(&simulator, &call, patch).await
}

/// Replaces a file's content with a completed upload.
///
/// # Errors
/// Those of `files.update`.
pub(crate) async fn update_uploaded(
    simulator: &Simulator,
    call: &Call,
    upload: Upload,
) -> Result<ApiResponse, DriveError> {
    let mut patch = request_body::parse_file(&upload.metadata, &shapes_v3::FILE, false)?
        .into_patch(Some(upload.content))?;
    patch.mime_type = patch.mime_type.or(upload.mime_type);
    update_item(simulator, call, patch).await
}

async fn update_item(
    simulator: &Simulator,
    call: &Call,
    patch: Patch,
) -> Result<ApiResponse, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let patch = Patch {
        add_parents: call.params.list("addParents"),
        remove_parents: call.params.list("removeParents"),
        ..patch
    };
    let uploaded = patch.content.is_some();
    let id = simulator.with_state(|state| state.patch(&call.user, id, all_drives, None, patch))?;
    if uploaded {
        revisions_v3::apply_keep_forever(simulator, call, id.as_str())?;
    }
    item_response(simulator, &call.user, &id, &call.selection).await
}

/// `files.copy`.
pub(crate) async fn copy(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let new = request_body::parse_file(&call.body, &shapes_v3::FILE, true)?.into_new(None)?;
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let id = simulator.with_state(|state| state.copy(&call.user, id, new, all_drives))?;
    item_response(&simulator, &call.user, &id, &call.selection).await
}

/// `files.delete`.
pub(crate) async fn delete(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    simulator.with_state(|state| state.delete(&call.user, id, all_drives))?;
    Ok(ApiResponse::Empty)
}

/// `files.emptyTrash`.
pub(crate) async fn empty_trash(
    simulator: Simulator,
    call: Call,
) -> Result<ApiResponse, DriveError> {
    simulator.with_state(|state| state.empty_trash(&call.user, call.params.text("driveId")))?;
    Ok(ApiResponse::Empty)
}

/// `files.generateIds`.
pub(crate) async fn generate_ids(
    simulator: Simulator,
    call: Call,
) -> Result<ApiResponse, DriveError> {
    let count = match call.params.number::<usize>("count")? {
        // What v2 calls it.
        None => call.params.number::<usize>("maxResults")?,
        count => count,
    };
    let count = count.unwrap_or(10);
    if !(1..=IDS_MAX).contains(&count) {
        let message =
            format!("Invalid value '{count}'. Values must be within the range: [1, {IDS_MAX}]");
        return Err(DriveError::invalid_parameter("count", message));
    }
    let space = call.params.text("space").unwrap_or("drive");
    if !matches!(space, "drive" | "appDataFolder") {
        return Err(DriveError::invalid_parameter(
            "space",
            format!("Invalid value '{space}'."),
        ));
    }
    let ids: Value =
        simulator.with_state(|state| (0..count).map(|_| state.unused_id().to_string()).collect());
    let rendered = json!({"kind": "drive#generatedIds", "space": space, "ids": ids});
    Ok(ApiResponse::Json(call.selection.filter(rendered)))
}
