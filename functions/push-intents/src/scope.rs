//! Applies the connection's rules immediately before Drive is called.

use domain::{FileRecord, Side};
use worker::WorkError;

use crate::push_batch::PushBatch;

impl PushBatch<'_> {
    /// Splits due files into those that the rules include and those that they exclude.
    pub(crate) async fn in_scope(
        &self,
        due: Vec<FileRecord>,
    ) -> Result<(Vec<FileRecord>, Vec<FileRecord>), WorkError> {
        let rules = &self.connection.rules;
        if rules.is_empty() || due.is_empty() {
            return Ok((due, Vec::new()));
        }
        let ancestry = self.deps.store.ancestry(self.connection, &due).await?;
        let taken = |record: &FileRecord| {
            // A file that is not created yet has no place in Drive except its intended one.
            let side = if record.is_creating() {
                Side::App
            } else {
                Side::Drive
            };
            rules.includes(&ancestry.lineage(&record.file, side))
        };
        Ok(due.into_iter().partition(taken))
    }
}
