//! Files: is each where it is looked for, does somebody work on what it owes, is each of its conflicts recorded?

use domain::{ConflictStatus, FileId, FileRecord, FlawKind, Step};
use store::{Committed, Flaw, Kept, Misplaced, Nonce, PageRequest, Subject};

use super::{Examination, ROUNDS_MAX};
use crate::Stopped;

impl Examination<'_> {
    /// Looks at a page of our records, and gives the cursor of the next.
    pub(super) async fn look_at_files(
        &self,
        cursor: Option<String>,
    ) -> Result<Option<String>, Stopped> {
        let page = PageRequest {
            limit: PageRequest::LIMIT_MAX,
            cursor,
        };
        let store = &self.deps.store;
        let page = store.list_kept_files(self.key(), &page).await?;
        let suspects = page.items.iter().filter(|kept| self.is_suspect(kept));
        for kept in suspects {
            self.look_at_file(&kept.value.file).await?;
        }
        Ok(page.next_cursor)
    }

    /// Looks at files that Drive listed: of those, some may be in no list of ours.
    pub(crate) async fn look_at_listed(&self, listed: &[Kept<FileRecord>]) -> Result<(), Stopped> {
        let misplaced = listed.iter().filter(|kept| kept.misplaced.is_some());
        for kept in misplaced.filter(|kept| self.is_suspect(kept)) {
            self.look_at_file(&kept.value.file).await?;
        }
        Ok(())
    }

    fn is_suspect(&self, kept: &Kept<FileRecord>) -> bool {
        let record = &kept.value;
        let wrong = kept.misplaced.is_some()
            || !record.open.is_empty()
            || !record.is_booked()
            || record.is_overdue(self.now);
        wrong && self.covers_file(record)
    }

    async fn look_at_file(&self, file: &FileId) -> Result<(), Stopped> {
        for _ in 0..ROUNDS_MAX {
            let store = &self.deps.store;
            let Some(kept) = store.load_kept_file(self.key(), file).await? else {
                return Ok(());
            };
            let Some(flaws) = self.flaws_of_file(&kept).await? else {
                continue;
            };
            for flaw in &flaws {
                self.note(flaw).await?;
            }
            let nothing_to_do = flaws.is_empty() || self.operation.dry_run;
            if nothing_to_do || self.repair_file(&kept.value, &flaws).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is wrong with a file; `None` where it moved while its conflicts were read.
    async fn flaws_of_file(&self, kept: &Kept<FileRecord>) -> Result<Option<Vec<Flaw>>, Stopped> {
        let record = &kept.value;
        let subject = || Subject::File(record.file.clone());
        let mut flaws = Vec::new();
        if let Some(misplaced) = kept.misplaced {
            let waits = record.due().is_some() && misplaced == Misplaced::Waiting;
            let (kind, detail) = if waits {
                let detail = "no index finds what it owes";
                (FlawKind::IntentNotDue, detail)
            } else {
                (FlawKind::FileMisplaced, "an index has it wrong")
            };
            flaws.push(self.flaw(kind, subject(), detail));
        }
        if record.is_overdue(self.now) && self.pushes_are_idle().await? {
            let due = record.due().map(|at| format!("due since {at}"));
            let due = due.unwrap_or_default();
            flaws.push(self.flaw(FlawKind::IntentOverdue, subject(), due));
        }
        let unrecorded = self.unrecorded(record).await?;
        if !unrecorded.is_empty() {
            let again = self.deps.store.load_file(self.key(), &record.file).await?;
            if again.is_none_or(|again| again.revision != record.revision) {
                return Ok(None);
            }
            flaws.extend(unrecorded);
        }
        Ok(Some(flaws))
    }

    /// Conflicts that the file is in, and whose records do not say so.
    async fn unrecorded(&self, record: &FileRecord) -> Result<Vec<Flaw>, Stopped> {
        let kind = FlawKind::ConflictUnrecorded;
        let mut flaws = Vec::new();
        if !record.is_booked() {
            let file = Subject::File(record.file.clone());
            let detail = "its sides and the numbers of its conflicts do not fit";
            flaws.push(self.flaw(kind, file, detail));
        }
        for (field, open) in &record.open {
            let Some(id) = record.open_conflict(field) else {
                continue;
            };
            let found = self.deps.store.load_kept_conflict(self.key(), &id).await?;
            let detail = match &found {
                None => "it has no record",
                Some(kept) if kept.value.status != ConflictStatus::Open => {
                    "its record says that it has ended"
                }
                Some(kept) if kept.value.moves != open.moves => "its record has other sides",
                Some(kept) if kept.misplaced.is_some() => "no list of open conflicts has it",
                Some(_) => continue,
            };
            flaws.push(self.flaw(kind, Subject::Conflict(id), detail));
        }
        Ok(flaws)
    }

    /// Whether nothing keeps anybody from pushing, and nobody does.
    async fn pushes_are_idle(&self) -> Result<bool, Stopped> {
        let paced = self.deps.store.load_pace(self.key()).await?;
        let limits = &self.connection.limits;
        Ok(paced.is_none_or(|paced| paced.pace.is_idle(limits, self.now)))
    }

    /// Writes a file anew where that is what it takes, and wakes whoever pushes. Says whether it is done; otherwise
    /// somebody else has written the file.
    async fn repair_file(&self, record: &FileRecord, flaws: &[Flaw]) -> Result<bool, Stopped> {
        let is = |kind: FlawKind| flaws.iter().any(|flaw| flaw.kind == kind);
        let unrecorded = is(FlawKind::ConflictUnrecorded);
        let intent = is(FlawKind::IntentNotDue);
        if unrecorded || intent || is(FlawKind::FileMisplaced) {
            let step = if unrecorded {
                record.rebooked(self.moment())
            } else {
                Step::stay(record.clone())
            };
            if !self.commit(record, &step).await? {
                return Ok(false);
            }
        }
        if intent || is(FlawKind::IntentOverdue) {
            self.deps.wakes.push(self.key(), self.now).await?;
        }
        Ok(true)
    }

    /// Writes a record on condition that nobody was faster.
    pub(super) async fn commit(&self, record: &FileRecord, step: &Step) -> Result<bool, Stopped> {
        let nonce = Nonce(self.deps.entropy.next());
        let store = &self.deps.store;
        let committed = store
            .commit(self.key(), record.revision, step, nonce)
            .await?;
        Ok(matches!(committed, Committed::Done))
    }
}
