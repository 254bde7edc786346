//! Keeping both contents of a conflict: the application's becomes a file beside the one that Drive changed.
//!
//! The copy's id is remembered before the copy is made, and the copy is made before the conflict is decided. So a look that
//! dies anywhere leaves the conflict open, and the next one makes no second copy.

use domain::content::{ContentState, Progress};
use domain::pace::CallKind;
use domain::{ConflictId, FileId, FileRecord, ResolveRefused, Revision};
use runtime::queue;
use store::{Committed, Nonce};

use crate::Stopped;
use crate::file::{Flow, Work};

impl Work<'_> {
    pub(crate) async fn copy(
        &self,
        record: &FileRecord,
        state: ContentState,
        conflict: &ConflictId,
    ) -> Result<Flow, Stopped> {
        let (state, copy) = self.copy_id(record, state, conflict).await?;
        let Some(new) = record.conflicted_copy(copy.clone(), self.deps.clock.now()) else {
            return Ok(Flow::Over);
        };
        let key = &self.connection.key;
        let by = Self::author(record).unwrap_or_else(|| "policy".to_owned());
        match FileRecord::creating(&new, &by, self.moment()) {
            Ok(step) => {
                let nonce = Nonce(self.deps.entropy.next());
                let store = &self.deps.store;
                // Where it is there already, an earlier look made it.
                store.commit(key, Revision(0), &step, nonce).await?;
            }
            Err(why) => {
                tracing::error!(file = %self.file, ?why, metric = "content_not_copied", "a person has to decide");
                return Ok(Flow::Over);
            }
        }
        let step = match record.kept_both(conflict, copy.clone(), self.moment()) {
            Ok(step) => step,
            Err(ResolveRefused::NotOpen) => return Ok(Flow::Again),
            Err(why) => {
                tracing::error!(file = %self.file, ?why, metric = "content_not_copied", "a person has to decide");
                return Ok(Flow::Over);
            }
        };
        match self.commit(record, &step).await? {
            Committed::Done => {
                tracing::info!(file = %self.file, %copy, metric = "content_kept_both", "both are kept");
                let over = ContentState {
                    progress: None,
                    ..state
                };
                self.save(&over).await?;
                queue::wake_push(&self.deps.push_wakes, key, self.deps.clock.now()).await?;
            }
            // The sides have moved: what the copy holds may be out of date, and is still the application's.
            Committed::Stale(_) => {}
        }
        Ok(Flow::Again)
    }

    /// The id of the copy: the one that was remembered for this conflict, or one that Drive gives out now.
    async fn copy_id(
        &self,
        record: &FileRecord,
        state: ContentState,
        conflict: &ConflictId,
    ) -> Result<(ContentState, FileId), Stopped> {
        if let Some(Progress::Copy { number, file }) = &state.progress
            && *number == conflict.number
        {
            let file = file.clone();
            return Ok((state, file));
        }
        let pass = self.pass().await?;
        let mime_type = &record.mirror.mime_type;
        let generate = || pass.drive().generate_id(mime_type);
        let file = pass.ask(CallKind::Other, generate).await?;
        let remembered = state.with_progress(Progress::Copy {
            number: conflict.number,
            file: file.clone(),
        });
        Ok((self.save(&remembered).await?, file))
    }
}
