//! Reads whole content as described by a record.

use domain::content::{ContentHash, Encoding, ObjectKey, StoredObject, StoredVersion};

use bytes::Bytes;

use crate::encoding::{InvalidContent, decode};
use crate::{ContentHasher, Objects, ObjectsError};

/// A record's description of stored content.
#[derive(Debug, Clone, Copy)]
pub struct ContentRef<'a> {
    /// The key of the object.
    pub key: &'a ObjectKey,
    /// The encoding of the object.
    pub encoding: Encoding,
    /// The size of the content, before encoding.
    pub size_bytes: u64,
    /// The SHA-256 of the content, before encoding.
    pub hash: &'a ContentHash,
}

impl<'a> From<&'a StoredObject> for ContentRef<'a> {
    fn from(object: &'a StoredObject) -> Self {
        Self {
            key: &object.key,
            encoding: object.encoding,
            size_bytes: object.size_bytes,
            hash: &object.hash,
        }
    }
}

impl<'a> From<&'a StoredVersion> for ContentRef<'a> {
    fn from(version: &'a StoredVersion) -> Self {
        Self {
            key: &version.object,
            encoding: version.encoding,
            size_bytes: version.size_bytes,
            hash: &version.hash,
        }
    }
}

impl Objects {
    /// Reads, decodes and verifies whole content; `None` if the object does not exist. At most
    /// `bytes_max` are read into memory.
    ///
    /// # Errors
    /// [`ObjectsError`]; `Refused` if the content is larger, `CorruptObject` if the object is
    /// something else.
    pub async fn read_content(
        &self,
        content_ref: impl Into<ContentRef<'_>>,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, ObjectsError> {
        let content_ref = content_ref.into();
        if content_ref.size_bytes > bytes_max {
            return Err(ObjectsError::refused("the content exceeds the limit"));
        }
        let corrupt = |why| ObjectsError::CorruptObject {
            key: content_ref.key.to_string(),
            why,
        };
        let Some(body) = self.get(content_ref.key, None).await? else {
            return Ok(None);
        };
        // Stored content is never larger than the content itself.
        let actual_bytes = body.size_bytes();
        if actual_bytes > content_ref.size_bytes {
            return Err(corrupt(InvalidContent::WrongSize {
                expected_bytes: content_ref.size_bytes,
                actual_bytes,
            }));
        }
        let stored = body.collect(content_ref.size_bytes).await?;
        let content =
            decode(stored, content_ref.encoding, content_ref.size_bytes).map_err(corrupt)?;
        match ContentHasher::sha256(&content) {
            sum if sum == *content_ref.hash => Ok(Some(content)),
            sum => Err(corrupt(InvalidContent::WrongHash(sum))),
        }
    }
}
