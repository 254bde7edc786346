//! Erases a connection that was deleted, one page at a time, or counts what that would erase.

use domain::content::{ContentHash, ObjectKey, StoredObject};
use domain::operation::{Erase, ErasePart, ErasedCounts, ErasedKind};
use domain::{ConnectionKey, FileId, Operation, TenantId, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use objects::{ObjectVersion, Objects, VersionsCursor};
use store::{Belongings, Connection, Erased, GcStart, PageRequest, Written};
use worker::WorkError;

use crate::Deps;
use crate::export::write_export;

/// The number of files of one step.
const FILES_PER_STEP: u32 = 200;
/// The number of files that are erased at a time, and of objects.
const AT_ONCE: usize = 16;
/// The time after which bytes that no item names belong to nobody, in milliseconds: the function
/// that stores them names them within its run.
const UNNAMED_MILLIS: i64 = 24 * 3_600_000;

/// Erases the page of a part at a position, or counts it.
pub(crate) async fn erase_page(
    part: ErasePart,
    position: Option<String>,
    operation: &Operation,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let page = Erasing {
        operation,
        only_counts: part.only_counts(),
        now: deps.clock.now(),
        deps,
    };
    let (counts, next) = match part {
        ErasePart::CountFiles | ErasePart::Files => page.files(position).await?,
        ErasePart::CountItems | ErasePart::Items => page.items(position).await?,
        ErasePart::Remains => page.remains(position).await?,
        ErasePart::Objects => page.objects(position).await?,
    };
    Ok(operation.on_erased(&counts, next, deps.clock.now()))
}

/// Stores the certificate in place of the connection, and ends the erasure with it.
pub(crate) async fn certify(
    operation: &Operation,
    erase: &Erase,
    connection: &Connection,
    deps: &Deps,
) -> Result<(), WorkError> {
    let erased = Erased {
        at: deps.clock.now(),
        counts: erase.counts.clone(),
    };
    deps.store.remove_slots_of(&operation.key).await?;
    deps.store
        .take_from_endpoints(&operation.key, erased.at)
        .await?;
    let tombstone = connection.tombstone(erased);
    match deps.store.finish_erasure(&tombstone, operation).await? {
        Written::Done(_) => tracing::info!(
            connection = %operation.key, operation = %operation.id,
            items = erase.counts.values().sum::<u64>(), metric = "connection_erased",
            "connection erased: nothing is left of it but its tombstone"
        ),
        // Another run has done it.
        Written::Stale(_) => {}
    }
    Ok(())
}

/// Reports whether the connection is still what the erasure was made for: a restored one, and one
/// that was deleted once more, is none of its business.
pub(crate) fn is_meant(erase: &Erase, connection: &Connection) -> bool {
    erase.generation == connection.generation && erase.dry_run == connection.exists()
}

struct Erasing<'a> {
    operation: &'a Operation,
    only_counts: bool,
    now: Timestamp,
    deps: &'a Deps,
}

type Page = (ErasedCounts, Option<String>);

fn add(counts: &mut ErasedCounts, more: &ErasedCounts) {
    for (kind, count) in more {
        *counts.entry(*kind).or_default() += count;
    }
}

impl Erasing<'_> {
    fn key(&self) -> &ConnectionKey {
        &self.operation.key
    }

    async fn files(&self, position: Option<String>) -> Result<Page, WorkError> {
        let page = PageRequest {
            limit: FILES_PER_STEP,
            cursor: position,
        };
        let found = self.deps.store.list_file_ids(self.key(), &page).await?;
        Ok((self.erase_files(found.items).await?, found.next_cursor))
    }

    async fn erase_files(
        &self,
        files: impl IntoIterator<Item = FileId>,
    ) -> Result<ErasedCounts, WorkError> {
        let erased = stream::iter(files)
            .map(|file| async move { Box::pin(self.file(&file)).await })
            .buffer_unordered(AT_ONCE);
        erased
            .try_fold(ErasedCounts::new(), async |mut counts, more| {
                add(&mut counts, &more);
                Ok(counts)
            })
            .await
    }

    /// Erases one file: first the bytes of transfers in progress, which only its items name.
    async fn file(&self, file: &FileId) -> Result<ErasedCounts, WorkError> {
        let store = &self.deps.store;
        let found = store.belongings_of_file(self.key(), file).await?;
        let mut counts = found.counts.clone();
        if self.only_counts {
            return Ok(counts);
        }
        let mut objects = self.abort_uploads(&found).await?;
        store.erase_file(self.key(), file, &found, self.now).await?;
        for hash in &found.hashes {
            objects += self.collect(hash).await?;
        }
        if objects > 0 {
            *counts.entry(ErasedKind::Objects).or_default() += objects;
        }
        Ok(counts)
    }

    async fn abort_uploads(&self, found: &Belongings) -> Result<u64, WorkError> {
        let mut objects = 0;
        for (key, upload) in &found.uploads {
            self.deps.objects.abort_upload(key, upload).await?;
            if self.object_at(key).await?.is_none() {
                objects += self.erase_object(key).await?;
            }
        }
        Ok(objects)
    }

    /// Deletes an object with all of its versions, here and in the copy of the bucket.
    async fn erase_object(&self, key: &ObjectKey) -> Result<u64, WorkError> {
        let mut deleted = 0;
        for bucket in buckets(self.deps) {
            deleted += bucket.erase(key).await?;
        }
        Ok(deleted)
    }

    /// Returns the stored object whose bytes are under a key.
    async fn object_at(&self, key: &ObjectKey) -> Result<Option<StoredObject>, WorkError> {
        let Some(hash) = key.content_hash() else {
            return Ok(None);
        };
        let object = self.deps.store.load_object(self.tenant(), &hash).await?;
        Ok(object.filter(|object| object.key == *key))
    }

    fn tenant(&self) -> &TenantId {
        &self.operation.key.tenant
    }

    /// Deletes a content with all of its versions if nothing refers to it any more, and returns
    /// their number.
    async fn collect(&self, hash: &ContentHash) -> Result<u64, WorkError> {
        let store = &self.deps.store;
        match store.begin_gc(self.tenant(), hash, self.now).await? {
            GcStart::Begun(object) => {
                let deleted = self.erase_object(&object.key).await?;
                store.finish_gc(self.tenant(), &object).await?;
                Ok(deleted)
            }
            GcStart::NotYet(_) | GcStart::Absent => Ok(0),
        }
    }

    async fn items(&self, position: Option<String>) -> Result<Page, WorkError> {
        let store = &self.deps.store;
        let except = &self.operation.id;
        let found = store.belongings_of_connection(self.key(), except, position.as_deref());
        let (found, next) = found.await?;
        Ok((self.erase_items(&found).await?, next))
    }

    async fn erase_items(&self, found: &Belongings) -> Result<ErasedCounts, WorkError> {
        let mut counts = found.counts.clone();
        if !self.only_counts {
            let objects = self.abort_uploads(found).await?;
            self.deps.store.erase_items(found).await?;
            if objects > 0 {
                *counts.entry(ErasedKind::Objects).or_default() += objects;
            }
        }
        Ok(counts)
    }

    async fn remains(&self, position: Option<String>) -> Result<Page, WorkError> {
        let store = &self.deps.store;
        let except = &self.operation.id;
        let found = store.find_remains(self.key(), except, position.as_deref());
        let found = found.await?;
        let mut counts = self.erase_items(&found.belongings).await?;
        add(&mut counts, &self.erase_files(found.files).await?);
        Ok((counts, found.next))
    }

    /// Deletes the exports that may hold something of the connection, and the versions of objects
    /// that no item of the tenant names, among them what is left of contents that were deleted
    /// before.
    async fn objects(&self, position: Option<String>) -> Result<Page, WorkError> {
        let exported = match position {
            None => {
                let key = self.key();
                let of = Some(&key.connection);
                write_export::erase_exports(&key.tenant, of, self.deps).await?
            }
            Some(_) => 0,
        };
        let place = Place::parse(position.as_deref());
        let Some(bucket) = buckets(self.deps).nth(place.bucket) else {
            return Ok((ErasedCounts::new(), None));
        };
        let listed = bucket.list_versions(self.tenant(), place.after.as_ref());
        let (versions, next) = listed.await?;
        let deleted = stream::iter(versions)
            .map(|version| async move { Box::pin(self.version(bucket, version)).await })
            .buffer_unordered(AT_ONCE)
            .try_fold(exported, async |sum, deleted| Ok(sum + deleted))
            .await?;
        let mut counts = ErasedCounts::new();
        if deleted > 0 {
            counts.insert(ErasedKind::Objects, deleted);
        }
        let next = place.following(next, self.deps);
        Ok((counts, next))
    }

    async fn version(&self, bucket: &Objects, version: ObjectVersion) -> Result<u64, WorkError> {
        // Other objects have an end of their own.
        let Ok(key) = ObjectKey::parse(self.tenant(), &version.key) else {
            return Ok(0);
        };
        match self.object_at(&key).await? {
            // What nothing refers to any more is another one's to delete in time, or ours now.
            Some(object) if object.collectable(self.now) => {
                return self.collect(&object.hash).await;
            }
            Some(_) => return Ok(0),
            None => {}
        }
        // A function that has just stored an object names it in the next moment.
        let age_millis = |at: Timestamp| self.now.millis_since(at);
        let unnamed = version.stored_at.map_or(0, age_millis) > UNNAMED_MILLIS;
        if version.current && !unnamed {
            return Ok(0);
        }
        bucket.delete_version(&version).await?;
        Ok(1)
    }
}

/// The bucket, and its copy if there is one.
pub(crate) fn buckets(deps: &Deps) -> impl Iterator<Item = &Objects> {
    std::iter::once(&deps.objects).chain(&deps.replica)
}

/// A position among the versions of all buckets.
pub(crate) struct Place {
    /// The number of the bucket.
    pub(crate) bucket: usize,
    /// The last version in its list.
    pub(crate) after: Option<VersionsCursor>,
}

impl Place {
    pub(crate) fn parse(position: Option<&str>) -> Self {
        let mut parts = position.unwrap_or_default().splitn(3, '\n');
        let bucket = parts.next().and_then(|number| number.parse().ok());
        let after = match (parts.next(), parts.next()) {
            (Some(key), Some(id)) => Some(VersionsCursor {
                key: key.to_owned(),
                id: id.to_owned(),
            }),
            _ => None,
        };
        Self {
            bucket: bucket.unwrap_or_default(),
            after,
        }
    }

    /// Returns the position after a page of the bucket's list, which goes on at `next`; `None` at
    /// the end of the last bucket.
    pub(crate) fn following(&self, next: Option<VersionsCursor>, deps: &Deps) -> Option<String> {
        let number = self.bucket;
        match next {
            Some(next) => Some(format!("{number}\n{}\n{}", next.key, next.id)),
            None => buckets(deps)
                .nth(number + 1)
                .map(|_| (number + 1).to_string()),
        }
    }
}
