//! The event log of a connection, and what it needs besides its items.

pub(crate) mod event_item;
pub(crate) mod event_log;
pub(crate) mod log_state;
pub(crate) mod table_identity;
