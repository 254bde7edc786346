//! Edits of items: create, patch and delete. Everything is checked before anything is changed.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    errors::DriveError,
    ids::{FileId, UserId},
    state::{
        State, View,
        change_logs::{change_log::Subject, log_writes::Visibility},
        items::{
            edit_rights::{check_container, check_rights},
            file_content::{Content, ContentRule},
            item::{FOLDER, GOOGLE_TYPES, Home, Item, SHORTCUT, Shortcut},
            item_patch::{Changed, ModifiedTime, Patch, apply_fields, patch_properties},
        },
        sharing::permission::{Permissions, Role},
    },
};

/// An item to be created.
#[derive(Debug, Default)]
pub(crate) struct NewItem {
    pub(crate) id: Option<String>,
    pub(crate) parents: Vec<String>,
    pub(crate) created_ms: Option<i64>,
    pub(crate) shortcut_target: Option<String>,
    /// The values that can also be patched later.
    pub(crate) fields: Patch,
}

impl State {
    /// Creates an item.
    ///
    /// # Errors
    /// 409 `fileIdInUse` for an id that exists, 404 for an inaccessible parent, 403 for a missing
    /// permission, 400 for invalid values.
    pub(crate) fn create(
        &mut self,
        user: &UserId,
        new: NewItem,
        all_drives: bool,
    ) -> Result<FileId, DriveError> {
        let parent = match new.parents.as_slice() {
            [] => self.find(user, "root", true)?,
            [one] => self.find(user, one, all_drives)?,
            _ => {
                return Err(DriveError::invalid_because(
                    "parents",
                    "A file can have only one parent.",
                ));
            }
        };
        check_container(&parent)?;
        let id = match new.id {
            Some(id) => self.checked_new_id(id)?,
            None => self.unused_id(),
        };
        let (shortcut, target_name) = match new.shortcut_target {
            Some(target) => {
                let (shortcut, name) = self.shortcut_to(user, &target)?;
                (Some(shortcut), name)
            }
            None if new.fields.mime_type.as_deref() == Some(SHORTCUT) => {
                return Err(DriveError::required("shortcutDetails.targetId"));
            }
            None => (None, "Untitled".to_owned()),
        };
        let mime_type = mime_type_of_new(&new.fields, shortcut.is_some());
        if shortcut.is_some() && new.fields.content.is_some() {
            return Err(DriveError::bad_request("A shortcut has no content."));
        }
        self.check_limits(&parent, mime_type == FOLDER, None)?;
        // An upload to one of Google's own types is converted, and has no bytes afterwards.
        let content = (!mime_type.starts_with(GOOGLE_TYPES)).then(|| {
            let empty = || Arc::new(Content::uploaded(bytes::Bytes::new()));
            new.fields.content.unwrap_or_else(empty)
        });
        let modified_ms = match new.fields.modified {
            ModifiedTime::Set(ms) => ms,
            ModifiedTime::IfEdited | ModifiedTime::Now | ModifiedTime::Keep => self.now_ms,
        };
        let item = Item {
            id: id.clone(),
            sequence: 0,
            name: new.fields.name.unwrap_or(target_name),
            mime_type: Arc::from(mime_type),
            description: new.fields.description.filter(|text| !text.is_empty()),
            starred_by: new
                .fields
                .starred
                .filter(|starred| *starred)
                .map(|_| user.clone())
                .into_iter()
                .collect(),
            explicitly_trashed: new.fields.trashed.unwrap_or(false),
            parent: Some(parent.item.id.clone()),
            other_parents: Vec::new(),
            root_of: None,
            properties: patch_properties(&BTreeMap::new(), &new.fields.properties, "properties")?,
            app_properties: patch_properties(
                &BTreeMap::new(),
                &new.fields.app_properties,
                "appProperties",
            )?,
            labels: BTreeMap::new(),
            version: self.rng().u64(1..=3),
            etag_lag: 0,
            created_ms: new.created_ms.unwrap_or(self.now_ms),
            modified_ms,
            last_modifying_user: user.clone(),
            head_revision: content.is_some().then(|| self.new_revision()),
            content,
            shortcut,
            permissions: Permissions::default(),
            limited_access: new.fields.limited_access.unwrap_or(false),
            rule: ContentRule::default(),
        };
        self.insert(item);
        Ok(id)
    }

    /// Adds an item to the indexes and the logs.
    fn insert(&mut self, mut item: Item) {
        item.sequence = self.next_sequence;
        self.next_sequence += 1;
        let (id, sequence) = (item.id.clone(), item.sequence);
        self.by_sequence.insert(sequence, id.clone());
        if let Some(parent) = &item.parent {
            self.children
                .entry(parent.clone())
                .or_default()
                .insert(sequence, id.clone());
        }
        let uploaded = item.content.is_some();
        self.items.insert(id.clone(), Arc::new(item));
        self.log_change(&id, &Visibility::default());
        if uploaded {
            self.schedule_moves(&id);
        }
    }

    fn checked_new_id(&self, id: String) -> Result<FileId, DriveError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 64 || id == "root" || !id.chars().all(allowed) {
            return Err(DriveError::invalid_because(
                "id",
                "The provided file ID is not usable.",
            ));
        }
        if self.items.contains_key(id.as_str()) {
            return Err(DriveError::new(
                409,
                "fileIdInUse",
                "A file already exists with the provided ID.",
            ));
        }
        Ok(FileId::from(id))
    }

    /// Checks that an id, if given, can be that of a new item.
    ///
    /// # Errors
    /// 400 for an invalid id, 409 `fileIdInUse` for an existing one.
    pub(crate) fn check_unused(&self, id: Option<&str>) -> Result<(), DriveError> {
        id.map_or(Ok(()), |id| self.checked_new_id(id.to_owned()).map(|_| ()))
    }

    /// Returns a shortcut to an item, and the item's name.
    fn shortcut_to(
        &mut self,
        user: &UserId,
        target: &str,
    ) -> Result<(Shortcut, String), DriveError> {
        let target = self.find(user, target, true)?;
        if target.item.shortcut.is_some() {
            return Err(DriveError::new(
                400,
                "shortcutTargetInvalid",
                "The shortcut target is invalid.",
            )
            .at("shortcutDetails.targetId"));
        }
        let shortcut = Shortcut {
            target: target.item.id.clone(),
            target_mime_type: target.item.mime_type.to_string(),
        };
        Ok((shortcut, target.item.name.clone()))
    }

    /// Changes an item. Writing the current values changes nothing: no version, no log entry.
    ///
    /// # Errors
    /// 412 `conditionNotMet` if `if_match` is not the current etag, 404 for an inaccessible item,
    /// 403 for a missing permission, 400 for a move into the item itself or below it and for
    /// invalid values.
    pub(crate) fn patch(
        &mut self,
        user: &UserId,
        id: &str,
        all_drives: bool,
        if_match: Option<&str>,
        patch: Patch,
    ) -> Result<FileId, DriveError> {
        let view = self.find(user, id, all_drives)?;
        let id = view.item.id.clone();
        if if_match.is_some_and(|wanted| wanted != "*" && wanted != view.item.etag()) {
            return Err(DriveError::condition_not_met());
        }
        let relocation = self.relocation(user, &view, &patch, all_drives)?;
        check_rights(&view, &patch)?;
        let mut changed = Changed::default();
        let mut item = (*view.item).clone();
        apply_fields(&mut item, user, patch, &mut changed)?;
        if let Some(relocation) = &relocation {
            let moves = item.parent.as_ref() != Some(&relocation.target.item.id);
            item.parent = Some(relocation.target.item.id.clone());
            item.other_parents.clone_from(&relocation.others);
            if moves && matches!(relocation.target.home, Home::MyDrive(_)) {
                item.permissions = item.permissions.capped(Role::Writer);
            }
            changed.aspects.insert("parents");
        }
        if item.content.is_some() && changed.aspects.contains("content") {
            item.head_revision = Some(self.new_revision());
            self.keep_revision(&view.item, user);
        }
        if !changed.is_change() {
            return Ok(id);
        }
        let step = self.rng().u64(1..=3);
        item.version += step;
        if self.breaches.keeps_etag(&view.item, &item) {
            item.etag_lag += step;
        }
        match changed.modified {
            ModifiedTime::Set(ms) => item.modified_ms = ms,
            ModifiedTime::Now => item.modified_ms = self.now_ms,
            ModifiedTime::IfEdited if changed.edited => item.modified_ms = self.now_ms,
            ModifiedTime::IfEdited | ModifiedTime::Keep => {}
        }
        if changed.edited {
            item.last_modifying_user = user.clone();
        }
        let home = relocation.map_or_else(|| view.home.clone(), |new| new.target.home);
        self.store(&view, item, &home, &changed, user);
        if changed.aspects.contains("content") {
            self.schedule_moves(&id);
        }
        Ok(id)
    }

    /// Replaces the item by its changed version, in the indexes and in the logs that contain it.
    pub(crate) fn store(
        &mut self,
        before: &View,
        item: Item,
        home: &Home,
        changed: &Changed,
        user: &UserId,
    ) {
        let id = item.id.clone();
        let before_visibility = self.visibility(&id);
        self.journal.record(&before.item, &item, user);
        self.index_parents(&before.item, &item);
        let trashed = item.explicitly_trashed;
        self.items.insert(id.clone(), Arc::new(item));
        if before.is_root() {
            return;
        }
        if changed.only_star() && matches!(home, Home::MyDrive(_)) {
            self.append_to_user_log(user, Subject::File(id), None, false);
            return;
        }
        self.log_change(&id, &before_visibility);
        let aspects: Vec<&str> = changed
            .aspects
            .iter()
            .copied()
            .filter(|aspect| !matches!(*aspect, "starred" | "labels"))
            .collect();
        let state = match (before.item.explicitly_trashed, trashed) {
            (false, true) => "trash",
            (true, false) => "untrash",
            (true, true) | (false, false) => "update",
        };
        let aspects = (state == "update" && !aspects.is_empty()).then(|| aspects.join(","));
        self.notify_file_channels(&id, home, state, aspects.as_deref());
    }

    /// Deletes an item permanently, with everything below it.
    ///
    /// # Errors
    /// 404 for an inaccessible item, 403 for a missing permission.
    pub(crate) fn delete(
        &mut self,
        user: &UserId,
        id: &str,
        all_drives: bool,
    ) -> Result<(), DriveError> {
        let view = self.find(user, id, all_drives)?;
        if !view.role.can_delete() || view.is_root() {
            return Err(DriveError::insufficient_permissions(id));
        }
        self.delete_tree(&view.item.id);
        Ok(())
    }

    fn delete_tree(&mut self, id: &FileId) {
        for (id, before) in self.remove_subtree(id) {
            self.log_change(&id, &before);
            if let Some(home) = &before.home {
                self.notify_file_channels(&id, home, "remove", None);
            }
        }
    }

    /// Removes an item and everything below it from the indexes. Returns their former visibility,
    /// folders first.
    pub(crate) fn remove_subtree(&mut self, id: &FileId) -> Vec<(FileId, Visibility)> {
        let (mut found, mut pending) = (Vec::new(), vec![id.clone()]);
        while let Some(id) = pending.pop() {
            let below = self.children.get(&id).into_iter();
            let below: Vec<FileId> = below.flat_map(BTreeMap::values).cloned().collect();
            for child in below {
                if self.leave_other_parent(&child, &id) {
                    continue;
                }
                pending.push(child);
            }
            let before = self.visibility(&id);
            found.push((id, before));
        }
        for (id, _) in &found {
            self.children.remove(id);
            let Some(item) = self.items.remove(id) else {
                continue;
            };
            self.by_sequence.remove(&item.sequence);
            self.histories.remove(id);
            for parent in item.parents() {
                if let Some(siblings) = self.children.get_mut(parent) {
                    siblings.remove(&item.sequence);
                }
            }
        }
        found
    }

    /// Changes the restrictions of an item; false if it does not exist. Its version stays.
    pub(crate) fn set_content_rule(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut ContentRule),
    ) -> bool {
        match self.items.get_mut(id) {
            Some(item) => {
                change(&mut Arc::make_mut(item).rule);
                true
            }
            None => false,
        }
    }

    /// Permanently deletes the trashed items of the user's My Drive or of one shared drive.
    ///
    /// # Errors
    /// 404 for an inaccessible shared drive, 403 without the right to delete in it.
    pub(crate) fn empty_trash(
        &mut self,
        user: &UserId,
        drive: Option<&str>,
    ) -> Result<(), DriveError> {
        let home = match drive {
            None => Home::MyDrive(user.clone()),
            Some(id) => Home::Shared(self.drive(user, id)?.0),
        };
        let role = match &home {
            Home::MyDrive(_) => Some(Role::Owner),
            Home::Shared(drive) => self.member_role(user, drive),
        };
        if !role.is_some_and(Role::can_delete) {
            return Err(DriveError::insufficient_permissions(
                drive.unwrap_or("root"),
            ));
        }
        let in_trash = |item: &&Arc<Item>| item.explicitly_trashed && self.place(item).home == home;
        let ids: Vec<FileId> = self
            .items
            .values()
            .filter(in_trash)
            .map(|item| item.id.clone())
            .collect();
        for id in ids {
            self.delete_tree(&id);
        }
        Ok(())
    }
}

fn mime_type_of_new(fields: &Patch, is_shortcut: bool) -> String {
    match &fields.mime_type {
        _ if is_shortcut => SHORTCUT.to_owned(),
        Some(kind) => kind.clone(),
        None => "application/octet-stream".to_owned(),
    }
}
