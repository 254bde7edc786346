//! Content on its way from Drive into the bucket, in constant memory: a part is gathered while those before it are put.
//!
//! What is small enough for one part is put at once, and compressed where it is text and the connection wants that.
//! Anything larger is an upload in parts; every few parts, and when time is up, it is put down where it stands (which parts
//! are stored, the state of the hash after them), and the next look goes on from there.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use domain::Timestamp;
use domain::content::{self, ContentHash, ContentState, ObjectKey, Place, Progress, UploadId};
use domain::pace::CallKind;
use drive::{BadContent, ContentFacts, Download, DriveError, Kind};
use gate::Pass;
use objects::{ContentHasher, Digest, Encoded, Objects, ObjectsError, Part, PartPlan};
use tokio::task::JoinHandle;

use crate::Stopped;
use crate::file::Work;

/// So many parts may be put again after a crash: 64 MB of them, for a write of the table each time.
const PARTS_PER_SAVE: u32 = 8;
/// What may be on its way to the bucket at a time, in bytes: two of the usual parts, so that one slow answer does not stop
/// the reading. Of larger ones it is one.
const FLYING_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How often a download that breaks off is taken up again in place.
const REOPENS_MAX: u32 = 5;

/// How a pouring ended, where nothing went wrong.
pub(crate) enum Poured {
    /// All of it lies in the bucket there, and comes to these digest.
    Done(Place, Digest),
    /// Time is up: it goes on from what was saved.
    Later,
}

/// The end that takes the bytes.
pub(crate) struct Pour<'a> {
    work: &'a Work<'a>,
    number: u32,
    hash: Option<ContentHash>,
    plan: PartPlan,
    key: ObjectKey,
    /// The upload in parts, once there is more than one.
    upload: Option<UploadId>,
    /// Of every byte that was taken.
    hasher: ContentHasher,
    /// Parts that were begun to be put.
    parts: u32,
    /// Those of them that are stored, in their order.
    stored: Vec<Part>,
    began_at: Timestamp,
    buffer: BytesMut,
    /// The parts that are being put, in their order.
    flights: VecDeque<JoinHandle<Result<Part, ObjectsError>>>,
}

impl<'a> Pour<'a> {
    /// Goes on with what an earlier look put down, if it is of this very content and still there; begins anew otherwise.
    pub(crate) async fn open(
        work: &'a Work<'a>,
        state: &mut ContentState,
        number: u32,
        hash: ContentHash,
        facts: &ContentFacts,
    ) -> Result<Self, Stopped> {
        let size_bytes = facts.size_bytes.unwrap_or(0);
        if let Some(Progress::Download(download)) = state.progress.clone() {
            if let Some(pour) = Self::resume(work, number, hash, size_bytes, &download).await? {
                return Ok(pour);
            }
            work.forget(&download.object, &download.upload).await;
            state.progress = None;
        }
        let plan =
            PartPlan::of(size_bytes).map_err(|error| ObjectsError::Refused(Box::new(error)))?;
        let tenant = &work.connection.key.tenant;
        let key = ObjectKey::content(tenant, &hash, work.deps.entropy.next());
        Ok(Self::new(work, number, Some(hash), plan, key))
    }

    /// Begins with content whose size and hash nobody knows: an export.
    pub(crate) fn unknown(work: &'a Work<'a>, number: u32) -> Self {
        let entropy = &work.deps.entropy;
        let tenant = &work.connection.key.tenant;
        let key = ObjectKey::staging(tenant, entropy.next(), entropy.next());
        Self::new(work, number, None, PartPlan::unknown(), key)
    }

    fn new(
        work: &'a Work<'a>,
        number: u32,
        hash: Option<ContentHash>,
        plan: PartPlan,
        key: ObjectKey,
    ) -> Self {
        Self {
            work,
            number,
            hash,
            plan,
            key,
            upload: None,
            hasher: ContentHasher::new(),
            parts: 0,
            stored: Vec::new(),
            began_at: work.deps.clock.now(),
            buffer: BytesMut::new(),
            flights: VecDeque::new(),
        }
    }

    async fn resume(
        work: &'a Work<'a>,
        number: u32,
        hash: ContentHash,
        size_bytes: u64,
        saved: &content::Download,
    ) -> Result<Option<Self>, Stopped> {
        let plan = PartPlan::resumed(size_bytes, saved.part_bytes);
        let hasher = ContentHasher::restore(&saved.hash_state);
        let (Ok(plan), Ok(hasher)) = (plan, hasher) else {
            return Ok(None);
        };
        if saved.hash != hash || hasher.size_bytes() != saved.done_bytes {
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
        // One that was put after the last save is put again.
        stored.retain(|part| part.number <= saved.parts);
        if !stored.iter().map(|part| part.number).eq(1..=saved.parts) {
            return Ok(None);
        }
        tracing::info!(file = %work.file, number, done_bytes = saved.done_bytes, metric = "content_resumed", "goes on");
        Ok(Some(Self {
            upload: Some(saved.upload.clone()),
            hasher,
            parts: saved.parts,
            stored,
            began_at: saved.began_at,
            ..Self::new(work, number, Some(hash), plan, saved.object.clone())
        }))
    }

    /// Fetches the file's own bytes from where they stand to their end.
    pub(crate) async fn run(
        mut self,
        state: &mut ContentState,
        facts: &ContentFacts,
    ) -> Result<Poured, Stopped> {
        let pass = self.work.pass().await?;
        let mut reopened = 0;
        loop {
            match self.pull(&pass, state, facts).await {
                Err(stopped)
                    if reopened < REOPENS_MAX && stopped.drive().is_some_and(broke_off) =>
                {
                    reopened += 1;
                }
                ended => return self.landed(ended, state).await,
            }
        }
    }

    async fn pull(
        &mut self,
        pass: &Pass,
        state: &mut ContentState,
        facts: &ContentFacts,
    ) -> Result<Poured, Stopped> {
        let from = self.hasher.size_bytes();
        let open = pass
            .drive()
            .download(self.work.file, from, facts.expected());
        let download = pass.call(CallKind::Download, open).await?;
        self.drain(download, state, &facts.mime_type).await
    }

    /// Puts all that an export brings. It is not resumed: what broke off would go on as another export.
    pub(crate) async fn run_export(
        mut self,
        state: &ContentState,
        download: Download,
        format: &str,
    ) -> Result<Poured, Stopped> {
        let mut state = state.clone();
        let ended = self.drain(download, &mut state, format).await;
        self.landed(ended, &state).await
    }

    async fn drain(
        &mut self,
        mut download: Download,
        state: &mut ContentState,
        mime_type: &str,
    ) -> Result<Poured, Stopped> {
        while let Some(chunk) = download.chunk().await? {
            if !self.take(chunk, state).await? {
                return Ok(Poured::Later);
            }
        }
        self.finish(mime_type).await
    }

    /// Takes the next bytes; `false` where time is up, and they were not taken.
    async fn take(&mut self, chunk: Bytes, state: &mut ContentState) -> Result<bool, Stopped> {
        let mut rest = chunk;
        let part_bytes = usize::try_from(self.plan.part_bytes()).unwrap_or(usize::MAX);
        while !rest.is_empty() {
            if self.buffer.len() >= part_bytes {
                self.put_part().await?;
                let late = self.work.too_late();
                if late || self.parts.is_multiple_of(PARTS_PER_SAVE) {
                    self.put_down(state).await?;
                }
                if late && self.hash.is_some() {
                    return Ok(false);
                }
            }
            if self.buffer.is_empty() {
                self.buffer.reserve(self.gathers(part_bytes));
            }
            let room = part_bytes - self.buffer.len();
            let piece = rest.split_to(room.min(rest.len()));
            self.hasher.update(&piece);
            self.buffer.extend_from_slice(&piece);
        }
        Ok(true)
    }

    /// How many bytes the next part is going to gather, so that room is made for them once.
    fn gathers(&self, part_bytes: usize) -> usize {
        if self.hash.is_none() {
            return 0;
        }
        let left = self
            .plan
            .size_bytes()
            .saturating_sub(self.hasher.size_bytes());
        part_bytes.min(usize::try_from(left).unwrap_or(part_bytes))
    }

    /// Puts what is gathered, once there is room for it among the parts on their way.
    async fn put_part(&mut self) -> Result<(), Stopped> {
        let at_once = usize::try_from(FLYING_BYTES_MAX / self.plan.part_bytes()).unwrap_or(1);
        while self.flights.len() >= at_once.max(1) {
            self.land_one().await?;
        }
        let objects = &self.work.deps.objects;
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => {
                let class = self.work.connection.content.storage_class;
                let begun = objects.begin(&self.key, MIME_TYPE, class).await?;
                self.upload.insert(begun).clone()
            }
        };
        let part = self.buffer.split().freeze();
        self.parts = self.parts.saturating_add(1);
        let (objects, key, number) = (objects.clone(), self.key.clone(), self.parts);
        self.flights.push_back(tokio::spawn(async move {
            objects.part(&key, &upload, number, part).await
        }));
        Ok(())
    }

    /// Waits until nothing is being put.
    async fn land(&mut self) -> Result<(), Stopped> {
        while !self.flights.is_empty() {
            self.land_one().await?;
        }
        Ok(())
    }

    /// Waits for the part that has been on its way for the longest.
    async fn land_one(&mut self) -> Result<(), Stopped> {
        match self.flights.pop_front() {
            Some(flight) => match flight.await {
                Ok(stored) => {
                    self.stored.push(stored?);
                    Ok(())
                }
                Err(_) => Err(Stopped::OutOfTime),
            },
            None => Ok(()),
        }
    }

    /// Saves where it stands. Content whose hash nobody knows is not resumed: it would be another export.
    async fn put_down(&mut self, state: &mut ContentState) -> Result<(), Stopped> {
        let (Some(upload), Some(hash)) = (self.upload.clone(), self.hash) else {
            return Ok(());
        };
        self.land().await?;
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

    /// The end has come: puts what is left, and makes one object of it.
    async fn finish(&mut self, mime_type: &str) -> Result<Poured, Stopped> {
        let digest = self.hasher.clone().finish();
        if self.hash.is_some_and(|wanted| wanted != digest.sha256) {
            return Err(Stopped::WrongSum);
        }
        let entropy = &self.work.deps.entropy;
        let tenant = &self.work.connection.key.tenant;
        let key = match self.hash {
            Some(_) => self.key.clone(),
            None => ObjectKey::content(tenant, &digest.sha256, entropy.next()),
        };
        let objects: &Objects = &self.work.deps.objects;
        let class = self.work.connection.content.storage_class;
        if self.upload.is_none() {
            let bytes = self.buffer.split().freeze();
            let settings = &self.work.connection.content;
            let content = Encoded::of(bytes, &digest, mime_type, settings);
            let place = objects.put(&key, content, mime_type, class).await?;
            return Ok(Poured::Done(place, digest));
        }
        if !self.buffer.is_empty() {
            self.put_part().await?;
        }
        self.land().await?;
        let Some(upload) = &self.upload else {
            return Err(Stopped::OutOfTime);
        };
        objects.complete(&self.key, upload, &self.stored).await?;
        if key != self.key {
            objects.copy(&self.key, &key, mime_type, class).await?;
            self.work.discard(&self.key).await;
        }
        let place = Place::plain(key, digest.size_bytes);
        Ok(Poured::Done(place, digest))
    }

    /// Lets no part fly on behind the back of what comes next. An upload that was not put down can't be gone on with, and
    /// is given up.
    async fn landed(
        self,
        ended: Result<Poured, Stopped>,
        state: &ContentState,
    ) -> Result<Poured, Stopped> {
        if ended.is_err() {
            // What went wrong before is what counts.
            for flight in self.flights {
                drop(flight.await);
            }
            if let Some(upload) = &self.upload
                && !is_put_down(state, upload)
            {
                self.work.forget(&self.key, upload).await;
            }
        }
        ended
    }
}

fn is_put_down(state: &ContentState, upload: &UploadId) -> bool {
    match &state.progress {
        Some(Progress::Download(saved)) => saved.upload == *upload,
        Some(Progress::Upload(_) | Progress::Copy { .. }) | None => false,
    }
}

fn broke_off(error: &DriveError) -> bool {
    *error.kind() == Kind::BadContent(BadContent::BrokeOff)
}

/// What parts are before the object is made of them: nothing reads it, as it is told again with each download.
const MIME_TYPE: &str = "application/octet-stream";
