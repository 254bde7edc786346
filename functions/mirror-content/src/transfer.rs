//! Transfers content from Drive into the bucket in constant memory: a part is collected while
//! earlier parts are being uploaded.
//!
//! Content that fits in one part is stored at once, and compressed if it is text and the
//! connection's settings ask for it. Anything larger is a multipart upload. Every few parts, and
//! when time runs out, the progress is saved (the stored parts and the state of the hash after
//! them), and the next invocation resumes it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use domain::Timestamp;
use domain::content::{
    self, ContentHash, ContentIdentity, ContentState, ObjectKey, ObjectLocation, Progress, UploadId,
};
use domain::rate_limit::CallKind;
use drive::{BadContent, ContentFacts, Download, DriveError, Kind};
use objects::{ContentHasher, Digest, Encoded, Objects, ObjectsError, Part, PartPlan};
use throttle::ThrottledDrive;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::file::Work;
use worker::WorkError;

/// The number of parts between saves of the progress: a crash repeats at most 64 MB, for one table
/// write per save.
const PARTS_PER_SAVE: u32 = 8;
/// The limit of bytes in flight to the bucket: two ordinary parts, so that one slow response does
/// not stop the download. Larger parts are uploaded one at a time.
const IN_FLIGHT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The number of times that an interrupted download is resumed within one invocation.
const REOPENS_MAX: u32 = 5;

/// The end of a transfer without an error.
pub(crate) enum TransferResult {
    /// The object is complete at this key and has this digest.
    Done(ObjectLocation, Digest),
    /// Time ran out; the saved progress is resumed later.
    OutOfTime,
}

/// A transfer of one version's content into the bucket.
pub(crate) struct Transfer<'a> {
    work: &'a Work<'a>,
    number: u32,
    /// The expected content; `None` for an export, of which nothing is known beforehand.
    content: Option<ContentIdentity>,
    plan: PartPlan,
    key: ObjectKey,
    /// The multipart upload, once there is more than one part.
    upload: Option<UploadId>,
    /// The hash of all bytes received.
    hasher: ContentHasher,
    /// The number of parts whose upload was started.
    parts: u32,
    /// The stored parts, in order.
    stored: Vec<Part>,
    began_at: Timestamp,
    buffer: BytesMut,
    /// The parts being uploaded, in order.
    in_flight_parts: VecDeque<JoinHandle<Result<Part, ObjectsError>>>,
}

impl<'a> Transfer<'a> {
    /// Resumes the progress that an earlier invocation saved, if it belongs to this content and its
    /// upload still exists; otherwise starts over.
    pub(crate) async fn open(
        work: &'a Work<'a>,
        state: &mut ContentState,
        number: u32,
        content: &ContentIdentity,
        facts: &ContentFacts,
    ) -> Result<Self, WorkError> {
        let size_bytes = facts.size_bytes.unwrap_or(0);
        if let Some(Progress::Download(download)) = state.progress.clone() {
            if let Some(transfer) =
                Self::resume(work, number, content, size_bytes, &download).await?
            {
                return Ok(transfer);
            }
            work.abort_upload(&download.object, &download.upload).await;
            state.progress = None;
        }
        let plan =
            PartPlan::new(size_bytes).map_err(|error| ObjectsError::Refused(Box::new(error)))?;
        let tenant = &work.connection.key.tenant;
        let key = ObjectKey::content(tenant, &name_of(content), work.deps.entropy.next());
        Ok(Self::new(work, number, Some(content.clone()), plan, key))
    }

    /// Starts a transfer of unknown size and hash: an export.
    pub(crate) fn of_export(work: &'a Work<'a>, number: u32) -> Self {
        let entropy = &work.deps.entropy;
        let tenant = &work.connection.key.tenant;
        let key = ObjectKey::staging(tenant, entropy.next(), entropy.next());
        Self::new(work, number, None, PartPlan::for_unknown_size(), key)
    }

    fn new(
        work: &'a Work<'a>,
        number: u32,
        content: Option<ContentIdentity>,
        plan: PartPlan,
        key: ObjectKey,
    ) -> Self {
        let hasher = match &content {
            Some(content) if content.md5().is_some() => ContentHasher::with_md5(),
            Some(_) | None => ContentHasher::new(),
        };
        Self {
            work,
            number,
            content,
            plan,
            key,
            upload: None,
            hasher,
            parts: 0,
            stored: Vec::new(),
            began_at: work.deps.clock.now(),
            buffer: BytesMut::new(),
            in_flight_parts: VecDeque::new(),
        }
    }

    async fn resume(
        work: &'a Work<'a>,
        number: u32,
        content: &ContentIdentity,
        size_bytes: u64,
        saved: &content::Download,
    ) -> Result<Option<Self>, WorkError> {
        let plan = PartPlan::resume(size_bytes, saved.part_bytes);
        let hasher = ContentHasher::restore(&saved.hash_state);
        let (Ok(plan), Ok(hasher)) = (plan, hasher) else {
            return Ok(None);
        };
        if saved.hash != name_of(content) || hasher.size_bytes() != saved.done_bytes {
            return Ok(None);
        }
        let mut stored = match work
            .deps
            .objects
            .list_parts(&saved.object, &saved.upload)
            .await
        {
            Ok(stored) => stored,
            Err(ObjectsError::UploadGone(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A part stored after the last save is uploaded again.
        stored.retain(|part| part.number <= saved.parts);
        if !stored.iter().map(|part| part.number).eq(1..=saved.parts) {
            return Ok(None);
        }
        tracing::info!(
            file = %work.file, number, done_bytes = saved.done_bytes, metric = "content_resumed",
            "resumed download"
        );
        Ok(Some(Self {
            upload: Some(saved.upload.clone()),
            hasher,
            parts: saved.parts,
            stored,
            began_at: saved.began_at,
            ..Self::new(
                work,
                number,
                Some(content.clone()),
                plan,
                saved.object.clone(),
            )
        }))
    }

    /// Downloads the file's remaining bytes.
    pub(crate) async fn run(
        mut self,
        state: &mut ContentState,
        facts: &ContentFacts,
    ) -> Result<TransferResult, WorkError> {
        let drive = self.work.throttled_drive().await?;
        let mut reopened = 0;
        loop {
            match self.download_rest(&drive, state, facts).await {
                Err(error)
                    if reopened < REOPENS_MAX && error.drive().is_some_and(is_interrupted) =>
                {
                    reopened += 1;
                }
                ended => return self.clean_up(ended, state).await,
            }
        }
    }

    async fn download_rest(
        &mut self,
        drive: &ThrottledDrive,
        state: &mut ContentState,
        facts: &ContentFacts,
    ) -> Result<TransferResult, WorkError> {
        let from = self.hasher.size_bytes();
        let open = drive
            .client()
            .download(self.work.file, from, facts.expected());
        let download = drive.call(CallKind::Download, open).await?;
        self.receive(download, state, &facts.mime_type).await
    }

    /// Stores an export. It is never resumed: its continuation would belong to a different export.
    pub(crate) async fn run_export(
        mut self,
        state: &ContentState,
        download: Download,
        format: &str,
    ) -> Result<TransferResult, WorkError> {
        let mut state = state.clone();
        let ended = self.receive(download, &mut state, format).await;
        self.clean_up(ended, &state).await
    }

    async fn receive(
        &mut self,
        mut download: Download,
        state: &mut ContentState,
        mime_type: &str,
    ) -> Result<TransferResult, WorkError> {
        while let Some(chunk) = download.chunk().await? {
            if !self.push(chunk, state).await? {
                return Ok(TransferResult::OutOfTime);
            }
        }
        self.finish(mime_type).await
    }

    /// Adds the next bytes; `false` if time ran out and they were not added.
    async fn push(&mut self, chunk: Bytes, state: &mut ContentState) -> Result<bool, WorkError> {
        let mut rest = chunk;
        let part_bytes = usize::try_from(self.plan.part_bytes()).unwrap_or(usize::MAX);
        while !rest.is_empty() {
            if self.buffer.len() >= part_bytes {
                self.upload_part().await?;
                let late = self.work.too_late();
                if late || self.parts.is_multiple_of(PARTS_PER_SAVE) {
                    self.save_progress(state).await?;
                }
                if late && self.content.is_some() {
                    return Ok(false);
                }
            }
            if self.buffer.is_empty() {
                self.buffer.reserve(self.next_part_bytes(part_bytes));
            }
            let room = part_bytes - self.buffer.len();
            let piece = rest.split_to(room.min(rest.len()));
            self.hasher.update(&piece);
            self.buffer.extend_from_slice(&piece);
        }
        Ok(true)
    }

    /// Returns the expected size of the next part, for allocating its buffer once.
    fn next_part_bytes(&self, part_bytes: usize) -> usize {
        if self.content.is_none() {
            return 0;
        }
        let left = self
            .plan
            .size_bytes()
            .saturating_sub(self.hasher.size_bytes());
        part_bytes.min(usize::try_from(left).unwrap_or(part_bytes))
    }

    /// Starts uploading the collected part once the in-flight limit admits it.
    async fn upload_part(&mut self) -> Result<(), WorkError> {
        let at_once = usize::try_from(IN_FLIGHT_BYTES_MAX / self.plan.part_bytes()).unwrap_or(1);
        while self.in_flight_parts.len() >= at_once.max(1) {
            self.finish_oldest_part().await?;
        }
        let objects = &self.work.deps.objects;
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => {
                let class = self.work.connection.content.storage_class;
                let begun = objects.create_upload(&self.key, class).await?;
                self.upload.insert(begun).clone()
            }
        };
        let part = self.buffer.split().freeze();
        self.parts = self.parts.saturating_add(1);
        let (objects, key, number) = (objects.clone(), self.key.clone(), self.parts);
        let stored = async move { objects.upload_part(&key, &upload, number, part).await };
        self.in_flight_parts
            .push_back(tokio::spawn(stored.in_current_span()));
        Ok(())
    }

    /// Waits until no part is in flight.
    async fn finish_parts(&mut self) -> Result<(), WorkError> {
        while !self.in_flight_parts.is_empty() {
            self.finish_oldest_part().await?;
        }
        Ok(())
    }

    /// Waits for the oldest part in flight.
    async fn finish_oldest_part(&mut self) -> Result<(), WorkError> {
        match self.in_flight_parts.pop_front() {
            Some(part) => match part.await {
                Ok(stored) => {
                    self.stored.push(stored?);
                    Ok(())
                }
                Err(_) => Err(WorkError::OutOfTime),
            },
            None => Ok(()),
        }
    }

    /// Saves the progress. Content of unknown hash is not resumed, since it would belong to a
    /// different export.
    async fn save_progress(&mut self, state: &mut ContentState) -> Result<(), WorkError> {
        let (Some(upload), Some(content)) = (self.upload.clone(), &self.content) else {
            return Ok(());
        };
        let hash = name_of(content);
        self.finish_parts().await?;
        let download = content::Download {
            number: self.number,
            hash,
            object: self.key.clone(),
            upload,
            part_bytes: self.plan.part_bytes(),
            parts: self.parts,
            done_bytes: self.hasher.size_bytes(),
            hash_state: self.hasher.save(),
            began_at: self.began_at,
        };
        let progress = state.with_progress(Progress::Download(download));
        *state = self.work.save(&progress).await?;
        Ok(())
    }

    /// Uploads the rest and completes the object.
    async fn finish(&mut self, mime_type: &str) -> Result<TransferResult, WorkError> {
        let digest = self.hasher.clone().finish();
        if !self
            .content
            .as_ref()
            .is_none_or(|content| is_of(content, &digest))
        {
            return Err(WorkError::ChecksumMismatch);
        }
        let entropy = &self.work.deps.entropy;
        let tenant = &self.work.connection.key.tenant;
        let key = match self.content {
            Some(_) => self.key.clone(),
            None => ObjectKey::content(tenant, &digest.sha256, entropy.next()),
        };
        let objects: &Objects = &self.work.deps.objects;
        let class = self.work.connection.content.storage_class;
        if self.upload.is_none() {
            let bytes = self.buffer.split().freeze();
            let settings = &self.work.connection.content;
            let content = Encoded::with_settings(bytes, &digest, mime_type, settings);
            let place = objects.put(&key, content, class).await?;
            return Ok(TransferResult::Done(place, digest));
        }
        if !self.buffer.is_empty() {
            self.upload_part().await?;
        }
        self.finish_parts().await?;
        let Some(upload) = &self.upload else {
            return Err(WorkError::OutOfTime);
        };
        objects
            .complete_upload(&self.key, upload, &self.stored)
            .await?;
        if key != self.key {
            objects.copy(&self.key, &key, class).await?;
            self.work.delete_object(&self.key).await;
        }
        let place = ObjectLocation::plain(key, digest.size_bytes);
        Ok(TransferResult::Done(place, digest))
    }

    /// Waits for the parts in flight after a failure, and aborts a multipart upload whose progress
    /// was not saved and which therefore can't be resumed.
    async fn clean_up(
        self,
        ended: Result<TransferResult, WorkError>,
        state: &ContentState,
    ) -> Result<TransferResult, WorkError> {
        if ended.is_err() {
            // The original error is the one reported.
            for part in self.in_flight_parts {
                drop(part.await);
            }
            if let Some(upload) = &self.upload
                && !is_saved(state, upload)
            {
                self.work.abort_upload(&self.key, upload).await;
            }
        }
        ended
    }
}

/// Returns the name under which the bytes of a content are stored and its progress is saved: its
/// SHA-256, or that of its identity if it is not known yet.
fn name_of(content: &ContentIdentity) -> ContentHash {
    let identity = || ContentHasher::sha256(content.to_string().as_bytes());
    content.hash().unwrap_or_else(identity)
}

/// Returns whether bytes with this digest are the expected content.
fn is_of(content: &ContentIdentity, digest: &Digest) -> bool {
    match content {
        ContentIdentity::Sha256(hash) => *hash == digest.sha256,
        ContentIdentity::Md5 { md5, size_bytes } => {
            *size_bytes == digest.size_bytes && digest.md5_hex().as_ref() == Some(md5)
        }
        // Drive states no checksum at all.
        ContentIdentity::Revision { size_bytes, .. } => *size_bytes == digest.size_bytes,
    }
}

fn is_saved(state: &ContentState, upload: &UploadId) -> bool {
    match &state.progress {
        Some(Progress::Download(saved)) => saved.upload == *upload,
        Some(Progress::Upload(_) | Progress::Copy { .. }) | None => false,
    }
}

fn is_interrupted(error: &DriveError) -> bool {
    *error.kind() == Kind::BadContent(BadContent::Interrupted)
}
