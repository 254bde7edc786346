//! The rules of the HTTP API.

mod request_limits;
mod request_rules;
mod route_authorization;
