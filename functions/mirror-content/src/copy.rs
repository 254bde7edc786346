//! Keeps both contents of a conflict: the application's becomes a file beside the one that Drive
//! changed.
//!
//! The copy's id is saved before the copy is created, and the conflict is resolved when the copy is
//! in Drive with its content. An invocation that stops anywhere leaves the conflict open, and the
//! next one creates no second copy.

use domain::content::{ContentState, Failure, Progress, Verdict, retry_wait_millis};
use domain::rate_limit::CallKind;
use domain::{ConflictId, Field, FileId, FileRecord, NewFile, ResolveRefused, Revision};
use store::{Committed, Nonce};
use worker::{WorkError, queue};

use crate::file::{StepResult, Work};

impl Work<'_> {
    pub(crate) async fn keep_both(
        &self,
        record: &FileRecord,
        state: ContentState,
        conflict: &ConflictId,
        of: String,
    ) -> Result<StepResult, WorkError> {
        let (state, copy) = self.copy_id(record, state, conflict).await?;
        let key = &self.connection.key;
        let found = self.deps.store.load_file(key, &copy).await?;
        let Some(beside) = found else {
            return self.begin_copy(record, &state, conflict, copy).await;
        };
        if beside.is_gone() {
            // It was deleted before the conflict was resolved: another one is created.
            let forgotten = ContentState {
                progress: None,
                ..state
            };
            self.save(&forgotten).await?;
            let other = self.generate_id(&record.metadata.mime_type).await?;
            let transition = record.update_keeping(other.clone(), None, self.context());
            self.commit(record, &transition).await?;
            let state = self.load_state().await?;
            let remembered = state.with_progress(Progress::Copy {
                number: conflict.number,
                file: other,
            });
            self.save(&remembered).await?;
            return Ok(StepResult::Continue);
        }
        let decided = record.open.get(&Field::Content);
        if decided.is_some_and(|open| open.keeping.is_none()) {
            return self.decide_both(record, conflict, copy).await;
        }
        if beside.is_present() && !beside.sides(&Field::Content).owed() {
            self.settle(record, &copy).await?;
            let cleared = ContentState {
                progress: None,
                trouble: None,
                due_at: None,
                failures: 0,
                ..state
            };
            self.save(&cleared).await?;
            return Ok(StepResult::Continue);
        }
        self.await_copy(record, &state, &beside, of).await
    }

    /// Waits for the copy. If Drive has refused it, the reason is shown with the conflict, and it
    /// is tried again.
    async fn await_copy(
        &self,
        record: &FileRecord,
        state: &ContentState,
        beside: &FileRecord,
        of: String,
    ) -> Result<StepResult, WorkError> {
        let (key, now) = (&self.connection.key, self.deps.clock.now());
        let reason = beside.push.failed.values().next().cloned();
        let transition = record.update_keeping(beside.file.clone(), reason.clone(), self.context());
        if let Committed::Stale(_) = self.commit(record, &transition).await? {
            return Ok(StepResult::Continue);
        }
        if reason.is_some() {
            self.update_record(beside.clone(), |beside, context| beside.retry(context))
                .await?;
        }
        // Whatever else was lost, its push is due, and its content owed.
        queue::wake_push(&self.deps.push_wakes, key, now).await?;
        let failures = state.failures_of(&of).saturating_add(1);
        let jitter = self.deps.entropy.jitter();
        let wait_millis = retry_wait_millis(failures, Verdict::Passing, jitter);
        let failure = Failure {
            of,
            reason: reason.unwrap_or_else(|| "the copy is not in Drive yet".to_owned()),
            verdict: Verdict::Passing,
        };
        let waiting = state.with_trouble(failure, now.plus_millis(wait_millis), now);
        self.save(&waiting).await?;
        Ok(StepResult::Finished)
    }

    /// Creates the record of the copy; the file is created in Drive by a push.
    async fn begin_copy(
        &self,
        record: &FileRecord,
        state: &ContentState,
        conflict: &ConflictId,
        copy: FileId,
    ) -> Result<StepResult, WorkError> {
        let Some(new) = record.conflicted_copy(copy.clone(), self.deps.clock.now()) else {
            return Ok(StepResult::Finished);
        };
        let by = Self::author(record).unwrap_or_else(|| "policy".to_owned());
        if !self.create_beside(&new, &by).await? {
            let failure = Failure {
                of: format!("the copy of conflict {}", conflict.number),
                reason: "the copy can't have the file's name or folder".to_owned(),
                verdict: Verdict::Refused,
            };
            return self.record_trouble(state, failure).await;
        }
        Ok(StepResult::Continue)
    }

    /// Creates the record of a file beside this one. If the file exists, an earlier invocation
    /// created it. Returns `false` if its values are not allowed.
    pub(crate) async fn create_beside(&self, new: &NewFile, by: &str) -> Result<bool, WorkError> {
        let (key, store) = (&self.connection.key, &self.deps.store);
        let transition = match FileRecord::creating(new, by, self.context()) {
            Ok(transition) => transition,
            Err(why) => {
                tracing::error!(
                    file = %self.file, ?why, metric = "content_not_copied",
                    "could not keep both contents"
                );
                return Ok(false);
            }
        };
        let nonce = Nonce(self.deps.entropy.next());
        store.commit(key, Revision(0), &transition, nonce).await?;
        queue::wake_push(&self.deps.push_wakes, key, self.deps.clock.now()).await?;
        Ok(true)
    }

    /// Records the policy's decision.
    async fn decide_both(
        &self,
        record: &FileRecord,
        conflict: &ConflictId,
        copy: FileId,
    ) -> Result<StepResult, WorkError> {
        let decided = record.resolve_keeping_both(conflict, copy, self.context());
        match decided {
            // If the conflict has changed, the copy may be outdated, but is still the application's
            // content.
            Ok(transition) => match self.commit(record, &transition).await? {
                Committed::Done | Committed::Stale(_) => {}
            },
            Err(ResolveRefused::NotOpen) => {}
            Err(why) => {
                tracing::error!(
                    file = %self.file, ?why, metric = "content_not_copied",
                    "could not keep both contents; the conflict needs a manual resolution"
                );
                return Ok(StepResult::Finished);
            }
        }
        Ok(StepResult::Continue)
    }

    /// Resolves the conflict of a file whose copy is in Drive.
    async fn settle(&self, record: &FileRecord, copy: &FileId) -> Result<(), WorkError> {
        self.update_record(record.clone(), |record, context| {
            record.settle_kept(copy, context)
        })
        .await?;
        tracing::info!(
            file = %record.file, %copy, metric = "content_kept_both",
            "kept both contents of the conflict"
        );
        Ok(())
    }

    /// Resolves the conflict that this file is the copy of, now that it is in Drive. If that fails,
    /// the other file finds it.
    pub(crate) async fn settle_original(&self, state: &ContentState) -> Result<(), WorkError> {
        let Some(original) = &state.copy_of else {
            return Ok(());
        };
        let key = &self.connection.key;
        if let Some(record) = self.deps.store.load_file(key, original).await? {
            self.settle(&record, self.file).await?;
        }
        Ok(())
    }

    /// Returns the id of the copy: the one that was decided or saved for this conflict, or a new
    /// one generated by Drive. The copy knows from then on whose copy it is.
    async fn copy_id(
        &self,
        record: &FileRecord,
        state: ContentState,
        conflict: &ConflictId,
    ) -> Result<(ContentState, FileId), WorkError> {
        let open = record.open.get(&Field::Content);
        let decided = open.and_then(|open| open.keeping.as_ref());
        let saved = match &state.progress {
            Some(Progress::Copy { number, file }) if *number == conflict.number => Some(file),
            Some(_) | None => None,
        };
        let known = decided.map(|keeping| keeping.copy.clone());
        let (state, copy) = match known.or_else(|| saved.cloned()) {
            Some(copy) => (state, copy),
            None => {
                let copy = self.generate_id(&record.metadata.mime_type).await?;
                let remembered = state.with_progress(Progress::Copy {
                    number: conflict.number,
                    file: copy.clone(),
                });
                (self.save(&remembered).await?, copy)
            }
        };
        let (key, store) = (&self.connection.key, &self.deps.store);
        let of_copy = store.load_content(key, &copy).await?;
        if of_copy.copy_of.is_none() {
            let named = ContentState {
                copy_of: Some(self.file.clone()),
                ..of_copy
            };
            let nonce = Nonce(self.deps.entropy.next());
            // If the copy is being processed, this file waits for it by itself.
            store.save_content(key, &copy, &named, nonce).await?;
        }
        Ok((state, copy))
    }

    pub(crate) async fn generate_id(&self, mime_type: &str) -> Result<FileId, WorkError> {
        let drive = self.throttled_drive().await?;
        let generate = || drive.client().generate_id(mime_type);
        Ok(drive.call_with_retries(CallKind::Other, generate).await?)
    }
}
