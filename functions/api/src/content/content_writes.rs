//! Writes of content. The bytes are stored and verified first, then the file's record refers to
//! them, then a version does. A crash in between leaves bytes without a reference, which are
//! collected, and never a reference without bytes; a missing version is added by the content
//! mirror.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::content::{ContentHash, ObjectKey, ObjectLocation, RETAIN_MILLIS, StoredObject};
use domain::{ConnectionKey, EditRefused, Field, FileRecord, Value};
use objects::{Digest, Encoded};
use store::{Connection, Created, Retained};

use crate::content::content_condition::ContentCondition;
use crate::edits::{ConditionalEdit, Edited, Precondition};
use crate::files::edit_problems::refused;
use crate::http::{FilePath, Keyed, Kind, Problem};
use crate::{Deps, lookups};

/// When to retry while the same bytes are being collected, in seconds: that takes one delete.
const COLLECTING_SECONDS: u64 = 2;

/// Refuses content for a connection that does not mirror it: it would never be written to Drive.
pub(crate) fn require_enabled(connection: &Connection) -> Result<(), Problem> {
    if connection.content.enabled {
        return Ok(());
    }
    let detail = format!(
        "enable it first: PATCH /v1/connections/{} with {{\"content\": {{\"enabled\": true}}}}",
        connection.key.connection
    );
    Err(Problem::new(Kind::ContentOff, detail))
}

/// The problem of content that does not match its hash.
pub(crate) fn hash_mismatch(expected: &ContentHash, received: &Digest) -> Problem {
    let detail = format!(
        "received {} bytes with SHA-256 {}, expected {expected}; nothing was stored",
        received.size_bytes, received.sha256
    );
    Problem::new(Kind::ContentHashMismatch, detail)
}

/// Returns the value of a file's content field.
pub(crate) fn value(hash: &ContentHash) -> Value {
    Value::Text(hash.to_string())
}

fn has_content(record: &FileRecord, hash: &ContentHash) -> bool {
    record.app(&Field::Content) == value(hash)
}

/// Returns the tenant's stored object with this content, and retains it for a day, so that a record
/// can come to refer to it; `None` if it is not stored.
///
/// # Errors
/// 503 while it is being collected.
pub(crate) async fn retain(
    deps: &Deps,
    key: &ConnectionKey,
    hash: &ContentHash,
) -> Result<Option<StoredObject>, Problem> {
    let until = deps.clock.now().plus_millis(RETAIN_MILLIS);
    match deps.store.retain_object(&key.tenant, hash, until).await? {
        Retained::Done(object) => Ok(Some(object)),
        Retained::Absent => Ok(None),
        Retained::Collecting => {
            let detail = "the same content is being deleted; send it again";
            Err(Problem::busy(detail, COLLECTING_SECONDS))
        }
    }
}

/// Stores content of this type, compressed if the connection's settings say so. Content that the
/// tenant has stored already is not sent to the bucket again.
pub(crate) async fn store(
    deps: &Deps,
    connection: &Connection,
    bytes: Bytes,
    digest: &Digest,
    mime_type: &str,
) -> Result<StoredObject, Problem> {
    let key = &connection.key;
    if let Some(object) = retain(deps, key, &digest.sha256).await? {
        return Ok(object);
    }
    let object = ObjectKey::content(&key.tenant, &digest.sha256, deps.entropy.next());
    let settings = &connection.content;
    let content = Encoded::with_settings(bytes, digest, mime_type, settings);
    let put = deps.objects.put(&object, content, settings.storage_class);
    record_object(deps, key, put.await?, digest).await
}

/// Records that bytes are stored and verified. If the same content was recorded concurrently, the
/// first object stays and the other one is deleted.
pub(crate) async fn record_object(
    deps: &Deps,
    key: &ConnectionKey,
    place: ObjectLocation,
    digest: &Digest,
) -> Result<StoredObject, Problem> {
    let now = deps.clock.now();
    let until = now.plus_millis(RETAIN_MILLIS);
    let object = StoredObject::new(digest.sha256, place, digest.size_bytes, now, until);
    let put = deps.store.put_object_if_absent(&key.tenant, &object);
    match put.await? {
        Created::Created => Ok(object),
        Created::Exists(_) => {
            delete_bytes(deps, &object.key).await;
            let existing = retain(deps, key, &digest.sha256).await?;
            existing.ok_or_else(|| Problem::busy("the same content has been stored and deleted", 1))
        }
    }
}

/// Deletes bytes that nothing refers to. If this fails, they only cost storage.
pub(crate) async fn delete_bytes(deps: &Deps, object: &ObjectKey) {
    if let Err(error) = deps.objects.delete(object).await {
        let error = runtime::telemetry::chain(&error);
        let metric = "object_left";
        tracing::warn!(%object, error, metric, "could not delete unreferenced bytes");
    }
}

/// A new content of a file.
pub(crate) struct ContentChange<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) connection: &'a Connection,
    pub(crate) at: &'a FilePath,
    pub(crate) hash: ContentHash,
    /// The content that the caller has seen.
    pub(crate) condition: ContentCondition,
    /// The key of the request.
    pub(crate) keyed: &'a Keyed,
    /// The reason, if the caller states one.
    pub(crate) reason: Option<String>,
}

impl ContentChange<'_> {
    /// Checks the request against the record before any bytes are stored. Returns the file's MIME
    /// type, or `None` if no bytes are needed: the file has this content already.
    pub(crate) async fn needs_bytes(&self) -> Result<Option<String>, Problem> {
        let record = lookups::file(self.deps, &self.at.key, &self.at.file).await?;
        self.condition.check(&record)?;
        let open: Vec<_> = [&Field::Existence, &Field::Content]
            .into_iter()
            .filter_map(|field| record.open_conflict(field))
            .collect();
        if !open.is_empty() {
            return Err(refused(&record, EditRefused::InConflict(open)));
        }
        Ok((!has_content(&record, &self.hash)).then_some(record.metadata.mime_type))
    }

    /// Makes the content the file's. `object` is `None` if no bytes were needed.
    pub(crate) async fn apply(&self, object: Option<&StoredObject>) -> Result<Edited, Problem> {
        let by = self.at.caller.subject.as_str();
        let values = BTreeMap::from([(Field::Content, value(&self.hash))]);
        let edit = ConditionalEdit::new(
            self.deps,
            self.connection,
            &self.at.file,
            self.keyed,
            Precondition::Content(self.condition.clone()),
        );
        let edited = edit.run(|record, context| {
            if object.is_none() && !has_content(record, &self.hash) {
                return Err(Problem::busy("the content has just changed", 1));
            }
            let transition = record.edit(&values, by, context);
            transition.map_err(|why| refused(record, why))
        });
        let edited = edited.await?;
        if let (true, Some(object)) = (edited.has_new_content, object) {
            let (store, key, now) = (&self.deps.store, &self.at.key, self.deps.clock.now());
            let why = (by, self.reason.as_deref());
            worker::link_version(store, key, edited.record(), object, why, now).await;
        }
        Ok(edited)
    }
}
