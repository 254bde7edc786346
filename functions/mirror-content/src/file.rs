//! Processes one file's content step by step until nothing is left to do.

use domain::content::{
    ContentAction, ContentContext, ContentOutcome, ContentState, DRIVE_SIDE, Progress,
};
use domain::{Ancestry, Field, FileId, FileRecord, Gone, Side, Timestamp};
use objects::ObjectsError;
use runtime::{Deadline, telemetry};
use store::{Connection, Nonce, Released, Written};
use throttle::{ThrottledDrive, WaitBudget};
use worker::{ContentWake, DedupKey, Priority, WorkError};

use crate::Deps;
use crate::wanted::{Export, Wanted};

/// The maximum number of steps per invocation: enough for an upload that meets a conflict, is
/// copied and followed by a download. A file that needs more is changing concurrently, and
/// continues with another wake.
const STEPS_MAX: u32 = 12;
/// The time before the deadline from which no step or part is started, in milliseconds: in the
/// worst case one S3 call takes two and a half minutes, usually a tenth of a second.
const STEP_MILLIS: i64 = 45_000;
/// The longest in-process wait for the rate limiter, in milliseconds.
const WAIT_MILLIS_MAX: u64 = 5_000;
/// The number of versions that are released in one step.
const RELEASES_PER_PAGE: u32 = 100;

/// The processing of one file's content.
pub(crate) struct Work<'a> {
    pub(crate) deps: &'a Deps,
    pub(crate) connection: &'a Connection,
    pub(crate) file: &'a FileId,
    pub(crate) priority: Priority,
    pub(crate) deadline: Deadline,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepResult {
    /// Determine the next step.
    Continue,
    /// Nothing can be done now; whatever changes that sends a wake.
    Finished,
    /// Time ran out during the step: another wake continues it.
    OutOfTime,
}

/// Processes a file's owed content, as far as time allows. A wake on the same queue continues the
/// rest.
pub(crate) async fn process_content(
    deps: &Deps,
    connection: &Connection,
    file: &FileId,
    priority: Priority,
    deadline: Deadline,
) -> Result<(), WorkError> {
    let work = Work {
        deps,
        connection,
        file,
        priority,
        deadline,
    };
    let mut state = work.load_state().await?;
    let before = state.revision;
    for _ in 0..STEPS_MAX {
        if work.too_late() {
            break;
        }
        match work.step(state).await? {
            StepResult::Continue => state = work.load_state().await?,
            StepResult::Finished => return Ok(()),
            StepResult::OutOfTime => break,
        }
    }
    work.schedule_continuation(before).await
}

impl Work<'_> {
    async fn step(&self, state: ContentState) -> Result<StepResult, WorkError> {
        let record = match self.load_record().await? {
            Some(record) => record,
            // The record of a file that is gone may expire before the retention of its content.
            None if state.outcome.is_some() => {
                let now = self.deps.clock.now();
                FileRecord::tombstone(self.file.clone(), Gone::Removed, now)
            }
            None => return Ok(StepResult::Finished),
        };
        let above = self.above(&record).await?;
        let context = ContentContext {
            settings: &self.connection.content,
            policies: &self.connection.policies,
            above: above.as_ref(),
            in_scope: self.in_scope(&record).await?,
            now: self.deps.clock.now(),
            asked_at: self.asked_at(&state).await?,
        };
        let action = state.next_action(&record, context);
        // A content scan follows when what is owed is confirmed.
        if action.writes_to_drive() && self.connection.owed_held {
            return Ok(StepResult::Finished);
        }
        // Boxed: the future of a step would have the size of the largest action, in each caller.
        match action {
            ContentAction::Nothing => Ok(StepResult::Finished),
            ContentAction::Record { number, outcome } => {
                self.record_outcome(&state, number, outcome).await
            }
            ContentAction::Store {
                number,
                content,
                in_drive,
                of,
            } => {
                let wanted = Wanted {
                    number,
                    content,
                    in_drive,
                    of,
                };
                Box::pin(self.store_version(&record, state, wanted)).await
            }
            ContentAction::Export {
                number,
                format,
                modified_at,
                moved_at,
                of,
            } => {
                let export = Export {
                    number,
                    format,
                    modified_at,
                    moved_at,
                    of,
                };
                Box::pin(self.export(&record, &state, export)).await
            }
            ContentAction::Fail(failure) => self.record_trouble(&state, failure).await,
            ContentAction::Upload { number, hash } => {
                Box::pin(self.upload(record, state, number, hash)).await
            }
            ContentAction::Copy { conflict, of } => {
                Box::pin(self.keep_both(&record, state, &conflict, of)).await
            }
            ContentAction::StoreDriveSide { content, of } => {
                let wanted = Wanted {
                    number: DRIVE_SIDE,
                    content,
                    in_drive: true,
                    of,
                };
                Box::pin(self.store_version(&record, state, wanted)).await
            }
            ContentAction::ReleaseDriveSide => self.release_drive_side(&state).await,
            ContentAction::FinishUpload(upload) => {
                Box::pin(self.finish_upload(&record, state, upload)).await
            }
            ContentAction::Unschedule => {
                let updated = ContentState {
                    due_at: None,
                    trouble: None,
                    failures: 0,
                    ..state
                };
                self.save(&updated).await?;
                Ok(StepResult::Continue)
            }
            ContentAction::ReleaseAt(at) => {
                let updated = ContentState {
                    due_at: Some(at),
                    trouble: None,
                    failures: 0,
                    ..state
                };
                self.save(&updated).await?;
                Ok(StepResult::Finished)
            }
            ContentAction::Release => Box::pin(self.release_versions(&state)).await,
        }
    }

    /// Returns the time at which everything that could not be had was last asked for, which matters
    /// only if this file's content could not be had.
    async fn asked_at(&self, state: &ContentState) -> Result<Timestamp, WorkError> {
        if state.trouble.is_none() {
            return Ok(Timestamp::default());
        }
        let key = &self.connection.key;
        Ok(self.deps.store.load_content_retries(key).await?.asked_at)
    }

    pub(crate) async fn load_state(&self) -> Result<ContentState, WorkError> {
        let key = &self.connection.key;
        Ok(self.deps.store.load_content(key, self.file).await?)
    }

    pub(crate) async fn load_record(&self) -> Result<Option<FileRecord>, WorkError> {
        let key = &self.connection.key;
        Ok(self.deps.store.load_file(key, self.file).await?)
    }

    /// Returns the folders above the file, if a policy of theirs may decide a conflict on its
    /// content.
    async fn above(&self, record: &FileRecord) -> Result<Option<Ancestry>, WorkError> {
        let has_none = self.connection.policies.folders.is_empty();
        if has_none || record.open_conflict(&Field::Content).is_none() {
            return Ok(None);
        }
        let store = &self.deps.store;
        Ok(Some(
            store.places_ancestry(self.connection, &[record]).await?,
        ))
    }

    async fn in_scope(&self, record: &FileRecord) -> Result<bool, WorkError> {
        let rules = &self.connection.rules;
        if rules.is_empty() {
            return Ok(true);
        }
        let files = std::slice::from_ref(record);
        let ancestry = self.deps.store.ancestry(self.connection, files).await?;
        Ok(rules.includes(&ancestry.lineage(&record.file, Side::Drive)))
    }

    /// Records the outcome of a version.
    pub(crate) async fn record_outcome(
        &self,
        state: &ContentState,
        number: u32,
        outcome: ContentOutcome,
    ) -> Result<StepResult, WorkError> {
        match &outcome {
            ContentOutcome::Stored => {
                tracing::info!(
                    file = %self.file, number, metric = "content_stored",
                    "stored content"
                );
            }
            ContentOutcome::Unavailable { reason } => {
                tracing::warn!(
                    file = %self.file, number, reason, metric = "content_unavailable",
                    "content is unavailable"
                );
            }
            ContentOutcome::Skipped { rule } => {
                tracing::info!(
                    file = %self.file, number, rule, metric = "content_skipped",
                    "content excluded by a rule"
                );
            }
            ContentOutcome::Released => {
                tracing::info!(
                    file = %self.file, number, metric = "content_released",
                    "released stored versions"
                );
            }
        }
        if let Some(Progress::Download(download)) = &state.progress {
            self.abort_upload(&download.object, &download.upload).await;
        }
        self.save(&state.with_outcome(number, outcome)).await?;
        Ok(StepResult::Continue)
    }

    /// Saves a state on condition that the one read is still current. A file's content has one
    /// worker at a time, except after a crash, so a lost race is rare and the wake is retried.
    pub(crate) async fn save(&self, state: &ContentState) -> Result<ContentState, WorkError> {
        let nonce = Nonce(self.deps.entropy.next());
        let key = &self.connection.key;
        let saved = self
            .deps
            .store
            .save_content(key, self.file, state, nonce)
            .await?;
        match saved {
            Written::Done(saved) => Ok(saved),
            Written::Stale(_) => Err(WorkError::Contended),
        }
    }

    /// Aborts a multipart upload whose parts are no longer needed. If that fails, the bucket's
    /// lifecycle rule aborts it.
    pub(crate) async fn abort_upload(&self, key: &objects::ObjectKey, upload: &objects::UploadId) {
        if let Err(error) = self.deps.objects.abort_upload(key, upload).await {
            self.log_cleanup_failure(&error);
        }
    }

    /// Deletes an object that nothing will ever reference.
    pub(crate) async fn delete_object(&self, key: &objects::ObjectKey) {
        if let Err(error) = self.deps.objects.delete(key).await {
            self.log_cleanup_failure(&error);
        }
    }

    fn log_cleanup_failure(&self, error: &ObjectsError) {
        let error = telemetry::chain(error);
        tracing::warn!(
            file = %self.file, error, metric = "content_left_behind",
            "could not delete content from the bucket"
        );
    }

    /// Releases every stored version except the pinned ones after the retention has ended. An
    /// object is deleted with its last version.
    async fn release_versions(&self, state: &ContentState) -> Result<StepResult, WorkError> {
        let key = &self.connection.key;
        let store = &self.deps.store;
        let mut cursor = None;
        loop {
            let page = store::PageRequest {
                limit: RELEASES_PER_PAGE,
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
                    return Ok(StepResult::OutOfTime);
                }
            }
            cursor = match versions.next_cursor {
                Some(next) => Some(next),
                None => break,
            };
        }
        let last = state.outcome.as_ref().map_or(0, |(last, _)| *last);
        self.record_outcome(state, last, ContentOutcome::Released)
            .await
    }

    /// Releases the stored content of Drive's side of a conflict.
    pub(crate) async fn release_drive_side(
        &self,
        state: &ContentState,
    ) -> Result<StepResult, WorkError> {
        let (key, now) = (&self.connection.key, self.deps.clock.now());
        let store = &self.deps.store;
        let released = store.release_version(key, self.file, DRIVE_SIDE, now);
        match released.await? {
            Released::Done { .. } | Released::Pinned | Released::Absent => {}
        }
        let updated = ContentState {
            drive_side: None,
            ..state.clone()
        };
        self.save(&updated).await?;
        Ok(StepResult::Continue)
    }

    /// Sends a wake that continues from the current state. An invocation without progress sends
    /// none, since SQS would discard it as a duplicate of the one being handled: that one is
    /// retried instead.
    async fn schedule_continuation(&self, before: u64) -> Result<(), WorkError> {
        let revision = self.load_state().await?.revision;
        if revision == before {
            return Err(WorkError::OutOfTime);
        }
        let wake = ContentWake {
            key: self.connection.key.clone(),
            file: self.file.clone(),
        };
        let dedup_key = DedupKey::Progress(revision);
        tracing::info!(
            file = %self.file, metric = "content_goes_on",
            "content continues with the next wake"
        );
        Ok(self
            .deps
            .contents
            .send(self.priority, &[(wake, dedup_key)])
            .await?)
    }

    pub(crate) async fn throttled_drive(&self) -> Result<ThrottledDrive, WorkError> {
        let wait_budget = WaitBudget {
            max_wait_millis: WAIT_MILLIS_MAX,
            deadline: self.deadline.0.plus_millis(-STEP_MILLIS),
        };
        Ok(self
            .deps
            .drives
            .throttled(self.connection, wait_budget)
            .await?)
    }

    pub(crate) fn too_late(&self) -> bool {
        let now = self.deps.clock.now();
        self.deadline.passed(now.plus_millis(STEP_MILLIS))
    }

    /// Returns the author of the application's content, or else Drive's last modifier, if known.
    pub(crate) fn author(record: &FileRecord) -> Option<String> {
        let edit = record.edits.get(&Field::Content);
        edit.map(|edit| edit.by.clone())
            .or_else(|| record.metadata.modified_by.clone())
    }
}
