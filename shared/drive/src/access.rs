//! Credentials, access tokens, and one client for each connection's account.

pub(crate) mod account;
pub(crate) mod auth;
pub(crate) mod credentials_secret;
pub(crate) mod directory;
pub(crate) mod secret;
pub(crate) mod token;
