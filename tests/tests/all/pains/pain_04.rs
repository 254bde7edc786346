//! Watching is throttled.
