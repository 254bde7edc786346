//! Stored content: versions, objects and multipart uploads.

pub(crate) mod content_item;
pub(crate) mod content_retries;
pub(crate) mod content_state;
pub(crate) mod multipart_uploads;
pub(crate) mod object_item;
pub(crate) mod objects;
pub(crate) mod version_item;
pub(crate) mod versions;
