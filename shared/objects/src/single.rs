//! Operations on whole objects.

use std::ops::Range;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::types::{ChecksumMode, MetadataDirective};
use domain::content::{ContentHash, Encoding, ObjectKey, ObjectLocation};

use crate::client::sdk;
use crate::multipart::{checksum, count, from_checksum, size};
use crate::{Body, Encoded, Objects, ObjectsError, STORED_TYPE, StorageClass};

/// The metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMetadata {
    /// The size in bytes.
    pub size_bytes: u64,
    /// S3's etag. Opaque.
    pub etag: String,
    /// The SHA-256 of the whole object, if S3 has it: only of objects that were stored at once.
    pub sha256: Option<ContentHash>,
    /// The MIME type.
    pub mime_type: Option<String>,
}

impl ObjectMetadata {
    /// Checks the size.
    pub(crate) fn with_size(
        self,
        key: &ObjectKey,
        expected_bytes: u64,
    ) -> Result<Self, ObjectsError> {
        if self.size_bytes == expected_bytes {
            return Ok(self);
        }
        Err(ObjectsError::WrongSize {
            key: key.to_string(),
            expected_bytes,
            actual_bytes: self.size_bytes,
        })
    }
}

/// Returns the name of an encoding in the "HTTP Content Coding Registry".
fn content_encoding(encoding: Encoding) -> Option<String> {
    match encoding {
        Encoding::None => None,
        Encoding::Zstd => Some("zstd".to_owned()),
    }
}

impl Objects {
    /// Stores content at once, and returns its location. S3 verifies the bytes against their
    /// SHA-256. A repetition writes the same object. Compressed content has a `Content-Encoding`,
    /// so that browsers decompress it.
    ///
    /// # Errors
    /// [`ObjectsError`]; `Corrupted` if the bytes don't have this hash.
    pub async fn put(
        &self,
        key: &ObjectKey,
        content: Encoded,
        class: StorageClass,
    ) -> Result<ObjectLocation, ObjectsError> {
        let location = ObjectLocation {
            key: key.clone(),
            encoding: content.encoding,
            stored_bytes: count(content.bytes.len()),
        };
        let call = self.client.put_object().bucket(&self.bucket);
        call.key(key.as_str())
            .content_type(STORED_TYPE)
            .set_content_encoding(content_encoding(content.encoding))
            .set_storage_class(sdk(class))
            .checksum_sha256(checksum(&content.sha256))
            .body(content.bytes.into())
            .customize()
            // The signature covers the checksum, and so the bytes.
            .disable_payload_signing()
            .send()
            .await?;
        Ok(location)
    }

    /// Reads the metadata of an object; `None` if it does not exist.
    ///
    /// # Errors
    /// [`ObjectsError`]
    pub async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMetadata>, ObjectsError> {
        let call = self.client.head_object().bucket(&self.bucket);
        let call = call.key(key.as_str()).checksum_mode(ChecksumMode::Enabled);
        let found = match call.send().await {
            Ok(found) => found,
            Err(error) => {
                // S3 answers HEAD without a body, and the SDK converts the status into `NotFound`;
                // other servers send a code.
                let absent = error.code() == Some("NoSuchKey")
                    || error
                        .as_service_error()
                        .is_some_and(HeadObjectError::is_not_found);
                return if absent { Ok(None) } else { Err(error.into()) };
            }
        };
        // The checksum of a multipart object is one of the parts' checksums, with their number
        // after a hyphen: not a hash of the bytes.
        let sha256 = found.checksum_sha256().and_then(from_checksum);
        Ok(Some(ObjectMetadata {
            size_bytes: size(found.content_length),
            etag: found.e_tag.unwrap_or_default(),
            sha256,
            mime_type: found.content_type,
        }))
    }

    /// Streams the stored bytes of an object or of a range of it; `None` if the object does not
    /// exist. [`Objects::read_content`] decodes compressed content.
    ///
    /// # Errors
    /// [`ObjectsError`]; `Refused` if the range starts beyond the object's end.
    pub async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Body>, ObjectsError> {
        let header = match &range {
            Some(range) if range.is_empty() => return Ok(Some(Body::empty())),
            // Ranges of HTTP include the last byte.
            Some(range) => Some(format!("bytes={}-{}", range.start, range.end - 1)),
            None => None,
        };
        let call = self.client.get_object().bucket(&self.bucket);
        let call = call.key(key.as_str()).set_range(header);
        match call.send().await {
            Ok(found) => Ok(Some(Body::new(found.body, size(found.content_length)))),
            Err(error) => match error.as_service_error() {
                Some(GetObjectError::NoSuchKey(_)) => Ok(None),
                Some(_) | None => Err(error.into()),
            },
        }
    }

    /// Copies an object without encoding within the bucket, up to 5 GB (S3's limit of one copy).
    /// Larger content is stored under its final key directly.
    ///
    /// # Errors
    /// [`ObjectsError`]; `Refused` if it is larger.
    pub async fn copy(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        class: StorageClass,
    ) -> Result<(), ObjectsError> {
        let call = self.client.copy_object().bucket(&self.bucket);
        // Our keys need no escaping.
        call.copy_source(format!("{}/{from}", self.bucket))
            .key(to.as_str())
            .metadata_directive(MetadataDirective::Replace)
            .content_type(STORED_TYPE)
            .set_storage_class(sdk(class))
            .send()
            .await?;
        Ok(())
    }

    /// Deletes an object. Succeeds if it does not exist.
    ///
    /// # Errors
    /// [`ObjectsError`]
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectsError> {
        let call = self.client.delete_object().bucket(&self.bucket);
        call.key(key.as_str()).send().await?;
        Ok(())
    }
}
