//! Change logs, their channels, and the shared drives that they belong to.

pub(crate) mod channels;
pub(crate) mod drive_logs;
pub(crate) mod logs;
pub(crate) mod stray_channels;
