//! The lifecycle of connections and their credentials.

mod delegation;
mod lifecycle;
