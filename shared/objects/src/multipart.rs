//! Multipart uploads.

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::content::{ContentHash, ObjectKey, UploadId};

use crate::client::sdk;
use crate::{ContentHasher, ObjectMetadata, Objects, ObjectsError, STORED_TYPE, StorageClass};

/// A stored part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The number, from 1.
    pub number: u32,
    /// S3's etag. Opaque: it is the MD5 only without a customer-managed key.
    pub etag: String,
    /// The SHA-256 that S3 verified; `None` if it was uploaded by a presigned URL.
    pub sha256: Option<ContentHash>,
    /// The size in bytes.
    pub size_bytes: u64,
}

pub(crate) fn checksum(hash: &ContentHash) -> String {
    STANDARD.encode(hash.as_bytes())
}

pub(crate) fn from_checksum(text: &str) -> Option<ContentHash> {
    let bytes = STANDARD.decode(text).ok()?;
    Some(ContentHash::from_bytes(bytes.try_into().ok()?))
}

pub(crate) fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

pub(crate) fn size(length: Option<i64>) -> u64 {
    length
        .and_then(|length| u64::try_from(length).ok())
        .unwrap_or_default()
}

fn part_number(number: u32) -> Result<i32, ObjectsError> {
    i32::try_from(number).map_err(ObjectsError::refused)
}

impl Objects {
    /// Creates a multipart upload for [`Objects::upload_part`]: S3 requires the SHA-256 of each
    /// part.
    ///
    /// # Errors
    /// [`ObjectsError`]. After a lost response an upload without parts remains, which the bucket's
    /// lifecycle aborts.
    pub async fn create_upload(
        &self,
        key: &ObjectKey,
        class: StorageClass,
    ) -> Result<UploadId, ObjectsError> {
        let verified = Some(ChecksumAlgorithm::Sha256);
        self.create_upload_with(key, class, verified).await
    }

    /// Creates a multipart upload whose parts are uploaded by presigned URLs, without checksums:
    /// the object must be read and hashed before anything references it.
    ///
    /// # Errors
    /// As [`Objects::create_upload`].
    pub async fn create_presigned_upload(
        &self,
        key: &ObjectKey,
        class: StorageClass,
    ) -> Result<UploadId, ObjectsError> {
        self.create_upload_with(key, class, None).await
    }

    async fn create_upload_with(
        &self,
        key: &ObjectKey,
        class: StorageClass,
        checksum: Option<ChecksumAlgorithm>,
    ) -> Result<UploadId, ObjectsError> {
        let call = self.client.create_multipart_upload();
        let call = call.bucket(&self.bucket).key(key.as_str());
        let created = call
            .content_type(STORED_TYPE)
            .set_storage_class(sdk(class))
            .set_checksum_algorithm(checksum)
            .send()
            .await?;
        match created.upload_id {
            Some(id) => Ok(UploadId::new(id)),
            None => Err(ObjectsError::Busy("the upload has no id".into())),
        }
    }

    /// Uploads one part, which S3 verifies against its SHA-256. A repetition replaces the part.
    ///
    /// The signature covers the checksum and so the bytes, which are not hashed again for signing.
    ///
    /// # Errors
    /// [`ObjectsError`]; `UploadGone`. A part below 5 MiB that is not the last is `Refused` by
    /// [`Objects::complete_upload`].
    pub async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u32,
        bytes: Bytes,
    ) -> Result<Part, ObjectsError> {
        let size_bytes = count(bytes.len());
        let sha256 = ContentHasher::sha256(&bytes);
        let call = self.client.upload_part().bucket(&self.bucket);
        let stored = call
            .key(key.as_str())
            .upload_id(upload.as_str())
            .part_number(part_number(number)?)
            .checksum_sha256(checksum(&sha256))
            .body(bytes.into())
            .customize()
            .disable_payload_signing()
            .send()
            .await?;
        // S3 returns the checksum that it verified. A server that does not has checked the signed
        // body.
        let verified = stored.checksum_sha256().and_then(from_checksum);
        if verified.is_some_and(|verified| verified != sha256) {
            return Err(ObjectsError::Corrupted(
                "S3 verified another checksum".into(),
            ));
        }
        Ok(Part {
            number,
            etag: stored.e_tag.unwrap_or_default(),
            sha256: Some(sha256),
            size_bytes,
        })
    }

    /// Lists the stored parts, in order.
    ///
    /// # Errors
    /// [`ObjectsError`]; `UploadGone`.
    pub async fn list_parts(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> Result<Vec<Part>, ObjectsError> {
        let mut parts = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let call = self.client.list_parts().bucket(&self.bucket);
            let call = call.key(key.as_str()).upload_id(upload.as_str());
            let page = call.set_part_number_marker(marker.take()).send().await?;
            for part in page.parts() {
                let number = part.part_number.and_then(|n| u32::try_from(n).ok());
                parts.push(Part {
                    number: number.unwrap_or_default(),
                    etag: part.e_tag().unwrap_or_default().to_owned(),
                    sha256: part.checksum_sha256().and_then(from_checksum),
                    size_bytes: size(part.size),
                });
            }
            match page.next_part_number_marker {
                Some(next) if page.is_truncated == Some(true) => marker = Some(next),
                Some(_) | None => break,
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    /// Completes an upload, and reads the metadata of the object. May be repeated: if the upload is
    /// gone and the object, whose key belongs to this upload alone, exists with the right size, the
    /// upload is complete.
    ///
    /// # Errors
    /// [`ObjectsError`]; `UploadGone` if neither the upload nor the object exists; `WrongSize`.
    pub async fn complete_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
    ) -> Result<ObjectMetadata, ObjectsError> {
        let expected_bytes = parts.iter().map(|part| part.size_bytes).sum();
        let mut listed = Vec::with_capacity(parts.len());
        for part in parts {
            let completed = CompletedPart::builder()
                .part_number(part_number(part.number)?)
                .e_tag(&part.etag)
                .set_checksum_sha256(part.sha256.as_ref().map(checksum));
            listed.push(completed.build());
        }
        let listed = CompletedMultipartUpload::builder().set_parts(Some(listed));
        let call = self.client.complete_multipart_upload();
        let call = call.bucket(&self.bucket).key(key.as_str());
        let completed = call
            .upload_id(upload.as_str())
            .multipart_upload(listed.build())
            .set_mpu_object_size(i64::try_from(expected_bytes).ok())
            .send()
            .await
            .map_err(ObjectsError::from);
        if let Err(error) = completed {
            // After a lost response, or another worker's completion, a retry finds no upload any
            // more.
            return match (error, self.head(key).await?) {
                (ObjectsError::UploadGone(_), Some(metadata)) => {
                    metadata.with_size(key, expected_bytes)
                }
                (error, _) => Err(error),
            };
        }
        match self.head(key).await? {
            Some(metadata) => metadata.with_size(key, expected_bytes),
            None => Err(ObjectsError::Busy(
                "the completed object does not exist".into(),
            )),
        }
    }

    /// Aborts an upload and deletes its parts. Succeeds if the upload is gone.
    ///
    /// # Errors
    /// [`ObjectsError`]
    pub async fn abort_upload(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> Result<(), ObjectsError> {
        let call = self.client.abort_multipart_upload().bucket(&self.bucket);
        let call = call.key(key.as_str()).upload_id(upload.as_str());
        match call.send().await.map_err(ObjectsError::from) {
            Ok(_) | Err(ObjectsError::UploadGone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
