//! Content down and up: streams, ranges, exports, revisions and resumable uploads.

pub(crate) mod content_facts;
pub(crate) mod download;
pub(crate) mod export;
pub(crate) mod media;
pub(crate) mod resumable_upload;
pub(crate) mod revisions;
pub(crate) mod sealed_session;
pub(crate) mod stream;
pub(crate) mod unavailable;
pub(crate) mod upload_start;
