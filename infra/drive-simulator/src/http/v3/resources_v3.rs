//! Resources of v3 as JSON, reduced to a selection.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::{
    clock::rfc3339,
    fields::{Object, Selection},
    http::v3::{exports_v3, labels_v3},
    ids::{DriveId, FileId, UserId},
    state::{
        State, View,
        items::{
            edit_rights,
            file_content::{Checksums, Content},
        },
        sharing::{
            access::EffectivePermission,
            item_permissions::can_share,
            permission::{Principal, Role},
        },
    },
};

/// The number of contents that are read concurrently for their checksums.
const READERS: usize = 4;

/// Computes the checksums that a response will contain. Files of this machine are read on blocking
/// threads.
pub(crate) async fn prepare_checksums(
    views: impl IntoIterator<Item = &View>,
    selection: &Selection,
) {
    let wanted =
        selection.member("md5Checksum").is_some() || selection.member("sha256Checksum").is_some();
    if !wanted {
        return;
    }
    let unknown = |content: &Arc<Content>| content.checksums().is_none();
    let contents: Vec<Arc<Content>> = views
        .into_iter()
        .filter_map(|view| view.item.content.clone())
        .filter(unknown)
        .collect();
    if contents.is_empty() {
        return;
    }
    compute_checksums(contents).await;
}

/// Computes checksums that are not known yet. Files of this machine are read on blocking threads.
pub(crate) async fn compute_checksums(contents: Vec<Arc<Content>>) {
    stream::iter(contents)
        .map(|content| {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = content.compute_checksums() {
                    let path = content.path();
                    tracing::warn!(?path, %error, "cannot read a file of the library");
                }
            })
        })
        .buffer_unordered(READERS)
        .for_each(|computed| {
            if let Err(error) = computed {
                tracing::warn!(%error, "checksum task failed");
            }
            std::future::ready(())
        })
        .await;
}

/// Renders a file.
pub(crate) fn file(view: &View, selection: &Selection) -> Value {
    let item = &view.item;
    let mut out = Object::new(selection);
    put_common_members(view, &mut out);
    out.put("name", || item.name.as_str());
    out.put("starred", || view.starred());
    out.put("trashed", || view.trashed);
    out.put_some("parents", || {
        let parents: Vec<&str> = item.parents().into_iter().map(FileId::as_str).collect();
        (!parents.is_empty()).then(|| json!(parents))
    });
    out.put_some("properties", || {
        (!item.properties.is_empty()).then(|| json!(item.properties))
    });
    out.put_some("appProperties", || {
        (!item.app_properties.is_empty()).then(|| json!(item.app_properties))
    });
    out.put("createdTime", || rfc3339(item.created_ms));
    out.put("modifiedTime", || rfc3339(item.modified_ms));
    out.put("webViewLink", || web_view_link(view));
    out.put("lastModifyingUser", || {
        user(&item.last_modifying_user, &view.viewer)
    });
    out.put("modifiedByMe", || item.last_modifying_user == view.viewer);
    out.put("isAppAuthorized", || true);
    out.put("viewedByMe", || false);
    if let Some(owner) = view.owner() {
        out.put("owners", || json!([user(owner, &view.viewer)]));
        out.put_built("permissions", |inner| {
            permissions(view, |permission| self::permission(permission, inner))
        });
    }
    if item.content.is_some() {
        out.put_some("size", || size(view));
    }
    out.finish()
}

/// Returns the URL at which the content of an item can be had.
fn web_content_link(view: &View) -> String {
    let origin = view.origin.as_deref().unwrap_or("https://drive.google.com");
    let key = link_key(view, '&');
    format!("{origin}/uc?id={}&export=download{key}", view.item.id)
}

/// Returns the part of a link that has the item's resource key.
fn link_key(view: &View, first: char) -> String {
    let key = view.resource_key.as_ref();
    key.map_or_else(String::new, |key| format!("{first}resourcekey={key}"))
}

/// Adds the members of a file that v2 and v3 share.
pub(crate) fn put_common_members(view: &View, out: &mut Object<'_>) {
    let item = &view.item;
    out.put("kind", || "drive#file");
    out.put("id", || item.id.as_str());
    out.put("mimeType", || &*item.mime_type);
    out.put_some("description", || item.description.clone());
    out.put("explicitlyTrashed", || item.explicitly_trashed);
    out.put("version", || item.version.to_string());
    out.put("spaces", || json!(["drive"]));
    out.put("iconLink", || icon_link(view));
    out.put("capabilities", || capabilities(view));
    out.put("quotaBytesUsed", || {
        size(view).unwrap_or_else(|| "0".to_owned())
    });
    out.put("copyRequiresWriterPermission", || false);
    if let Some(owner) = view.owner() {
        out.put("ownedByMe", || *owner == view.viewer);
        out.put("shared", || is_shared(view));
        out.put("writersCanShare", || true);
    }
    out.put("permissionIds", || view.place.permission_ids());
    if item.is_folder() && !view.is_root() {
        out.put("inheritedPermissionsDisabled", || item.limited_access);
    }
    out.put_some("hasAugmentedPermissions", || {
        view.drive()
            .filter(|_| !view.is_root())
            .map(|_| view.place.has_own())
    });
    out.put_some("driveId", || view.drive().map(DriveId::to_string));
    out.put_some("teamDriveId", || view.drive().map(DriveId::to_string));
    if item.content.is_some() {
        out.put_some("md5Checksum", || checksum(view, |sums| sums.md5.clone()));
        out.put_some("sha256Checksum", || {
            checksum(view, |sums| sums.sha256.clone())
        });
        out.put_some("headRevisionId", || item.head_revision.clone());
        out.put("originalFilename", || item.name.as_str());
        out.put("fullFileExtension", || extension(&item.name));
        out.put("fileExtension", || extension(&item.name));
        out.put("webContentLink", || web_content_link(view));
    }
    out.put_some("exportLinks", || {
        exports_v3::export_links(view.origin.as_deref(), &item.id, &item.mime_type)
    });
    out.put_some("resourceKey", || view.resource_key.clone());
    out.put_some("labelInfo", || labels_v3::label_info(view));
    out.put_some("shortcutDetails", || {
        let shortcut = item.shortcut.as_ref()?;
        let (id, mime_type) = (shortcut.target.as_str(), &shortcut.target_mime_type);
        let mut details = json!({"targetId": id, "targetMimeType": mime_type});
        if let (Some(key), Some(members)) = (&view.target_resource_key, details.as_object_mut()) {
            members.insert("targetResourceKey".to_owned(), json!(key));
        }
        Some(details)
    });
}

/// Renders the permissions of a file. Drive shows them only to users who could change them, and
/// never for items of shared drives.
pub(crate) fn permissions(
    view: &View,
    render: impl Fn(&EffectivePermission) -> Value,
) -> Option<Value> {
    let permissions = view.place.permissions();
    let rendered = permissions.iter().map(render);
    view.role.can_edit().then(|| rendered.collect())
}

/// Returns the size of the content as text, the wire form of an int64.
pub(crate) fn size(view: &View) -> Option<String> {
    view.item
        .content
        .as_ref()
        .map(|content| content.size().to_string())
}

/// Returns a checksum if it is known.
fn checksum(view: &View, pick: impl FnOnce(&Checksums) -> String) -> Option<String> {
    view.item
        .content
        .as_ref()
        .and_then(|content| content.checksums().map(pick))
}

/// Returns the extension of a file name, or an empty text.
fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// Returns the URL of an item in Drive's web interface.
pub(crate) fn web_view_link(view: &View) -> String {
    let id = &view.item.id;
    if view.item.is_folder() {
        let key = link_key(view, '?');
        format!("https://drive.google.com/drive/folders/{id}{key}")
    } else {
        let key = link_key(view, '&');
        format!("https://drive.google.com/file/d/{id}/view?usp=drivesdk{key}")
    }
}

/// Returns the URL of the icon for the item's MIME type.
fn icon_link(view: &View) -> String {
    format!(
        "https://drive-thirdparty.googleusercontent.com/16/type/{}",
        view.item.mime_type
    )
}

/// Returns whether anyone but the owner has access.
fn is_shared(view: &View) -> bool {
    view.place.permission_ids().len() > 1
}

/// Renders a user for a viewer.
pub(crate) fn user(user: &UserId, viewer: &UserId) -> Value {
    json!({
        "kind": "drive#user", "displayName": user.as_str(), "me": user == viewer,
        "permissionId": user.permission_id(), "emailAddress": user.email(),
    })
}

/// Renders the viewer's capabilities.
fn capabilities(view: &View) -> Value {
    let (role, folder, root) = (view.role, view.item.is_folder(), view.is_root());
    let edit = role.can_edit();
    let organize = role >= Role::FileOrganizer;
    let move_out = role.can_delete() && !root && (view.member || view.owner().is_some());
    let limits = edit_rights::check_limiting(view).is_ok();
    json!({
        "canEdit": edit, "canRename": edit && !root, "canModifyContent": edit && !folder,
        "canComment": role >= Role::Commenter, "canTrash": role.can_trash() && !root,
        "canUntrash": role.can_trash() && !root, "canDelete": role.can_delete() && !root,
        "canDownload": !folder && !view.item.rule.not_downloadable, "canCopy": !folder,
        "canAddChildren": edit && folder, "canListChildren": folder,
        "canRemoveChildren": edit && folder, "canDeleteChildren": folder && role == Role::Organizer,
        "canTrashChildren": folder && organize, "canShare": can_share(view),
        "canDisableInheritedPermissions": limits && !view.item.limited_access,
        "canEnableInheritedPermissions": limits && view.item.limited_access,
        "canReadRevisions": edit && !folder, "canMoveItemWithinDrive": edit && !root,
        "canMoveItemOutOfDrive": move_out,
        "canAddFolderFromAnotherDrive": false, "canReadDrive": view.member,
        "canModifyLabels": edit, "canReadLabels": true,
    })
}

/// Renders a shared drive for a member; `None` for any other user.
pub(crate) fn drive(
    state: &State,
    id: &DriveId,
    user: &UserId,
    selection: &Selection,
) -> Option<Value> {
    let (_, drive) = state.drive(user, id.as_str()).ok()?;
    let role = state.member_role(user, id)?;
    let mut out = Object::new(selection);
    out.put("kind", || "drive#drive");
    out.put("id", || id.as_str());
    out.put("name", || drive.name.as_str());
    out.put("createdTime", || rfc3339(drive.created_ms));
    out.put("hidden", || drive.hidden_by.contains(user));
    out.put("capabilities", || {
        let (edit, organize, manage) = (
            role >= Role::Writer,
            role >= Role::FileOrganizer,
            role >= Role::Organizer,
        );
        json!({
            "canAddChildren": edit, "canEdit": edit, "canListChildren": true, "canDownload": true,
            "canCopy": true, "canComment": role >= Role::Commenter, "canRename": edit,
            "canReadRevisions": true, "canShare": manage, "canTrashChildren": organize,
            "canDeleteChildren": manage, "canDeleteDrive": manage, "canRenameDrive": manage,
            "canManageMembers": manage,
        })
    });
    Some(out.finish())
}

/// Renders a permission.
pub(crate) fn permission(permission: &EffectivePermission, selection: &Selection) -> Value {
    let granted = &permission.granted;
    let mut out = Object::new(selection);
    out.put("kind", || "drive#permission");
    out.put("id", || permission.id.as_str());
    out.put("type", || granted.principal.kind());
    out.put("role", || granted.role.as_str());
    match &granted.principal {
        Principal::User(user) => {
            out.put_some("emailAddress", || permission.address.clone());
            out.put("displayName", || user.as_str());
            out.put("deleted", || false);
            out.put("pendingOwner", || false);
        }
        Principal::Group(address) => {
            out.put("emailAddress", || address.as_str());
            out.put("displayName", || address.as_str());
            out.put("deleted", || false);
        }
        Principal::Domain(name) => {
            out.put("domain", || name.as_str());
            out.put("displayName", || name.as_str());
            out.put("allowFileDiscovery", || granted.discoverable);
        }
        Principal::Anyone => out.put("allowFileDiscovery", || granted.discoverable),
    }
    out.put_some("expirationTime", || granted.expires_ms.map(rfc3339));
    out.put("permissionDetails", || permission_details(permission));
    out.finish()
}

/// Renders the parts of a permission: those on the item itself, and inherited ones.
pub(crate) fn permission_details(permission: &EffectivePermission) -> Value {
    permission
        .details
        .iter()
        .map(|detail| {
            let mut part = json!({
                "permissionType": if detail.member { "member" } else { "file" },
                "role": detail.role.as_str(),
                "inherited": detail.inherited_from.is_some(),
            });
            if let (Some(from), Some(members)) = (&detail.inherited_from, part.as_object_mut()) {
                members.insert("inheritedFrom".to_owned(), Value::from(from.as_str()));
            }
            part
        })
        .collect()
}
