//! A file of v2 as JSON.

use serde_json::{Value, json};

use crate::{
    clock::rfc3339,
    fields::{Object, Selection},
    http::{permissions_v2, render},
    ids::{DriveId, UserId},
    state::View,
};

/// A file.
pub(crate) fn file(view: &View, selection: &Selection) -> Value {
    let item = &view.item;
    let mut out = Object::new(selection);
    out.put("kind", || "drive#file");
    out.put("id", || item.id.as_str());
    out.put("etag", || item.etag());
    out.put("selfLink", || self_link(item.id.as_str()));
    out.put("title", || item.name.as_str());
    out.put("mimeType", || &*item.mime_type);
    out.put_some("description", || item.description.clone());
    out.put("labels", || {
        json!({"starred": view.starred(), "trashed": item.explicitly_trashed, "hidden": false, "restricted": false,
            "viewed": false, "modified": item.last_modifying_user == view.viewer})
    });
    out.put("explicitlyTrashed", || item.explicitly_trashed);
    out.put("parents", || parents(view));
    out.put("properties", || properties(view));
    out.put("version", || item.version.to_string());
    out.put("createdDate", || rfc3339(item.created_ms));
    out.put("modifiedDate", || rfc3339(item.modified_ms));
    out.put("spaces", || json!(["drive"]));
    out.put("alternateLink", || render::web_view_link(view));
    out.put("iconLink", || render::icon_link(view));
    out.put("lastModifyingUserName", || {
        item.last_modifying_user.as_str()
    });
    out.put("lastModifyingUser", || {
        user(&item.last_modifying_user, &view.viewer)
    });
    out.put("capabilities", || render::capabilities(view));
    out.put("editable", || view.role.can_edit());
    out.put("copyable", || !item.is_folder());
    out.put("quotaBytesUsed", || {
        render::size(view).unwrap_or_else(|| "0".to_owned())
    });
    out.put("copyRequiresWriterPermission", || false);
    if let Some(owner) = view.owner() {
        out.put("owners", || json!([user(owner, &view.viewer)]));
        out.put("ownerNames", || json!([owner.as_str()]));
        out.put("ownedByMe", || *owner == view.viewer);
        out.put("shared", || render::is_shared(view));
        out.put("writersCanShare", || true);
        out.put_built("permissions", |inner| {
            let permissions = view.place.permissions();
            let all = permissions
                .iter()
                .map(|permission| permissions_v2::render(view, permission, inner));
            view.role.can_edit().then(|| all.collect())
        });
    }
    out.put_built("userPermission", |inner| {
        Some(permissions_v2::of_viewer(view, inner))
    });
    out.put("permissionIds", || view.place.permission_ids());
    if item.is_folder() && !view.is_root() {
        out.put("inheritedPermissionsDisabled", || item.inherits_nothing);
    }
    out.put_some("hasAugmentedPermissions", || {
        view.drive()
            .filter(|_| !view.is_root())
            .map(|_| view.place.has_own())
    });
    out.put_some("driveId", || view.drive().map(DriveId::to_string));
    out.put_some("teamDriveId", || view.drive().map(DriveId::to_string));
    if item.content.is_some() {
        out.put_some("fileSize", || render::size(view));
        out.put_some("md5Checksum", || {
            render::checksum(view, |sums| sums.md5.clone())
        });
        out.put_some("sha256Checksum", || {
            render::checksum(view, |sums| sums.sha256.clone())
        });
        out.put_some("headRevisionId", || item.head_revision.clone());
        out.put("originalFilename", || item.name.as_str());
        out.put("fileExtension", || render::extension(&item.name));
        out.put("fullFileExtension", || render::extension(&item.name));
    }
    out.put_some("shortcutDetails", || {
        let shortcut = item.shortcut.as_ref()?;
        Some(json!({"targetId": shortcut.target.as_str(), "targetMimeType": shortcut.target_mime_type}))
    });
    out.finish()
}

fn self_link(id: &str) -> String {
    format!("https://www.googleapis.com/drive/v2/files/{id}")
}

fn parents(view: &View) -> Value {
    let one = view.item.parent.as_ref().map(|parent| {
        json!({"kind": "drive#parentReference", "id": parent.as_str(), "isRoot": view.parent_is_root,
            "selfLink": format!("{}/parents/{parent}", self_link(view.item.id.as_str())),
            "parentLink": self_link(parent.as_str())})
    });
    one.into_iter().collect()
}

fn properties(view: &View) -> Value {
    let of = |(key, value): (&String, &String), visibility: &str| json!({"kind": "drive#property", "key": key, "value": value, "visibility": visibility});
    let public = view.item.properties.iter().map(|pair| of(pair, "PUBLIC"));
    public
        .chain(
            view.item
                .app_properties
                .iter()
                .map(|pair| of(pair, "PRIVATE")),
        )
        .collect()
}

fn user(user: &UserId, viewer: &UserId) -> Value {
    json!({"kind": "drive#user", "displayName": user.as_str(), "isAuthenticatedUser": user == viewer,
        "permissionId": user.permission_id(), "emailAddress": user.email()})
}
