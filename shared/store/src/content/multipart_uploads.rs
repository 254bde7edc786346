//! Multipart uploads of applications: the declared properties of the content, until it is taken or
//! dropped.

use domain::content::{ContentHash, ObjectKey, UploadId};
use domain::{ConnectionKey, FileId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::table::item::{Checksum, decode, encode};
use crate::table::key::{Item, Key};
use crate::table::store::Applied;
use crate::table::update::{Replaces, Update};
use crate::{Created, Store, StoreError};

/// A multipart upload that an application was given URLs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultipartUpload {
    /// Its id, drawn for it: lower-case hexadecimal digits.
    pub id: String,
    /// The file that receives the content.
    pub file: FileId,
    /// The declared hash of the bytes.
    pub hash: ContentHash,
    /// The declared number of bytes.
    pub size_bytes: u64,
    /// The version of the file's content that it replaces.
    pub expected_version: u32,
    /// The object key that the bytes are stored under.
    pub object: ObjectKey,
    /// S3's id of the multipart upload.
    pub upload: UploadId,
    /// The size of each part but the last, in bytes.
    pub part_bytes: u64,
    /// The time at which it expires.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Body {
    file: String,
    hash: Checksum,
    size: u64,
    expected: u32,
    object: String,
    upload: String,
    part: u64,
    expires_at: i64,
    expires: i64,
}

fn place(key: &ConnectionKey, id: &str) -> Key {
    Key::of_connection(key, "INCOMING", id)
}

impl Store {
    /// Saves an upload until it expires.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_multipart_upload(
        &self,
        key: &ConnectionKey,
        upload: &MultipartUpload,
    ) -> Result<Created<MultipartUpload>, StoreError> {
        let body = Body {
            file: upload.file.to_string(),
            hash: Checksum::of(&upload.hash.to_string()),
            size: upload.size_bytes,
            expected: upload.expected_version,
            object: upload.object.to_string(),
            upload: upload.upload.as_str().to_owned(),
            part: upload.part_bytes,
            expires_at: upload.expires_at.as_millis(),
            expires: upload.expires_at.as_seconds(),
        };
        let item = encode(&place(key, &upload.id), &body)?;
        match self.put(item, Replaces::Nothing).await? {
            Applied::Done(_) => Ok(Created::Created),
            Applied::Refused(Some(item)) => {
                let stands = decode_upload(key, &upload.id, item)?;
                // Every id is drawn anew, so an equal stored upload was saved by this very call.
                Ok(if stands == *upload {
                    Created::Created
                } else {
                    Created::Exists(stands)
                })
            }
            Applied::Refused(None) => Err(StoreError::busy(
                "the upload was created and deleted meanwhile",
            )),
        }
    }

    /// Reads an upload consistently; `None` if there is none or it has expired (DynamoDB may take
    /// days to delete an expired item).
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_multipart_upload(
        &self,
        key: &ConnectionKey,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<MultipartUpload>, StoreError> {
        let item = self.get(&place(key, id)).await?;
        let found = item.map(|item| decode_upload(key, id, item)).transpose()?;
        Ok(found.filter(|upload| upload.expires_at > now))
    }

    /// Deletes an upload that was taken or refused. Does nothing if there is none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_multipart_upload(
        &self,
        key: &ConnectionKey,
        id: &str,
    ) -> Result<(), StoreError> {
        self.delete_when(Update::of(place(key, id))).await.map(drop)
    }
}

pub(crate) fn decode_upload(
    key: &ConnectionKey,
    id: &str,
    item: Item,
) -> Result<MultipartUpload, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let file = FileId::parse(&body.file);
    let hash = ContentHash::parse(&body.hash.into_text());
    let object = ObjectKey::parse(&key.tenant, &body.object);
    let (Ok(file), Ok(hash), Ok(object)) = (file, hash, object) else {
        return Err(place.corrupt("its file, hash or object is invalid"));
    };
    Ok(MultipartUpload {
        id: id.to_owned(),
        file,
        hash,
        size_bytes: body.size,
        expected_version: body.expected,
        object,
        upload: UploadId::new(body.upload),
        part_bytes: body.part,
        expires_at: at(body.expires_at),
    })
}
