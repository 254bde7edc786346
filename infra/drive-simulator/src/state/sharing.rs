//! Access: permissions, shared drives with their members, and OAuth grants.

pub(crate) mod access;
pub(crate) mod addresses;
pub(crate) mod item_permissions;
pub(crate) mod oauth_grants;
pub(crate) mod permission;
pub(crate) mod resource_keys;
pub(crate) mod shared_drives;
