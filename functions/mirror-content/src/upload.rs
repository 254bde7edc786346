//! Uploads the application's content to Drive: claimed like any owed field, sent in chunks on
//! condition that Drive has not changed, and confirmed with the resulting state of Drive.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use domain::content::{
    ContentHash, ContentState, Encoding, ObjectState, Progress, StoredObject, Upload,
};
use domain::rate_limit::CallKind;
use domain::{Context, Field, FileRecord, Patch, Refusal, Snapshot, Transition, Value};
use drive::{
    DriveError, Kind, Read, UPLOAD_STEP_BYTES, UploadContent, UploadProgress, UploadSession,
};
use objects::{COMPRESSIBLE_BYTES_MAX, ContentHasher};
use runtime::telemetry;
use store::{Committed, StoreError};
use throttle::{CallError, ThrottledDrive};
use worker::{FileUpdater, UpdateOutcome, WorkError};

use crate::file::{StepResult, Work};

/// The size of a chunk, a multiple of Drive's upload step: 8 MiB, so that a lost chunk costs little
/// and a large file few calls.
const CHUNK_BYTES: u64 = 32 * UPLOAD_STEP_BYTES;
/// The number of chunks between saves of the progress. After a crash Drive reports what it has
/// received, so a stale value is harmless.
const CHUNKS_PER_SAVE: u64 = 8;
/// The largest content that is sent in one request: 5 MB (Drive guide "Upload file data"). Drive is
/// known to check the condition of such a request; whether it does so for a session is not.
const ONE_REQUEST_BYTES_MAX: u64 = 5_000_000;
/// The number of answers in a row by which Drive keeps nothing of what it is sent.
const STALLS_MAX: u32 = 3;

/// Stored content that is to be uploaded.
struct Payload {
    object: StoredObject,
    /// The complete content if it can't be read from the bucket by range, which is the case for
    /// compressed content.
    content: Option<Bytes>,
}

/// An upload session with its content and claim.
struct ActiveUpload {
    session: UploadSession,
    payload: Payload,
    patch: Patch,
}

impl Work<'_> {
    /// Uploads the application's content to Drive.
    pub(crate) async fn upload(
        &self,
        record: FileRecord,
        state: ContentState,
        number: u32,
        hash: ContentHash,
    ) -> Result<StepResult, WorkError> {
        let drive = self.throttled_drive().await?;
        let tenant = &self.connection.key.tenant;
        let object = self.deps.store.load_object(tenant, &hash).await?;
        let Some(object) = object.filter(|object| object.state == ObjectState::Stored) else {
            let refusal = Refusal::Permanent("its bytes are not stored".to_owned());
            self.release_claim(record, &patch(&hash, self.deps.entropy.attempt()), &refusal)
                .await?;
            return Ok(StepResult::Continue);
        };
        let payload = self.load_payload(object).await?;
        match state.progress.clone() {
            Some(Progress::Upload(upload)) if upload.hash == hash && upload.number == number => {
                let client = drive.client();
                let stored = client.open_session(self.file.clone(), &upload.session_uri);
                let active = ActiveUpload {
                    session: stored.await?,
                    payload,
                    patch: patch(&hash, upload.attempt),
                };
                self.resume_upload(&drive, record, state, upload, active)
                    .await
            }
            Some(_) | None => {
                self.start_upload(&drive, record, state, number, payload)
                    .await
            }
        }
    }

    /// Prepares stored content for the upload. Compressed content is read and verified before
    /// anything is claimed or Drive is called, so that corrupt content starts nothing.
    async fn load_payload(&self, object: StoredObject) -> Result<Payload, WorkError> {
        let content = match object.encoding {
            Encoding::None => None,
            Encoding::Zstd => {
                let objects = &self.deps.objects;
                let content = objects
                    .read_content(&object, COMPRESSIBLE_BYTES_MAX)
                    .await?;
                Some(content.ok_or(WorkError::Missing)?)
            }
        };
        Ok(Payload { object, content })
    }

    /// Reads the current state of Drive, claims what is still owed, and starts the upload.
    async fn start_upload(
        &self,
        drive: &ThrottledDrive,
        record: FileRecord,
        state: ContentState,
        number: u32,
        payload: Payload,
    ) -> Result<StepResult, WorkError> {
        let Some(read) = self.read_file(drive).await? else {
            return Ok(StepResult::Finished);
        };
        let attempt = self.deps.entropy.attempt();
        let jitter = self.deps.entropy.jitter();
        let (snapshot, context) = (&read.snapshot, self.context());
        let mut claim = record.claim_content(snapshot, attempt, context, jitter);
        let (store, step) = (&self.deps.store, &claim.transition);
        let above = store.policy_ancestry(self.connection, &record, step);
        if let Some(above) = above.await? {
            let above = Some(&above);
            let context = Context { above, ..context };
            claim = record.claim_content(snapshot, attempt, context, jitter);
        }
        let (claimed, patch) = match self.commit(&record, &claim.transition).await? {
            Committed::Done => (claim.transition.record, claim.patch),
            Committed::Stale(_) => return Ok(StepResult::Continue),
        };
        let Some(patch) = patch else {
            // The state read from Drive has completed the intent or opened a conflict.
            return Ok(StepResult::Continue);
        };
        let content = UploadContent {
            mime_type: &claimed.metadata.mime_type,
            total_bytes: payload.object.size_bytes,
        };
        // Empty content is only known to be accepted by a session.
        if (1..=ONE_REQUEST_BYTES_MAX).contains(&content.total_bytes) {
            let bytes = self.whole(&payload).await?;
            let replace = drive
                .client()
                .replace_content(&read, content, bytes.clone());
            return match drive
                .call_about(CallKind::Upload, Some(self.file), replace)
                .await
            {
                Ok(mut answer) => {
                    recognise(&mut answer, &bytes);
                    self.confirm(claimed, state, &patch, &answer).await
                }
                Err(error) => self.handle_refusal(claimed, &patch, error).await,
            };
        }
        let start = async {
            let session = drive.client().start_replacement(&read, content).await?;
            let sealed = drive.client().seal_session(&session).await?;
            Ok((session, sealed))
        };
        let (session, sealed) = match drive
            .call_about(CallKind::Upload, Some(self.file), start)
            .await
        {
            Ok(started) => started,
            Err(error) => return self.handle_refusal(claimed, &patch, error).await,
        };
        let upload = Upload {
            number,
            hash: payload.object.hash,
            attempt,
            session_uri: sealed,
            done_bytes: 0,
            began_at: self.deps.clock.now(),
            base_revision: claimed.metadata.head_revision_id.clone(),
            kept: None,
        };
        let begun = state.with_progress(Progress::Upload(upload.clone()));
        let state = self.save(&begun).await?;
        let active = ActiveUpload {
            session,
            payload,
            patch,
        };
        self.send_chunks(drive, claimed, state, upload, active)
            .await
    }

    /// Asks Drive how much of an earlier invocation's upload has arrived, and continues it.
    async fn resume_upload(
        &self,
        drive: &ThrottledDrive,
        record: FileRecord,
        state: ContentState,
        upload: Upload,
        active: ActiveUpload,
    ) -> Result<StepResult, WorkError> {
        let size_bytes = active.payload.object.size_bytes;
        let ask = || drive.client().upload_state(&active.session, size_bytes);
        match drive.call_with_retries(CallKind::Other, ask).await {
            Ok(UploadProgress::Stored { next_byte }) => {
                let upload = Upload {
                    done_bytes: next_byte,
                    ..upload
                };
                self.send_chunks(drive, record, state, upload, active).await
            }
            Ok(UploadProgress::Done(snapshot)) => {
                self.confirm_session(record, state, upload, &active.patch, &snapshot)
                    .await
            }
            Ok(UploadProgress::SessionGone | UploadProgress::Exists) => {
                self.end_lost_session(record, state, &active.patch).await
            }
            Err(CallError::Drive(error)) if *error.kind() == Kind::Stale => {
                self.clear_progress(&state).await?;
                self.handle_refusal(record, &active.patch, CallError::Drive(error))
                    .await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends the content chunk by chunk.
    async fn send_chunks(
        &self,
        drive: &ThrottledDrive,
        record: FileRecord,
        state: ContentState,
        upload: Upload,
        active: ActiveUpload,
    ) -> Result<StepResult, WorkError> {
        let (mut state, mut upload) = (state, upload);
        let total_bytes = active.payload.object.size_bytes;
        let mut stalls = 0;
        for sent in 1_u64.. {
            let from = upload.done_bytes;
            let answer = if total_bytes == 0 {
                drive.client().upload_state(&active.session, 0).await
            } else {
                let chunk = self.chunk(&active.payload, from).await?;
                drive
                    .client()
                    .upload_chunk(&active.session, from, total_bytes, chunk)
                    .await
            };
            let next_byte = match answer {
                Ok(UploadProgress::Stored { next_byte }) => next_byte,
                Ok(UploadProgress::Done(snapshot)) => {
                    let patch = &active.patch;
                    return self
                        .confirm_session(record, state, upload, patch, &snapshot)
                        .await;
                }
                Ok(UploadProgress::SessionGone | UploadProgress::Exists) => {
                    return self.end_lost_session(record, state, &active.patch).await;
                }
                Err(error) if is_definite(&error) => {
                    self.clear_progress(&state).await?;
                    let error = CallError::Drive(error);
                    return self.handle_refusal(record, &active.patch, error).await;
                }
                // A part may have arrived: the next invocation asks Drive.
                Err(error) => return Err(error.into()),
            };
            stalls = if next_byte > from { 0 } else { stalls + 1 };
            if stalls >= STALLS_MAX {
                return Err(WorkError::Stalled);
            }
            upload.done_bytes = next_byte;
            let late = self.too_late();
            if late || sent.is_multiple_of(CHUNKS_PER_SAVE) {
                let progress = state.with_progress(Progress::Upload(upload.clone()));
                state = self.save(&progress).await?;
            }
            if late {
                return Ok(StepResult::OutOfTime);
            }
        }
        Ok(StepResult::OutOfTime)
    }

    /// Returns the next chunk of the content.
    async fn chunk(&self, payload: &Payload, from: u64) -> Result<Bytes, WorkError> {
        let object = &payload.object;
        let end = from.saturating_add(CHUNK_BYTES).min(object.size_bytes);
        if let Some(content) = &payload.content {
            return Ok(piece(content, from..end));
        }
        let body = self.deps.objects.get(&object.key, Some(from..end)).await?;
        let Some(mut body) = body else {
            return Err(WorkError::Missing);
        };
        let mut chunk = BytesMut::new();
        while let Some(piece) = body.next().await? {
            chunk.extend_from_slice(&piece);
        }
        Ok(chunk.freeze())
    }

    /// Returns the whole content, which fits one request.
    async fn whole(&self, payload: &Payload) -> Result<Bytes, WorkError> {
        if let Some(content) = &payload.content {
            return Ok(content.clone());
        }
        let objects = &self.deps.objects;
        let content = objects.read_content(&payload.object, ONE_REQUEST_BYTES_MAX);
        content.await?.ok_or(WorkError::Missing)
    }

    /// Confirms an upload through a session. Whether Drive checks the condition of a session up to
    /// its end is not known, so what the upload replaced is checked first.
    async fn confirm_session(
        &self,
        record: FileRecord,
        state: ContentState,
        upload: Upload,
        patch: &Patch,
        snapshot: &Snapshot,
    ) -> Result<StepResult, WorkError> {
        let head = snapshot.metadata.head_revision_id.clone();
        let state = self.keep_overwritten(&record, state, upload, head).await?;
        self.confirm(record, state, patch, snapshot).await
    }

    /// Ends an upload whose claim was settled by an observation before its answer was handled.
    pub(crate) async fn finish_upload(
        &self,
        record: &FileRecord,
        state: ContentState,
        upload: Upload,
    ) -> Result<StepResult, WorkError> {
        let ours = Value::Text(upload.hash.to_string());
        let landed = record.is_present() && *record.sides(&Field::Content).drive() == ours;
        let state = if landed {
            let head = record.metadata.head_revision_id.clone();
            self.keep_overwritten(record, state, upload, head).await?
        } else {
            state
        };
        self.clear_progress(&state).await?;
        self.settle_original(&state).await?;
        Ok(StepResult::Continue)
    }

    /// Confirms the claim: Drive has the uploaded content.
    async fn confirm(
        &self,
        record: FileRecord,
        state: ContentState,
        patch: &Patch,
        snapshot: &Snapshot,
    ) -> Result<StepResult, WorkError> {
        tracing::info!(file = %self.file, metric = "content_carried", "uploaded content to Drive");
        // The record is written first: the saved progress identifies the attempt.
        self.update_record(record, |record, context| {
            record.confirmed(patch, snapshot, context)
        })
        .await?;
        self.clear_progress(&state).await?;
        self.settle_original(&state).await?;
        Ok(StepResult::Continue)
    }

    /// Ends a lost session whose outcome is unknown. The claim stays, and the next read of Drive
    /// resolves it.
    async fn end_lost_session(
        &self,
        record: FileRecord,
        state: ContentState,
        patch: &Patch,
    ) -> Result<StepResult, WorkError> {
        tracing::warn!(file = %self.file, metric = "content_session_gone", "upload session lost");
        self.clear_progress(&state).await?;
        let refusal = Refusal::Unknown("the upload session is gone".to_owned());
        self.release_claim(record, patch, &refusal).await?;
        Ok(StepResult::Finished)
    }

    /// Releases the claim after Drive rejected the upload or its response was lost.
    async fn handle_refusal(
        &self,
        record: FileRecord,
        patch: &Patch,
        error: CallError,
    ) -> Result<StepResult, WorkError> {
        match error {
            CallError::Drive(error) => {
                let chain = telemetry::chain(&error);
                tracing::warn!(
                    file = %self.file, error = chain, metric = "content_refused",
                    "Drive rejected the upload"
                );
                self.release_claim(record, patch, &error.refusal()).await?;
                if error.is_connection_wide() {
                    return Err(error.into());
                }
                Ok(StepResult::Finished)
            }
            CallError::Throttled(throttled) => {
                self.release_claim(record, patch, &throttled.refusal())
                    .await?;
                Ok(StepResult::Finished)
            }
            CallError::Store(error) => Err(error.into()),
        }
    }

    async fn read_file(&self, drive: &ThrottledDrive) -> Result<Option<Read>, WorkError> {
        let files = std::slice::from_ref(self.file);
        let read = || async {
            let mut reads = drive.client().read_files(files).await;
            reads.pop()
        };
        drive.acquire(&[CallKind::Read], 1).await?;
        let Some(read) = read().await else {
            return Ok(None);
        };
        drive
            .record_outcome(CallKind::Read, read.as_ref().err())
            .await?;
        match read {
            Ok(read) => Ok(Some(read)),
            // The file's log reports that too.
            Err(error) if error.gone().is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn clear_progress(&self, state: &ContentState) -> Result<(), WorkError> {
        let cleared = ContentState {
            progress: None,
            ..state.clone()
        };
        self.save(&cleared).await.map(drop)
    }

    async fn release_claim(
        &self,
        record: FileRecord,
        patch: &Patch,
        refusal: &Refusal,
    ) -> Result<(), WorkError> {
        let jitter = self.deps.entropy.jitter();
        self.update_record(record, |record, context| {
            record.refused(patch, refusal, context, jitter)
        })
        .await
    }

    /// Applies `step` to the record, or to what it has become meanwhile. If that fails, the claim
    /// in the record preserves the attempt.
    pub(crate) async fn update_record(
        &self,
        record: FileRecord,
        transition: impl Fn(&FileRecord, Context<'_>) -> Transition,
    ) -> Result<(), WorkError> {
        match self.updater().update(record, transition).await? {
            UpdateOutcome::Applied(_) | UpdateOutcome::Gone => Ok(()),
            UpdateOutcome::Contended(_) => Err(WorkError::Contended),
        }
    }

    pub(crate) async fn commit(
        &self,
        before: &FileRecord,
        transition: &Transition,
    ) -> Result<Committed, StoreError> {
        self.updater().write(before, transition).await
    }

    pub(crate) fn context(&self) -> Context<'_> {
        self.updater().context()
    }

    fn updater(&self) -> FileUpdater<'_> {
        let deps = self.deps;
        FileUpdater::new(self.connection, &deps.store, &deps.clock, &deps.entropy)
    }
}

/// Adds our SHA-256 to an answer that states none, if its MD5 and size say that it shows our bytes.
fn recognise(answer: &mut Snapshot, bytes: &Bytes) {
    if answer.metadata.sha256.is_some() {
        return;
    }
    let mut hasher = ContentHasher::with_md5();
    hasher.update(bytes);
    let digest = hasher.finish();
    if answer.metadata.md5 == digest.md5_hex()
        && answer.metadata.size_bytes == Some(digest.size_bytes)
    {
        answer.metadata.sha256 = Some(digest.sha256.to_string());
    }
}

/// Returns a range of bytes; empty if the range is out of bounds.
fn piece(content: &Bytes, range: Range<u64>) -> Bytes {
    let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
    content
        .get(start..end)
        .map_or_else(Bytes::new, |piece| content.slice_ref(piece))
}

fn patch(hash: &ContentHash, attempt: domain::AttemptId) -> Patch {
    let value = Value::Text(hash.to_string());
    Patch {
        attempt,
        values: BTreeMap::from([(Field::Content, value)]),
    }
}

/// Returns whether Drive has definitely rejected the content and will not accept the rest of it.
fn is_definite(error: &DriveError) -> bool {
    match error.kind() {
        Kind::Stale | Kind::Permanent { .. } | Kind::AccessDenied { .. } | Kind::NotFound => true,
        Kind::CursorLost
        | Kind::AuthLost { .. }
        | Kind::RateLimited { .. }
        | Kind::DailyLimit
        | Kind::BadContent(_)
        | Kind::Transient
        | Kind::Unanswered
        | Kind::NotSent => false,
    }
}
