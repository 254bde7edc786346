//! One file's content: what is to be done next, until nothing is.

use domain::content::{ContentState, Dealt, Next, Outlook, Progress};
use domain::{Field, FileId, FileRecord, Side};
use gate::{Pass, Patience};
use objects::ObjectsError;
use runtime::{ContentWake, Deadline, Lane, WakeCause, telemetry};
use store::{Connection, Nonce, Released, Written};

use crate::{Deps, Stopped};

/// Steps of one look: enough for an upload that meets a conflict, is copied and followed by a download. A file that needs
/// more is moving under our hands, and is looked at again.
const STEPS_MAX: u32 = 12;
/// No step is begun, and no part of one, so short before the end, in milliseconds: a part may take a call of two and a
/// half minutes to S3 at the worst, and mostly takes one of a tenth of a second.
const LAST_MILLIS: i64 = 45_000;
/// The longest wait for the connection's turn in place, in milliseconds.
const PATIENCE_MILLIS: u64 = 5_000;
/// Versions that are released in one step.
const RELEASED_AT_ONCE: u32 = 100;

/// The work on one file's content.
pub(crate) struct Work<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) connection: &'a Connection,
    pub(crate) file: &'a FileId,
    pub(crate) lane: Lane,
    pub(crate) deadline: Deadline,
}

/// What a step left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Look again what is next.
    Again,
    /// Nothing can be done now; what changes that, wakes.
    Over,
    /// Time is up in the middle: another wake goes on.
    Later,
}

/// Does what is owed for a file's content, as far as time allows; what is left goes on with a wake that is sent to the
/// same lane.
pub(crate) async fn mirror(
    deps: &Deps,
    connection: &Connection,
    file: &FileId,
    lane: Lane,
    deadline: Deadline,
) -> Result<(), Stopped> {
    let work = Work {
        deps,
        connection,
        file,
        lane,
        deadline,
    };
    let mut state = work.state().await?;
    let before = state.revision;
    for _ in 0..STEPS_MAX {
        if work.too_late() {
            break;
        }
        match work.step(state).await? {
            Flow::Again => state = work.state().await?,
            Flow::Over => return Ok(()),
            Flow::Later => break,
        }
    }
    work.go_on_later(before).await
}

impl Work<'_> {
    async fn step(&self, state: ContentState) -> Result<Flow, Stopped> {
        let Some(record) = self.record().await? else {
            return Ok(Flow::Over);
        };
        let outlook = Outlook {
            settings: &self.connection.content,
            policies: &self.connection.policies,
            in_scope: self.in_scope(&record).await?,
            now: self.deps.clock.now(),
        };
        match state.next(&record, outlook) {
            Next::Nothing => Ok(Flow::Over),
            Next::Note { number, dealt } => self.settle(&state, number, dealt).await,
            Next::Store {
                number,
                hash,
                in_drive,
            } => self.store(&record, state, number, hash, in_drive).await,
            Next::Export { number, format, of } => {
                self.export(&record, &state, number, &format, of).await
            }
            Next::Carry { number, hash } => self.carry(record, state, number, hash).await,
            Next::Copy(conflict) => self.copy(&record, state, &conflict).await,
            Next::Keep => {
                let kept = ContentState {
                    due_at: None,
                    ..state
                };
                self.save(&kept).await?;
                Ok(Flow::Again)
            }
            Next::ReleaseAt(at) => {
                let waits = ContentState {
                    due_at: Some(at),
                    ..state
                };
                self.save(&waits).await?;
                Ok(Flow::Over)
            }
            Next::Release => self.release(&state).await,
        }
    }

    async fn state(&self) -> Result<ContentState, Stopped> {
        let key = &self.connection.key;
        Ok(self.deps.store.load_content(key, self.file).await?)
    }

    pub(crate) async fn record(&self) -> Result<Option<FileRecord>, Stopped> {
        let key = &self.connection.key;
        Ok(self.deps.store.load_file(key, self.file).await?)
    }

    async fn in_scope(&self, record: &FileRecord) -> Result<bool, Stopped> {
        let rules = &self.connection.rules;
        if rules.is_empty() {
            return Ok(true);
        }
        let files = std::slice::from_ref(record);
        let ancestry = self.deps.store.ancestry(self.connection, files).await?;
        Ok(rules.take(&ancestry.lineage(&record.file, Side::Drive)))
    }

    /// A version was dealt with so.
    pub(crate) async fn settle(
        &self,
        state: &ContentState,
        number: u32,
        dealt: Dealt,
    ) -> Result<Flow, Stopped> {
        match &dealt {
            Dealt::Stored => {
                tracing::info!(file = %self.file, number, metric = "content_stored", "stored");
            }
            Dealt::Unavailable { reason } => {
                tracing::warn!(file = %self.file, number, reason, metric = "content_unavailable", "not to be had");
            }
            Dealt::Skipped { rule } => {
                tracing::info!(file = %self.file, number, rule, metric = "content_skipped", "left out");
            }
            Dealt::Released => {
                tracing::info!(file = %self.file, number, metric = "content_released", "let go");
            }
        }
        if let Some(Progress::Download(download)) = &state.progress {
            self.forget(&download.object, &download.upload).await;
        }
        self.save(&state.settled(number, dealt)).await?;
        Ok(Flow::Again)
    }

    /// Saves a state on condition of the one that was read. Nobody else works on a file's content but after a crash of
    /// ours, so losing that race is rare, and then the wake comes again.
    pub(crate) async fn save(&self, state: &ContentState) -> Result<ContentState, Stopped> {
        let nonce = Nonce(self.deps.entropy.next());
        let key = &self.connection.key;
        let written = self
            .deps
            .store
            .save_content(key, self.file, state, nonce)
            .await?;
        match written {
            Written::Done(saved) => Ok(saved),
            Written::Stale(_) => Err(Stopped::Overtaken),
        }
    }

    /// Gives up an upload to the bucket whose parts are of no use any more. What stays of it is aborted by the bucket's
    /// lifecycle.
    pub(crate) async fn forget(&self, key: &objects::ObjectKey, upload: &objects::UploadId) {
        if let Err(error) = self.deps.objects.abort(key, upload).await {
            self.left_behind(&error);
        }
    }

    /// Deletes bytes of our own that nothing will ever name.
    pub(crate) async fn discard(&self, key: &objects::ObjectKey) {
        if let Err(error) = self.deps.objects.delete(key).await {
            self.left_behind(&error);
        }
    }

    fn left_behind(&self, error: &ObjectsError) {
        let error = telemetry::chain(error);
        tracing::warn!(file = %self.file, error, metric = "content_left_behind", "left in the bucket");
    }

    /// The retention is over: every stored version goes but the pinned ones, and with the last that names it, its object.
    async fn release(&self, state: &ContentState) -> Result<Flow, Stopped> {
        let key = &self.connection.key;
        let store = &self.deps.store;
        let mut cursor = None;
        loop {
            let page = store::PageRequest {
                limit: RELEASED_AT_ONCE,
                cursor,
            };
            let versions = store.list_versions(key, self.file, &page).await?;
            for version in versions.items {
                let now = self.deps.clock.now();
                let released = store.release_version(key, self.file, version.number, now);
                match released.await? {
                    Released::Done { .. } | Released::Pinned | Released::Absent => {}
                }
                if self.too_late() {
                    return Ok(Flow::Later);
                }
            }
            cursor = match versions.next_cursor {
                Some(next) => Some(next),
                None => break,
            };
        }
        let last = state.dealt.as_ref().map_or(0, |(last, _)| *last);
        self.settle(state, last, Dealt::Released).await
    }

    /// Sends a wake that goes on where this look ends. A look that came to nothing sends none, which would be taken for a
    /// repetition of the one that it answers: its own comes back.
    async fn go_on_later(&self, before: u64) -> Result<(), Stopped> {
        let revision = self.state().await?.revision;
        if revision == before {
            return Err(Stopped::OutOfTime);
        }
        let wake = ContentWake {
            key: self.connection.key.clone(),
            file: self.file.clone(),
        };
        let cause = WakeCause::Progress(revision);
        tracing::info!(file = %self.file, metric = "content_goes_on", "goes on with the next wake");
        Ok(self.deps.contents.send(self.lane, &[(wake, cause)]).await?)
    }

    pub(crate) async fn pass(&self) -> Result<Pass, Stopped> {
        let patience = Patience {
            wait_millis_max: PATIENCE_MILLIS,
            until: self.deadline.0.plus_millis(-LAST_MILLIS),
        };
        Ok(self.deps.gate.pass(self.connection, patience).await?)
    }

    pub(crate) fn too_late(&self) -> bool {
        let now = self.deps.clock.now();
        self.deadline.passed(now.plus_millis(LAST_MILLIS))
    }

    /// Who brought the application's content, or last changed Drive's, where that is known.
    pub(crate) fn author(record: &FileRecord) -> Option<String> {
        let edit = record.edits.get(&Field::Content);
        edit.map(|edit| edit.by.clone())
            .or_else(|| record.mirror.modified_by.clone())
    }
}
