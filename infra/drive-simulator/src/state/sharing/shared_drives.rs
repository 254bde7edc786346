//! Shared drives: creating, renaming, joining, leaving and deleting them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use crate::{
    errors::DriveError,
    ids::{DriveId, FileId, UserId, new_root_id},
    state::{
        LIBRARY_OWNER, State,
        change_logs::{change_log::ChangeLog, page_token::PageToken},
        items::item::Home,
        sharing::permission::{Permission, Permissions, Role},
    },
};

/// A shared drive. Its members are the permissions of its root folder, which has the same id.
#[derive(Debug)]
pub(crate) struct SharedDrive {
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    /// The users who hide it in their view of Drive. It has no other effect.
    pub(crate) hidden_by: BTreeSet<UserId>,
    pub(crate) log: ChangeLog,
}

/// One page of drives.
#[derive(Debug)]
pub(crate) struct DrivesPage {
    pub(crate) drives: Vec<DriveId>,
    pub(crate) next_page_token: Option<String>,
}

impl State {
    /// Creates a shared drive and logs one change of the type `drive` for each member.
    pub(crate) fn create_drive(&mut self, name: &str, members: BTreeMap<UserId, Role>) -> DriveId {
        let root = new_root_id(&mut self.rng);
        let drive = DriveId::from(root.as_str());
        let creator = members
            .keys()
            .next()
            .cloned()
            .unwrap_or_else(|| UserId::from(LIBRARY_OWNER));
        let mut item = self.root_item(root.clone(), name, Home::Shared(drive.clone()), &creator);
        for user in members.keys() {
            self.root_of(user);
        }
        item.permissions = Permissions::new(
            members
                .iter()
                .map(|(user, role)| Permission::of_user(user.clone(), *role)),
        );
        self.items.insert(root, Arc::new(item));
        let shared = SharedDrive {
            name: name.to_owned(),
            created_ms: self.now_ms,
            hidden_by: BTreeSet::new(),
            log: ChangeLog::default(),
        };
        self.drives.insert(drive.clone(), shared);
        for user in members.keys() {
            self.log_drive_for_member(user, &drive, false);
        }
        drive
    }

    /// Creates a shared drive with the user as its first organizer.
    ///
    /// # Errors
    /// 409 for a request id that this user has used before.
    pub(crate) fn request_drive(
        &mut self,
        user: &UserId,
        request_id: &str,
        name: &str,
    ) -> Result<DriveId, DriveError> {
        let request = (user.clone(), request_id.to_owned());
        if self.drive_requests.contains(&request) {
            return Err(DriveError::new(
                409,
                "conflict",
                "A shared drive already exists with the provided request ID.",
            )
            .at("requestId"));
        }
        self.drive_requests.insert(request);
        Ok(self.create_drive(name, BTreeMap::from([(user.clone(), Role::Organizer)])))
    }

    /// Returns a member's role in a shared drive; `None` for a user who is not a member.
    pub(crate) fn member_role(&self, user: &UserId, drive: &DriveId) -> Option<Role> {
        let root = self.items.get(drive.as_str())?;
        self.access_of(user, &self.place(root))
            .map(|standing| standing.role)
    }

    /// Returns a shared drive that the user is a member of.
    ///
    /// # Errors
    /// 404 for any other.
    pub(crate) fn drive(
        &self,
        user: &UserId,
        id: &str,
    ) -> Result<(DriveId, &SharedDrive), DriveError> {
        self.drives
            .get_key_value(id)
            .filter(|(id, _)| self.member_role(user, id).is_some())
            .map(|(id, drive)| (id.clone(), drive))
            .ok_or_else(|| DriveError::drive_not_found(id))
    }

    /// Returns one page of a user's shared drives, in the order of their ids.
    ///
    /// # Errors
    /// 400 `invalid` at `pageToken` for an invalid token.
    pub(crate) fn drives_page(
        &self,
        user: &UserId,
        page_size: usize,
        page_token: Option<&str>,
    ) -> Result<DrivesPage, DriveError> {
        let scope = format!("drives:{user}:");
        let after = page_token
            .map(|token| {
                PageToken::decode(token)
                    .filter(|token| token.epoch == self.epoch)
                    .and_then(|token| token.scope.strip_prefix(&scope).map(DriveId::from))
                    .ok_or_else(|| DriveError::invalid("pageToken"))
            })
            .transpose()?;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut drives: Vec<DriveId> = self
            .drives
            .range((start, Bound::Unbounded))
            .map(|(id, _)| id)
            .filter(|id| self.member_role(user, id).is_some())
            .take(page_size + 1)
            .cloned()
            .collect();
        let more = drives.len() > page_size;
        drives.truncate(page_size);
        let next = |last: &DriveId| {
            PageToken {
                scope: format!("{scope}{last}"),
                epoch: self.epoch,
                position: 0,
                salt: 0,
            }
            .encode()
        };
        let next_page_token = drives.last().filter(|_| more).map(next);
        Ok(DrivesPage {
            drives,
            next_page_token,
        })
    }

    fn managed_drive(&self, user: &UserId, id: &str) -> Result<DriveId, DriveError> {
        let (drive, _) = self.drive(user, id)?;
        if self.member_role(user, &drive) == Some(Role::Organizer) {
            Ok(drive)
        } else {
            Err(DriveError::insufficient_permissions(id))
        }
    }

    /// Renames a shared drive: a `drive` change in its own log and in that of every member.
    ///
    /// # Errors
    /// 404 for an inaccessible drive, 403 for a user who is not an organizer.
    pub(crate) fn rename_drive(
        &mut self,
        user: &UserId,
        id: &str,
        name: Option<String>,
    ) -> Result<DriveId, DriveError> {
        let drive = self.managed_drive(user, id)?;
        let Some(name) = name else { return Ok(drive) };
        let Some(shared) = self.drives.get_mut(&drive) else {
            return Err(DriveError::drive_not_found(id));
        };
        if shared.name == name {
            return Ok(drive);
        }
        shared.name.clone_from(&name);
        let step = self.rng.u64(1..=3);
        if let Some(root) = self.items.get_mut(drive.as_str()) {
            let root = Arc::make_mut(root);
            root.name = name;
            root.version += step;
        }
        self.log_drive_change(&drive);
        for (member, _) in self.members(&drive) {
            self.log_drive_for_member(&member, &drive, false);
        }
        Ok(drive)
    }

    /// Hides a drive from one user's view of Drive, or shows it again.
    ///
    /// # Errors
    /// 404 for an inaccessible drive.
    pub(crate) fn hide_drive(
        &mut self,
        user: &UserId,
        id: &str,
        hidden: bool,
    ) -> Result<DriveId, DriveError> {
        let (drive, _) = self.drive(user, id)?;
        if let Some(shared) = self.drives.get_mut(&drive) {
            if hidden {
                shared.hidden_by.insert(user.clone());
            } else {
                shared.hidden_by.remove(user);
            }
        }
        Ok(drive)
    }

    /// Deletes a shared drive. Its members' logs have one `drive` change, and no entries for its
    /// items.
    ///
    /// # Errors
    /// 404 for an inaccessible drive (unless `as_admin`), 403 for a user who is not an organizer,
    /// and for a drive with untrashed items, unless `with_items`.
    pub(crate) fn delete_drive(
        &mut self,
        user: &UserId,
        id: &str,
        as_admin: bool,
        with_items: bool,
    ) -> Result<(), DriveError> {
        let known = self.drives.get_key_value(id).map(|(id, _)| id.clone());
        let drive = match known.filter(|_| as_admin) {
            Some(drive) => drive,
            None => self.managed_drive(user, id)?,
        };
        let root = FileId::from(drive.as_str());
        let has_items = self
            .children
            .get(&root)
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter_map(|child| self.items.get(child))
            .any(|child| !child.explicitly_trashed);
        if has_items && !with_items {
            return Err(DriveError::new(
                403,
                "cannotDeleteResourceWithChildren",
                "This resource cannot be deleted because it has children.",
            ));
        }
        let members: Vec<UserId> = self
            .members(&drive)
            .into_iter()
            .map(|(user, _)| user)
            .collect();
        let gone = self.remove_subtree(&root);
        self.drives.remove(&drive);
        for member in &members {
            self.end_membership(member, &drive);
        }
        for (id, mut before) in gone.into_iter().filter(|(id, _)| *id != root) {
            before.visible_to.retain(|user| !members.contains(user));
            if !before.visible_to.is_empty() {
                self.log_change(&id, &before);
            }
        }
        Ok(())
    }

    /// Logs a change of a drive's members, given the members before it.
    pub(crate) fn log_membership_changes(&mut self, drive: &DriveId, before: &[(UserId, Role)]) {
        let after = self.members(drive);
        self.log_drive_change(drive);
        for (user, _) in before {
            if !after.iter().any(|(member, _)| member == user) {
                self.end_membership(user, drive);
            }
        }
        for member in &after {
            if !before.contains(member) {
                self.log_drive_for_member(&member.0, drive, false);
            }
        }
    }

    /// Ends a user's membership: one `drive` change, and no further entries from the drive's log.
    fn end_membership(&mut self, user: &UserId, drive: &DriveId) {
        if let Some(log) = self.user_logs.get_mut(user) {
            log.remove_items_of(drive);
        }
        self.channels.stop_on_drive(user, drive);
        self.log_drive_for_member(user, drive, true);
    }
}
