//! Connections: their settings, suspension and rate limit, the answers to requests with an
//! idempotency key, and the ids of files that are created once.

pub(crate) mod access_item;
pub(crate) mod answers;
pub(crate) mod clients;
pub(crate) mod connection_item;
pub(crate) mod connections;
pub(crate) mod content_settings_item;
pub(crate) mod deletion;
pub(crate) mod deletion_item;
pub(crate) mod idempotency;
pub(crate) mod limits_item;
pub(crate) mod removal_limits_item;
pub(crate) mod rules_item;
pub(crate) mod stored_rate_limit;
pub(crate) mod suspension;
pub(crate) mod tenant_items;
