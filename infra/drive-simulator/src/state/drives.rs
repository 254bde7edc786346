//! Shared drives: made, renamed, joined, left and deleted.

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
        access::{Permission, Permissions},
        item::{Home, Role},
        log::ChangeLog,
        token::PageToken,
    },
};

/// A shared drive. Its members are the permissions of its root folder, which has the same id.
#[derive(Debug)]
pub(crate) struct SharedDrive {
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    /// Who does not want to see it in their site. It changes nothing else.
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
    /// Makes a shared drive; its members learn of it by one change of the type `drive`.
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
            self.record_drive_for(user, &drive, false);
        }
        drive
    }

    /// Makes a shared drive as its first organizer.
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

    /// What a member may do in a whole shared drive; `None` for who is no member.
    pub(crate) fn member_role(&self, user: &UserId, drive: &DriveId) -> Option<Role> {
        let root = self.items.get(drive.as_str())?;
        self.standing(user, &self.place(root))
            .map(|standing| standing.role)
    }

    /// A shared drive that the user is a member of.
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

    /// One page of a user's shared drives, in the order of their ids.
    ///
    /// # Errors
    /// 400 `invalid` at `pageToken` for a token that is none.
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

    fn managed(&self, user: &UserId, id: &str) -> Result<DriveId, DriveError> {
        let (drive, _) = self.drive(user, id)?;
        if self.member_role(user, &drive) == Some(Role::Organizer) {
            Ok(drive)
        } else {
            Err(DriveError::insufficient_permissions(id))
        }
    }

    /// Gives a shared drive another name: a `drive` change in its own log and in that of every member.
    ///
    /// # Errors
    /// 404 out of sight, 403 for who is no organizer.
    pub(crate) fn rename_drive(
        &mut self,
        user: &UserId,
        id: &str,
        name: Option<String>,
    ) -> Result<DriveId, DriveError> {
        let drive = self.managed(user, id)?;
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
        self.record_drive(&drive);
        for (member, _) in self.members(&drive) {
            self.record_drive_for(&member, &drive, false);
        }
        Ok(drive)
    }

    /// Hides a drive from one user's view of Drive, or shows it again.
    ///
    /// # Errors
    /// 404 out of sight.
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

    /// Deletes a shared drive. Its members learn of it by one `drive` change, and its items have no entries.
    ///
    /// # Errors
    /// 404 out of sight (unless `as_admin`), 403 for who is no organizer, and for a drive that holds something that is
    /// not in the bin, unless `with_items`.
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
            None => self.managed(user, id)?,
        };
        let root = FileId::from(drive.as_str());
        let holds_something = self
            .children
            .get(&root)
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter_map(|child| self.items.get(child))
            .any(|child| !child.explicitly_trashed);
        if holds_something && !with_items {
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
            self.lose_drive(member, &drive);
        }
        for (id, mut before) in gone.into_iter().filter(|(id, _)| *id != root) {
            before.seen_by.retain(|user| !members.contains(user));
            if !before.seen_by.is_empty() {
                self.record(&id, &before);
            }
        }
        Ok(())
    }

    /// Tells the logs what a change of a drive's members did, given who they were before it.
    pub(crate) fn record_members(&mut self, drive: &DriveId, before: &[(UserId, Role)]) {
        let after = self.members(drive);
        self.record_drive(drive);
        for (user, _) in before {
            if !after.iter().any(|(member, _)| member == user) {
                self.lose_drive(user, drive);
            }
        }
        for member in &after {
            if !before.contains(member) {
                self.record_drive_for(&member.0, drive, false);
            }
        }
    }

    /// A user is no member any more: one `drive` change says so, and the log of the drive tells them nothing more.
    fn lose_drive(&mut self, user: &UserId, drive: &DriveId) {
        if let Some(log) = self.user_logs.get_mut(user) {
            log.forget_items_of(drive);
        }
        self.channels.stop_on_drive(user, drive);
        self.record_drive_for(user, drive, true);
    }
}
