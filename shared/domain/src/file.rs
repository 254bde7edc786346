//! The record of a file and the transitions that build its next version.

mod cause;
mod existence;
mod field;
mod permission;
mod push;
mod recognition;
mod record;
mod snapshot;
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
pub use push::{Claim, Patch, Refusal};
pub use record::{Edit, FileRecord, Intent, OpenConflict, Presence, Push, Request};
pub use snapshot::{Capabilities, DriveMetadata, FieldSetVersion, Gone, Observation, Snapshot};
pub use transition::{Context, EditRefused, ResolveRefused, Transition};
