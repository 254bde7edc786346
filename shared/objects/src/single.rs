//! Whole objects.

use std::ops::Range;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::types::{ChecksumMode, MetadataDirective};
use domain::content::{ContentHash, Encoding, ObjectKey, Place};

use crate::client::sdk;
use crate::multipart::{checksum, count, from_checksum, size};
use crate::presign::header_text;
use crate::{Body, Encoded, Objects, ObjectsError, StorageClass};

/// What S3 says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its size.
    pub size_bytes: u64,
    /// S3's mark of it. Opaque.
    pub etag: String,
    /// SHA-256 of the whole, where S3 has it: of what was put at once, not of what was put in parts.
    pub sha256: Option<ContentHash>,
    /// Its mime type.
    pub mime_type: Option<String>,
}

impl Facts {
    /// The facts, where they tell of this size.
    pub(crate) fn of_size(self, key: &ObjectKey, wanted_bytes: u64) -> Result<Self, ObjectsError> {
        if self.size_bytes == wanted_bytes {
            return Ok(self);
        }
        Err(ObjectsError::WrongSize {
            key: key.to_string(),
            wanted_bytes,
            found_bytes: self.size_bytes,
        })
    }
}

/// HTTP's word for it ("HTTP Content Coding Registry").
fn content_encoding(encoding: Encoding) -> Option<String> {
    match encoding {
        Encoding::None => None,
        Encoding::Zstd => Some("zstd".to_owned()),
    }
}

impl Objects {
    /// Puts content that is small enough to be held, at once, and gives where it lies then: S3 verifies what is put against
    /// its SHA-256. Putting it again writes the same again. What is compressed says so as `Content-Encoding`, so that a
    /// browser that downloads it decompresses it.
    ///
    /// # Errors
    /// [`ObjectsError`]; `Corrupted` where the bytes do not have this hash.
    pub async fn put(
        &self,
        key: &ObjectKey,
        content: Encoded,
        mime_type: &str,
        class: StorageClass,
    ) -> Result<Place, ObjectsError> {
        let place = Place {
            key: key.clone(),
            encoding: content.encoding,
            stored_bytes: count(content.bytes.len()),
        };
        let call = self.client.put_object().bucket(&self.bucket);
        call.key(key.as_str())
            .content_type(header_text(mime_type))
            .set_content_encoding(content_encoding(content.encoding))
            .set_storage_class(sdk(class))
            .checksum_sha256(checksum(&content.sha256))
            .body(content.bytes.into())
            .customize()
            // The signature covers the sum, and so the bytes.
            .disable_payload_signing()
            .send()
            .await?;
        Ok(place)
    }

    /// What S3 says of an object; `None` where there is none.
    ///
    /// # Errors
    /// [`ObjectsError`]
    pub async fn head(&self, key: &ObjectKey) -> Result<Option<Facts>, ObjectsError> {
        let call = self.client.head_object().bucket(&self.bucket);
        let call = call.key(key.as_str()).checksum_mode(ChecksumMode::Enabled);
        let found = match call.send().await {
            Ok(found) => found,
            Err(error) => {
                // S3 answers HEAD without a body, and the SDK makes `NotFound` of the bare status; others send their code.
                let absent = error.code() == Some("NoSuchKey")
                    || error
                        .as_service_error()
                        .is_some_and(HeadObjectError::is_not_found);
                return if absent { Ok(None) } else { Err(error.into()) };
            }
        };
        // The sum of an object in parts is one of the parts' sums, with their number behind a hyphen: no hash of its bytes.
        let sha256 = found.checksum_sha256().and_then(from_checksum);
        Ok(Some(Facts {
            size_bytes: size(found.content_length),
            etag: found.e_tag.unwrap_or_default(),
            sha256,
            mime_type: found.content_type,
        }))
    }

    /// The bytes of an object, or those of a range of it, as they lie there and as they come; `None` where there is no such
    /// object. Where they are compressed, [`Objects::content`] gives what they stand for.
    ///
    /// # Errors
    /// [`ObjectsError`]; `Refused` where the range begins behind the object's end.
    pub async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Body>, ObjectsError> {
        let header = match &range {
            Some(range) if range.is_empty() => return Ok(Some(Body::empty())),
            // HTTP counts the last byte in.
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

    /// Copies an object of up to 5 GB within the bucket (S3's limit of one copy), whose content lies there as it is. A larger one is put where it belongs in
    /// the first place.
    ///
    /// # Errors
    /// [`ObjectsError`]; `Refused` where it is larger.
    pub async fn copy(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        mime_type: &str,
        class: StorageClass,
    ) -> Result<(), ObjectsError> {
        let call = self.client.copy_object().bucket(&self.bucket);
        // Nothing in our keys has to be escaped.
        call.copy_source(format!("{}/{from}", self.bucket))
            .key(to.as_str())
            .metadata_directive(MetadataDirective::Replace)
            .content_type(mime_type)
            .set_storage_class(sdk(class))
            .send()
            .await?;
        Ok(())
    }

    /// Deletes an object. One that is not there is none to delete.
    ///
    /// # Errors
    /// [`ObjectsError`]
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectsError> {
        let call = self.client.delete_object().bucket(&self.bucket);
        call.key(key.as_str()).send().await?;
        Ok(())
    }
}
