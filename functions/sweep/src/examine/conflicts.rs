//! Records of conflicts that are open: is the file in each of them?

use domain::{ConflictRecord, ConflictStatus, FileId, FlawKind};
use store::{ConflictFilter, ConflictState, PageRequest, Subject};

use super::{Examination, ROUNDS_MAX};
use crate::Stopped;

/// Conflicts of a page.
const PAGE: u32 = 200;

impl Examination<'_> {
    /// Looks at a page of open conflicts, and gives the cursor of the next.
    pub(super) async fn look_at_conflicts(
        &self,
        cursor: Option<String>,
    ) -> Result<Option<String>, Stopped> {
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
            if !record.is_some_and(|record| record.is_in(&conflict.id)) {
                self.look_at_stray(conflict).await?;
            }
        }
        Ok(page.next_cursor)
    }

    /// The file is read first and the conflict after it: one that is opened meanwhile moves the file, and then the
    /// write that would close it is refused.
    async fn look_at_stray(&self, listed: &ConflictRecord) -> Result<(), Stopped> {
        let (store, id) = (&self.deps.store, &listed.id);
        let subject = Subject::Conflict(id.clone());
        for _ in 0..ROUNDS_MAX {
            let record = store.load_file(self.key(), &id.file).await?;
            let found = store.load_conflict(self.key(), id).await?;
            let open = found.filter(|found| found.status == ConflictStatus::Open);
            let Some(conflict) = open else {
                return Ok(());
            };
            let again = store.load_file(self.key(), &id.file).await?;
            let revision =
                |record: Option<_>| record.map(|record: domain::FileRecord| record.revision);
            if revision(again) != revision(record.clone()) {
                continue;
            }
            let Some(record) = record else {
                // It may be the last that holds the application's value.
                if self.is_own {
                    let detail = "there is no record of the file";
                    let flaw = self.flaw(FlawKind::ConflictOfNobody, subject, detail);
                    self.report(flaw).await?;
                }
                return Ok(());
            };
            if record.is_in(id) || !self.covers_file(&record) {
                return Ok(());
            }
            let detail = "the file is not in this conflict";
            let flaw = self.flaw(FlawKind::ConflictStray, subject.clone(), detail);
            self.note(&flaw).await?;
            let step = record.without_stray(&conflict, self.moment());
            if self.operation.dry_run || self.commit(&record, &step).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}
