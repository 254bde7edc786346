//! Stored objects: one for each content of a tenant, counted by the versions that name it, collected when none does.

use domain::content::{ContentHash, ObjectState, StoredObject};
use domain::{TenantId, Timestamp};

use crate::key::Key;
use crate::object_item::{COLLECTING, STORED, decode_object, encode_object};
use crate::store::{Applied, ROUNDS_MAX, pause};
use crate::update::{Replaces, Update};
use crate::{Created, Store, StoreError};

/// What became of an object that was to be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It stays for the time that was asked for, or longer.
    Done(StoredObject),
    /// It is being collected: wait until it has gone, and store it anew.
    Collecting,
    /// It is not stored.
    Absent,
}

/// What became of a collection that was to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collection {
    /// It has begun, now or earlier: delete the object's key, then [`Store::finish_collect`].
    Begun(StoredObject),
    /// Something names the object, or its time has not come.
    NotYet(StoredObject),
    /// There is no such object.
    Absent,
}

impl Store {
    /// The object that holds this content of the tenant, read consistently.
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

    /// Says that an object is stored, once its bytes are in the bucket and verified. Of two who bring the same content
    /// the first stands; the other is given that one, links it, and only then deletes its own key.
    ///
    /// The object's key was drawn by its uploader, so an object that stands under it is the caller's own, even where the
    /// answer was lost.
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
            Applied::Refused(None) => Err(StoreError::busy("the object came and went")),
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

    /// Keeps an object that nothing may name yet from being collected before `until`: for who is about to link it. One
    /// that is named is not written: when it is released, the retention begins.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn hold_object(
        &self,
        tenant: &TenantId,
        hash: &ContentHash,
        until: Timestamp,
    ) -> Result<Held, StoreError> {
        for round in 0..ROUNDS_MAX {
            let Some(object) = self.load_object(tenant, hash).await? else {
                return Ok(Held::Absent);
            };
            let Some(held) = object.held(until) else {
                return Ok(Held::Collecting);
            };
            let (Some(was), Some(at)) = (object.collect_at, held.collect_at) else {
                return Ok(Held::Done(object));
            };
            if was == at {
                return Ok(Held::Done(object));
            }
            let update = Update::of(Key::object(tenant, hash))
                .set_number("collect_at", at.as_millis())
                .due(Some(at))
                .when_text("state", STORED)
                .when_number("collect_at", was.as_millis());
            match self.update(update).await? {
                Applied::Done(_) => return Ok(Held::Done(held)),
                Applied::Refused(_) => pause(round).await,
            }
        }
        Err(StoreError::busy("others kept moving the object"))
    }

    /// Begins to collect an object, on condition that nothing names it and its time has come. From then on it can't be
    /// linked. Beginning again is allowed to whoever goes on after a crash.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn begin_collect(
        &self,
        tenant: &TenantId,
        hash: &ContentHash,
        now: Timestamp,
    ) -> Result<Collection, StoreError> {
        for round in 0..ROUNDS_MAX {
            let Some(object) = self.load_object(tenant, hash).await? else {
                return Ok(Collection::Absent);
            };
            match (object.state, object.collect_at) {
                (ObjectState::Collecting, _) => return Ok(Collection::Begun(object)),
                (ObjectState::Stored, Some(at)) if object.collectable(now) => {
                    let update = Update::of(Key::object(tenant, hash))
                        .set_text("state", COLLECTING)
                        .when_text("state", STORED)
                        .when_number("refs", 0)
                        .when_number("collect_at", at.as_millis());
                    match self.update(update).await? {
                        Applied::Done(item) => {
                            return Ok(Collection::Begun(decode_object(tenant, item)?));
                        }
                        Applied::Refused(_) => pause(round).await,
                    }
                }
                (ObjectState::Stored, Some(_) | None) => return Ok(Collection::NotYet(object)),
            }
        }
        Err(StoreError::busy("others kept moving the object"))
    }

    /// Forgets an object whose key was deleted. One that was stored anew meanwhile, under another key, is left alone.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn finish_collect(
        &self,
        tenant: &TenantId,
        collected: &StoredObject,
    ) -> Result<(), StoreError> {
        let guard = Update::of(Key::object(tenant, &collected.hash))
            .when_text("state", COLLECTING)
            .when_text("key", collected.key.as_str());
        // Refused: somebody else finished it.
        self.delete_when(guard).await.map(drop)
    }
}
