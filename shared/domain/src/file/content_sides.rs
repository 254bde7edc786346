//! The sides of a file's content while a record is built: their form, and the decision to keep
//! both.

use crate::file::transition_builder::TransitionBuilder;
use crate::{ConflictStatus, DriveMetadata, Field, Keeping};

impl TransitionBuilder<'_> {
    /// Sets the metadata. If they identify the same content in another form, the sides of the
    /// content take that form: nothing has moved.
    /// Returns the metadata before.
    pub(super) fn set_metadata(&mut self, metadata: DriveMetadata) -> DriveMetadata {
        let before = self.record.metadata.content();
        let after = metadata.content();
        if before != after && metadata.has_content_of(&self.record.metadata) {
            if let Some(sides) = self.record.fields.get_mut(&Field::Content) {
                *sides = sides.renamed(&before, &after);
            }
            if let Some(open) = self.record.open.get(&Field::Content).cloned() {
                let sides = self.record.sides(&Field::Content);
                self.save_conflict(&Field::Content, &open, &sides, ConflictStatus::Open);
            }
            let first = self.renamed.take().map_or(before, |(first, _)| first);
            self.renamed = Some((first, after));
        }
        std::mem::replace(&mut self.record.metadata, metadata)
    }

    /// Records the SHA-256 of Drive's content, which was computed from its bytes.
    pub(crate) fn learn_sha256(&mut self, sha256: String) {
        let metadata = DriveMetadata {
            sha256: Some(sha256),
            ..self.record.metadata.clone()
        };
        drop(self.set_metadata(metadata));
        let sides = self.record.sides(&Field::Content);
        if sides.conflict.is_some() {
            // The sides may turn out to be equal.
            let drive = self.record.metadata.content();
            let sides = sides.observe(drive, self.record.version);
            self.set(&Field::Content, sides, None);
        }
    }

    /// Saves the decision to keep both contents of an open conflict, or what has become of it.
    pub(crate) fn save_keeping(&mut self, keeping: Keeping) {
        if let Some(mut open) = self.record.open.get(&Field::Content).cloned() {
            open.keeping = Some(keeping);
            let sides = self.record.sides(&Field::Content);
            self.save_conflict(&Field::Content, &open, &sides, ConflictStatus::Open);
            self.record.open.insert(Field::Content, open);
        }
    }
}
