//! The calls of Drive's metadata: one request function, batches, and a method each.

pub(crate) mod batch;
pub(crate) mod client;
pub(crate) mod create;
pub(crate) mod drives;
pub(crate) mod multipart;
pub(crate) mod permissions;
pub(crate) mod request;
pub(crate) mod root_folder;
pub(crate) mod transport;
