//! The attempts of a connection at content that could not be had: one small item.

use domain::ConnectionKey;
use domain::content::ContentRetries;
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::table::compare_and_swap::{Attempt, Swapped, compare_and_swap};
use crate::table::item::{decode, encode};
use crate::table::key::{Item, Key};
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::{Nonce, Store, StoreError, Written};

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    nonce: u64,
    slot_at: i64,
    asked_at: i64,
    scanned: u32,
}

fn place(key: &ConnectionKey) -> Key {
    Key::of_connection(key, "RETRIES", "content")
}

impl Store {
    /// Reads a connection's retries of content consistently; those of revision 0 if none are
    /// stored.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_content_retries(
        &self,
        key: &ConnectionKey,
    ) -> Result<ContentRetries, StoreError> {
        match self.get(&place(key)).await? {
            Some(item) => Ok(decode_retries(item)?.0),
            None => Ok(ContentRetries::default()),
        }
    }

    /// Saves `retries` on condition that the stored ones still have `retries.revision`, and stores
    /// them under the next revision. Two workers must not take the same slot, so the nonce is drawn
    /// anew for each write.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_content_retries(
        &self,
        key: &ConnectionKey,
        retries: &ContentRetries,
        nonce: Nonce,
    ) -> Result<Written<ContentRetries>, StoreError> {
        let replaces = match retries.revision {
            0 => Replaces::Nothing,
            revision => Replaces::Revision(revision),
        };
        let next = ContentRetries {
            revision: retries.revision.saturating_add(1),
            ..*retries
        };
        let body = Body {
            revision: next.revision,
            nonce: nonce.0,
            slot_at: next.slot_at.as_millis(),
            asked_at: next.asked_at.as_millis(),
            scanned: next.scanned,
        };
        match self.put(encode(&place(key), &body)?, replaces).await? {
            Applied::Done(_) => Ok(Written::Done(next)),
            Applied::Refused(None) => Ok(Written::Stale(None)),
            Applied::Refused(Some(item)) => {
                let (current, writer) = decode_retries(item)?;
                Ok(if writer == nonce {
                    Written::Done(current)
                } else {
                    Written::Stale(Some(current))
                })
            }
        }
    }
}

impl Store {
    /// Replaces a connection's retries of content by what `change` makes of the stored ones, and
    /// returns what it returned besides. `None` if other workers were faster, repeatedly.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn change_content_retries<T>(
        &self,
        key: &ConnectionKey,
        nonce: impl Fn() -> Nonce,
        change: impl Fn(&ContentRetries) -> (T, ContentRetries),
    ) -> Result<Option<T>, StoreError> {
        let stored = self.load_content_retries(key).await?;
        let changed = compare_and_swap(stored, async |retries: ContentRetries| {
            let (result, next) = change(&retries);
            match self.save_content_retries(key, &next, nonce()).await? {
                Written::Done(_) => Ok::<_, StoreError>(Attempt::Done(result)),
                Written::Stale(Some(current)) => Ok(Attempt::Stale(current)),
                Written::Stale(None) => Ok(Attempt::Stale(self.load_content_retries(key).await?)),
            }
        });
        match changed.await? {
            Swapped::Done(result) => Ok(Some(result)),
            Swapped::Contended(_) => Ok(None),
        }
    }
}

fn decode_retries(item: Item) -> Result<(ContentRetries, Nonce), StoreError> {
    let (_, body) = decode::<Body>(item)?;
    let retries = ContentRetries {
        revision: body.revision,
        slot_at: at(body.slot_at),
        asked_at: at(body.asked_at),
        scanned: body.scanned,
    };
    Ok((retries, Nonce(body.nonce)))
}
