//! Content that callers bring: its bytes are stored and verified first, then the file's record names them, then a
//! version does. So whatever dies in between leaves bytes that nobody names, which are collected, and never a name
//! without bytes; a version that is missing is added by the mirror.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::HeaderMap;
use bytes::Bytes;
use domain::content::{
    ContentHash, HOLD_MILLIS, ObjectKey, Origin, Place, StoredObject, StoredVersion,
};
use domain::{ConnectionKey, Field, FileRecord, Request, Value};
use objects::{Digest, Encoded, Named};
use store::{Connection, Created, Held, Linked, Updated};

use crate::etag::IfMatch;
use crate::extract::{FilePath, Repeat, repeat};
use crate::file_view::FileView;
use crate::files::{Done, refused, stale, write_once};
use crate::problem::{Kind, Problem};
use crate::{Deps, record};

/// The most that one request can bring, in bytes: 4 MiB. Lambda takes 6 MB, and API Gateway hands it binary bodies as
/// base64, which adds a third.
pub(crate) const DIRECT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest text that is compared or merged, in bytes.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;
/// The longest reason that is kept, in bytes.
const REASON_BYTES_MAX: usize = 500;
/// When to try again where the same bytes are being collected: that takes one delete.
const COLLECTING_SECONDS: u64 = 2;

/// Refuses where the connection's content is not mirrored: nobody would bring it to Drive.
pub(crate) fn enabled(connection: &Connection) -> Result<(), Problem> {
    if connection.content.enabled {
        return Ok(());
    }
    let detail = format!(
        "turn it on first: PATCH /v1/connections/{} with {{\"content\": {{\"enabled\": true}}}}",
        connection.key.connection
    );
    Err(Problem::new(Kind::ContentOff, detail))
}

/// Which content a caller has seen: its version, or the whole file by its tag, or both.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    version: Option<u32>,
    if_match: Option<IfMatch>,
}

impl Condition {
    /// Reads what a request says; it must say something.
    pub(crate) fn of(version: Option<u32>, headers: &HeaderMap) -> Result<Self, Problem> {
        let if_match = IfMatch::of(headers)?;
        if version.is_none() && if_match.is_none() {
            let detail = "name the content.version that you read as expected_version, or its ETag as If-Match";
            return Err(Problem::new(Kind::ConditionRequired, detail));
        }
        Ok(Self { version, if_match })
    }

    /// The condition that the content still has this version.
    pub(crate) fn version(version: u32) -> Self {
        Self {
            version: Some(version),
            if_match: None,
        }
    }

    /// Whether the file is what the caller saw, and can take content at all.
    pub(crate) fn check(&self, record: &FileRecord) -> Result<(), Problem> {
        if record.is_gone() {
            return Err(refused(record, domain::EditRefused::Gone));
        }
        if !record.can_hold_content() {
            return Err(no_content());
        }
        if self
            .version
            .is_some_and(|version| version != record.content_version)
        {
            return Err(mismatch(record.content_version).current(&FileView::new(record)));
        }
        if self
            .if_match
            .as_ref()
            .is_some_and(|tags| !tags.allows(record.visible.0))
        {
            return Err(stale(record));
        }
        Ok(())
    }
}

pub(crate) fn mismatch(current: u32) -> Problem {
    let detail = format!("the content has version {current}; read it, and say so");
    Problem::new(Kind::VersionMismatch, detail).current_version(current)
}

pub(crate) fn no_content() -> Problem {
    let detail = "folders, shortcuts and documents of Google's editors have no bytes of their own";
    Problem::new(Kind::ValueNotAllowed, detail)
}

/// A hash that a caller sends.
pub(crate) fn hash(text: &str) -> Result<ContentHash, Problem> {
    ContentHash::parse(text).map_err(|_| {
        let detail = "the content's hash must be its SHA-256: 64 hexadecimal digits";
        Problem::new(Kind::MalformedRequest, detail)
    })
}

pub(crate) fn wrong_hash(said: &ContentHash, found: &Digest) -> Problem {
    let detail = format!(
        "{} bytes came, of SHA-256 {}, and not of {said}: nothing of them is kept",
        found.size_bytes, found.sha256
    );
    Problem::new(Kind::ContentHashMismatch, detail)
}

/// A reason that a caller gives, as it is kept.
pub(crate) fn reason(text: Option<String>) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.len() > REASON_BYTES_MAX || text.chars().any(char::is_control) => {
            let detail = format!("a reason is one line of up to {REASON_BYTES_MAX} bytes");
            Err(Problem::new(Kind::ValueNotAllowed, detail).at("/reason"))
        }
        text => Ok(text.filter(|text| !text.trim().is_empty())),
    }
}

/// Whether the application's content is this.
pub(crate) fn holds(record: &FileRecord, hash: &ContentHash) -> bool {
    record.app(&Field::Content) == value(hash)
}

pub(crate) fn value(hash: &ContentHash) -> Value {
    Value::Text(hash.to_string())
}

/// What the tenant has stored of this content, kept for a day for who is about to name it; `None` where nothing is.
///
/// # Errors
/// 503 while it is being collected.
pub(crate) async fn held(
    deps: &Deps,
    key: &ConnectionKey,
    hash: &ContentHash,
) -> Result<Option<StoredObject>, Problem> {
    let until = deps.clock.now().plus_millis(HOLD_MILLIS);
    match deps.store.hold_object(&key.tenant, hash, until).await? {
        Held::Done(object) => Ok(Some(object)),
        Held::Absent => Ok(None),
        Held::Collecting => {
            let detail = "the same content is just being deleted; send it again";
            Err(Problem::busy(detail, COLLECTING_SECONDS))
        }
    }
}

/// Has content of this type stored, compressed where the connection wants that. What the tenant has already is not sent
/// to the bucket again.
pub(crate) async fn store(
    deps: &Deps,
    connection: &Connection,
    bytes: Bytes,
    digest: &Digest,
    mime_type: &str,
) -> Result<StoredObject, Problem> {
    let key = &connection.key;
    if let Some(object) = held(deps, key, &digest.sha256).await? {
        return Ok(object);
    }
    let object = ObjectKey::content(&key.tenant, &digest.sha256, deps.entropy.next());
    let settings = &connection.content;
    let content = Encoded::of(bytes, digest, mime_type, settings);
    let put = deps
        .objects
        .put(&object, content, mime_type, settings.storage_class);
    name(deps, key, put.await?, digest).await
}

/// Says that bytes are stored and verified. Of two who bring the same the first stands, and the other's go.
pub(crate) async fn name(
    deps: &Deps,
    key: &ConnectionKey,
    place: Place,
    digest: &Digest,
) -> Result<StoredObject, Problem> {
    let now = deps.clock.now();
    let until = now.plus_millis(HOLD_MILLIS);
    let object = StoredObject::new(digest.sha256, place, digest.size_bytes, now, until);
    let put = deps.store.put_object_if_absent(&key.tenant, &object);
    match put.await? {
        Created::Created => Ok(object),
        Created::Exists(_) => {
            discard(deps, &object.key).await;
            let stands = held(deps, key, &digest.sha256).await?;
            stands.ok_or_else(|| Problem::busy("the same content came and went", 1))
        }
    }
}

/// Deletes bytes that nothing names. What could not be deleted costs its storage, and does no harm.
pub(crate) async fn discard(deps: &Deps, place: &ObjectKey) {
    if let Err(error) = deps.objects.delete(place).await {
        let error = runtime::telemetry::chain(&error);
        tracing::warn!(object = %place, error, metric = "object_left", "bytes that nothing names were left");
    }
}

/// Stored content as a text, or why it is none that can be worked with line by line.
pub(crate) async fn text<'a>(
    deps: &Deps,
    stored: impl Into<Named<'a>>,
) -> Result<Result<String, &'static str>, Problem> {
    let stored = stored.into();
    if stored.size_bytes > TEXT_BYTES_MAX {
        return Ok(Err("has more than 1 MiB"));
    }
    let bytes = deps.objects.content(stored, TEXT_BYTES_MAX).await?;
    let bytes = bytes.ok_or_else(|| Problem::busy("the stored bytes can't be read now", 2))?;
    Ok(match std::str::from_utf8(&bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("is no text"),
    })
}

/// Content that a caller makes the file's next.
#[derive(Debug, Clone)]
pub(crate) struct Next {
    /// What the caller has seen.
    pub(crate) condition: Condition,
    /// The request, where it has a key.
    pub(crate) request: Option<Request>,
    /// Why, where the caller says so.
    pub(crate) reason: Option<String>,
}

/// Whether there is anything to be stored before [`Next::take`]: not where the request was done before, or the file holds
/// this content already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Bytes, of a file of this type.
    Bytes {
        mime_type: String,
    },
    Nothing,
}

impl Next {
    /// Judges a request by the record, before its bytes are stored.
    pub(crate) async fn asks(
        &self,
        deps: &Deps,
        at: &FilePath,
        hash: &ContentHash,
    ) -> Result<Asks, Problem> {
        let record = record::file(deps, &at.key, &at.file).await?;
        if repeat(self.request.as_ref(), record.last_request.as_ref())? == Repeat::Replayed {
            return Ok(Asks::Nothing);
        }
        self.condition.check(&record)?;
        let open = [&Field::Existence, &Field::Content];
        let open: Vec<_> = open
            .into_iter()
            .filter_map(|field| record.open_conflict(field))
            .collect();
        if !open.is_empty() {
            return Err(refused(&record, domain::EditRefused::Held(open)));
        }
        Ok(match holds(&record, hash) {
            true => Asks::Nothing,
            false => Asks::Bytes {
                mime_type: record.mirror.mime_type,
            },
        })
    }

    /// Makes the content the file's. `object` is `None` where [`Next::asks`] asked for nothing.
    pub(crate) async fn take(
        self,
        deps: &Deps,
        at: &FilePath,
        connection: &Connection,
        hash: &ContentHash,
        object: Option<&StoredObject>,
    ) -> Result<Done, Problem> {
        let by = at.caller.subject.as_str();
        let edit = BTreeMap::from([(Field::Content, value(hash))]);
        // 0, which no version has, while the content does not move.
        let number = AtomicU32::new(0);
        let seen = |record: &FileRecord| self.condition.check(record);
        let request = self.request.clone();
        let done = write_once(deps, at, connection, request, seen, |record, moment| {
            number.store(0, Ordering::Relaxed);
            if object.is_none() && !holds(record, hash) {
                return Err(Problem::busy("the content has just changed", 1));
            }
            let step = record.edit(&edit, by, moment);
            let step = step.map_err(|why| refused(record, why))?;
            if step.record.content_version != record.content_version {
                number.store(step.record.content_version, Ordering::Relaxed);
            }
            Ok(step)
        })
        .await?;
        let number = number.into_inner();
        if let (1.., Some(object)) = (number, object) {
            let version = version_of(deps, &done.record, object, number, by);
            link(deps, &at.key, &done.record, version, self.reason.as_deref()).await;
        }
        Ok(done)
    }
}

/// The version that a record's content is, brought by the application.
pub(crate) fn version_of(
    deps: &Deps,
    record: &FileRecord,
    object: &StoredObject,
    number: u32,
    by: &str,
) -> StoredVersion {
    let (mime_type, now) = (&record.mirror.mime_type, deps.clock.now());
    StoredVersion {
        by: Some(by.to_owned()),
        ..StoredVersion::new(number, object, mime_type, Origin::Application, now)
    }
}

/// Has a version name its object. The record names it already, so where this can't be done now, the mirror does it.
pub(crate) async fn link(
    deps: &Deps,
    key: &ConnectionKey,
    record: &FileRecord,
    version: StoredVersion,
    reason: Option<&str>,
) {
    let number = version.number;
    let by = version.by.clone().unwrap_or_default();
    let version = StoredVersion {
        reason: reason.map(str::to_owned),
        ..version
    };
    let why = match deps.store.link_version(key, &record.file, &version).await {
        Ok(Linked::Done) => None,
        Ok(Linked::Taken(_)) => Some("another content has its number".to_owned()),
        Ok(Linked::NotStored(_)) => Some("its object has gone".to_owned()),
        Err(error) => Some(runtime::telemetry::chain(&error)),
    };
    if let Some(why) = why {
        tracing::warn!(connection = %key, number, why, metric = "version_not_linked", "the mirror links it");
        return;
    }
    // The mirror may have been first to link it, without the reason.
    if let Some(reason) = reason {
        let told = deps
            .store
            .explain_version(key, &record.file, number, &by, reason);
        match told.await {
            Ok(Updated::Done | Updated::Absent) => {}
            Err(error) => {
                let error = runtime::telemetry::chain(&error);
                tracing::warn!(connection = %key, number, error, "a version's reason was not kept");
            }
        }
    }
}
