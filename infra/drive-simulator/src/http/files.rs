//! v3 `files`.

use serde_json::{Value, json};

use crate::{
    Simulator,
    errors::DriveError,
    fields::{Object, Selection},
    http::{
        Answer, Call,
        body::{self, Upload},
        changes, download, render,
        resumable::{self, Target},
        revisions, shapes_v3,
    },
    ids::{DriveId, FileId, UserId},
    query::Query,
    state::{
        edit::NewItem,
        patch::Patch,
        search::{Corpus, SearchRequest, parse_order},
    },
};

/// The most ids of one `generateIds`.
const IDS_MAX: usize = 1_000;

/// `files.list`.
pub(crate) async fn list(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let request = search_request(&call)?;
    let page = simulator.with(|state| state.search(&call.user, &request))?;
    if let Some(inner) = call.selection.member("files") {
        render::prepare(&page.views, inner).await;
    }
    let mut out = Object::new(&call.selection);
    out.put("kind", || "drive#fileList");
    out.put("incompleteSearch", || false);
    out.put_some("nextPageToken", || page.next_page_token);
    out.put_built("files", |inner| {
        Some(
            page.views
                .iter()
                .map(|view| render::file(view, inner))
                .collect(),
        )
    });
    Ok(Answer::Json(out.finish()))
}

fn search_request(call: &Call) -> Result<SearchRequest, DriveError> {
    let params = &call.params;
    let page_size = page_size(call, 100)?;
    if page_size > 1_000 {
        let message =
            format!("Invalid value '{page_size}'. Values must be within the range: [1, 1000]");
        return Err(DriveError::invalid_parameter("pageSize", message));
    }
    let (q, order_by) = (params.text("q"), params.text("orderBy"));
    let corpus = corpus(call)?;
    let fingerprint = fingerprint(&format!("{:?} {q:?} {order_by:?} {corpus:?}", call.user));
    Ok(SearchRequest {
        query: q.map(Query::parse).transpose()?,
        order: order_by.map(parse_order).transpose()?.unwrap_or_default(),
        corpus,
        page_size,
        page_token: params.text("pageToken").map(str::to_owned),
        fingerprint,
        nothing: params.only_app_data()?,
    })
}

/// `pageSize`, at least 1.
pub(crate) fn page_size(call: &Call, default: usize) -> Result<usize, DriveError> {
    let asked = call.params.number::<i64>("pageSize")?;
    let Some(asked) = asked else {
        return Ok(default);
    };
    usize::try_from(asked)
        .ok()
        .filter(|size| *size > 0)
        .ok_or_else(|| {
            let message =
                format!("Invalid value '{asked}'. Values must be within the range: [1, 1000]");
            DriveError::invalid_parameter("pageSize", message)
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
    let include = changes::include_all_drives(call)?;
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

/// Sixteen hexadecimal digits that depend on the text only (FNV-1a).
fn fingerprint(text: &str) -> String {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}

/// `files.get`, metadata or content.
pub(crate) async fn get(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let view = simulator.with(|state| state.find(&call.user, id, all_drives))?;
    if call.params.text("alt") == Some("media") {
        return download::content(
            &view,
            call.params.flag("acknowledgeAbuse", false)?,
            &call.headers,
        )
        .await
        .map(Answer::Raw);
    }
    render::prepare([&view], &call.selection).await;
    Ok(Answer::Json(render::file(&view, &call.selection)))
}

/// `files.create` with metadata only.
pub(crate) async fn create(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let new = body::file_body(&call.body, &shapes_v3::FILE, true)?.into_new(None)?;
    create_item(&simulator, &call, new).await
}

/// `files.create` with content.
pub(crate) async fn create_with_content(
    simulator: Simulator,
    call: Call,
) -> Result<Answer, DriveError> {
    if resumable::is_asked(&call) {
        return resumable::begin(simulator, call, Target::Create).await;
    }
    let upload = body::upload(&call)?;
    create_uploaded(&simulator, &call, upload).await
}

/// Makes a file from a finished upload.
///
/// # Errors
/// What `files.create` refuses.
pub(crate) async fn create_uploaded(
    simulator: &Simulator,
    call: &Call,
    upload: Upload,
) -> Result<Answer, DriveError> {
    let mut new = body::file_body(&upload.metadata, &shapes_v3::FILE, true)?
        .into_new(Some(upload.content))?;
    new.fields.mime_type = new.fields.mime_type.or(upload.mime_type);
    create_item(simulator, call, new).await
}

async fn create_item(
    simulator: &Simulator,
    call: &Call,
    new: NewItem,
) -> Result<Answer, DriveError> {
    let all_drives = call.all_drives()?;
    let uploaded = new.fields.content.is_some();
    let id = simulator.with(|state| state.create(&call.user, new, all_drives))?;
    if uploaded {
        revisions::keep_uploaded(simulator, call, id.as_str())?;
    }
    current(simulator, &call.user, &id, &call.selection).await
}

/// The item as it is now: what every write answers with.
async fn current(
    simulator: &Simulator,
    user: &UserId,
    id: &FileId,
    selection: &Selection,
) -> Result<Answer, DriveError> {
    let view = simulator.with(|state| state.find(user, id.as_str(), true))?;
    render::prepare([&view], selection).await;
    Ok(Answer::Json(render::file(&view, selection)))
}

/// `files.update` with metadata only.
pub(crate) async fn update(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let patch = body::file_body(&call.body, &shapes_v3::FILE, false)?.into_patch(None)?;
    update_item(&simulator, &call, patch).await
}

/// `files.update` with content.
pub(crate) async fn update_with_content(
    simulator: Simulator,
    call: Call,
) -> Result<Answer, DriveError> {
    if resumable::is_asked(&call) {
        return resumable::begin(simulator, call, Target::Update).await;
    }
    let upload = body::upload(&call)?;
    update_uploaded(&simulator, &call, upload).await
}

/// Replaces a file's content by a finished upload.
///
/// # Errors
/// What `files.update` refuses.
pub(crate) async fn update_uploaded(
    simulator: &Simulator,
    call: &Call,
    upload: Upload,
) -> Result<Answer, DriveError> {
    let mut patch = body::file_body(&upload.metadata, &shapes_v3::FILE, false)?
        .into_patch(Some(upload.content))?;
    patch.mime_type = patch.mime_type.or(upload.mime_type);
    update_item(simulator, call, patch).await
}

async fn update_item(
    simulator: &Simulator,
    call: &Call,
    patch: Patch,
) -> Result<Answer, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let patch = Patch {
        add_parents: call.params.list("addParents"),
        remove_parents: call.params.list("removeParents"),
        ..patch
    };
    let uploaded = patch.content.is_some();
    let id = simulator.with(|state| state.patch(&call.user, id, all_drives, None, patch))?;
    if uploaded {
        revisions::keep_uploaded(simulator, call, id.as_str())?;
    }
    current(simulator, &call.user, &id, &call.selection).await
}

/// `files.copy`.
pub(crate) async fn copy(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let new = body::file_body(&call.body, &shapes_v3::FILE, true)?.into_new(None)?;
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let id = simulator.with(|state| state.copy(&call.user, id, new, all_drives))?;
    current(&simulator, &call.user, &id, &call.selection).await
}

/// `files.delete`.
pub(crate) async fn delete(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    simulator.with(|state| state.delete(&call.user, id, all_drives))?;
    Ok(Answer::Empty)
}

/// `files.emptyTrash`.
pub(crate) async fn empty_trash(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    simulator.with(|state| state.empty_trash(&call.user, call.params.text("driveId")))?;
    Ok(Answer::Empty)
}

/// `files.generateIds`.
pub(crate) async fn generate_ids(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let count = call.params.number::<usize>("count")?.unwrap_or(10);
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
        simulator.with(|state| (0..count).map(|_| state.unused_id().to_string()).collect());
    let answer = json!({"kind": "drive#generatedIds", "space": space, "ids": ids});
    Ok(Answer::Json(call.selection.filter(answer)))
}
