//! The ids of files that are created once for a reason that may come again (the copy that keeps
//! both sides of a conflict): the second caller finds the first one's.

use domain::{ConnectionKey, FileId, Request, Timestamp};
use serde::{Deserialize, Serialize};

use crate::table::item::{decode, encode};
use crate::table::key::Key;
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::{Store, StoreError};

/// The first request for the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The digest of the request.
    pub digest: String,
    /// The file that it creates.
    pub file: FileId,
}

#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(rename = "d")]
    digest: String,
    #[serde(rename = "f")]
    file: String,
    expires: i64,
}

impl Store {
    /// Records, until `expires`, that this request creates `file`, unless a request with the same
    /// key came first. Returns the stored record either way.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_idempotency_record(
        &self,
        key: &ConnectionKey,
        request: &Request,
        file: &FileId,
        expires: Timestamp,
    ) -> Result<IdempotencyRecord, StoreError> {
        let place = Key::of_connection(key, "MADE", &request.key);
        let body = Body {
            digest: request.digest.clone(),
            file: file.to_string(),
            expires: expires.as_seconds(),
        };
        let item = encode(&place, &body)?;
        let stands = match self.put(item, Replaces::Nothing).await? {
            Applied::Done(item) => item,
            Applied::Refused(Some(item)) => item,
            Applied::Refused(None) => {
                return Err(StoreError::busy(
                    "the idempotency record was created and deleted meanwhile",
                ));
            }
        };
        decode_record(stands)
    }

    /// Reads the record of the first request with this key; `None` if there is none or it has
    /// expired.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_idempotency_record(
        &self,
        key: &ConnectionKey,
        request: &Request,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        let place = Key::of_connection(key, "MADE", &request.key);
        self.get(&place).await?.map(decode_record).transpose()
    }
}

pub(crate) fn decode_record(
    item: crate::table::key::Item,
) -> Result<IdempotencyRecord, StoreError> {
    let (place, item) = decode::<Body>(item)?;
    match FileId::parse(&item.file) {
        Ok(file) => Ok(IdempotencyRecord {
            digest: item.digest,
            file,
        }),
        Err(_) => Err(place.corrupt("its file id is invalid")),
    }
}
