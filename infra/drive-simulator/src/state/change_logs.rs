//! Change logs: writing them, reading them, and the notification channels on them.

pub(crate) mod change_feed;
pub(crate) mod change_log;
pub(crate) mod channels;
pub(crate) mod log_writes;
pub(crate) mod page_token;
pub(crate) mod watch_limits;
