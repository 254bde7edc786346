//! Permissions on files, and the separation of tenants.

mod inherited_roles;
mod role_edits;
mod tenant_isolation;
