//! Writing permissions: sharing, unsharing, and the membership of shared drives.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    errors::DriveError,
    ids::{DriveId, FileId, UserId},
    state::{
        State, View,
        access::{Effective, Permission, Permissions, Principal},
        item::{Home, Role},
        token::PageToken,
    },
};

/// What is known of the permission writes on one item that overlap in time.
#[derive(Debug)]
pub(crate) struct Overlap {
    began_ms: i64,
    /// The permissions that every write of the overlap started from.
    base: Permissions,
}

/// A change of a permission; what is absent stays.
#[derive(Debug, Default)]
pub(crate) struct PermissionPatch {
    pub(crate) role: Option<Role>,
    /// `Some(None)` takes the end away.
    pub(crate) expires_ms: Option<Option<i64>>,
}

impl State {
    /// The permissions that count on an item, those it inherits included, by id.
    ///
    /// # Errors
    /// 404 out of sight, 403 for who may not see them.
    pub(crate) fn permissions(
        &mut self,
        user: &UserId,
        id: &str,
        all_drives: bool,
    ) -> Result<Vec<Effective>, DriveError> {
        let view = self.find(user, id, all_drives)?;
        Ok(view.place.permissions())
    }

    /// One of them.
    ///
    /// # Errors
    /// 404 `notFound` at `permissionId` for one that is not there, and everything that [`State::permissions`] refuses.
    pub(crate) fn permission(
        &mut self,
        user: &UserId,
        id: &str,
        permission: &str,
        all_drives: bool,
    ) -> Result<Effective, DriveError> {
        self.permissions(user, id, all_drives)?
            .into_iter()
            .find(|known| known.id == permission)
            .ok_or_else(|| permission_not_found(permission))
    }

    /// Shares an item, or makes somebody a member of a shared drive. Sharing again changes the role.
    ///
    /// # Errors
    /// 404 out of sight, 403 with Google's reason for a role that does not fit the item or exceeds the caller's, 400
    /// `invalidSharingRequest` for an account that cannot be shared with.
    pub(crate) fn share(
        &mut self,
        user: &UserId,
        id: &str,
        granted: Permission,
        all_drives: bool,
    ) -> Result<Effective, DriveError> {
        let view = self.find(user, id, all_drives)?;
        check_fit(&view, &granted)?;
        check_sharing(&view, granted.role)?;
        if let Principal::User(shared_with) = &granted.principal {
            self.root_of(shared_with);
        }
        let permission = granted.id();
        let owned = view.owner().map(Permission::owner_id);
        if owned.as_ref() == Some(&permission) {
            // Sharing with the owner leaves them the owner.
            return self.permission(user, view.item.id.as_str(), &permission, true);
        }
        self.write_permissions(&view, user, |permissions| {
            permissions.insert(permission.clone(), granted);
        });
        self.permission_after(view.item.id.as_str(), &permission)
    }

    /// Changes a permission that stands on the item itself.
    ///
    /// # Errors
    /// 404 for one that is not there, 403 for one that is inherited, and everything that [`State::share`] refuses.
    pub(crate) fn reshare(
        &mut self,
        user: &UserId,
        id: &str,
        permission: &str,
        patch: PermissionPatch,
        all_drives: bool,
    ) -> Result<Effective, DriveError> {
        let view = self.find(user, id, all_drives)?;
        let mut granted = own_permission(&view, permission)?;
        check_sharing(&view, granted.role)?;
        if let Some(role) = patch.role {
            granted.role = role;
        }
        if let Some(expires_ms) = patch.expires_ms {
            granted.expires_ms = expires_ms;
        }
        check_fit(&view, &granted)?;
        check_sharing(&view, granted.role)?;
        self.write_permissions(&view, user, |permissions| {
            permissions.insert(permission.to_owned(), granted);
        });
        self.permission_after(view.item.id.as_str(), permission)
    }

    /// Takes a permission away that stands on the item itself. Anybody may give up their own.
    ///
    /// # Errors
    /// 404 for one that is not there, 403 for one that is inherited or the owner's, and without the right.
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

    fn permission_after(&self, id: &str, permission: &str) -> Result<Effective, DriveError> {
        self.items
            .get(id)
            .map(|item| self.place(item).permissions())
            .into_iter()
            .flatten()
            .find(|known| known.id == permission)
            .ok_or_else(|| permission_not_found(permission))
    }

    /// Changes the permissions of one item, and records what that did to who sees it. Of writes that overlap in time
    /// each starts from what stood before the first, so that only the last one lasts.
    fn write_permissions(
        &mut self,
        view: &View,
        user: &UserId,
        change: impl FnOnce(&mut BTreeMap<String, Permission>),
    ) {
        let id = &view.item.id;
        let before = self.before(id);
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
        let step = self.rng.u64(1..=3);
        if let Some(item) = self.items.get_mut(id) {
            let item = Arc::make_mut(item);
            item.permissions = permissions;
            item.version += step;
        }
        match (drive, members) {
            (Some(drive), Some(members)) => self.record_members(&drive, &members),
            (None, _) | (_, None) if view.is_root() => {}
            (None, _) | (_, None) => {
                self.record(id, &before);
                self.tell_file_channels(id, &view.home, "update", Some("permissions"));
            }
        }
        tracing::debug!(%id, %user, "permissions written");
    }

    fn base_of_write(&mut self, id: &FileId, now: &Permissions) -> Permissions {
        let (length_ms, now_ms) = (self.overlap_ms, self.now_ms);
        if length_ms == 0 {
            return now.clone();
        }
        let overlap = self.overlaps.entry(id.clone()).or_insert_with(|| Overlap {
            began_ms: now_ms,
            base: now.clone(),
        });
        if now_ms.saturating_sub(overlap.began_ms) >= length_ms {
            *overlap = Overlap {
                began_ms: now_ms,
                base: now.clone(),
            };
        }
        overlap.base.clone()
    }

    /// The permission after which a page of an item's permissions begins, by id.
    ///
    /// # Errors
    /// 400 `invalid` at `pageToken` for a token that is none of this list.
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

    /// The token of the page that begins after a permission.
    pub(crate) fn permission_token(&self, user: &UserId, id: &FileId, last: &str) -> String {
        PageToken {
            scope: format!("permissions:{user}:{id}:{last}"),
            epoch: self.epoch,
            position: 0,
            salt: 0,
        }
        .encode()
    }

    /// Permission writes on one item that begin within so many milliseconds of each other overlap from now on; none
    /// with 0.
    pub(crate) fn set_overlap(&mut self, milliseconds: i64) {
        self.overlap_ms = milliseconds.max(0);
        self.overlaps.clear();
    }

    /// Makes somebody a member of a shared drive, changes their role, or with `None` ends their membership.
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
        self.record_members(drive, &before);
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

/// The permission that stands on the item itself.
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

/// Whether the viewer may share the item at all.
pub(crate) fn can_share(view: &View) -> bool {
    let least = match view.home {
        Home::Shared(_) if view.is_root() => Role::Organizer,
        // Folders of a shared drive are its managers' to share.
        Home::Shared(_) if view.item.is_folder() => Role::Organizer,
        Home::Shared(_) | Home::MyDrive(_) => Role::Writer,
    };
    view.role >= least
}

/// Whether the caller may give or take this role here.
fn check_sharing(view: &View, role: Role) -> Result<(), DriveError> {
    if can_share(view) && view.role >= role {
        Ok(())
    } else {
        Err(DriveError::insufficient_permissions(view.item.id.as_str()))
    }
}

/// Whether this kind of item can have this permission at all.
fn check_fit(view: &View, granted: &Permission) -> Result<(), DriveError> {
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

/// Addresses below the top-level domain `invalid`, which is reserved to be nobody's, are no Google accounts.
fn check_account(address: &str) -> Result<(), DriveError> {
    if !address.ends_with(".invalid") {
        return Ok(());
    }
    Err(DriveError::new(
        400,
        "invalidSharingRequest",
        format!(
            "Bad Request. User message: \"You are trying to invite {address}. Since there is no Google account \
             associated with this email address, you must check the 'Notify people' box to invite this recipient.\""
        ),
    ))
}

impl Permission {
    /// The id of an owner's permission.
    fn owner_id(owner: &UserId) -> String {
        owner.permission_id()
    }
}
