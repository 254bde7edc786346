//! Channels expire.
