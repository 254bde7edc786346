//! Files of v2 as JSON.

use serde_json::{Value, json};

use crate::{
    clock::rfc3339,
    fields::{Object, Selection},
    http::{v2::permissions_v2, v3::resources_v3},
    ids::{FileId, UserId},
    state::View,
};

/// Renders a file.
pub(crate) fn file(view: &View, selection: &Selection) -> Value {
    let item = &view.item;
    let mut out = Object::new(selection);
    resources_v3::put_common_members(view, &mut out);
    out.put("etag", || item.etag());
    out.put("selfLink", || self_link(item.id.as_str()));
    out.put("title", || item.name.as_str());
    out.put("labels", || labels(view));
    out.put("parents", || parents(view));
    out.put("properties", || properties(view));
    out.put("createdDate", || rfc3339(item.created_ms));
    out.put("modifiedDate", || rfc3339(item.modified_ms));
    out.put("alternateLink", || resources_v3::web_view_link(view));
    out.put("lastModifyingUserName", || {
        item.last_modifying_user.as_str()
    });
    out.put("lastModifyingUser", || {
        user(&item.last_modifying_user, &view.viewer)
    });
    out.put("editable", || view.role.can_edit());
    out.put("copyable", || !item.is_folder());
    if let Some(owner) = view.owner() {
        out.put("owners", || json!([user(owner, &view.viewer)]));
        out.put("ownerNames", || json!([owner.as_str()]));
        out.put_built("permissions", |inner| {
            resources_v3::permissions(view, |permission| {
                permissions_v2::permission(view, permission, inner)
            })
        });
    }
    out.put_built("userPermission", |inner| {
        Some(permissions_v2::viewer_permission(view, inner))
    });
    if item.content.is_some() {
        out.put_some("fileSize", || resources_v3::size(view));
        out.put("downloadUrl", || {
            let origin = view
                .origin
                .as_deref()
                .unwrap_or("https://www.googleapis.com");
            format!(
                "{origin}/drive/v2/files/{}?alt=media&source=downloadUrl",
                item.id
            )
        });
    }
    out.finish()
}

fn labels(view: &View) -> Value {
    let item = &view.item;
    json!({
        "starred": view.starred(), "trashed": item.explicitly_trashed, "hidden": false,
        "restricted": false, "viewed": false,
        "modified": item.last_modifying_user == view.viewer,
    })
}

fn self_link(id: &str) -> String {
    format!("https://www.googleapis.com/drive/v2/files/{id}")
}

fn parents(view: &View) -> Value {
    let reference = |parent: &FileId| {
        let is_root = view.parent_is_root && view.item.parent.as_ref() == Some(parent);
        json!({
            "kind": "drive#parentReference", "id": parent.as_str(), "isRoot": is_root,
            "selfLink": format!("{}/parents/{parent}", self_link(view.item.id.as_str())),
            "parentLink": self_link(parent.as_str()),
        })
    };
    view.item.parents().into_iter().map(reference).collect()
}

fn properties(view: &View) -> Value {
    let of = |(key, value): (&String, &String), visibility: &str| {
        json!({
            "kind": "drive#property", "key": key, "value": value, "visibility": visibility,
        })
    };
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
    json!({
        "kind": "drive#user", "displayName": user.as_str(), "isAuthenticatedUser": user == viewer,
        "permissionId": user.permission_id(), "emailAddress": user.email(),
    })
}
