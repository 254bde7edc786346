//! Stores a version's content in the bucket: links it to identical content of the tenant, or
//! downloads it from Drive first.

use domain::content::{
    ContentOrigin, ContentOutcome, ContentState, DRIVE_SIDE, Failure, ObjectLocation, Progress,
    RETAIN_MILLIS, StoredObject, StoredVersion, Verdict,
};
use domain::rate_limit::CallKind;
use domain::{DriveMetadata, FileRecord, Timestamp};
use drive::ContentFacts;
use objects::Digest;
use store::{Committed, Created, Linked, Retained};

use crate::file::{StepResult, Work};
use crate::transfer::{Transfer, TransferResult};
use crate::trouble;
use crate::wanted::Wanted;
use worker::WorkError;

/// The end of a transfer without an error.
enum Transferred {
    /// With Drive's revision of the content.
    Done(Option<String>, ObjectLocation, Digest),
    OutOfTime,
    /// Drive's metadata say that the content can't be had now.
    Refused(&'static str, Verdict),
}

impl Work<'_> {
    /// Stores a version. Content that the tenant already has, from whatever origin, is linked:
    /// identical content is stored once.
    pub(crate) async fn store_version(
        &self,
        record: &FileRecord,
        state: ContentState,
        wanted: Wanted,
    ) -> Result<StepResult, WorkError> {
        let Some(hash) = wanted.content.hash() else {
            return self.download(record, state, wanted).await;
        };
        let number = wanted.number;
        let tenant = &self.connection.key.tenant;
        let until = self.retain_until();
        match self.deps.store.retain_object(tenant, &hash, until).await? {
            Retained::Done(object) => {
                let origin = if wanted.in_drive {
                    ContentOrigin::Drive
                } else {
                    ContentOrigin::Application
                };
                let version = self.new_version(record, &object, number, origin, None);
                self.link_version(&state, version).await
            }
            Retained::Collecting => Err(WorkError::Collecting),
            Retained::Absent if wanted.in_drive => self.download(record, state, wanted).await,
            Retained::Absent => {
                let failure = Failure {
                    of: wanted.of,
                    reason: "its bytes are not stored, and Drive does not hold it".to_owned(),
                    verdict: Verdict::Refused,
                };
                self.record_trouble(&state, failure).await
            }
        }
    }

    /// Downloads a version's content from Drive. Content that is not what was asked for is
    /// rejected.
    async fn download(
        &self,
        record: &FileRecord,
        state: ContentState,
        wanted: Wanted,
    ) -> Result<StepResult, WorkError> {
        let mut state = state;
        let number = wanted.number;
        let (revision, place, digest) = match self.transfer(record, &mut state, &wanted).await {
            Ok(Transferred::Done(revision, place, digest)) => (revision, place, digest),
            Ok(Transferred::OutOfTime) => return Ok(StepResult::OutOfTime),
            Ok(Transferred::Refused(reason, verdict)) => {
                let of = wanted.of;
                let reason = reason.to_owned();
                let failure = Failure {
                    of,
                    reason,
                    verdict,
                };
                return self.record_trouble(&state, failure).await;
            }
            Err(error) => return self.handle_failure(&state, wanted.of, error).await,
        };
        let object = self.register_object(place, &digest).await?;
        if wanted.content.hash().is_none() {
            let learned = record.learn_content(&wanted.content, &object.hash, self.context());
            match self.commit(record, &learned).await? {
                Committed::Done => {}
                // The next step sees what has changed meanwhile.
                Committed::Stale(_) => return Ok(StepResult::Continue),
            }
        }
        let version = self.new_version(record, &object, number, ContentOrigin::Drive, revision);
        self.link_version(&state, version).await
    }

    async fn transfer(
        &self,
        record: &FileRecord,
        state: &mut ContentState,
        wanted: &Wanted,
    ) -> Result<Transferred, WorkError> {
        let facts = self.read_facts(state).await?;
        if !metadata_of(&facts).has_content_of(&record.metadata) {
            // The change that reports the new content is on its way, and wakes the file again.
            tracing::info!(
                file = %self.file, number = wanted.number, metric = "content_moved_on",
                "Drive has different content by now"
            );
            let reason = "Drive has other content than its change log has reported";
            return Ok(Transferred::Refused(reason, Verdict::Passing));
        }
        if !facts.can_download {
            return Ok(Transferred::Refused("not_downloadable", Verdict::Forbidden));
        }
        let transfer = Transfer::open(self, state, wanted.number, &wanted.content, &facts).await?;
        Ok(match transfer.run(state, &facts).await? {
            TransferResult::OutOfTime => Transferred::OutOfTime,
            TransferResult::Done(place, digest) => {
                Transferred::Done(facts.head_revision_id, place, digest)
            }
        })
    }

    /// Reads the content's metadata from Drive. What has failed before is asked for once: a call
    /// that tests Drive for the circuit breaker has no retry in place, whose refusal would hide
    /// Drive's answer, so that the failure would never count and the waits never grow.
    async fn read_facts(&self, state: &ContentState) -> Result<ContentFacts, WorkError> {
        let drive = self.throttled_drive().await?;
        let read = || drive.client().content_facts(self.file);
        let facts = if state.failures == 0 {
            drive.call_with_retries(CallKind::Read, read).await
        } else {
            drive.call(CallKind::Read, read()).await
        };
        Ok(facts?)
    }

    /// Records that content could not be had, if the error says something about it: it is asked for
    /// again when it is due. Every other failure is retried with the wake.
    pub(crate) async fn handle_failure(
        &self,
        state: &ContentState,
        of: String,
        error: WorkError,
    ) -> Result<StepResult, WorkError> {
        let Some((reason, verdict)) = trouble::of_error(&error) else {
            return Err(error);
        };
        let mut state = state.clone();
        if trouble::is_damaged(&error)
            && let Some(Progress::Download(download)) = state.progress.take()
        {
            self.abort_upload(&download.object, &download.upload).await;
        }
        let failure = Failure {
            of,
            reason,
            verdict,
        };
        self.record_trouble(&state, failure).await
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
            // The content of an earlier side, which has moved.
            Linked::Taken(_) if number == DRIVE_SIDE => {
                return self.release_drive_side(state).await;
            }
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
        let updated = if number == DRIVE_SIDE {
            ContentState {
                drive_side: Some(version.hash),
                progress: None,
                trouble: None,
                due_at: None,
                failures: 0,
                ..state.clone()
            }
        } else {
            ContentState {
                exported: exported_at(&version),
                ..state.with_outcome(number, ContentOutcome::Stored)
            }
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

/// Returns the content's part of a file's metadata.
fn metadata_of(facts: &ContentFacts) -> DriveMetadata {
    DriveMetadata {
        mime_type: facts.mime_type.clone(),
        size_bytes: facts.size_bytes,
        md5: facts.md5.clone(),
        sha256: facts.sha256.clone(),
        head_revision_id: facts.head_revision_id.clone(),
        ..DriveMetadata::default()
    }
}
