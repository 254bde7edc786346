//! The function api.
