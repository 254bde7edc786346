//! Objects that are put in parts.

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::content::{ContentHash, ObjectKey, UploadId};

use crate::client::sdk;
use crate::{ContentHasher, Facts, Objects, ObjectsError, StorageClass};

/// A part that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// S3's mark of it. Opaque: it is the MD5 only without a key of our own.
    pub etag: String,
    /// SHA-256 of its bytes as S3 verified it; `None` where it came by a presigned URL.
    pub sha256: Option<ContentHash>,
    /// Its size.
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
    /// Begins an upload of which we put each part ourselves: S3 takes no part without its SHA-256.
    ///
    /// # Errors
    /// [`ObjectsError`]. Where the answer was lost, an upload without parts stays: the bucket's lifecycle aborts it.
    pub async fn begin(
        &self,
        key: &ObjectKey,
        mime_type: &str,
        class: StorageClass,
    ) -> Result<UploadId, ObjectsError> {
        let verified = Some(ChecksumAlgorithm::Sha256);
        self.begin_with(key, mime_type, class, verified).await
    }

    /// Begins an upload whose parts somebody else puts by presigned URLs, and can't be asked for checksums of: read and
    /// hash the object before anything names it.
    ///
    /// # Errors
    /// As [`Objects::begin`].
    pub async fn begin_presigned(
        &self,
        key: &ObjectKey,
        mime_type: &str,
        class: StorageClass,
    ) -> Result<UploadId, ObjectsError> {
        self.begin_with(key, mime_type, class, None).await
    }

    async fn begin_with(
        &self,
        key: &ObjectKey,
        mime_type: &str,
        class: StorageClass,
        checksum: Option<ChecksumAlgorithm>,
    ) -> Result<UploadId, ObjectsError> {
        let call = self.client.create_multipart_upload();
        let call = call.bucket(&self.bucket).key(key.as_str());
        let begun = call
            .content_type(mime_type)
            .set_storage_class(sdk(class))
            .set_checksum_algorithm(checksum)
            .send()
            .await?;
        match begun.upload_id {
            Some(id) => Ok(UploadId::new(id)),
            None => Err(ObjectsError::Busy("the upload has no id".into())),
        }
    }

    /// Puts one part, which S3 verifies against the SHA-256 that is sent with it. Putting it again replaces it.
    ///
    /// The signature covers that sum and so the bytes: they are not hashed once more to be signed themselves.
    ///
    /// # Errors
    /// [`ObjectsError`]; `Refused` (at [`Objects::complete`]) where a part but the last is under 5 MiB; `UploadGone`.
    pub async fn part(
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
        // S3 says which sum it verified; a server that does not say has checked the signed body.
        let told = stored.checksum_sha256().and_then(from_checksum);
        if told.is_some_and(|told| told != sha256) {
            return Err(ObjectsError::Corrupted("another sum is stored".into()));
        }
        Ok(Part {
            number,
            etag: stored.e_tag.unwrap_or_default(),
            sha256: Some(sha256),
            size_bytes,
        })
    }

    /// The parts that are stored, in their order.
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

    /// Makes the object out of its parts and looks at what is there then. Completing again is allowed: where the upload is
    /// gone and the object is there with the size that it must have (its key is this upload's own), it is done.
    ///
    /// # Errors
    /// [`ObjectsError`]; `UploadGone` where neither the upload nor the object is there; `WrongSize`.
    pub async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
    ) -> Result<Facts, ObjectsError> {
        let wanted_bytes = parts.iter().map(|part| part.size_bytes).sum();
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
            .set_mpu_object_size(i64::try_from(wanted_bytes).ok())
            .send()
            .await
            .map_err(ObjectsError::from);
        if let Err(error) = completed {
            // A lost answer, or somebody else's: the SDK's own repetition finds no upload any more.
            return match (error, self.head(key).await?) {
                (ObjectsError::UploadGone(_), Some(facts)) => facts.of_size(key, wanted_bytes),
                (error, _) => Err(error),
            };
        }
        match self.head(key).await? {
            Some(facts) => facts.of_size(key, wanted_bytes),
            None => Err(ObjectsError::Busy(
                "the completed object is not there".into(),
            )),
        }
    }

    /// Gives up an upload and its parts. One that is gone is none to give up.
    ///
    /// # Errors
    /// [`ObjectsError`]
    pub async fn abort(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), ObjectsError> {
        let call = self.client.abort_multipart_upload().bucket(&self.bucket);
        let call = call.key(key.as_str()).upload_id(upload.as_str());
        match call.send().await.map_err(ObjectsError::from) {
            Ok(_) | Err(ObjectsError::UploadGone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
