//! The lifecycle of connections and their credentials.

mod accounts;
mod bindings;
mod delegation;
mod erasure;
mod lifecycle;
