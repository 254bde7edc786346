//! Restoring files to a point in time: what each would be edited to, and what is left and why.
//!
//! A restore is nothing but edits of the application: they are merged, may conflict, and are owed
//! to Drive as any other. A restore to the time just before one therefore undoes it.

mod left_reason;
mod restore_plan;

#[cfg(test)]
mod tests;

pub use left_reason::LeftReason;
pub use restore_plan::{
    ContentAt, RestoreFacts, RestoreField, RestorePlan, StateAt, content_to_restore,
};
