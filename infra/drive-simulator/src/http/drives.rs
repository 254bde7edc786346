//! v3 `drives` and `about`.

use axum::{
    Router,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    Simulator,
    errors::DriveError,
    fields::Object,
    http::{Answer, Call, body, endpoint, methods, render, shapes_v3},
    ids::{DriveId, UserId},
    state::LIBRARY_OWNER,
};

/// The members of a drive that a client may write. All but the name are accepted without effect.
const WRITABLE: &str = "name kind backgroundImageFile colorRgb restrictions themeId hidden";

/// The routes of shared drives.
pub(crate) fn routes() -> Router<Simulator> {
    Router::new()
        .route(
            "/drive/v3/drives",
            get(endpoint(&methods::DRIVES_LIST, list))
                .post(endpoint(&methods::DRIVES_CREATE, create)),
        )
        .route(
            "/drive/v3/drives/{id}",
            get(endpoint(&methods::DRIVES_GET, get_one))
                .patch(endpoint(&methods::DRIVES_UPDATE, update))
                .delete(endpoint(&methods::DRIVES_DELETE, delete)),
        )
        .route(
            "/drive/v3/drives/{id}/hide",
            post(endpoint(&methods::DRIVES_HIDE, hide)),
        )
        .route(
            "/drive/v3/drives/{id}/unhide",
            post(endpoint(&methods::DRIVES_UNHIDE, unhide)),
        )
}

/// `pageSize` of a list that holds at most a hundred.
pub(crate) fn page_size(call: &Call) -> Result<Option<usize>, DriveError> {
    let Some(asked) = call.params.number::<usize>("pageSize")? else {
        return Ok(None);
    };
    if (1..=100).contains(&asked) {
        return Ok(Some(asked));
    }
    let message = format!("Invalid value '{asked}'. Values must be within the range: [1, 100]");
    Err(DriveError::invalid_parameter("pageSize", message))
}

/// `drives.list`.
async fn list(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    if call.params.text("q").is_some() {
        return Err(DriveError::not_implemented("the search of drives.list"));
    }
    let size = page_size(&call)?.unwrap_or(10);
    let answer = simulator.with(|state| {
        let page = state.drives_page(&call.user, size, call.params.text("pageToken"))?;
        let mut out = Object::new(&call.selection);
        out.put("kind", || "drive#driveList");
        out.put_some("nextPageToken", || page.next_page_token);
        out.put_built("drives", |inner| {
            let drives = page.drives.iter();
            Some(
                drives
                    .filter_map(|id| render::drive(state, id, &call.user, inner))
                    .collect(),
            )
        });
        Ok(out.finish())
    })?;
    Ok(Answer::Json(answer))
}

fn current(simulator: &Simulator, call: &Call, id: &DriveId) -> Result<Answer, DriveError> {
    simulator
        .with(|state| render::drive(state, id, &call.user, &call.selection))
        .map(Answer::Json)
        .ok_or_else(|| DriveError::drive_not_found(id.as_str()))
}

/// `drives.get`.
async fn get_one(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let id = DriveId::from(call.path("id")?);
    current(&simulator, &call, &id)
}

/// The name in a body, if it has one.
fn name(call: &Call) -> Result<Option<String>, DriveError> {
    let value = body::resource(&call.body, &shapes_v3::DRIVE)?;
    let fits = |name: &String| WRITABLE.split_ascii_whitespace().any(|known| known == name);
    if !value
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys)
        .all(fits)
    {
        return Err(DriveError::not_writable(
            "The resource body includes fields which are not directly writable.",
        ));
    }
    match value.get("name") {
        None => Ok(None),
        Some(Value::String(name)) if !name.is_empty() => Ok(Some(name.clone())),
        Some(_) => Err(DriveError::invalid("name")),
    }
}

/// `drives.create`.
async fn create(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let request_id = call
        .params
        .text("requestId")
        .ok_or_else(|| DriveError::required("requestId"))?;
    let name = name(&call)?.ok_or_else(|| DriveError::required("name"))?;
    let id = simulator.with(|state| state.request_drive(&call.user, request_id, &name))?;
    current(&simulator, &call, &id)
}

/// `drives.update`.
async fn update(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, name) = (call.path("id")?, name(&call)?);
    let id = simulator.with(|state| state.rename_drive(&call.user, id, name))?;
    current(&simulator, &call, &id)
}

/// `drives.delete`. The library's owner is the administrator of the domain, who alone may delete a drive with its items.
async fn delete(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let id = call.path("id")?;
    let as_admin = call.params.flag("useDomainAdminAccess", false)?;
    let with_items = call.params.flag("allowItemDeletion", false)?;
    if with_items && !as_admin {
        return Err(DriveError::invalid_because(
            "allowItemDeletion",
            "allowItemDeletion is only supported when useDomainAdminAccess is set to true.",
        ));
    }
    if as_admin && call.user != UserId::from(LIBRARY_OWNER) {
        return Err(DriveError::new(
            403,
            "insufficientAdministratorPrivileges",
            "The user does not have sufficient administrator privileges.",
        ));
    }
    simulator.with(|state| state.delete_drive(&call.user, id, as_admin, with_items))?;
    Ok(Answer::Empty)
}

/// `drives.hide`.
async fn hide(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let id = simulator.with(|state| state.hide_drive(&call.user, call.path("id")?, true))?;
    current(&simulator, &call, &id)
}

/// `drives.unhide`.
async fn unhide(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let id = simulator.with(|state| state.hide_drive(&call.user, call.path("id")?, false))?;
    current(&simulator, &call, &id)
}

/// `about.get`, which Drive answers only to a call that names `fields`.
pub(crate) async fn about(_simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    if call.params.text("fields").is_none() {
        return Err(DriveError::new(
            400,
            "required",
            "The 'fields' parameter is required for this method.",
        )
        .at("fields"));
    }
    let answer: Value = json!({
        "kind": "drive#about",
        "user": render::user(&call.user, &call.user),
        "storageQuota": {"limit": "16106127360", "usage": "0", "usageInDrive": "0", "usageInDriveTrash": "0"},
        "importFormats": {}, "exportFormats": {}, "maxImportSizes": {}, "maxUploadSize": "5242880000000",
        "appInstalled": true, "canCreateDrives": false, "canCreateTeamDrives": false, "folderColorPalette": [],
    });
    Ok(Answer::Json(call.selection.filter(answer)))
}
