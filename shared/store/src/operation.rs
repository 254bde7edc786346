//! Operations, the pages that they list, and what they find.

pub(crate) mod drift_entries;
pub(crate) mod export_form_item;
pub(crate) mod inconsistencies;
pub(crate) mod operation_item;
pub(crate) mod operations;
pub(crate) mod page_walk_item;
pub(crate) mod person_form_item;
pub(crate) mod restore_entries;
pub(crate) mod restore_form_item;
