//! What has to be in Drive before a file can go there: the folder that it is to lie in, and what a shortcut
//! is to point to, where those are only being made themselves.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Field, FileId, FileRecord, Value};
use store::StoreError;

use crate::round::{After, Round};

impl Round<'_> {
    /// Those of the records that can go to Drive now. The others stand in line again, behind what they wait
    /// for, if that is due as well; else they wait as long as it would.
    pub(crate) async fn in_order(
        &self,
        due: Vec<FileRecord>,
        after: &mut After,
    ) -> Result<Vec<FileRecord>, StoreError> {
        let wanted: BTreeSet<FileId> = due.iter().flat_map(needs).collect();
        if wanted.is_empty() {
            return Ok(due);
        }
        let wanted: Vec<FileId> = wanted.into_iter().collect();
        let needed = self
            .deps
            .store
            .load_files(&self.connection.key, &wanted)
            .await?;
        let mut ready = Vec::new();
        for record in due {
            match blocked_by(&record, &needed) {
                None => ready.push(record),
                Some(blocker) if self.is_due(blocker) => {
                    after.file(record.file.clone(), Ok(Some(record)));
                }
                Some(_) => {
                    let file = record.file.clone();
                    let later = self.wait(record).await;
                    after.file(file, later);
                }
            }
        }
        Ok(ready)
    }
}

/// What a record is to be put into or pointed at, as far as Drive does not have it so yet.
fn needs(record: &FileRecord) -> Vec<FileId> {
    let parent = record.sides(&Field::Parent);
    let parent = match parent.app {
        Value::Text(ref folder) if parent.owed() => FileId::parse(folder).ok(),
        Value::Text(_) | Value::Null | Value::Flag(_) => None,
    };
    let target = record.mirror.shortcut_target.as_deref();
    let target = target.filter(|_| record.is_creating());
    let target = target.and_then(|id| FileId::parse(id).ok());
    parent.into_iter().chain(target).collect()
}

/// The one that has to be made first. One whose making was given up holds nobody up: Drive's own answer
/// then says what is wrong.
fn blocked_by<'a>(
    record: &FileRecord,
    needed: &'a BTreeMap<FileId, FileRecord>,
) -> Option<&'a FileRecord> {
    let unmade = |file: &FileId| {
        needed
            .get(file)
            .filter(|needed| needed.is_creating() && needed.due().is_some())
    };
    needs(record).iter().find_map(unmade)
}
