//! The folders of items: moves, and items in several folders.

use std::sync::Arc;

use crate::{
    errors::DriveError,
    ids::{FileId, UserId},
    state::{
        DEPTH_MAX, State, View,
        items::{
            edit_rights::{check_container, check_move},
            item::{Home, Item},
            item_patch::Patch,
        },
        sharing::permission::Role,
    },
};

/// The folders that a patch moves an item to.
#[derive(Debug)]
pub(crate) struct Relocation {
    /// The folder that decides its location.
    pub(crate) target: View,
    /// The other folders that it stays in.
    pub(crate) others: Vec<FileId>,
}

impl State {
    /// Returns the folders that a patch moves the item to, if it changes them.
    ///
    /// More folders than before are refused, unless the item's owner adds one: the item then leaves
    /// all that it was in (documentation of `enforceSingleParent`). An item that leaves its last
    /// folder goes to its owner's root.
    ///
    /// # Errors
    /// 404 for an inaccessible folder, 403 for a missing permission or one folder more, 400 for a
    /// move below the item itself or out of the last folder of a shared drive.
    pub(crate) fn relocation(
        &mut self,
        user: &UserId,
        view: &View,
        patch: &Patch,
        all_drives: bool,
    ) -> Result<Option<Relocation>, DriveError> {
        if patch.add_parents.is_empty() && patch.remove_parents.is_empty() {
            return Ok(None);
        }
        let Some(current) = view.item.parent.clone() else {
            return Err(DriveError::insufficient_permissions(view.item.id.as_str()));
        };
        let mut parents = vec![current.clone()];
        parents.extend(view.item.other_parents.iter().cloned());
        let before = parents.clone();
        for removed in &patch.remove_parents {
            let removed = self.folder_named(user, removed);
            parents.retain(|parent| *parent != removed);
        }
        let mut added = Vec::new();
        for folder in &patch.add_parents {
            let folder = self.find(user, folder, all_drives)?.item.id.clone();
            if !parents.contains(&folder) {
                parents.push(folder.clone());
                added.push(folder);
            }
        }
        if parents.len() > before.len() {
            if added.len() != 1 || view.role != Role::Owner {
                return Err(DriveError::new(
                    403,
                    "cannotAddParent",
                    "Increasing the number of parents is not allowed",
                )
                .at("addParents"));
            }
            parents = added;
        }
        if parents.is_empty()
            && let Home::MyDrive(owner) = &view.home
        {
            parents.push(self.root_of(owner));
        }
        if parents == before {
            return Ok(None);
        }
        let mut parents = parents.into_iter();
        let target = parents.next().ok_or_else(|| {
            DriveError::invalid_because("removeParents", "A file must have one parent.")
        })?;
        let target = self.find(user, target.as_str(), true)?;
        if target.item.id != current {
            check_container(&target)?;
            check_move(view, &target)?;
            self.check_no_cycle(&view.item.id, &target)?;
            self.check_limits(&target, view.item.is_folder(), Some(&view.item))?;
        }
        Ok(Some(Relocation {
            target,
            others: parents.collect(),
        }))
    }

    fn folder_named(&mut self, user: &UserId, id: &str) -> FileId {
        if id == "root" {
            self.root_of(user)
        } else {
            FileId::from(id)
        }
    }

    fn check_no_cycle(&self, moved: &FileId, target: &View) -> Result<(), DriveError> {
        let mut current = Some(&target.item);
        for _ in 0..DEPTH_MAX {
            let Some(item) = current else { return Ok(()) };
            if item.id == *moved {
                break;
            }
            current = item
                .parent
                .as_ref()
                .and_then(|parent| self.items.get(parent));
        }
        Err(DriveError::invalid_because(
            "addParents",
            "A folder cannot be moved into itself or into a folder below it.",
        ))
    }

    /// Puts an item into exactly these folders, of which the first decides its location, as a
    /// logged change of its version.
    ///
    /// # Errors
    /// 404 for an unknown item or folder, 400 for no folder at all, folders of several locations,
    /// or a folder that is the item itself or below it.
    pub(crate) fn set_parents(&mut self, id: &str, folders: &[String]) -> Result<(), DriveError> {
        let unknown = |id: &str| DriveError::file_not_found(id);
        let before = Arc::clone(self.item(id).ok_or_else(|| unknown(id))?);
        let home = self.place(&before).home;
        let mut parents: Vec<FileId> = Vec::new();
        for folder in folders {
            let folder = Arc::clone(self.item(folder).ok_or_else(|| unknown(folder))?);
            if !folder.is_folder() || self.place(&folder).home != home {
                let message = "The folders must be in the same My Drive or shared drive.";
                return Err(DriveError::invalid_because("parents", message));
            }
            let mut above = Some(&folder);
            while let Some(item) = above {
                if item.id == before.id {
                    let message = "A folder cannot be in itself.";
                    return Err(DriveError::invalid_because("parents", message));
                }
                above = item.parent.as_ref().and_then(|id| self.items.get(id));
            }
            if !parents.contains(&folder.id) {
                parents.push(folder.id.clone());
            }
        }
        if parents.is_empty() {
            return Err(DriveError::required("parents"));
        }
        let visibility = self.visibility(&before.id);
        let mut item = (*before).clone();
        item.other_parents = parents.split_off(1);
        item.parent = parents.pop();
        item.version += self.rng().u64(1..=3);
        self.index_parents(&before, &item);
        let id = item.id.clone();
        self.items.insert(id.clone(), Arc::new(item));
        self.log_change(&id, &visibility);
        Ok(())
    }

    /// Moves an item in the index of folders.
    pub(crate) fn index_parents(&mut self, before: &Item, after: &Item) {
        for parent in before.parents() {
            if let Some(siblings) = self.children.get_mut(parent) {
                siblings.remove(&after.sequence);
            }
        }
        for parent in after.parents() {
            self.children
                .entry(parent.clone())
                .or_default()
                .insert(after.sequence, after.id.clone());
        }
    }

    /// Takes an item out of a folder that does not decide its location; false if this one does.
    pub(crate) fn leave_other_parent(&mut self, id: &FileId, folder: &FileId) -> bool {
        match self.items.get_mut(id) {
            Some(item) if item.other_parents.contains(folder) => {
                Arc::make_mut(item)
                    .other_parents
                    .retain(|other| other != folder);
                true
            }
            Some(_) | None => false,
        }
    }
}
