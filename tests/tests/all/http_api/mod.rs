//! The rules of the HTTP API.

mod repeated_requests;
mod request_limits;
mod request_rules;
mod route_authorization;
