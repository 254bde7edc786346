//! Permissions on files, the separation of tenants, and who may do what within one.

mod connection_access;
mod inherited_roles;
mod local_system;
mod machine_clients;
mod operator_decisions;
mod role_edits;
mod tenant_isolation;
