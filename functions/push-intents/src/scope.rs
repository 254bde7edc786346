//! What may be written: the connection's rules, asked at the last moment before Drive is.

use domain::{FileRecord, Side};

use crate::Stopped;
use crate::round::Round;

impl Round<'_> {
    /// Splits what is due into what the rules take in, and what they leave out: that is held.
    pub(crate) async fn in_scope(
        &self,
        due: Vec<FileRecord>,
    ) -> Result<(Vec<FileRecord>, Vec<FileRecord>), Stopped> {
        let rules = &self.connection.rules;
        if rules.is_empty() || due.is_empty() {
            return Ok((due, Vec::new()));
        }
        let ancestry = self.deps.store.ancestry(self.connection, &due).await?;
        let taken = |record: &FileRecord| {
            // What Drive has yet to make has no place there but the one that it is to get.
            let side = if record.is_creating() {
                Side::App
            } else {
                Side::Drive
            };
            rules.take(&ancestry.lineage(&record.file, side))
        };
        Ok(due.into_iter().partition(taken))
    }
}
