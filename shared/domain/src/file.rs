//! The record of a file and the transitions that build its next version.

mod cause;
mod content_sides;
mod existence;
mod field;
pub(crate) mod permission;
mod push;
mod recognition;
mod record;
mod refusal;
mod snapshot;
mod suspicion;
mod transition;
pub(crate) mod transition_builder;
mod version_only;

pub use existence::NewFile;
pub use field::{
    DESCRIPTION_BYTES_MAX, Field, NAME_BYTES_MAX, PROPERTIES_MAX, PROPERTY_BYTES_MAX, Value,
    ValueRefused, is_sha256,
};
pub use permission::{
    OWNER, ObservedPermission, PERMISSIONS_MAX, PRINCIPAL_BYTES_MAX, ROLES, ids_digest,
    is_principal, most_restrictive, principal_of,
};
pub use push::{Claim, Patch};
pub use record::{Edit, FileRecord, Intent, Keeping, OpenConflict, Presence, Push, Request};
pub use refusal::{Again, FALSE_CONDITION, Refusal, Trouble};
pub use snapshot::{Capabilities, DriveMetadata, FieldSetVersion, Gone, Observation, Snapshot};
pub use suspicion::{Missing, Suspicion};
pub use transition::{Context, EditRefused, ResolveRefused, Transition};
