//! The checks, by kind of item.

pub(crate) mod checks_ancestry;
pub(crate) mod checks_answers;
pub(crate) mod checks_connections;
pub(crate) mod checks_content;
pub(crate) mod checks_drift;
pub(crate) mod checks_drive_logs;
pub(crate) mod checks_files;
pub(crate) mod checks_formats;
pub(crate) mod checks_inconsistencies;
pub(crate) mod checks_lists;
pub(crate) mod checks_logs;
pub(crate) mod checks_multipart_uploads;
pub(crate) mod checks_operations;
pub(crate) mod checks_rate_limit;

pub(crate) use super::deletion as checks_deletion;
pub(crate) use super::events as checks_events;
pub(crate) use super::webhooks as checks_webhooks;
