//! Resources of v3 as JSON, built to the measure of a selection.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::{
    clock::rfc3339,
    fields::{Object, Selection},
    http::{export, permissions},
    ids::{DriveId, UserId},
    state::{
        State, View,
        item::{Content, Role},
        permissions::can_share,
        rights,
    },
};

/// How many contents are read at once for their checksums.
const READERS: usize = 4;

/// Computes the checksums that an answer will show. Reading files of this machine is left to blocking threads.
pub(crate) async fn prepare(views: impl IntoIterator<Item = &View>, selection: &Selection) {
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

/// Computes checksums that are not known yet. Reading files of this machine is left to blocking threads.
pub(crate) async fn compute_checksums(contents: Vec<Arc<Content>>) {
    stream::iter(contents)
        .map(|content| {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = content.compute_checksums() {
                    tracing::warn!(path = ?content.path(), %error, "a file of the library cannot be read");
                }
            })
        })
        .buffer_unordered(READERS)
        .for_each(|computed| {
            if let Err(error) = computed {
                tracing::warn!(%error, "checksums were not computed");
            }
            std::future::ready(())
        })
        .await;
}

/// A file.
pub(crate) fn file(view: &View, selection: &Selection) -> Value {
    let item = &view.item;
    let mut out = Object::new(selection);
    out.put("kind", || "drive#file");
    out.put("id", || item.id.as_str());
    out.put("name", || item.name.as_str());
    out.put("mimeType", || &*item.mime_type);
    out.put_some("description", || item.description.clone());
    out.put("starred", || view.starred());
    out.put("trashed", || view.trashed);
    out.put("explicitlyTrashed", || item.explicitly_trashed);
    out.put_some("parents", || {
        item.parent.as_ref().map(|parent| json!([parent.as_str()]))
    });
    out.put_some("properties", || {
        (!item.properties.is_empty()).then(|| json!(item.properties))
    });
    out.put_some("appProperties", || {
        (!item.app_properties.is_empty()).then(|| json!(item.app_properties))
    });
    out.put("version", || item.version.to_string());
    out.put("createdTime", || rfc3339(item.created_ms));
    out.put("modifiedTime", || rfc3339(item.modified_ms));
    out.put("spaces", || json!(["drive"]));
    out.put("webViewLink", || web_view_link(view));
    out.put("iconLink", || icon_link(view));
    out.put("lastModifyingUser", || {
        user(&item.last_modifying_user, &view.viewer)
    });
    out.put("modifiedByMe", || item.last_modifying_user == view.viewer);
    out.put("capabilities", || capabilities(view));
    out.put("quotaBytesUsed", || {
        size(view).unwrap_or_else(|| "0".to_owned())
    });
    out.put("isAppAuthorized", || true);
    out.put("viewedByMe", || false);
    out.put("copyRequiresWriterPermission", || false);
    if let Some(owner) = view.owner() {
        out.put("owners", || json!([user(owner, &view.viewer)]));
        out.put("ownedByMe", || *owner == view.viewer);
        out.put("shared", || is_shared(view));
        out.put("writersCanShare", || true);
        out.put_built("permissions", |inner| {
            // Drive shows them to who could change them, and never for items of shared drives.
            let permissions = view.place.permissions();
            let all = permissions
                .iter()
                .map(|permission| permissions::render(permission, inner));
            view.role.can_edit().then(|| all.collect())
        });
    }
    out.put("permissionIds", || view.place.permission_ids());
    if view.item.is_folder() && !view.is_root() {
        out.put("inheritedPermissionsDisabled", || item.inherits_nothing);
    }
    out.put_some("hasAugmentedPermissions", || {
        view.drive()
            .filter(|_| !view.is_root())
            .map(|_| view.place.has_own())
    });
    out.put_some("driveId", || view.drive().map(DriveId::to_string));
    out.put_some("teamDriveId", || view.drive().map(DriveId::to_string));
    content(view, &mut out);
    out.put_some("exportLinks", || {
        export::links(item.id.as_str(), &item.mime_type)
    });
    out.put_some("shortcutDetails", || {
        let shortcut = item.shortcut.as_ref()?;
        Some(json!({"targetId": shortcut.target.as_str(), "targetMimeType": shortcut.target_mime_type}))
    });
    out.finish()
}

/// What only files with bytes of their own have.
fn content(view: &View, out: &mut Object<'_>) {
    let item = &view.item;
    if item.content.is_none() {
        return;
    }
    out.put_some("size", || size(view));
    out.put_some("md5Checksum", || checksum(view, |sums| sums.md5.clone()));
    out.put_some("sha256Checksum", || {
        checksum(view, |sums| sums.sha256.clone())
    });
    out.put_some("headRevisionId", || item.head_revision.clone());
    out.put("originalFilename", || item.name.as_str());
    out.put("fullFileExtension", || extension(&item.name));
    out.put("fileExtension", || extension(&item.name));
    let download = || format!("https://drive.google.com/uc?id={}&export=download", item.id);
    out.put("webContentLink", download);
}

/// The size of the content, as the text of an int64.
pub(crate) fn size(view: &View) -> Option<String> {
    view.item
        .content
        .as_ref()
        .map(|content| content.size().to_string())
}

/// A checksum, if it is known.
pub(crate) fn checksum(
    view: &View,
    pick: impl FnOnce(&crate::state::item::Checksums) -> String,
) -> Option<String> {
    view.item
        .content
        .as_ref()
        .and_then(|content| content.checksums().map(pick))
}

/// The extension of a name, or nothing.
pub(crate) fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// The page of an item in Drive's own site.
pub(crate) fn web_view_link(view: &View) -> String {
    let id = &view.item.id;
    if view.item.is_folder() {
        format!("https://drive.google.com/drive/folders/{id}")
    } else {
        format!("https://drive.google.com/file/d/{id}/view?usp=drivesdk")
    }
}

/// The icon of a type.
pub(crate) fn icon_link(view: &View) -> String {
    format!(
        "https://drive-thirdparty.googleusercontent.com/16/type/{}",
        view.item.mime_type
    )
}

/// Whether anybody but the owner has access.
pub(crate) fn is_shared(view: &View) -> bool {
    view.place.permission_ids().len() > 1
}

/// A user, as `viewer` sees them.
pub(crate) fn user(user: &UserId, viewer: &UserId) -> Value {
    json!({"kind": "drive#user", "displayName": user.as_str(), "me": user == viewer, "permissionId": user.permission_id(),
        "emailAddress": user.email()})
}

/// What the viewer may do.
pub(crate) fn capabilities(view: &View) -> Value {
    let (role, folder, root) = (view.role, view.item.is_folder(), view.is_root());
    let edit = role.can_edit();
    let organize = role >= Role::FileOrganizer;
    let limits = rights::check_limiting(view).is_ok();
    json!({
        "canEdit": edit, "canRename": edit && !root, "canModifyContent": edit && !folder, "canComment": role >= Role::Commenter,
        "canTrash": role.can_trash() && !root, "canUntrash": role.can_trash() && !root,
        "canDelete": role.can_delete() && !root, "canDownload": !folder && !view.item.rule.not_downloadable, "canCopy": !folder,
        "canAddChildren": edit && folder, "canListChildren": folder, "canRemoveChildren": edit && folder,
        "canDeleteChildren": folder && role == Role::Organizer, "canTrashChildren": folder && organize,
        "canShare": can_share(view), "canDisableInheritedPermissions": limits && !view.item.inherits_nothing,
        "canEnableInheritedPermissions": limits && view.item.inherits_nothing, "canReadRevisions": edit && !folder,
        "canMoveItemWithinDrive": edit && !root, "canMoveItemOutOfDrive": role.can_delete() && !root && (view.member || view.owner().is_some()),
        "canAddFolderFromAnotherDrive": false, "canReadDrive": view.member, "canModifyLabels": false, "canReadLabels": false,
    })
}

/// A shared drive as a member sees it; `None` for who is none.
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
        let (edit, organize, manage) = (role >= Role::Writer, role >= Role::FileOrganizer, role >= Role::Organizer);
        json!({"canAddChildren": edit, "canEdit": edit, "canListChildren": true, "canDownload": true, "canCopy": true,
            "canComment": role >= Role::Commenter, "canRename": edit, "canReadRevisions": true, "canShare": manage,
            "canTrashChildren": organize, "canDeleteChildren": manage, "canDeleteDrive": manage, "canRenameDrive": manage,
            "canManageMembers": manage})
    });
    Some(out.finish())
}
