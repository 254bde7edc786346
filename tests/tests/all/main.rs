//! The whole system, tested from outside: through Drive, through the HTTP API, and through the functions' own binaries.
//!
//! Everything runs in this process on ephemeral ports. A test that disturbs nobody shares one system with the others
//! ([`support::shared`]); one that orders faults, counts calls or stops something has its own ([`support::own`]).

mod allowed;
mod arrives;
mod audits;
mod authorization;
mod conflicts;
mod connections;
mod content;
mod content_api;
mod content_conflicts;
mod content_uploads;
mod content_wakes;
mod crash;
mod dead_letters;
mod delegation;
mod faults;
mod function_binaries;
mod fuzz;
mod hostile_names;
mod http_rules;
mod layout;
mod mirrored_library;
mod notifications;
mod operations_stop;
mod pace;
mod pains;
mod parked;
mod permissions;
mod pushes;
mod removals;
mod request_limits;
mod reverse;
mod rules;
mod schedules;
mod shared_drives;
mod silent_logs;
mod strange_words;
mod strict_client;
mod support;
mod tenants;
