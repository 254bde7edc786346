//! The function fetch-changes.
