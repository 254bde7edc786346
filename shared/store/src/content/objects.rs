//! Stored objects: one for each distinct content of a tenant. An object counts the versions that
//! reference it, and is garbage collected when there are none.

use domain::content::{ContentHash, ObjectState, StoredObject};
use domain::{ConnectionKey, TenantId, Timestamp};

use crate::content::object_item::{COLLECTING, STORED, decode_object, encode_object};
use crate::table::key::Key;
use crate::table::store::{Applied, ROUNDS_MAX, pause};
use crate::table::update::{Replaces, Update};
use crate::{Created, Store, StoreError, Updated};

/// The outcome of [`Store::retain_object`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retained {
    /// It is retained for the requested time, or longer.
    Done(StoredObject),
    /// It is being collected: wait until it is gone, and store the content anew.
    Collecting,
    /// It is not stored.
    Absent,
}

/// The outcome of [`Store::begin_gc`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GcStart {
    /// Collection has begun, now or earlier: delete the object's key, then call
    /// [`Store::finish_gc`].
    Begun(StoredObject),
    /// A version references the object, or its time has not come.
    NotYet(StoredObject),
    /// There is no such object.
    Absent,
}

/// The attribute with the connections that hold an object. It is not part of the body, so that no
/// write of the object changes it.
const HOLDERS: &str = "holders";

/// Adds to an update of an object that a connection holds it.
pub(crate) fn held_by(update: Update, key: &ConnectionKey) -> Update {
    update.include(HOLDERS, key.connection.as_str())
}

impl Store {
    /// Reads the object of this content of the tenant consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_object(
        &self,
        tenant: &TenantId,
        hash: &ContentHash,
    ) -> Result<Option<StoredObject>, StoreError> {
        let item = self.get(&Key::object(tenant, hash)).await?;
        item.map(|item| decode_object(tenant, item)).transpose()
    }

    /// Records that an object is stored, once its bytes are in the bucket and verified. If two
    /// workers store the same content, the first one wins; the other receives the first one's
    /// object, links it, and only then deletes its own key.
    ///
    /// Every uploader draws its own object key, so an object that is stored under it is the
    /// caller's own, even if the response was lost.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn put_object_if_absent(
        &self,
        tenant: &TenantId,
        object: &StoredObject,
    ) -> Result<Created<StoredObject>, StoreError> {
        let item = encode_object(tenant, object)?;
        match self.put(item, Replaces::Nothing).await? {
            Applied::Done(_) => Ok(Created::Created),
            Applied::Refused(None) => Err(StoreError::busy(
                "the object was created and deleted meanwhile",
            )),
            Applied::Refused(Some(item)) => {
                let stands = decode_object(tenant, item)?;
                Ok(if stands.key == object.key {
                    Created::Created
                } else {
                    Created::Exists(stands)
                })
            }
        }
    }

    /// Records that a connection holds an object: it has brought its bytes, or seen them in its
    /// Drive. Objects are shared by the tenant's connections; what is in them is not.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn hold_object(
        &self,
        key: &ConnectionKey,
        hash: &ContentHash,
    ) -> Result<Updated, StoreError> {
        let update = Update::of(Key::object(&key.tenant, hash)).when_text("state", STORED);
        Ok(match self.update(held_by(update, key)).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Returns whether a connection holds an object of its tenant: it did so by itself, or links a
    /// version to it or did once ([`Store::link_version`]).
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn holds_object(
        &self,
        key: &ConnectionKey,
        hash: &ContentHash,
    ) -> Result<bool, StoreError> {
        let item = self.get(&Key::object(&key.tenant, hash)).await?;
        let holders = item.and_then(|mut item| item.remove(HOLDERS));
        let holders = holders.and_then(|holders| holders.as_ss().ok().cloned());
        let holds = |id: &String| id == key.connection.as_str();
        Ok(holders.unwrap_or_default().iter().any(holds))
    }

    /// Prevents an object without references from being collected before `until`, for a caller that
    /// is about to link it. A referenced object is not written: its retention starts when it is
    /// released.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn retain_object(
        &self,
        tenant: &TenantId,
        hash: &ContentHash,
        until: Timestamp,
    ) -> Result<Retained, StoreError> {
        for round in 0..ROUNDS_MAX {
            let Some(object) = self.load_object(tenant, hash).await? else {
                return Ok(Retained::Absent);
            };
            let Some(retained) = object.retained(until) else {
                return Ok(Retained::Collecting);
            };
            let (Some(was), Some(at)) = (object.collect_at, retained.collect_at) else {
                return Ok(Retained::Done(object));
            };
            if was == at {
                return Ok(Retained::Done(object));
            }
            let update = Update::of(Key::object(tenant, hash))
                .set_number("collect_at", at.as_millis())
                .due(Some(at))
                .when_text("state", STORED)
                .when_number("collect_at", was.as_millis());
            match self.update(update).await? {
                Applied::Done(_) => return Ok(Retained::Done(retained)),
                Applied::Refused(_) => pause(round).await,
            }
        }
        Err(StoreError::busy("concurrent writes of the object"))
    }

    /// Begins to collect an object, on condition that no version references it and its time has
    /// come. From then on it can't be linked. Beginning again is allowed, to continue after a
    /// crash.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn begin_gc(
        &self,
        tenant: &TenantId,
        hash: &ContentHash,
        now: Timestamp,
    ) -> Result<GcStart, StoreError> {
        for round in 0..ROUNDS_MAX {
            let Some(object) = self.load_object(tenant, hash).await? else {
                return Ok(GcStart::Absent);
            };
            match (object.state, object.collect_at) {
                (ObjectState::Collecting, _) => return Ok(GcStart::Begun(object)),
                (ObjectState::Stored, Some(at)) if object.collectable(now) => {
                    let update = Update::of(Key::object(tenant, hash))
                        .set_text("state", COLLECTING)
                        .when_text("state", STORED)
                        .when_number("refs", 0)
                        .when_number("collect_at", at.as_millis());
                    match self.update(update).await? {
                        Applied::Done(item) => {
                            return Ok(GcStart::Begun(decode_object(tenant, item)?));
                        }
                        Applied::Refused(_) => pause(round).await,
                    }
                }
                (ObjectState::Stored, Some(_) | None) => return Ok(GcStart::NotYet(object)),
            }
        }
        Err(StoreError::busy("concurrent writes of the object"))
    }

    /// Deletes the item of an object whose key was deleted. An object that was stored anew
    /// meanwhile, under another key, is left alone.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn finish_gc(
        &self,
        tenant: &TenantId,
        collected: &StoredObject,
    ) -> Result<(), StoreError> {
        let guard = Update::of(Key::object(tenant, &collected.hash))
            .when_text("state", COLLECTING)
            .when_text("key", collected.key.as_str());
        // Refused: another worker finished it.
        self.delete_when(guard).await.map(drop)
    }
}
