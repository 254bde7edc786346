//! The rules of the HTTP API.

mod audit_trail;
mod reasons;
mod repeated_requests;
mod request_limits;
mod request_rules;
mod response_limits;
mod route_authorization;
mod route_roles;
mod webhook_settings;
