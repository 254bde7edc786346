//! Items: reading, searching and editing them.

pub(crate) mod breaches;
pub(crate) mod download_operations;
pub(crate) mod edit_journal;
pub(crate) mod edit_rights;
pub(crate) mod file_content;
pub(crate) mod item;
mod item_copy;
pub(crate) mod item_edits;
pub(crate) mod item_labels;
mod item_moves;
pub(crate) mod item_patch;
pub(crate) mod item_revisions;
pub(crate) mod item_search;
pub(crate) mod tree_limits;
pub(crate) mod version_drift;
