//! Requests that made something under an id that nobody could know beforehand: a repeat finds it.

use domain::{ConnectionKey, FileId, Request, Timestamp};
use serde::{Deserialize, Serialize};

use crate::item::{decode, encode};
use crate::key::Key;
use crate::store::Applied;
use crate::update::Replaces;
use crate::{Store, StoreError};

/// What the first request with a key was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The digest of what was asked.
    pub digest: String,
    /// The file that it makes.
    pub file: FileId,
}

#[derive(Serialize, Deserialize)]
struct MadeItem {
    #[serde(rename = "d")]
    digest: String,
    #[serde(rename = "f")]
    file: String,
    expires: i64,
}

impl Store {
    /// Keeps, until `expires`, that this request makes `file`, unless one with the same key came first. Says
    /// what stands either way.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_made(
        &self,
        key: &ConnectionKey,
        request: &Request,
        file: &FileId,
        expires: Timestamp,
    ) -> Result<Made, StoreError> {
        let place = Key::of_connection(key, "MADE", &request.key);
        let body = MadeItem {
            digest: request.digest.clone(),
            file: file.to_string(),
            expires: expires.as_seconds(),
        };
        let item = encode(&place, &body)?;
        let stands = match self.put(item, Replaces::Nothing).await? {
            Applied::Done(item) => item,
            Applied::Refused(Some(item)) => item,
            Applied::Refused(None) => {
                return Err(StoreError::busy("the request's item came and went"));
            }
        };
        made(stands)
    }

    /// What the first request with this key made; `None` where none was, or it is forgotten.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_made(
        &self,
        key: &ConnectionKey,
        request: &Request,
    ) -> Result<Option<Made>, StoreError> {
        let place = Key::of_connection(key, "MADE", &request.key);
        self.get(&place).await?.map(made).transpose()
    }
}

fn made(item: crate::key::Item) -> Result<Made, StoreError> {
    let (place, item) = decode::<MadeItem>(item)?;
    match FileId::parse(&item.file) {
        Ok(file) => Ok(Made {
            digest: item.digest,
            file,
        }),
        Err(_) => Err(place.corrupt("it names no file")),
    }
}
