//! Permissions on files, the separation of tenants, and who may do what within one.

mod connection_access;
mod inherited_roles;
mod role_edits;
mod tenant_isolation;
