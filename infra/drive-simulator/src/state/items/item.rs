//! One item of a Drive.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    ids::{DriveId, FileId, UserId},
    state::{
        items::{
            file_content::{Content, ContentRule},
            item_labels::ItemLabel,
        },
        sharing::permission::Permissions,
    },
};

/// The MIME type of a folder.
pub(crate) const FOLDER: &str = "application/vnd.google-apps.folder";
/// The MIME type of a shortcut.
pub(crate) const SHORTCUT: &str = "application/vnd.google-apps.shortcut";
/// The prefix of Google's own MIME types: such items have no binary content.
pub(crate) const GOOGLE_TYPES: &str = "application/vnd.google-apps.";

/// The tree that an item is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Home {
    /// The My Drive of a user, who owns everything in it.
    MyDrive(UserId),
    /// A shared drive.
    Shared(DriveId),
}

/// A shortcut's target as it was when the shortcut was created: Drive updates neither.
#[derive(Debug, Clone)]
pub(crate) struct Shortcut {
    pub(crate) target: FileId,
    pub(crate) target_mime_type: String,
}

/// One item. Stored behind an `Arc`, so that a response can be built from it after the state's lock
/// is released.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) id: FileId,
    /// The order of creation, which is that of unsorted lists.
    pub(crate) sequence: u64,
    pub(crate) name: String,
    pub(crate) mime_type: Arc<str>,
    pub(crate) description: Option<String>,
    pub(crate) starred_by: BTreeSet<UserId>,
    pub(crate) explicitly_trashed: bool,
    /// `None` only for a root.
    pub(crate) parent: Option<FileId>,
    /// The folders that it is in besides `parent`, which alone decides its location: left over from
    /// before 2020, or set by the control interface.
    pub(crate) other_parents: Vec<FileId>,
    /// Set only on a root: the tree that it is the root of.
    pub(crate) root_of: Option<Home>,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) app_properties: BTreeMap<String, String>,
    /// The labels on it, by id.
    pub(crate) labels: BTreeMap<String, ItemLabel>,
    pub(crate) version: u64,
    /// How far the etag lags behind the version; 0 without a breach.
    pub(crate) etag_lag: u64,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    pub(crate) last_modifying_user: UserId,
    pub(crate) content: Option<Arc<Content>>,
    pub(crate) head_revision: Option<String>,
    pub(crate) shortcut: Option<Shortcut>,
    /// The permissions on the item itself.
    pub(crate) permissions: Permissions,
    /// A limited-access folder: permissions inherited from above do not apply to it and below it.
    pub(crate) limited_access: bool,
    pub(crate) rule: ContentRule,
}

impl Item {
    /// Returns whether it can contain other items.
    pub(crate) fn is_folder(&self) -> bool {
        &*self.mime_type == FOLDER
    }

    /// Returns the folders that it is in. The order has no meaning, and changes with the version.
    pub(crate) fn parents(&self) -> Vec<&FileId> {
        let mut parents: Vec<&FileId> = self.parent.iter().chain(&self.other_parents).collect();
        if let Ok(count) = u64::try_from(parents.len())
            && let Some(turn) = self.version.checked_rem(count)
        {
            parents.rotate_left(usize::try_from(turn).unwrap_or_default());
        }
        parents
    }

    /// Returns whether it is directly in a folder.
    pub(crate) fn is_in(&self, folder: &FileId) -> bool {
        self.parents().contains(&folder)
    }

    /// Returns the v2 etag, quotes included. It changes with every version, unless Drive is in
    /// breach.
    pub(crate) fn etag(&self) -> String {
        let id = self.id.as_str();
        format!(
            "\"{}.{:x}\"",
            id.get(..12).unwrap_or(id),
            (self.version - self.etag_lag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        )
    }
}
