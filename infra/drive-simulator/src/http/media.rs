//! Uploads and downloads of content.

pub(crate) mod media_download;
pub(crate) mod resumable_upload;
pub(crate) mod upload_sessions;
