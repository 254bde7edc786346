//! v3 `drives` and `about`.

use axum::{
    Router,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    errors::DriveError,
    fields::Object,
    http::{
        call::Call,
        endpoint::endpoint,
        methods, request_body,
        response::ApiResponse,
        v3::{exports_v3, resources_v3, shapes_v3},
    },
    ids::{DriveId, UserId},
    simulator::Simulator,
    state::LIBRARY_OWNER,
};

/// The members of a drive that a client may write. Only the name has an effect.
const WRITABLE: &str = "name kind backgroundImageFile colorRgb restrictions themeId hidden";

const DOCUMENT: &str = "application/vnd.google-apps.document";
const SPREADSHEET: &str = "application/vnd.google-apps.spreadsheet";
const PRESENTATION: &str = "application/vnd.google-apps.presentation";

/// Returns the routes of shared drives.
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

/// `drives.list`.
async fn list(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    if call.params.text("q").is_some() {
        return Err(DriveError::not_implemented("the search of drives.list"));
    }
    let size = call.params.page_size_max_100()?.unwrap_or(10);
    let rendered = simulator.with_state(|state| {
        let page = state.drives_page(&call.user, size, call.params.text("pageToken"))?;
        let mut out = Object::new(&call.selection);
        out.put("kind", || "drive#driveList");
        out.put_some("nextPageToken", || page.next_page_token);
        out.put_built("drives", |inner| {
            let drives = page.drives.iter();
            Some(
                drives
                    .filter_map(|id| resources_v3::drive(state, id, &call.user, inner))
                    .collect(),
            )
        });
        Ok(out.finish())
    })?;
    Ok(ApiResponse::Json(rendered))
}

fn drive_response(
    simulator: &Simulator,
    call: &Call,
    id: &DriveId,
) -> Result<ApiResponse, DriveError> {
    simulator
        .with_state(|state| resources_v3::drive(state, id, &call.user, &call.selection))
        .map(ApiResponse::Json)
        .ok_or_else(|| DriveError::drive_not_found(id.as_str()))
}

/// `drives.get`.
async fn get_one(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let id = DriveId::from(call.path("id")?);
    drive_response(&simulator, &call, &id)
}

/// Returns the name in the body, if it has one.
fn name(call: &Call) -> Result<Option<String>, DriveError> {
    let value = request_body::parse_resource(&call.body, &shapes_v3::DRIVE)?;
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
async fn create(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let request_id = call
        .params
        .text("requestId")
        .ok_or_else(|| DriveError::required("requestId"))?;
    let name = name(&call)?.ok_or_else(|| DriveError::required("name"))?;
    let id = simulator.with_state(|state| state.request_drive(&call.user, request_id, &name))?;
    drive_response(&simulator, &call, &id)
}

/// `drives.update`.
async fn update(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, name) = (call.path("id")?, name(&call)?);
    let id = simulator.with_state(|state| state.rename_drive(&call.user, id, name))?;
    drive_response(&simulator, &call, &id)
}

/// `drives.delete`. The library's owner is the domain administrator, who alone may delete a drive
/// with its items.
async fn delete(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
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
    simulator.with_state(|state| state.delete_drive(&call.user, id, as_admin, with_items))?;
    Ok(ApiResponse::Empty)
}

/// `drives.hide`.
async fn hide(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let id = simulator.with_state(|state| state.hide_drive(&call.user, call.path("id")?, true))?;
    drive_response(&simulator, &call, &id)
}

/// `drives.unhide`.
async fn unhide(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let id = simulator.with_state(|state| state.hide_drive(&call.user, call.path("id")?, false))?;
    drive_response(&simulator, &call, &id)
}

/// `about.get`, which Drive supports only with `fields`.
pub(crate) async fn about(_simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    if call.params.text("fields").is_none() {
        return Err(DriveError::new(
            400,
            "required",
            "The 'fields' parameter is required for this method.",
        )
        .at("fields"));
    }
    let theme = json!({"id": "abacus", "colorRgb": "#ea6100"});
    let rendered: Value = json!({
        "kind": "drive#about", "user": resources_v3::user(&call.user, &call.user),
        "storageQuota": {
            "limit": "16106127360", "usage": "0", "usageInDrive": "0", "usageInDriveTrash": "0",
        },
        "importFormats": {
            "text/plain": [DOCUMENT], "text/html": [DOCUMENT], "application/rtf": [DOCUMENT],
            "application/vnd.oasis.opendocument.text": [DOCUMENT],
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document": [DOCUMENT],
            "text/csv": [SPREADSHEET], "text/tab-separated-values": [SPREADSHEET],
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": [SPREADSHEET],
            "application/vnd.openxmlformats-officedocument.presentationml.presentation":
                [PRESENTATION],
        },
        "exportFormats": exports_v3::export_formats(),
        "maxImportSizes": {
            DOCUMENT: "10485760", SPREADSHEET: "104857600", PRESENTATION: "104857600",
        },
        "maxUploadSize": "5242880000000", "appInstalled": true, "canCreateDrives": true,
        "canCreateTeamDrives": true, "folderColorPalette": ["#ac725e", "#d06b64", "#4986e7"],
        "driveThemes": [theme], "teamDriveThemes": [theme],
    });
    Ok(ApiResponse::Json(call.selection.filter(rendered)))
}
