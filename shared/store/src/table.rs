//! The table: keys, conditional updates, ranges and pages. The only place with expression strings.

pub(crate) mod batch_get;
pub(crate) mod compare_and_swap;
pub(crate) mod item;
pub(crate) mod item_size;
pub(crate) mod key;
pub(crate) mod oldest;
pub(crate) mod outcome;
pub(crate) mod page;
pub(crate) mod range;
pub(crate) mod retention;
pub(crate) mod schema;
pub(crate) mod store;
pub(crate) mod store_error;
pub(crate) mod update;
pub(crate) mod whole_range;
