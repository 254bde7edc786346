//! The audit trail: what was done, by whom and when, in the transaction of the act itself.

pub(crate) mod act_item;
pub(crate) mod acts;
pub(crate) mod concealment;
pub(crate) mod erased_item;
pub(crate) mod export_item;
pub mod line;
pub(crate) mod list;
pub(crate) mod person_pass;
pub(crate) mod persons;
