//! Checks files: their index entries, the progress of their pushes, and the records of their
//! conflicts.

use domain::{ConflictStatus, FileId, FileRecord, InconsistencyKind, Transition};
use store::{
    Attempt, Committed, Inconsistency, IndexDefect, Indexed, Nonce, PageRequest, Subject,
    compare_and_swap,
};
use worker::WorkError;

use super::SelfCheck;

impl SelfCheck<'_> {
    /// Checks a page of file records, and returns the cursor of the next.
    pub(super) async fn check_files(
        &self,
        cursor: Option<String>,
    ) -> Result<Option<String>, WorkError> {
        let page = PageRequest {
            limit: PageRequest::LIMIT_MAX,
            cursor,
        };
        let store = &self.deps.store;
        let page = store.list_files_with_index_state(self.key(), &page).await?;
        let candidates = page
            .items
            .iter()
            .filter(|indexed| self.is_suspicious(indexed));
        for indexed in candidates {
            self.check_file(&indexed.value.file).await?;
        }
        Ok(page.next_cursor)
    }

    /// Checks files that Drive listed: some of them may be missing from the indexes.
    pub(crate) async fn check_listed_files(
        &self,
        listed: &[Indexed<FileRecord>],
    ) -> Result<(), WorkError> {
        let misindexed = listed
            .iter()
            .filter(|indexed| indexed.index_defect.is_some());
        for indexed in misindexed.filter(|indexed| self.is_suspicious(indexed)) {
            self.check_file(&indexed.value.file).await?;
        }
        Ok(())
    }

    fn is_suspicious(&self, indexed: &Indexed<FileRecord>) -> bool {
        let record = &indexed.value;
        let wrong = indexed.index_defect.is_some()
            || !record.open.is_empty()
            || !record.has_consistent_conflicts()
            || record.is_overdue(self.now);
        wrong && self.covers_file(record)
    }

    /// Checks a file until nobody writes it meanwhile. Every write also corrects the file's index
    /// entries.
    async fn check_file(&self, file: &FileId) -> Result<(), WorkError> {
        let checked = compare_and_swap((), async |()| {
            let store = &self.deps.store;
            let Some(indexed) = store.load_file_with_index_state(self.key(), file).await? else {
                return Ok(Attempt::Done(()));
            };
            let Some(inconsistencies) = self.find_inconsistencies(&indexed).await? else {
                return Ok(Attempt::Stale(()));
            };
            for inconsistency in &inconsistencies {
                self.record(inconsistency).await?;
            }
            let is_done = inconsistencies.is_empty() || self.operation.is_dry_run();
            if is_done || self.repair_file(&indexed.value, &inconsistencies).await? {
                return Ok(Attempt::Done(()));
            }
            Ok::<_, WorkError>(Attempt::Stale(()))
        });
        checked.await.map(drop)
    }

    /// Returns the inconsistencies of a file; `None` if it was written while its conflicts were
    /// read.
    async fn find_inconsistencies(
        &self,
        indexed: &Indexed<FileRecord>,
    ) -> Result<Option<Vec<Inconsistency>>, WorkError> {
        let record = &indexed.value;
        let subject = || Subject::File(record.file.clone());
        let mut inconsistencies = Vec::new();
        if let Some(index_defect) = indexed.index_defect {
            let is_intent = record.due().is_some() && index_defect == IndexDefect::Work;
            let (kind, detail) = if is_intent {
                let detail = "its intent is missing from the due index";
                (InconsistencyKind::IntentNotDue, detail)
            } else {
                (
                    InconsistencyKind::FileMisplaced,
                    "its index entries are wrong",
                )
            };
            inconsistencies.push(self.inconsistency(kind, subject(), detail));
        }
        if record.is_overdue(self.now) && self.pushes_are_idle().await? {
            let due = record.due().map(|at| format!("due since {at}"));
            let due = due.unwrap_or_default();
            inconsistencies.push(self.inconsistency(
                InconsistencyKind::IntentOverdue,
                subject(),
                due,
            ));
        }
        let unrecorded = self.find_unrecorded_conflicts(record).await?;
        if !unrecorded.is_empty() {
            let current = self.deps.store.load_file(self.key(), &record.file).await?;
            if current.is_none_or(|current| current.revision != record.revision) {
                return Ok(None);
            }
            inconsistencies.extend(unrecorded);
        }
        Ok(Some(inconsistencies))
    }

    /// Returns the conflicts that the file refers to and whose records disagree.
    async fn find_unrecorded_conflicts(
        &self,
        record: &FileRecord,
    ) -> Result<Vec<Inconsistency>, WorkError> {
        let kind = InconsistencyKind::ConflictUnrecorded;
        let mut inconsistencies = Vec::new();
        if !record.has_consistent_conflicts() {
            let file = Subject::File(record.file.clone());
            let detail = "its values and conflict numbers are inconsistent";
            inconsistencies.push(self.inconsistency(kind, file, detail));
        }
        for (field, open) in &record.open {
            let Some(id) = record.open_conflict(field) else {
                continue;
            };
            let found = self
                .deps
                .store
                .load_conflict_with_index_state(self.key(), &id)
                .await?;
            let detail = match &found {
                None => "the conflict has no record",
                Some(indexed) if indexed.value.status != ConflictStatus::Open => {
                    "the conflict's record is closed"
                }
                Some(indexed) if indexed.value.moves != open.moves => {
                    "the conflict's record has different values"
                }
                Some(indexed) if indexed.index_defect.is_some() => {
                    "the conflict is missing from the list of open conflicts"
                }
                Some(_) => continue,
            };
            inconsistencies.push(self.inconsistency(kind, Subject::Conflict(id), detail));
        }
        Ok(inconsistencies)
    }

    /// Returns whether pushes are neither throttled nor happening.
    async fn pushes_are_idle(&self) -> Result<bool, WorkError> {
        let rate_limit = self.deps.store.load_rate_limit(self.key()).await?;
        let limits = &self.connection.limits;
        Ok(rate_limit.is_none_or(|rate_limit| rate_limit.rate_limit.is_idle(limits, self.now)))
    }

    /// Repairs a file by writing it again where necessary, and wakes `push-intents`. Returns
    /// `false` if the file was written concurrently.
    async fn repair_file(
        &self,
        record: &FileRecord,
        inconsistencies: &[Inconsistency],
    ) -> Result<bool, WorkError> {
        let is = |kind: InconsistencyKind| {
            inconsistencies
                .iter()
                .any(|inconsistency| inconsistency.kind == kind)
        };
        let unrecorded = is(InconsistencyKind::ConflictUnrecorded);
        let intent = is(InconsistencyKind::IntentNotDue);
        if unrecorded || intent || is(InconsistencyKind::FileMisplaced) {
            let transition = if unrecorded {
                record.rewrite_conflicts(self.context())
            } else {
                Transition::unchanged(record.clone())
            };
            if !self.commit(record, &transition).await? {
                return Ok(false);
            }
        }
        if intent || is(InconsistencyKind::IntentOverdue) {
            self.deps.wakes.push(self.key(), self.now).await?;
        }
        Ok(true)
    }

    /// Writes a record unless it was written concurrently. Returns whether it was written.
    pub(super) async fn commit(
        &self,
        record: &FileRecord,
        transition: &Transition,
    ) -> Result<bool, WorkError> {
        let nonce = Nonce(self.deps.entropy.next());
        let store = &self.deps.store;
        let committed = store
            .commit(self.key(), record.revision, transition, nonce)
            .await?;
        Ok(matches!(committed, Committed::Done))
    }
}
