#![doc = include_str!("../SEMANTICS.md")]

mod backoff;
mod change;
mod conflict;
pub mod content;
mod content_moved;
mod copy;
pub mod derive;
mod disposition;
mod drift;
mod existence;
mod field;
mod flaw;
mod id;
pub mod merge;
mod mirroring;
mod noise;
pub mod pace;
mod permission;
mod policy;
mod push;
mod record;
mod rules;
mod snapshot;
mod step;
mod time;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod search;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth_table;

pub use backoff::{Backoff, Jitter};
pub use conflict::{ConflictId, ConflictRecord, ConflictStatus, Decider, Resolution};
pub use content_moved::content_moved;
pub use copy::conflicted_name;
pub use derive::{Ancestry, Lineage, Side, Top};
pub use disposition::Disposition;
pub use drift::{Difference, Drift, drift};
pub use existence::NewFile;
pub use field::{
    DESCRIPTION_BYTES_MAX, Field, NAME_BYTES_MAX, PROPERTIES_MAX, PROPERTY_BYTES_MAX, Value,
    ValueRefused, is_sha256,
};
pub use flaw::{FlawCount, FlawKind};
pub use id::{
    AttemptId, ChannelId, ConnectionId, ConnectionKey, DriveVersion, FileId, InvalidId, LogId,
    OperationId, PageToken, Revision, TenantId,
};
pub use mirroring::{
    ContentSettings, FOLDER, PATTERNS_MAX as CONTENT_PATTERNS_MAX, RETENTION_DAYS,
    RETENTION_DAYS_MAX, SIZE_BYTES_LIMIT as CONTENT_SIZE_BYTES_LIMIT,
    SIZE_BYTES_MAX as CONTENT_SIZE_BYTES_MAX, Skipped, StorageClass, Wanted,
};
pub use permission::{
    MirroredPermission, OWNER, PERMISSIONS_MAX, PRINCIPAL_BYTES_MAX, ROLES, ids_digest,
    is_principal, most_restrictive, principal_of,
};
pub use policy::{Choice, Policies, Policy, decide};
pub use push::{Claim, Patch, Refusal};
pub use record::{Edit, FileRecord, Intent, OpenConflict, Presence, Push, Request};
pub use rules::{Glob, InvalidRule, MimePattern, RULES_MAX, Rule, Rules};
pub use snapshot::{Capabilities, FieldMask, Gone, Mirror, Observation, Snapshot};
pub use step::{EditRefused, Moment, ResolveRefused, Step};
pub use time::Timestamp;
