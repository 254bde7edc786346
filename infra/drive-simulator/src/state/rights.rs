//! Who may do what to an item.

use crate::{
    errors::DriveError,
    state::{
        View,
        item::{FOLDER, Home, Role},
        patch::{ModifiedTime, Patch},
    },
};

/// Checks that something can be put into `parent`.
///
/// # Errors
/// 403 when it is no folder or the viewer may not add to it.
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

/// Checks that the viewer may do what a patch does.
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
    // Sending the present value is no act, so that a client may send a whole resource back.
    let trashes = patch
        .trashed
        .is_some_and(|trashed| trashed != view.item.explicitly_trashed);
    if (edits && !view.role.can_edit()) || (trashes && (!view.role.can_trash() || view.is_root())) {
        return Err(refused());
    }
    match patch.inherits_nothing {
        Some(limited) if limited != view.item.inherits_nothing => check_limiting(view),
        Some(_) | None => Ok(()),
    }
}

/// Checks that the viewer may limit the access to a folder, or give it back what it inherits.
///
/// # Errors
/// 400 for what is no folder, 403 without the right.
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

/// Checks that the viewer may move an item: out of a tree that takes more than editing.
///
/// # Errors
/// 403 with the reason that Drive gives.
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
            "Cannot move a file into a shared drive as a writer when the owner is not a member of that shared drive.",
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
