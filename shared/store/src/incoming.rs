//! Content that somebody is sending in parts: what they said of it when they began, until it is taken or forgotten.

use domain::content::{ContentHash, ObjectKey, UploadId};
use domain::{ConnectionKey, FileId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::item::{Checksum, decode, encode};
use crate::key::{Item, Key};
use crate::store::Applied;
use crate::update::{Replaces, Update};
use crate::value_item::at;
use crate::{Created, Store, StoreError};

/// An upload in parts that an application was given URLs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Drawn for it: what it is asked for by. Lower-case hexadecimal digits.
    pub id: String,
    /// The file that it is the next content of.
    pub file: FileId,
    /// What the bytes must come to.
    pub hash: ContentHash,
    /// How many they must be.
    pub size_bytes: u64,
    /// The version of the file's content that it replaces.
    pub expected_version: u32,
    /// Where the bytes go.
    pub object: ObjectKey,
    /// Of which multipart upload they are parts.
    pub upload: UploadId,
    /// The size of each part but the last, in bytes.
    pub part_bytes: u64,
    /// When it is forgotten.
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
    /// Keeps an upload until it expires.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_incoming(
        &self,
        key: &ConnectionKey,
        incoming: &Incoming,
    ) -> Result<Created<Incoming>, StoreError> {
        let body = Body {
            file: incoming.file.to_string(),
            hash: Checksum::of(&incoming.hash.to_string()),
            size: incoming.size_bytes,
            expected: incoming.expected_version,
            object: incoming.object.to_string(),
            upload: incoming.upload.as_str().to_owned(),
            part: incoming.part_bytes,
            expires_at: incoming.expires_at.as_millis(),
            expires: incoming.expires_at.as_seconds(),
        };
        let item = encode(&place(key, &incoming.id), &body)?;
        match self.put(item, Replaces::Nothing).await? {
            Applied::Done(_) => Ok(Created::Created),
            Applied::Refused(Some(item)) => {
                let stands = decode_incoming(key, &incoming.id, item)?;
                // The id is drawn anew for each, so that one that stands was put by this very call.
                Ok(if stands == *incoming {
                    Created::Created
                } else {
                    Created::Exists(stands)
                })
            }
            Applied::Refused(None) => Err(StoreError::busy("the upload came and went")),
        }
    }

    /// An upload, read consistently; `None` where there is none, or it was forgotten. DynamoDB may take days to delete what
    /// has expired, so one that has is not given.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn incoming(
        &self,
        key: &ConnectionKey,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Incoming>, StoreError> {
        let item = self.get(&place(key, id)).await?;
        let found = item
            .map(|item| decode_incoming(key, id, item))
            .transpose()?;
        Ok(found.filter(|incoming| incoming.expires_at > now))
    }

    /// Forgets an upload that was taken or refused. One that is forgotten already is none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn drop_incoming(&self, key: &ConnectionKey, id: &str) -> Result<(), StoreError> {
        self.delete_when(Update::of(place(key, id))).await.map(drop)
    }
}

fn decode_incoming(key: &ConnectionKey, id: &str, item: Item) -> Result<Incoming, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let file = FileId::parse(&body.file);
    let hash = ContentHash::parse(&body.hash.into_text());
    let object = ObjectKey::parse(&key.tenant, &body.object);
    let (Ok(file), Ok(hash), Ok(object)) = (file, hash, object) else {
        return Err(place.corrupt("it names no file, hash or object"));
    };
    Ok(Incoming {
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
