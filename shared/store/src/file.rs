//! Records of files, their conflicts, their history and their lists.

pub(crate) mod ancestry;
pub(crate) mod asked_item;
pub(crate) mod commit;
pub(crate) mod conflict_item;
pub(crate) mod file_item;
pub(crate) mod history;
pub(crate) mod index_state;
pub(crate) mod lists;
pub(crate) mod permission_item;
pub(crate) mod reschedule;
pub(crate) mod value_item;
