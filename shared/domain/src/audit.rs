//! The findings of an audit: drift between Drive and the records, and inconsistencies among the
//! stored items.

mod drift;
mod inconsistency;

pub use drift::{Difference, Drift, drift};
pub use inconsistency::{InconsistencyCount, InconsistencyKind};
