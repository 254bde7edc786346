#![doc = include_str!("../SEMANTICS.md")]

mod access;
mod audit;
pub mod channel;
mod conflict;
pub mod content;
pub mod derive;
mod disposition;
pub mod event;
mod file;
mod id;
mod labels;
pub mod live;
pub mod merge;
pub mod operation;
pub mod rate_limit;
pub mod restore;
mod rules;
mod time;
pub mod trail;
pub mod webhook;
pub mod why;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use access::{
    ACCESS_ENTRIES_MAX, Access, OWN_DOMAINS_MAX, PRINCIPAL_NAME_BYTES_MAX, Principal, Role,
    claim_texts, effective_role, is_domain, is_outside, move_shares_outside, own_domains,
    role_of_claim, role_of_scopes, shares_outside,
};
pub use audit::{Difference, Drift, InconsistencyCount, InconsistencyKind, drift};
pub use conflict::{
    AnswerRefused, AskCourse, AskDuty, Asked, Choice, ConflictId, ConflictRecord, ConflictStatus,
    Decider, FolderPolicies, NoDecision, Policies, Policy, Question, Resolution, Resolver,
    SECONDS_MAX, decide,
};
pub use content::{
    CONTENT_PATTERNS_MAX, CONTENT_SIZE_BYTES_LIMIT, CONTENT_SIZE_BYTES_MAX, ContentSettings,
    DesiredContent, FOLDER, RETENTION_DAYS, RETENTION_DAYS_MAX, Skipped, StorageClass,
    affects_content, conflicted_name,
};
pub use derive::{Ancestry, Lineage, LineageTop, Side};
pub use disposition::Disposition;
pub use file::{
    Again, Capabilities, Claim, Context, DESCRIPTION_BYTES_MAX, DriveMetadata, Edit, EditRefused,
    FALSE_CONDITION, Field, FieldSetVersion, FileRecord, Gone, Intent, Keeping, Missing,
    NAME_BYTES_MAX, NewFile, OWNER, Observation, ObservedPermission, OpenConflict, PERMISSIONS_MAX,
    PRINCIPAL_BYTES_MAX, PROPERTIES_MAX, PROPERTY_BYTES_MAX, Patch, Presence, Push, ROLES, Refusal,
    Request, ResolveRefused, Snapshot, Suspicion, Transition, Trouble, Value, ValueRefused,
    ids_digest, is_principal, is_sha256, most_restrictive, principal_of,
};
pub use id::account::{Account, AccountCheck, check_account};
pub use id::reach::{InvalidReach, OutOfReach, Reach};
pub use id::{
    AccountId, AttemptId, Cause, ChannelId, ClientId, ConnectionId, ConnectionKey, DriveVersion,
    EndpointId, FileId, InvalidId, LogId, OperationId, PageToken, Revision, TenantId,
};
pub use operation::{DriftCounts, Operation, OperationKind, OperationState, RemovalLimits, Run};
pub use rate_limit::{Backoff, Jitter};
pub use rules::{Excluded, Glob, InvalidRule, MimePattern, NameSearch, RULES_MAX, Rule, Rules};
pub use time::{DAY_MILLIS, Timestamp};
