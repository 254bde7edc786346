//! The rights that edits of items require.

use crate::{
    errors::DriveError,
    state::{
        View,
        items::{
            item::{FOLDER, Home},
            item_patch::{ModifiedTime, Patch},
        },
        sharing::permission::Role,
    },
};

/// Checks that the viewer may add items to `parent`.
///
/// # Errors
/// 403 if it is not a folder or the viewer may not add to it.
pub(crate) fn check_container(parent: &View) -> Result<(), DriveError> {
    if !parent.item.is_folder() {
        return Err(DriveError::new(
            403,
            "parentNotAFolder",
            "The specified parent is not a folder.",
        ));
    }
    if parent.role.can_edit() {
        Ok(())
    } else {
        Err(DriveError::insufficient_permissions(
            parent.item.id.as_str(),
        ))
    }
}

/// Checks that the viewer may apply a patch.
///
/// # Errors
/// 403 `insufficientFilePermissions`.
pub(crate) fn check_rights(view: &View, patch: &Patch) -> Result<(), DriveError> {
    let refused = || DriveError::insufficient_permissions(view.item.id.as_str());
    let edits = patch.name.is_some()
        || patch.mime_type.is_some()
        || patch.description.is_some()
        || patch.content.is_some()
        || !patch.properties.is_empty()
        || !patch.app_properties.is_empty()
        || !patch.add_parents.is_empty()
        || !patch.remove_parents.is_empty()
        || matches!(patch.modified, ModifiedTime::Set(_));
    // Writing the current value is no edit, so that a client may send a whole resource back.
    let trashes = patch
        .trashed
        .is_some_and(|trashed| trashed != view.item.explicitly_trashed);
    if (edits && !view.role.can_edit()) || (trashes && (!view.role.can_trash() || view.is_root())) {
        return Err(refused());
    }
    match patch.limited_access {
        Some(limited) if limited != view.item.limited_access => check_limiting(view),
        Some(_) | None => Ok(()),
    }
}

/// Checks that the viewer may turn the limited access of a folder on or off.
///
/// # Errors
/// 400 for anything but a folder, 403 for a missing permission.
pub(crate) fn check_limiting(view: &View) -> Result<(), DriveError> {
    if !view.item.is_folder() || view.is_root() {
        return Err(DriveError::invalid_because(
            "inheritedPermissionsDisabled",
            "Limited access is for folders only.",
        ));
    }
    let least = match view.home {
        Home::MyDrive(_) => Role::Writer,
        Home::Shared(_) => Role::Organizer,
    };
    if view.role >= least {
        Ok(())
    } else {
        Err(DriveError::insufficient_permissions(view.item.id.as_str()))
    }
}

/// Checks that the viewer may move an item: leaving a tree takes more than the right to edit.
///
/// # Errors
/// 403 with Drive's reason.
pub(crate) fn check_move(view: &View, target: &View) -> Result<(), DriveError> {
    if view.home == target.home {
        return Ok(());
    }
    let refused = |reason: &'static str, message: &str| Err(DriveError::new(403, reason, message));
    match (&view.home, &target.home) {
        (Home::MyDrive(_), Home::Shared(_)) if &*view.item.mime_type == FOLDER => refused(
            "teamDrivesFolderMoveInNotSupported",
            "Moving folders into shared drives is not supported.",
        ),
        (Home::MyDrive(_), Home::Shared(_)) if view.role != Role::Owner => refused(
            "fileWriterTeamDriveMoveInDisabled",
            "The domain administrator has not allowed writers to move items into a shared drive.",
        ),
        (Home::MyDrive(_), Home::Shared(_)) if !target.member => refused(
            "fileOwnerNotMemberOfTeamDrive",
            "Cannot move a file into a shared drive as a writer when the owner is not a member of \
             that shared drive.",
        ),
        (Home::MyDrive(_), _) if view.role == Role::Owner => Ok(()),
        (Home::Shared(_), _) if !view.member => refused(
            "teamDriveMembershipRequired",
            "The user must be a member of the shared drive.",
        ),
        (Home::Shared(_), _) if view.role == Role::Organizer => Ok(()),
        (Home::MyDrive(_) | Home::Shared(_), _) => {
            Err(DriveError::insufficient_permissions(view.item.id.as_str()))
        }
    }
}
