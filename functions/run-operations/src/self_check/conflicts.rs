//! Checks that each open conflict's file refers to it.

use domain::{ConflictRecord, ConflictStatus, FileId, InconsistencyKind};
use store::{Attempt, ConflictFilter, ConflictState, PageRequest, Subject, compare_and_swap};
use worker::WorkError;

use super::SelfCheck;

/// The number of conflicts in a page.
const PAGE: u32 = 200;

impl SelfCheck<'_> {
    /// Checks a page of open conflicts, and returns the cursor of the next.
    pub(super) async fn check_conflicts(
        &self,
        cursor: Option<String>,
    ) -> Result<Option<String>, WorkError> {
        let open = ConflictFilter {
            status: Some(ConflictState::Open),
            field: None,
        };
        let page = PageRequest {
            limit: PAGE,
            cursor,
        };
        let store = &self.deps.store;
        let page = store.list_conflicts(self.key(), &open, &page).await?;
        let files: Vec<FileId> = page.items.iter().map(|one| one.id.file.clone()).collect();
        let records = store.load_files(self.key(), &files).await?;
        for conflict in &page.items {
            let record = records.get(&conflict.id.file);
            if !record.is_some_and(|record| record.is_in_conflict(&conflict.id)) {
                self.check_stray(conflict).await?;
            }
        }
        Ok(page.next_cursor)
    }

    /// Checks a conflict that its file does not refer to, until nobody writes the file meanwhile.
    async fn check_stray(&self, listed: &ConflictRecord) -> Result<(), WorkError> {
        let attempt = async |()| self.try_stray(listed).await;
        compare_and_swap((), attempt).await.map(drop)
    }

    /// Checks a stray conflict once. The file is read before the conflict: a conflict opened
    /// meanwhile changes the file, and the write that would close it is then rejected.
    async fn try_stray(&self, listed: &ConflictRecord) -> Result<Attempt<(), ()>, WorkError> {
        const DONE: Attempt<(), ()> = Attempt::Done(());
        let (store, id) = (&self.deps.store, &listed.id);
        let subject = Subject::Conflict(id.clone());
        let record = store.load_file(self.key(), &id.file).await?;
        let found = store.load_conflict(self.key(), id).await?;
        let open = found.filter(|found| found.status == ConflictStatus::Open);
        let Some(conflict) = open else {
            return Ok(DONE);
        };
        let current = store.load_file(self.key(), &id.file).await?;
        let revision = |record: Option<_>| record.map(|record: domain::FileRecord| record.revision);
        if revision(current) != revision(record.clone()) {
            return Ok(Attempt::Stale(()));
        }
        let Some(record) = record else {
            // It may be the only item that still has the application's value.
            if self.is_own_log {
                let kind = InconsistencyKind::ConflictOfUnknownFile;
                let detail = "there is no record of the file";
                let inconsistency = self.inconsistency(kind, subject, detail);
                self.record_unrepairable(inconsistency).await?;
            }
            return Ok(DONE);
        };
        if record.is_in_conflict(id) || !self.covers_file(&record) {
            return Ok(DONE);
        }
        let detail = "the file is not in this conflict";
        let inconsistency = self.inconsistency(InconsistencyKind::ConflictStray, subject, detail);
        self.record(&inconsistency).await?;
        let transition = record.close_stray_conflict(&conflict, self.context());
        if self.operation.is_dry_run() || self.commit(&record, &transition).await? {
            return Ok(DONE);
        }
        Ok(Attempt::Stale(()))
    }
}
