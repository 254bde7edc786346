//! The files that must exist in Drive before another file can be written: its parent folder and a
//! shortcut's target, if their own creation is still pending.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Field, FileId, FileRecord, Value};
use store::StoreError;

use crate::push_batch::{BatchResult, PushBatch};

impl PushBatch<'_> {
    /// Returns the records that can be pushed now. The others are enqueued again behind the file
    /// that they depend on if that one is due as well, and are postponed otherwise.
    pub(crate) async fn ready_to_push(
        &self,
        due: Vec<FileRecord>,
        result: &mut BatchResult,
    ) -> Result<Vec<FileRecord>, StoreError> {
        let ids: BTreeSet<FileId> = due.iter().flat_map(prerequisites).collect();
        if ids.is_empty() {
            return Ok(due);
        }
        let ids: Vec<FileId> = ids.into_iter().collect();
        let loaded = self
            .deps
            .store
            .load_files(&self.connection.key, &ids)
            .await?;
        let mut ready = Vec::new();
        for record in due {
            match blocked_by(&record, &loaded) {
                None => ready.push(record),
                Some(blocker) if self.is_due(blocker) => {
                    result.add(record.file.clone(), Ok(Some(record)));
                }
                Some(_) => {
                    let file = record.file.clone();
                    let later = self.postpone(record).await;
                    result.add(file, later);
                }
            }
        }
        Ok(ready)
    }
}

/// Returns the parent and the shortcut target of a record, as far as Drive does not have them yet.
fn prerequisites(record: &FileRecord) -> Vec<FileId> {
    let parent = record.sides(&Field::Parent);
    let parent = match parent.app {
        Value::Text(ref folder) if parent.owed() => FileId::parse(folder).ok(),
        Value::Text(_) | Value::Null | Value::Flag(_) => None,
    };
    let target = record.metadata.shortcut_target.as_deref();
    let target = target.filter(|_| record.is_creating());
    let target = target.and_then(|id| FileId::parse(id).ok());
    parent.into_iter().chain(target).collect()
}

/// Returns the file that must be created first. A creation that was given up blocks nothing:
/// Drive's own response then explains the failure.
fn blocked_by<'a>(
    record: &FileRecord,
    loaded: &'a BTreeMap<FileId, FileRecord>,
) -> Option<&'a FileRecord> {
    let uncreated = |file: &FileId| {
        loaded
            .get(file)
            .filter(|found| found.is_creating() && found.due().is_some())
    };
    prerequisites(record).iter().find_map(uncreated)
}
