//! The application's content on its way to Drive: claimed like any owed field, sent in chunks on condition that Drive has
//! not moved, confirmed with what Drive holds then.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use domain::content::{
    ContentHash, ContentState, Encoding, ObjectState, Progress, StoredObject, Upload,
};
use domain::pace::CallKind;
use domain::{Field, FileRecord, Moment, Patch, Refusal, Snapshot, Step, Value};
use drive::{DriveError, Kind, Outgoing, Read, UPLOAD_STEP_BYTES, UploadProgress, UploadSession};
use gate::{GateError, Pass, Records, Settled};
use objects::COMPRESSED_OF_BYTES_MAX;
use runtime::telemetry;
use store::{Committed, StoreError};

use crate::Stopped;
use crate::file::{Flow, Work};

/// One chunk: some of Drive's steps, 8 MiB, so that a lost one costs little and a large file few calls.
const CHUNK_BYTES: u64 = 32 * UPLOAD_STEP_BYTES;
/// Chunks that may be asked for again after a crash: Drive knows what it has, so this is only what we remember.
const CHUNKS_PER_SAVE: u64 = 8;

/// Stored content that is to be sent.
struct Payload {
    object: StoredObject,
    /// All of it, where it can't be read from the bucket piece by piece: what is compressed.
    whole: Option<Bytes>,
}

/// An upload under way, and what it stands for.
struct Carriage {
    session: UploadSession,
    payload: Payload,
    patch: Patch,
}

impl Work<'_> {
    /// Brings the application's content to Drive.
    pub(crate) async fn carry(
        &self,
        record: FileRecord,
        state: ContentState,
        number: u32,
        hash: ContentHash,
    ) -> Result<Flow, Stopped> {
        let pass = self.pass().await?;
        let tenant = &self.connection.key.tenant;
        let object = self.deps.store.load_object(tenant, &hash).await?;
        let Some(object) = object.filter(|object| object.state == ObjectState::Stored) else {
            let refusal = Refusal::Permanent("its bytes are not stored".to_owned());
            self.give_back(record, &patch(&hash, self.deps.entropy.attempt()), &refusal)
                .await?;
            return Ok(Flow::Again);
        };
        let payload = self.load(object).await?;
        match state.progress.clone() {
            Some(Progress::Upload(upload)) if upload.hash == hash && upload.number == number => {
                let carriage = Carriage {
                    session: UploadSession::new(self.file.clone(), upload.session_uri.clone()),
                    payload,
                    patch: patch(&hash, upload.attempt),
                };
                self.go_on(&pass, record, state, upload, carriage).await
            }
            Some(_) | None => self.set_out(&pass, record, state, number, payload).await,
        }
    }

    /// Makes stored content ready to be sent. What is compressed is read, and verified, before anything is claimed or Drive
    /// is asked: where it is spoilt, nothing has begun.
    async fn load(&self, object: StoredObject) -> Result<Payload, Stopped> {
        let whole = match object.encoding {
            Encoding::None => None,
            Encoding::Zstd => {
                let objects = &self.deps.objects;
                let whole = objects.content(&object, COMPRESSED_OF_BYTES_MAX).await?;
                Some(whole.ok_or(Stopped::Missing)?)
            }
        };
        Ok(Payload { object, whole })
    }

    /// Reads Drive now, claims what still stands, and begins.
    async fn set_out(
        &self,
        pass: &Pass,
        record: FileRecord,
        state: ContentState,
        number: u32,
        payload: Payload,
    ) -> Result<Flow, Stopped> {
        let Some(read) = self.read(pass).await? else {
            return Ok(Flow::Over);
        };
        let attempt = self.deps.entropy.attempt();
        let jitter = self.deps.entropy.jitter();
        let claim = record.claim_content(&read.snapshot, attempt, self.moment(), jitter);
        let (claimed, patch) = match self.commit(&record, &claim.step).await? {
            Committed::Done => (claim.step.record, claim.patch),
            Committed::Stale(_) => return Ok(Flow::Again),
        };
        let Some(patch) = patch else {
            // What Drive was read to hold has settled it, or opened a conflict.
            return Ok(Flow::Again);
        };
        let content = Outgoing {
            mime_type: &claimed.mirror.mime_type,
            total_bytes: payload.object.size_bytes,
        };
        let start = pass.drive().start_replacement(&read, content);
        let session = match pass.call(CallKind::Edit, start).await {
            Ok(session) => session,
            Err(error) => return self.refused(claimed, &patch, error).await,
        };
        let upload = Upload {
            number,
            hash: payload.object.hash,
            attempt,
            session_uri: session.expose_address().clone(),
            done_bytes: 0,
            began_at: self.deps.clock.now(),
        };
        let begun = state.with_progress(Progress::Upload(upload.clone()));
        let state = self.save(&begun).await?;
        let carriage = Carriage {
            session,
            payload,
            patch,
        };
        self.send(pass, claimed, state, upload, carriage).await
    }

    /// Asks Drive how far the upload is that an earlier look began.
    async fn go_on(
        &self,
        pass: &Pass,
        record: FileRecord,
        state: ContentState,
        upload: Upload,
        carriage: Carriage,
    ) -> Result<Flow, Stopped> {
        let size_bytes = carriage.payload.object.size_bytes;
        let ask = || pass.drive().upload_state(&carriage.session, size_bytes);
        match pass.ask(CallKind::Other, ask).await {
            Ok(UploadProgress::Stored { next_byte }) => {
                let upload = Upload {
                    done_bytes: next_byte,
                    ..upload
                };
                self.send(pass, record, state, upload, carriage).await
            }
            Ok(UploadProgress::Done(snapshot)) => {
                self.done(record, state, &carriage.patch, &snapshot).await
            }
            Ok(UploadProgress::SessionGone | UploadProgress::Exists) => {
                self.lost(record, state, &carriage.patch).await
            }
            Err(GateError::Drive(error)) if *error.kind() == Kind::Stale => {
                self.over(&state).await?;
                self.refused(record, &carriage.patch, GateError::Drive(error))
                    .await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends chunk after chunk.
    async fn send(
        &self,
        pass: &Pass,
        record: FileRecord,
        state: ContentState,
        upload: Upload,
        carriage: Carriage,
    ) -> Result<Flow, Stopped> {
        let (mut state, mut upload) = (state, upload);
        let total_bytes = carriage.payload.object.size_bytes;
        for sent in 1_u64.. {
            let from = upload.done_bytes;
            let answer = if total_bytes == 0 {
                pass.drive().upload_state(&carriage.session, 0).await
            } else {
                let chunk = self.chunk(&carriage.payload, from).await?;
                pass.drive()
                    .upload_chunk(&carriage.session, from, total_bytes, chunk)
                    .await
            };
            let next_byte = match answer {
                Ok(UploadProgress::Stored { next_byte }) => next_byte,
                Ok(UploadProgress::Done(snapshot)) => {
                    return self.done(record, state, &carriage.patch, &snapshot).await;
                }
                Ok(UploadProgress::SessionGone | UploadProgress::Exists) => {
                    return self.lost(record, state, &carriage.patch).await;
                }
                Err(error) if is_definite(&error) => {
                    self.over(&state).await?;
                    let error = GateError::Drive(error);
                    return self.refused(record, &carriage.patch, error).await;
                }
                // Some of it may have arrived: the next look asks.
                Err(error) => return Err(error.into()),
            };
            upload.done_bytes = next_byte;
            let late = self.too_late();
            if late || sent.is_multiple_of(CHUNKS_PER_SAVE) {
                let progress = state.with_progress(Progress::Upload(upload.clone()));
                state = self.save(&progress).await?;
            }
            if late {
                return Ok(Flow::Later);
            }
        }
        Ok(Flow::Later)
    }

    /// The next bytes of the content, as many as one chunk holds.
    async fn chunk(&self, payload: &Payload, from: u64) -> Result<Bytes, Stopped> {
        let object = &payload.object;
        let end = from.saturating_add(CHUNK_BYTES).min(object.size_bytes);
        if let Some(whole) = &payload.whole {
            return Ok(piece(whole, from..end));
        }
        let body = self.deps.objects.get(&object.key, Some(from..end)).await?;
        let Some(mut body) = body else {
            return Err(Stopped::Missing);
        };
        let mut chunk = BytesMut::new();
        while let Some(piece) = body.next().await? {
            chunk.extend_from_slice(&piece);
        }
        Ok(chunk.freeze())
    }

    /// Drive holds what was sent.
    async fn done(
        &self,
        record: FileRecord,
        state: ContentState,
        patch: &Patch,
        snapshot: &Snapshot,
    ) -> Result<Flow, Stopped> {
        tracing::info!(file = %self.file, metric = "content_carried", "brought to Drive");
        // First the record: what is under way says which attempt it was.
        self.settle_record(record, |record| {
            record.confirmed(patch, snapshot, self.moment())
        })
        .await?;
        self.over(&state).await?;
        Ok(Flow::Again)
    }

    /// The session is over, and nobody says how it ended. The claim stays, and the next read of Drive judges it.
    async fn lost(
        &self,
        record: FileRecord,
        state: ContentState,
        patch: &Patch,
    ) -> Result<Flow, Stopped> {
        tracing::warn!(file = %self.file, metric = "content_session_gone", "the upload has gone");
        self.over(&state).await?;
        let refusal = Refusal::Unknown("the upload session is gone".to_owned());
        self.give_back(record, patch, &refusal).await?;
        Ok(Flow::Over)
    }

    /// Drive did not take it, or did not say so.
    async fn refused(
        &self,
        record: FileRecord,
        patch: &Patch,
        error: GateError,
    ) -> Result<Flow, Stopped> {
        match error {
            GateError::Drive(error) => {
                let told = telemetry::chain(&error);
                tracing::warn!(file = %self.file, error = told, metric = "content_refused", "not written");
                self.give_back(record, patch, &error.refusal()).await?;
                if error.concerns_us() {
                    return Err(error.into());
                }
                Ok(Flow::Over)
            }
            GateError::Held(held) => {
                self.give_back(record, patch, &held.refusal()).await?;
                Ok(Flow::Over)
            }
            GateError::Store(error) => Err(error.into()),
        }
    }

    async fn read(&self, pass: &Pass) -> Result<Option<Read>, Stopped> {
        let files = std::slice::from_ref(self.file);
        let read = || async {
            let mut reads = pass.drive().read_files(files).await;
            reads.pop()
        };
        pass.admit(&[CallKind::Read], 1).await?;
        let Some(read) = read().await else {
            return Ok(None);
        };
        pass.tell(CallKind::Read, read.as_ref().err()).await?;
        match read {
            Ok(read) => Ok(Some(read)),
            // Its log says so too.
            Err(error) if error.gone().is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn over(&self, state: &ContentState) -> Result<(), Stopped> {
        let over = ContentState {
            progress: None,
            ..state.clone()
        };
        self.save(&over).await.map(drop)
    }

    async fn give_back(
        &self,
        record: FileRecord,
        patch: &Patch,
        refusal: &Refusal,
    ) -> Result<(), Stopped> {
        let jitter = self.deps.entropy.jitter();
        self.settle_record(record, |record| {
            record.refused(patch, refusal, self.moment(), jitter)
        })
        .await
    }

    /// Stores what an answer means, on whatever the record has become meanwhile. Where that can't be done, the claim in
    /// it remembers the attempt.
    pub(crate) async fn settle_record(
        &self,
        record: FileRecord,
        step: impl Fn(&FileRecord) -> Step,
    ) -> Result<(), Stopped> {
        match self.records().settle(record, step).await? {
            Settled::Done(_) | Settled::Absent => Ok(()),
            Settled::Overtaken(_) => Err(Stopped::Overtaken),
        }
    }

    pub(crate) async fn commit(
        &self,
        before: &FileRecord,
        step: &Step,
    ) -> Result<Committed, StoreError> {
        self.records().write(before, step).await
    }

    pub(crate) fn moment(&self) -> Moment<'_> {
        self.records().moment()
    }

    fn records(&self) -> Records<'_> {
        let deps = self.deps;
        Records::new(self.connection, &deps.store, &deps.clock, &deps.entropy)
    }
}

/// These bytes of a whole; none where it does not reach so far.
fn piece(whole: &Bytes, range: Range<u64>) -> Bytes {
    let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
    whole
        .get(start..end)
        .map_or_else(Bytes::new, |piece| whole.slice_ref(piece))
}

fn patch(hash: &ContentHash, attempt: domain::AttemptId) -> Patch {
    let value = Value::Text(hash.to_string());
    Patch {
        attempt,
        values: BTreeMap::from([(Field::Content, value)]),
    }
}

/// Whether Drive surely did not take the content, and will not take the rest of it either.
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
