//! Content as a record names it, read whole.

use domain::content::{ContentHash, Encoding, ObjectKey, StoredObject, StoredVersion};

use bytes::Bytes;

use crate::encoding::{InvalidContent, decode};
use crate::{ContentHasher, Objects, ObjectsError};

/// What a record says of stored content.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// Where it lies.
    pub key: &'a ObjectKey,
    /// How it is held there.
    pub encoding: Encoding,
    /// Its size, before any encoding.
    pub size_bytes: u64,
    /// Its SHA-256, before any encoding.
    pub hash: &'a ContentHash,
}

impl<'a> From<&'a StoredObject> for Named<'a> {
    fn from(object: &'a StoredObject) -> Self {
        Self {
            key: &object.key,
            encoding: object.encoding,
            size_bytes: object.size_bytes,
            hash: &object.hash,
        }
    }
}

impl<'a> From<&'a StoredVersion> for Named<'a> {
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
    /// All of some content as it is, decoded and verified; `None` where there is no such object. Nothing larger than
    /// `bytes_max` is held.
    ///
    /// # Errors
    /// [`ObjectsError`]; `Refused` where the content is larger, `Spoilt` where what lies there is something else.
    pub async fn content(
        &self,
        named: impl Into<Named<'_>>,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, ObjectsError> {
        let named = named.into();
        if named.size_bytes > bytes_max {
            return Err(ObjectsError::refused("more bytes than can be held"));
        }
        let spoilt = |why| ObjectsError::Spoilt {
            key: named.key.to_string(),
            why,
        };
        let Some(body) = self.get(named.key, None).await? else {
            return Ok(None);
        };
        // No content is stored in more bytes than it has.
        let found_bytes = body.size_bytes();
        if found_bytes > named.size_bytes {
            return Err(spoilt(InvalidContent::OtherSize {
                wanted_bytes: named.size_bytes,
                found_bytes,
            }));
        }
        let stored = body.collect(named.size_bytes).await?;
        let content = decode(stored, named.encoding, named.size_bytes).map_err(spoilt)?;
        match ContentHasher::sha256(&content) {
            sum if sum == *named.hash => Ok(Some(content)),
            sum => Err(spoilt(InvalidContent::OtherSum(sum))),
        }
    }
}
