//! The lifecycle of connections and their credentials.

mod accounts;
mod delegation;
mod lifecycle;
