//! Stored versions of files. One names its object exactly as long as it is there: both move in one transaction.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::content::{StoredObject, StoredVersion};
use domain::{ConnectionKey, FileId, Timestamp};

use crate::key::{Item, Key, VERSION, file_pk};
use crate::object_item::{STORED, decode_object};
use crate::range::Range;
use crate::store::{Applied, ROUNDS_MAX, Transacted, pause};
use crate::update::{Replaces, Update};
use crate::version_item::{decode_version, encode_version};
use crate::{Page, PageRequest, Store, StoreError, Updated};

/// What became of a version that was to be linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linked {
    /// It stands, and its object counts it (once, however often it was linked).
    Done,
    /// Another content has this number already. Nothing was written.
    Taken(Box<StoredVersion>),
    /// Its object is not stored under the key that the version names: it is being collected, lies under another key (that
    /// of who stored it first), or is not there. Nothing was written.
    NotStored(Option<Box<StoredObject>>),
}

/// What became of a version that was to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It is gone.
    Done {
        /// Whether it was the last that named its object, which may be collected in time.
        last: bool,
    },
    /// It is pinned, and stays.
    Pinned,
    /// There is no such version.
    Absent,
}

impl Store {
    /// Stores a version and counts it in its object, in one transaction: on condition that there is none of this number,
    /// and that its object is stored under the key that the version names. The object is out of collection's reach then.
    ///
    /// # Errors
    /// [`StoreError`]; after `Busy` it may or may not stand: link again.
    pub async fn link_version(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        version: &StoredVersion,
    ) -> Result<Linked, StoreError> {
        let place = Key::version(key, file, version.number);
        let put =
            Replaces::Nothing.in_transaction(encode_version(key, file, version)?, &self.table)?;
        let object = Update::of(Key::object(&key.tenant, &version.hash))
            .add("refs", 1)
            .remove("collect_at")
            .due(None)
            .when_text("state", STORED)
            .when_text("key", version.object.as_str());
        let writes = vec![put, object.in_transaction(&self.table)?];
        let item = match self.transact(writes).await? {
            Transacted::Done => return Ok(Linked::Done),
            // A version that is there comes with its item, so what is not there is the object.
            Transacted::Refused(None) => return Ok(Linked::NotStored(None)),
            Transacted::Refused(Some(item)) => item,
        };
        if Key::of(&item)? != place {
            let object = decode_object(&key.tenant, item)?;
            return Ok(Linked::NotStored(Some(Box::new(object))));
        }
        let stands = decode_version(key, item)?;
        Ok(if stands.hash == version.hash {
            Linked::Done
        } else {
            Linked::Taken(Box::new(stands))
        })
    }

    /// One stored version, read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn version(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        number: u32,
    ) -> Result<Option<StoredVersion>, StoreError> {
        let item = self.get(&Key::version(key, file, number)).await?;
        item.map(|item| decode_version(key, item)).transpose()
    }

    /// The stored versions of a file, newest first, read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_versions(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        page: &PageRequest,
    ) -> Result<Page<StoredVersion>, StoreError> {
        let all = Range::prefix(None, file_pk(key, file), VERSION).descending();
        let decode = |item: Item| decode_version(key, item);
        self.list_range("versions", all, page, decode).await
    }

    /// Pins a stored version, so that it is not released, or lets it go again.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn pin_version(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        number: u32,
        pinned: bool,
    ) -> Result<Updated, StoreError> {
        let update =
            Update::of(Key::version(key, file, number)).set("pinned", AttributeValue::Bool(pinned));
        match self.update(update).await? {
            Applied::Done(_) => Ok(Updated::Done),
            Applied::Refused(_) => Ok(Updated::Absent),
        }
    }

    /// Says who brought a stored version and why. Whoever restores one says it after it was linked, since the mirror, which
    /// knows neither, may have been first to link it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn explain_version(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        number: u32,
        by: &str,
        reason: &str,
    ) -> Result<Updated, StoreError> {
        let update = Update::of(Key::version(key, file, number))
            .set_text("by", by)
            .set_text("reason", reason);
        match self.update(update).await? {
            Applied::Done(_) => Ok(Updated::Done),
            Applied::Refused(_) => Ok(Updated::Absent),
        }
    }

    /// Deletes a version that is not pinned and counts it out of its object, in one transaction. Where it was the last
    /// that named the object, that may be collected from `collect_at` on.
    ///
    /// # Errors
    /// [`StoreError`]; `Corrupt` where its object is not there or counts no version; after `Busy` it may or may not have
    /// gone: release again.
    pub async fn release_version(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        number: u32,
        collect_at: Timestamp,
    ) -> Result<Released, StoreError> {
        let place = Key::version(key, file, number);
        for round in 0..ROUNDS_MAX {
            let Some(version) = self.version(key, file, number).await? else {
                return Ok(Released::Absent);
            };
            if version.pinned {
                return Ok(Released::Pinned);
            }
            let object = self.load_object(&key.tenant, &version.hash).await?;
            let next = object.and_then(|object| object.released(collect_at));
            let Some(next) = next else {
                return Err(place.corrupt("its object does not count it"));
            };
            let last = next.refs == 0;
            // Of many that name an object only the last has to know that it is: the others don't meet each other.
            let object = Update::of(Key::object(&key.tenant, &version.hash));
            let object = match next.collect_at {
                Some(at) => object
                    .set_number("refs", 0)
                    .set_number("collect_at", at.as_millis())
                    .due(Some(at))
                    .when_number("refs", 1),
                None => object.add("refs", -1).when_more("refs", 1),
            };
            let version = Update::of(place.clone())
                .when("pinned", Some(AttributeValue::Bool(false)))
                .when_text("object", version.object.as_str());
            let writes = vec![
                version.delete_in_transaction(&self.table)?,
                object.in_transaction(&self.table)?,
            ];
            match self.transact(writes).await? {
                Transacted::Done => return Ok(Released::Done { last }),
                Transacted::Refused(_) => pause(round).await,
            }
        }
        Err(StoreError::busy("others kept moving the version's object"))
    }
}
