//! Limits on the depth and the size of a tree.

use crate::{
    errors::DriveError,
    ids::FileId,
    state::{
        DEPTH_MAX, State, View,
        items::item::{Home, Item},
    },
};

/// The limits of a tree: Google's own numbers, unless the control interface changes them.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Levels of folders below a root.
    depth: usize,
    /// Items directly in one folder that is not a root.
    children: usize,
    /// Items of one shared drive. Google's limit, 500,000, is not enforced by default.
    drive_items: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 100,
            children: 500_000,
            drive_items: None,
        }
    }
}

impl State {
    /// Checks that one more item fits into a folder: a new one, or `moved` with everything below
    /// it.
    ///
    /// # Errors
    /// 403 with the reason of the exceeded limit.
    pub(crate) fn check_limits(
        &self,
        parent: &View,
        is_folder: bool,
        moved: Option<&Item>,
    ) -> Result<(), DriveError> {
        let refused =
            |reason: &'static str, message: &str| Err(DriveError::new(403, reason, message));
        let children = self.children.get(&parent.item.id);
        let full = children.is_some_and(|children| children.len() >= self.limits.children);
        if full && !parent.is_root() {
            return refused(
                "numChildrenInNonRootLimitExceeded",
                "The limit for this folder's number of children (files and folders) has been \
                 exceeded.",
            );
        }
        if is_folder {
            let height = moved.map_or(1, |item| self.height(&item.id));
            if self.level(&parent.item) + height > self.limits.depth {
                return match parent.home {
                    Home::MyDrive(_) => refused(
                        "myDriveHierarchyDepthLimitExceeded",
                        "Your My Drive can't contain more than 100 levels of folders.",
                    ),
                    Home::Shared(_) => refused(
                        "teamDriveHierarchyTooDeep",
                        "The shared drive hierarchy depth will exceed the limit.",
                    ),
                };
            }
        }
        let stays = moved.is_some_and(|item| self.place(item).home == parent.home);
        match (self.limits.drive_items, &parent.home) {
            (Some(max), Home::Shared(_)) if !stays => {
                let inside = self
                    .by_sequence
                    .values()
                    .filter_map(|id| self.items.get(id));
                let inside = inside.filter(|item| self.place(item).home == parent.home);
                if inside.count() < max {
                    return Ok(());
                }
                refused(
                    "teamDriveFileLimitExceeded",
                    "The file limit for this shared drive has been exceeded.",
                )
            }
            (Some(_) | None, Home::Shared(_) | Home::MyDrive(_)) => Ok(()),
        }
    }

    /// Returns the number of folders from the root down to this one; 0 for a root.
    fn level(&self, folder: &Item) -> usize {
        let (mut level, mut current) = (0, folder);
        while let Some(parent) = current.parent.as_ref().and_then(|id| self.items.get(id)) {
            level += 1;
            if level > DEPTH_MAX {
                break;
            }
            current = parent;
        }
        level
    }

    /// Returns the number of folder levels of a tree, its top included; 0 for an item that is not a
    /// folder.
    fn height(&self, id: &FileId) -> usize {
        let (mut height, mut row) = (0, vec![id.clone()]);
        while height <= DEPTH_MAX {
            row.retain(|id| self.items.get(id).is_some_and(|item| item.is_folder()));
            if row.is_empty() {
                break;
            }
            height += 1;
            let below = row.iter().filter_map(|id| self.children.get(id));
            row = below
                .flat_map(|children| children.values().cloned())
                .collect();
        }
        height
    }
}
