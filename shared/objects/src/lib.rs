#![doc = include_str!("../README.md")]

mod body;
mod client;
mod content;
mod disposition;
mod distribution;
mod encoding;
mod error;
mod hasher;
mod multipart;
mod parts;
mod presign;
mod single;
mod versions;

#[cfg(test)]
mod tests;

/// The type of every stored object, whatever its content is: a browser saves it and runs nothing of
/// it, and a link sets the type of its own download. One object may be the content of files of
/// different types.
const STORED_TYPE: &str = "application/octet-stream";

pub use body::Body;
pub use client::{Objects, client, client_in};
pub use content::ContentRef;
pub use distribution::{InvalidLinkKey, LinkKey, NotSigned, distribution_link};
pub use domain::StorageClass;
pub use domain::content::{ContentHash, ObjectKey, UploadId};
pub use encoding::{COMPRESSIBLE_BYTES_MAX, Encoded, InvalidContent};
pub use error::ObjectsError;
pub use hasher::{ContentHasher, Digest, InvalidState};
pub use multipart::Part;
pub use parts::{OBJECT_BYTES_MAX, PART_BYTES_MIN, PARTS_MAX, PartPlan, TooLarge};
pub use presign::{PresignedPart, SECONDS_MAX, SignedUrl, content_disposition};
pub use single::ObjectMetadata;
pub use versions::{ObjectVersion, VersionsCursor};
