//! Stored versions of files. A version references its object exactly as long as it is stored: both
//! change in one transaction.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::content::{StoredObject, StoredVersion};
use domain::{ConnectionKey, FileId, Timestamp};

use crate::content::object_item::{STORED, decode_object};
use crate::content::objects::held_by;
use crate::content::version_item::{decode_version, encode_version};
use crate::table::key::{Item, Key, VERSION, file_pk};
use crate::table::range::Range;
use crate::table::store::{Applied, ROUNDS_MAX, Transacted, pause};
use crate::table::update::{Replaces, Update, Write};
use crate::{Page, PageRequest, Store, StoreError, Updated};

/// The outcome of [`Store::link_version`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linked {
    /// It is stored, and its object counts it (once, however often it was linked).
    Done,
    /// Another content has this number already. Nothing was written.
    Taken(Box<StoredVersion>),
    /// Its object is not stored under the key that the version names: it is being collected, is
    /// stored under another key (that of its first uploader), or does not exist. Nothing was
    /// written.
    NotStored(Option<Box<StoredObject>>),
}

/// The outcome of [`Store::release_version`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It is deleted.
    Done {
        /// Whether it was the last reference to its object, which may be collected in time.
        last: bool,
    },
    /// It is pinned, and stays.
    Pinned,
    /// There is no such version.
    Absent,
}

impl Store {
    /// Stores a version and counts it in its object, in one transaction, on condition that the
    /// number is free and that its object is stored under the key that the version names. From then
    /// on the object can't be collected.
    ///
    /// # Errors
    /// [`StoreError`]; after `Busy` it may or may not be stored: link again.
    pub async fn link_version(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        version: &StoredVersion,
    ) -> Result<Linked, StoreError> {
        let place = Key::version(key, file, version.number);
        let put = Write::Put(encode_version(key, file, version)?, Replaces::Nothing);
        let object = Update::of(Key::object(&key.tenant, &version.hash))
            .add("refs", 1)
            .remove("collect_at")
            .due(None)
            .when_text("state", STORED)
            .when_text("key", version.object.as_str());
        let writes = vec![put, Write::Update(held_by(object, key))];
        let item = match self.transact(writes).await? {
            Transacted::Done => return Ok(Linked::Done),
            // An existing version is returned with its item, so the missing item is the object.
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

    /// Reads one stored version consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_version(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        number: u32,
    ) -> Result<Option<StoredVersion>, StoreError> {
        let item = self.get(&Key::version(key, file, number)).await?;
        item.map(|item| decode_version(key, item)).transpose()
    }

    /// Lists the stored versions of a file, newest first, consistently.
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

    /// Pins a stored version, so that it is not released, or unpins it.
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

    /// Records who created a stored version and why. A caller that restores a version calls this
    /// after linking it, since the mirror, which knows neither, may have linked it first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn annotate_version(
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

    /// Deletes a version that is not pinned and its reference to its object, in one transaction. If
    /// it was the last reference, the object may be collected from `collect_at` on.
    ///
    /// # Errors
    /// [`StoreError`]; `Corrupt` if its object does not exist or counts no version; after `Busy` it
    /// may or may not be deleted: release again.
    pub async fn release_version(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        number: u32,
        collect_at: Timestamp,
    ) -> Result<Released, StoreError> {
        let place = Key::version(key, file, number);
        for round in 0..ROUNDS_MAX {
            let Some(version) = self.load_version(key, file, number).await? else {
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
            // Only the last of many references must be recognised as such: the others do not
            // conflict.
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
            let writes = vec![Write::Delete(version), Write::Update(object)];
            match self.transact(writes).await? {
                Transacted::Done => return Ok(Released::Done { last }),
                Transacted::Refused(_) => pause(round).await,
            }
        }
        Err(StoreError::busy(
            "concurrent writes of the version's object",
        ))
    }
}
