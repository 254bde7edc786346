//! Permissions in a v2 file: other names, and a commenter is a reader with an additional role.

use serde_json::{Value, json};

use crate::{
    clock::rfc3339,
    fields::{Object, Selection},
    http::v3::resources_v3::permission_details,
    state::{
        View,
        sharing::{
            access::EffectivePermission,
            permission::{Principal, Role},
        },
    },
};

/// Returns the role in v2, and whether `commenter` is an additional role.
fn role(role: Role) -> (&'static str, bool) {
    match role {
        Role::Commenter => ("reader", true),
        Role::Reader | Role::Writer | Role::FileOrganizer | Role::Organizer | Role::Owner => {
            (role.as_str(), false)
        }
    }
}

fn self_link(view: &View, id: &str) -> String {
    let file = &view.item.id;
    format!("https://www.googleapis.com/drive/v2/files/{file}/permissions/{id}")
}

/// Renders one permission of a file.
pub(crate) fn permission(
    view: &View,
    permission: &EffectivePermission,
    selection: &Selection,
) -> Value {
    let granted = &permission.granted;
    let (main, commenter) = role(granted.role);
    let mut out = Object::new(selection);
    out.put("kind", || "drive#permission");
    out.put("id", || permission.id.as_str());
    out.put("etag", || view.item.etag());
    out.put("selfLink", || self_link(view, &permission.id));
    out.put("type", || granted.principal.kind());
    out.put("role", || main);
    out.put_some("additionalRoles", || {
        commenter.then(|| json!(["commenter"]))
    });
    match &granted.principal {
        Principal::User(user) => {
            out.put_some("emailAddress", || permission.address.clone());
            out.put("name", || user.as_str());
            out.put_some("domain", || {
                let email = permission.address.as_deref()?;
                email.rsplit_once('@').map(|(_, domain)| domain.to_owned())
            });
            out.put("deleted", || false);
            out.put("pendingOwner", || false);
        }
        Principal::Group(address) => {
            out.put("emailAddress", || address.as_str());
            out.put("name", || address.as_str());
            out.put("deleted", || false);
        }
        Principal::Domain(name) => {
            out.put("domain", || name.as_str());
            out.put("name", || name.as_str());
            out.put("withLink", || !granted.discoverable);
        }
        Principal::Anyone => out.put("withLink", || !granted.discoverable),
    }
    out.put_some("expirationDate", || granted.expires_ms.map(rfc3339));
    out.put("permissionDetails", || {
        let mut parts = permission_details(permission);
        for part in parts.as_array_mut().into_iter().flatten() {
            if part.get("role").and_then(Value::as_str) == Some("commenter")
                && let Some(members) = part.as_object_mut()
            {
                members.insert("role".to_owned(), json!("reader"));
                members.insert("additionalRoles".to_owned(), json!(["commenter"]));
            }
        }
        parts
    });
    out.finish()
}

/// Renders the viewer's own permission.
pub(crate) fn viewer_permission(view: &View, selection: &Selection) -> Value {
    let (main, commenter) = role(view.role);
    let mut out = Object::new(selection);
    out.put("kind", || "drive#permission");
    out.put("id", || "me");
    out.put("etag", || view.item.etag());
    out.put("selfLink", || self_link(view, "me"));
    out.put("type", || "user");
    out.put("role", || main);
    out.put_some("additionalRoles", || {
        commenter.then(|| json!(["commenter"]))
    });
    out.finish()
}
