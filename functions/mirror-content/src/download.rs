//! Stores a version's content in the bucket: links it to identical content of the tenant, or
//! downloads it from Drive first.

use domain::content::{
    ContentHash, ContentOrigin, ContentOutcome, ContentState, ObjectLocation, RETAIN_MILLIS,
    StoredObject, StoredVersion,
};
use domain::rate_limit::CallKind;
use domain::{FileRecord, Timestamp};
use drive::{BadContent, ContentFacts, DriveError, Kind, Unavailable};
use objects::Digest;
use store::{Created, Linked, Retained};
use throttle::CallError;

use crate::file::{StepResult, Work};
use crate::transfer::{Transfer, TransferResult};
use worker::WorkError;

/// The number of corrupt downloads after which a version is recorded as unavailable.
const FAILURES_MAX: u32 = 5;

impl Work<'_> {
    /// Stores a version. Content that the tenant already has, from whatever origin, is linked:
    /// identical content is stored once.
    pub(crate) async fn store_version(
        &self,
        record: &FileRecord,
        state: ContentState,
        number: u32,
        hash: ContentHash,
        in_drive: bool,
    ) -> Result<StepResult, WorkError> {
        let tenant = &self.connection.key.tenant;
        let until = self.retain_until();
        match self.deps.store.retain_object(tenant, &hash, until).await? {
            Retained::Done(object) => {
                let origin = if in_drive {
                    ContentOrigin::Drive
                } else {
                    ContentOrigin::Application
                };
                let version = self.new_version(record, &object, number, origin, None);
                self.link_version(&state, version).await
            }
            Retained::Collecting => Err(WorkError::Collecting),
            Retained::Absent if in_drive => self.download(record, state, number, hash).await,
            Retained::Absent => {
                let reason = "its bytes are not stored, and Drive does not hold it".to_owned();
                let outcome = ContentOutcome::Unavailable { reason };
                self.record_outcome(&state, number, outcome).await
            }
        }
    }

    /// Downloads a version's content from Drive. Content that does not match the hash is rejected.
    async fn download(
        &self,
        record: &FileRecord,
        state: ContentState,
        number: u32,
        hash: ContentHash,
    ) -> Result<StepResult, WorkError> {
        let Some(facts) = self.read_facts().await? else {
            return Ok(StepResult::Finished);
        };
        if facts.sha256.as_deref() != Some(hash.to_string().as_str()) {
            // The change that reports the new content is on its way, and wakes the file again.
            tracing::info!(
                file = %self.file, number, metric = "content_moved_on",
                "Drive has different content by now"
            );
            return Ok(StepResult::Finished);
        }
        let mut state = state;
        let result = match Transfer::open(self, &mut state, number, hash, &facts).await {
            Ok(transfer) => transfer.run(&mut state, &facts).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(TransferResult::OutOfTime) => Ok(StepResult::OutOfTime),
            Ok(TransferResult::Done(place, digest)) => {
                let object = self.register_object(place, &digest).await?;
                let revision = facts.head_revision_id.clone();
                let version =
                    self.new_version(record, &object, number, ContentOrigin::Drive, revision);
                self.link_version(&state, version).await
            }
            Err(error) => self.handle_failure(&state, number, error).await,
        }
    }

    /// Reads the content's metadata from Drive; `None` if the file is gone, which its log reports
    /// too.
    pub(crate) async fn read_facts(&self) -> Result<Option<ContentFacts>, WorkError> {
        let drive = self.throttled_drive().await?;
        let read = || drive.client().content_facts(self.file);
        match drive.call_with_retries(CallKind::Read, read).await {
            Ok(facts) => Ok(Some(facts)),
            Err(CallError::Drive(error)) if error.gone().is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Records what a failure means for a version: unavailable content is recorded as such, and so
    /// is content that was corrupt too often. Every other failure is retried with the wake.
    pub(crate) async fn handle_failure(
        &self,
        state: &ContentState,
        number: u32,
        error: WorkError,
    ) -> Result<StepResult, WorkError> {
        if let Some(reason) = error.drive().and_then(unavailable) {
            let reason = reason.to_owned();
            let outcome = ContentOutcome::Unavailable { reason };
            return self.record_outcome(state, number, outcome).await;
        }
        let corrupt = error.drive().is_some_and(is_corrupt);
        if !corrupt && !matches!(error, WorkError::ChecksumMismatch) {
            return Err(error);
        }
        let failures = state.failures.saturating_add(1);
        if failures >= FAILURES_MAX {
            let reason = runtime::telemetry::chain(&error);
            let outcome = ContentOutcome::Unavailable { reason };
            return self.record_outcome(state, number, outcome).await;
        }
        if let Some(domain::content::Progress::Download(download)) = &state.progress {
            self.abort_upload(&download.object, &download.upload).await;
        }
        let updated = ContentState {
            failures,
            progress: None,
            ..state.clone()
        };
        self.save(&updated).await?;
        Err(error)
    }

    /// Registers verified bytes as a stored object. If identical bytes were registered
    /// concurrently, the first object is used and the other deleted.
    pub(crate) async fn register_object(
        &self,
        place: ObjectLocation,
        digest: &Digest,
    ) -> Result<StoredObject, WorkError> {
        let tenant = &self.connection.key.tenant;
        let now = self.deps.clock.now();
        let (sha256, size_bytes) = (digest.sha256, digest.size_bytes);
        let object = StoredObject::new(sha256, place, size_bytes, now, self.retain_until());
        let put = self.deps.store.put_object_if_absent(tenant, &object);
        match put.await? {
            Created::Created => Ok(object),
            Created::Exists(existing) => {
                self.delete_object(&object.key).await;
                Ok(existing)
            }
        }
    }

    pub(crate) fn new_version(
        &self,
        record: &FileRecord,
        object: &StoredObject,
        number: u32,
        origin: ContentOrigin,
        revision_id: Option<String>,
    ) -> StoredVersion {
        let (mime_type, now) = (&record.metadata.mime_type, self.deps.clock.now());
        StoredVersion {
            revision_id,
            by: Self::author(record),
            ..StoredVersion::new(number, object, mime_type, origin, now)
        }
    }

    /// Links a version to its object and records it as stored.
    pub(crate) async fn link_version(
        &self,
        state: &ContentState,
        version: StoredVersion,
    ) -> Result<StepResult, WorkError> {
        let key = &self.connection.key;
        let number = version.number;
        let linked = self.deps.store.link_version(key, self.file, &version);
        match linked.await? {
            Linked::Done => {}
            Linked::Taken(existing) => {
                // An earlier invocation stored other content under this number and stopped before
                // recording it. That version remains valid; this content gets the next number in
                // the next step.
                tracing::warn!(
                    file = %self.file, number, stands = %existing.hash,
                    metric = "content_number_taken",
                    "version number already stored with other content"
                );
            }
            // The object is gone, or another one was registered: the retry finds out.
            Linked::NotStored(_) => return Err(WorkError::Collecting),
        }
        let updated = ContentState {
            exported: exported_at(&version),
            ..state.with_outcome(number, ContentOutcome::Stored)
        };
        tracing::info!(
            file = %self.file, number, bytes = version.size_bytes, metric = "content_stored",
            "stored content"
        );
        self.save(&updated).await?;
        Ok(StepResult::Continue)
    }

    fn retain_until(&self) -> Timestamp {
        self.deps.clock.now().plus_millis(RETAIN_MILLIS)
    }
}

/// Returns the modification time of the exported document, which an export's version stores as its
/// revision id.
fn exported_at(version: &StoredVersion) -> Option<Timestamp> {
    match &version.origin {
        ContentOrigin::Export { .. } => {
            let of = version.revision_id.as_deref();
            of.and_then(Timestamp::parse_rfc3339)
        }
        ContentOrigin::Drive | ContentOrigin::Application => None,
    }
}

/// Returns the reason that Drive's error makes content unavailable, if it does.
pub(crate) fn unavailable(error: &DriveError) -> Option<&'static str> {
    Some(match error.content_unavailable()? {
        Unavailable::TooLarge => "too_large",
        Unavailable::NotExportable => "not_exportable",
        Unavailable::NotDownloadable => "not_downloadable",
        Unavailable::Forbidden => "forbidden",
        Unavailable::Abusive => "abusive",
        _ => "unavailable",
    })
}

/// Returns whether Drive sent wrong content, as opposed to none or a part of it.
fn is_corrupt(error: &DriveError) -> bool {
    match error.kind() {
        Kind::BadContent(bad) => match bad {
            BadContent::Interrupted => false,
            BadContent::TooLong
            | BadContent::UnexpectedBody
            | BadContent::WrongRange
            | BadContent::WrongSize => true,
        },
        Kind::CursorLost
        | Kind::AuthLost { .. }
        | Kind::RateLimited { .. }
        | Kind::DailyLimit
        | Kind::Stale
        | Kind::NotFound
        | Kind::AccessDenied { .. }
        | Kind::Permanent { .. }
        | Kind::Transient
        | Kind::Unanswered
        | Kind::NotSent => false,
    }
}
