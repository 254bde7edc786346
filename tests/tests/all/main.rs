//! The whole system, tested from outside: through Drive, through the HTTP API, and through the
//! functions' own binaries.
//!
//! Everything runs in this process on ephemeral ports. A test that does not affect others shares
//! one system with them ([`support::shared`]); one that orders faults, counts calls or stops
//! something has its own ([`support::own`]).

mod access;
mod api_readme;
mod audits;
mod conflicts;
mod connections;
mod content;
mod cursor;
mod dead_letters;
mod doctor;
mod documents;
mod erasures;
mod exports;
mod failures;
mod fairness;
mod folder_policies;
mod from_drive;
mod function_binaries;
mod fuzz;
mod http_api;
mod iam_permissions;
mod layout;
mod live;
mod local_library;
mod logs;
mod notifications;
mod play;
mod pushing;
mod rate_limit;
mod recorded;
mod recovery;
mod releases;
mod removals;
mod restores;
mod schedules;
mod shared_drives;
mod simulator_client;
mod support;
mod webhooks;
mod wording;
