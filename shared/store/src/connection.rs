//! Connections: their settings, suspension and rate limit, and the idempotency records of
//! requests that created something.

pub(crate) mod connections;
pub(crate) mod content_settings_item;
pub(crate) mod idempotency;
pub(crate) mod limits_item;
pub(crate) mod removal_limits_item;
pub(crate) mod rules_item;
pub(crate) mod stored_rate_limit;
pub(crate) mod suspension;
