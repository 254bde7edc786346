//! Errors of Drive, classified by reason.

pub(crate) mod classify;
pub(crate) mod dispositions;
pub(crate) mod drive_error;
