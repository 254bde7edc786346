//! v3 `drives`, `permissions` and `about`: read only.

use serde_json::{Value, json};

use crate::{
    Simulator,
    errors::DriveError,
    fields::Object,
    http::{Answer, Call, render},
};

/// `drives.list`. All drives fit one page.
pub(crate) async fn list(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    if call.params.text("q").is_some() {
        return Err(DriveError::not_implemented("the search of drives.list"));
    }
    let answer = simulator.with(|state| {
        let mut out = Object::new(&call.selection);
        out.put("kind", || "drive#driveList");
        out.put_built("drives", |inner| {
            Some(
                state
                    .drives_of(&call.user)
                    .map(|(id, drive)| render::drive(id, drive, &call.user, inner))
                    .collect(),
            )
        });
        out.finish()
    });
    Ok(Answer::Json(answer))
}

/// `drives.get`.
pub(crate) async fn get(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let id = call.path("id")?;
    let answer = simulator.with(|state| {
        let (id, drive) = state.drive(&call.user, id)?;
        Ok(render::drive(&id, drive, &call.user, &call.selection))
    })?;
    Ok(Answer::Json(answer))
}

/// `permissions.list`. All permissions fit one page.
pub(crate) async fn list_permissions(
    simulator: Simulator,
    call: Call,
) -> Result<Answer, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let permissions = simulator.with(|state| {
        let view = state.find(&call.user, id, all_drives)?;
        Ok(state.permissions(&view.home))
    })?;
    let mut out = Object::new(&call.selection);
    out.put("kind", || "drive#permissionList");
    out.put_built("permissions", |inner| {
        Some(
            permissions
                .iter()
                .map(|permission| render::permission(permission, inner))
                .collect(),
        )
    });
    Ok(Answer::Json(out.finish()))
}

/// `permissions.get`.
pub(crate) async fn get_permission(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, wanted, all_drives) = (
        call.path("id")?,
        call.path("permission")?,
        call.all_drives()?,
    );
    let permissions = simulator.with(|state| {
        let view = state.find(&call.user, id, all_drives)?;
        Ok(state.permissions(&view.home))
    })?;
    let found = permissions
        .iter()
        .find(|permission| permission.id == wanted)
        .ok_or_else(|| {
            DriveError::new(404, "notFound", format!("Permission not found: {wanted}."))
                .at("permissionId")
        })?;
    Ok(Answer::Json(render::permission(found, &call.selection)))
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
