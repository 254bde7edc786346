//! Permission writes: sharing, unsharing, and the membership of shared drives.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    errors::DriveError,
    ids::{DriveId, FileId, UserId},
    state::{
        State, View,
        change_logs::page_token::PageToken,
        items::{breaches::Breach, item::Home},
        sharing::{
            access::EffectivePermission,
            permission::{Permission, Permissions, Principal, Role},
        },
    },
};

/// Permission writes on one item that overlap in time.
#[derive(Debug)]
pub(crate) struct OverlappingWrites {
    began_ms: i64,
    /// The permissions that every overlapping write starts from.
    base: Permissions,
}

/// A change of a permission; absent values stay.
#[derive(Debug, Default)]
pub(crate) struct PermissionPatch {
    pub(crate) role: Option<Role>,
    /// `Some(None)` removes the expiration.
    pub(crate) expires_ms: Option<Option<i64>>,
}

impl State {
    /// Returns the permissions that apply to an item, inherited ones included, by id.
    ///
    /// # Errors
    /// 404 for an inaccessible item.
    pub(crate) fn permissions(
        &mut self,
        user: &UserId,
        id: &str,
        all_drives: bool,
    ) -> Result<Vec<EffectivePermission>, DriveError> {
        let view = self.find(user, id, all_drives)?;
        Ok(view.place.permissions())
    }

    /// Returns one permission that applies to an item.
    ///
    /// # Errors
    /// 404 `notFound` at `permissionId` for a permission that does not exist, and the errors of
    /// [`State::permissions`].
    pub(crate) fn permission(
        &mut self,
        user: &UserId,
        id: &str,
        permission: &str,
        all_drives: bool,
    ) -> Result<EffectivePermission, DriveError> {
        self.permissions(user, id, all_drives)?
            .into_iter()
            .find(|known| known.id == permission)
            .ok_or_else(|| permission_not_found(permission))
    }

    /// Shares an item, or adds a member to a shared drive. Sharing again changes the role.
    ///
    /// # Errors
    /// 404 for an inaccessible item, 403 with Google's reason for a role that the item does not
    /// support or that exceeds the caller's, 400 `invalidSharingRequest` for an account that cannot
    /// be shared with.
    pub(crate) fn share(
        &mut self,
        user: &UserId,
        id: &str,
        mut granted: Permission,
        all_drives: bool,
    ) -> Result<EffectivePermission, DriveError> {
        if let Principal::User(account) = granted.principal {
            granted.principal = Principal::User(self.addresses.account(account));
        }
        let view = self.find(user, id, all_drives)?;
        check_applicable(&view, &granted)?;
        check_sharing(&view, granted.role)?;
        if let Principal::User(shared_with) = &granted.principal {
            self.root_of(shared_with);
        }
        let permission = granted.id();
        let owned = view.owner().map(Permission::owner_id);
        if owned.as_ref() == Some(&permission) {
            // Sharing with the owner changes nothing.
            return self.permission(user, view.item.id.as_str(), &permission, true);
        }
        self.write_permissions(&view, user, |permissions| {
            permissions.insert(permission.clone(), granted);
        });
        self.effective_permission(view.item.id.as_str(), &permission)
    }

    /// Changes a permission on the item itself.
    ///
    /// # Errors
    /// 404 for a permission that does not exist, 403 for an inherited one, and the errors of
    /// [`State::share`].
    pub(crate) fn update_permission(
        &mut self,
        user: &UserId,
        id: &str,
        permission: &str,
        patch: PermissionPatch,
        all_drives: bool,
    ) -> Result<EffectivePermission, DriveError> {
        let view = self.find(user, id, all_drives)?;
        let mut granted = own_permission(&view, permission)?;
        check_sharing(&view, granted.role)?;
        if let Some(role) = patch.role {
            granted.role = role;
        }
        if let Some(expires_ms) = patch.expires_ms {
            granted.expires_ms = expires_ms;
        }
        check_applicable(&view, &granted)?;
        check_sharing(&view, granted.role)?;
        self.write_permissions(&view, user, |permissions| {
            permissions.insert(permission.to_owned(), granted);
        });
        self.effective_permission(view.item.id.as_str(), permission)
    }

    /// Removes a permission from the item itself. Any user may remove their own.
    ///
    /// # Errors
    /// 404 for a permission that does not exist, 403 for an inherited one, the owner's, and for a
    /// missing permission.
    pub(crate) fn unshare(
        &mut self,
        user: &UserId,
        id: &str,
        permission: &str,
        all_drives: bool,
    ) -> Result<(), DriveError> {
        let view = self.find(user, id, all_drives)?;
        let granted = own_permission(&view, permission)?;
        if granted.principal != Principal::User(user.clone()) {
            check_sharing(&view, granted.role)?;
        }
        self.write_permissions(&view, user, |permissions| {
            permissions.remove(permission);
        });
        Ok(())
    }

    fn effective_permission(
        &self,
        id: &str,
        permission: &str,
    ) -> Result<EffectivePermission, DriveError> {
        self.items
            .get(id)
            .map(|item| self.place(item).permissions())
            .into_iter()
            .flatten()
            .find(|known| known.id == permission)
            .ok_or_else(|| permission_not_found(permission))
    }

    /// Changes the permissions of one item, and logs the change of its visibility. Writes that
    /// overlap in time all start from the permissions before the first, so that only the last one
    /// lasts.
    fn write_permissions(
        &mut self,
        view: &View,
        user: &UserId,
        change: impl FnOnce(&mut BTreeMap<String, Permission>),
    ) {
        let id = &view.item.id;
        let before = self.visibility(id);
        let drive = match &view.home {
            Home::Shared(drive) if view.is_root() => Some(drive.clone()),
            Home::Shared(_) | Home::MyDrive(_) => None,
        };
        let members = drive.as_ref().map(|drive| self.members(drive));
        let mut permissions = self.base_of_write(id, &view.item.permissions).to_map();
        change(&mut permissions);
        let permissions = Permissions::from(permissions);
        if permissions == view.item.permissions {
            return;
        }
        let moves = !self.breaches.has(Breach::SharingMovesVersion);
        let step = if moves { self.rng.u64(1..=3) } else { 0 };
        if let Some(item) = self.items.get_mut(id) {
            let item = Arc::make_mut(item);
            item.permissions = permissions;
            item.version += step;
        }
        match (drive, members) {
            (Some(drive), Some(members)) => self.log_membership_changes(&drive, &members),
            (None, _) | (_, None) if view.is_root() => {}
            (None, _) | (_, None) => {
                self.log_change(id, &before);
                self.notify_file_channels(id, &view.home, "update", Some("permissions"));
            }
        }
        tracing::debug!(%id, %user, "permissions changed");
    }

    fn base_of_write(&mut self, id: &FileId, now: &Permissions) -> Permissions {
        let (length_ms, now_ms) = (self.overlap_ms, self.now_ms);
        if length_ms == 0 {
            return now.clone();
        }
        let overlap = self
            .overlaps
            .entry(id.clone())
            .or_insert_with(|| OverlappingWrites {
                began_ms: now_ms,
                base: now.clone(),
            });
        if now_ms.saturating_sub(overlap.began_ms) >= length_ms {
            *overlap = OverlappingWrites {
                began_ms: now_ms,
                base: now.clone(),
            };
        }
        overlap.base.clone()
    }

    /// Returns the permission id after which a page of an item's permissions begins.
    ///
    /// # Errors
    /// 400 `invalid` at `pageToken` for a token of another list.
    pub(crate) fn permission_position(
        &self,
        user: &UserId,
        id: &FileId,
        token: Option<&str>,
    ) -> Result<Option<String>, DriveError> {
        let scope = format!("permissions:{user}:{id}:");
        token
            .map(|token| {
                PageToken::decode(token)
                    .filter(|token| token.epoch == self.epoch)
                    .and_then(|token| token.scope.strip_prefix(&scope).map(str::to_owned))
                    .ok_or_else(|| DriveError::invalid("pageToken"))
            })
            .transpose()
    }

    /// Returns the token of the page that begins after a permission.
    pub(crate) fn permission_token(&self, user: &UserId, id: &FileId, last: &str) -> String {
        PageToken {
            scope: format!("permissions:{user}:{id}:{last}"),
            epoch: self.epoch,
            position: 0,
            salt: 0,
        }
        .encode()
    }

    /// Makes permission writes on one item overlap that begin within this many milliseconds of each
    /// other; 0 turns that off.
    pub(crate) fn set_overlap(&mut self, milliseconds: i64) {
        self.overlap_ms = milliseconds.max(0);
        self.overlaps.clear();
    }

    /// Adds a member to a shared drive, changes a member's role, or with `None` ends the
    /// membership.
    pub(crate) fn set_member(&mut self, drive: &DriveId, user: &UserId, role: Option<Role>) {
        self.root_of(user);
        let before = self.members(drive);
        let Some(root) = self.items.get_mut(drive.as_str()) else {
            return;
        };
        let root = Arc::make_mut(root);
        let mut permissions = root.permissions.to_map();
        match role {
            Some(role) => permissions.insert(
                user.permission_id(),
                Permission::of_user(user.clone(), role),
            ),
            None => permissions.remove(&user.permission_id()),
        };
        root.permissions = Permissions::from(permissions);
        self.log_membership_changes(drive, &before);
    }
}

fn permission_not_found(permission: &str) -> DriveError {
    DriveError::new(
        404,
        "notFound",
        format!("Permission not found: {permission}."),
    )
    .at("permissionId")
}

/// Returns a permission on the item itself.
fn own_permission(view: &View, permission: &str) -> Result<Permission, DriveError> {
    if view.owner().map(Permission::owner_id).as_deref() == Some(permission) {
        return Err(DriveError::insufficient_permissions(view.item.id.as_str()));
    }
    if let Some(granted) = view.item.permissions.get(permission) {
        return Ok(granted.clone());
    }
    let inherited = view
        .place
        .permissions()
        .iter()
        .any(|known| known.id == permission);
    if !inherited {
        return Err(permission_not_found(permission));
    }
    let (reason, message) = match view.home {
        Home::Shared(_) => (
            "cannotModifyInheritedTeamDrivePermission",
            "Cannot update or delete an inherited permission on a shared drive item.",
        ),
        Home::MyDrive(_) => (
            "cannotModifyInheritedPermission",
            "Cannot update or delete an inherited permission.",
        ),
    };
    Err(DriveError::new(403, reason, message))
}

/// Returns whether the viewer may share the item.
pub(crate) fn can_share(view: &View) -> bool {
    let least = match view.home {
        Home::Shared(_) if view.is_root() => Role::Organizer,
        // Only organizers may share folders of a shared drive.
        Home::Shared(_) if view.item.is_folder() => Role::Organizer,
        Home::Shared(_) | Home::MyDrive(_) => Role::Writer,
    };
    view.role >= least
}

/// Checks that the viewer may grant or revoke this role.
fn check_sharing(view: &View, role: Role) -> Result<(), DriveError> {
    if can_share(view) && view.role >= role {
        Ok(())
    } else {
        Err(DriveError::insufficient_permissions(view.item.id.as_str()))
    }
}

/// Checks that this kind of item supports this permission.
fn check_applicable(view: &View, granted: &Permission) -> Result<(), DriveError> {
    let shared = matches!(view.home, Home::Shared(_));
    let drive_root = shared && view.is_root();
    let folder = view.item.is_folder();
    let refused = |reason: &'static str, message: &str| Err(DriveError::new(403, reason, message));
    match granted.role {
        Role::Owner if shared => refused(
            "ownerOnTeamDriveItemNotSupported",
            "Items in a shared drive have no owner.",
        ),
        Role::Organizer if !shared => refused(
            "organizerOnNonTeamDriveNotSupported",
            "Only shared drives have organizers.",
        ),
        Role::Organizer if !drive_root => refused(
            "organizerOnNonTeamDriveItemNotSupported",
            "Only a shared drive itself has organizers, not an item in it.",
        ),
        Role::FileOrganizer if !shared => refused(
            "fileOrganizerOnNonTeamDriveNotSupported",
            "Only shared drives have file organizers.",
        ),
        Role::FileOrganizer if !folder => refused(
            "fileOrganizerOnFoldersInSharedDriveOnly",
            "Only folders in a shared drive have file organizers.",
        ),
        Role::Reader
        | Role::Commenter
        | Role::Writer
        | Role::FileOrganizer
        | Role::Organizer
        | Role::Owner => match &granted.principal {
            Principal::Anyone | Principal::Domain(_) if drive_root => refused(
                "cannotShareTeamDriveTopFolderWithAnyoneOrDomains",
                "A shared drive's members are accounts and groups.",
            ),
            Principal::User(user) => check_account(&user.email()),
            Principal::Group(address) => check_account(address),
            Principal::Anyone | Principal::Domain(_) => Ok(()),
        },
    }
}

/// Checks that an account exists: addresses in the reserved top-level domain `invalid` do not.
fn check_account(address: &str) -> Result<(), DriveError> {
    if !address.ends_with(".invalid") {
        return Ok(());
    }
    Err(DriveError::new(
        400,
        "invalidSharingRequest",
        format!(
            "Bad Request. User message: \"You are trying to invite {address}. Since there is no \
             Google account associated with this email address, you must check the 'Notify people' \
             box to invite this recipient.\""
        ),
    ))
}

impl Permission {
    /// Returns the id of an owner's permission.
    fn owner_id(owner: &UserId) -> String {
        owner.permission_id()
    }
}
