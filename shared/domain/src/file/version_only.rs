//! Version-only changes: entries of a change log in which nothing but Drive's version has moved.

use std::collections::BTreeMap;

use crate::{Field, FileRecord, Snapshot, Value};

impl Snapshot {
    /// Returns whether this snapshot shows the state of `earlier` in every tracked field, at the
    /// same or a later version. (Drive moves the version for reasons of its own: "even those not
    /// visible to the user", v3 `files` resource.)
    #[must_use]
    pub fn repeats(&self, earlier: &Self) -> bool {
        let mut metadata = self.metadata.clone();
        metadata.inherit_sha256(&earlier.metadata);
        self.version >= earlier.version
            && self.field_set == earlier.field_set
            && metadata == earlier.metadata
            && set(&self.fields) == set(&earlier.fields)
    }
}

/// An unset field equals an absent one.
fn set(fields: &BTreeMap<Field, Value>) -> Vec<(&Field, &Value)> {
    let all = fields.iter();
    all.filter(|(field, value)| **value != field.unset())
        .collect()
}

impl FileRecord {
    /// Returns whether a later snapshot of a Docs editor file may show another content. Drive
    /// states nothing that identifies such content, and the time of the last change can be set
    /// back. So it has not changed only if that time stands and something explains the version that
    /// does not touch the content: a star, the trash, a folder, a permission.
    pub(crate) fn document_may_have_changed(&self, snapshot: &Snapshot) -> bool {
        let (before, after) = (&self.metadata, &snapshot.metadata);
        if !after.is_document() || snapshot.version <= self.version {
            return false;
        }
        let explains = |field: &Field| match field {
            Field::Starred | Field::Trashed | Field::Parent | Field::Permission(_) => {
                snapshot.value(field) != *self.sides(field).drive()
            }
            Field::Existence
            | Field::Name
            | Field::Description
            | Field::Content
            | Field::Property(_) => false,
        };
        let mut fields = snapshot.fields.keys().chain(self.fields.keys());
        before.modified_at != after.modified_at
            || before.head_revision_id != after.head_revision_id
            || !fields.any(explains)
    }

    /// Returns the state that Drive was last observed in, if the file exists.
    #[must_use]
    pub fn observed(&self) -> Option<Snapshot> {
        let fields = self.fields.iter();
        self.is_present().then(|| Snapshot {
            file: self.file.clone(),
            version: self.version,
            field_set: self.field_set,
            fields: fields
                .filter(|(field, _)| **field != Field::Content)
                .map(|(field, sides)| (field.clone(), sides.drive().clone()))
                .collect(),
            metadata: self.metadata.clone(),
        })
    }

    /// Returns whether `before` became this record by a version-only change: Drive's version moved,
    /// and nothing visible did.
    #[must_use]
    pub fn is_version_only_change(&self, before: &Self) -> bool {
        self.version > before.version
            && self.visible == before.visible
            && match (self.observed(), before.observed()) {
                (Some(now), Some(then)) => now.repeats(&then),
                (Some(_) | None, _) => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Manually, named, record, snapshot, text};
    use crate::{DriveMetadata, FieldSetVersion, Gone, Observation, Policies};

    #[test]
    fn only_a_version_that_moves_alone_is_a_version_only_change() {
        let first = record();
        let seen = |snapshot: &Snapshot| first.sees(snapshot).record;
        let version_only = snapshot(7, &[]);
        assert!(version_only.repeats(&first.observed().unwrap()));
        let after = seen(&version_only);
        assert!(after.is_version_only_change(&first));
        assert_eq!(
            (after.version, after.visible),
            (version_only.version, first.visible)
        );
        assert!(seen(&named(7, "a")).is_version_only_change(&first));

        assert!(!seen(&named(7, "b")).is_version_only_change(&first));
        let metadata = DriveMetadata {
            size_bytes: Some(1),
            ..DriveMetadata::default()
        };
        let grown = Snapshot {
            metadata,
            ..snapshot(7, &[])
        };
        assert!(!seen(&grown).is_version_only_change(&first));
        assert!(!grown.repeats(&version_only));
        let more = Snapshot {
            field_set: FieldSetVersion(FieldSetVersion::CURRENT.0 + 1),
            ..snapshot(7, &[])
        };
        assert!(!more.repeats(&version_only));
        assert!(
            !snapshot(6, &[]).repeats(&version_only),
            "an older one is not a repetition"
        );
        assert!(snapshot(7, &[(Field::Parent, Value::Null)]).repeats(&version_only));
        assert!(!first.is_version_only_change(&first), "nothing changed");
    }

    #[test]
    fn a_record_distinguishes_reported_versions_from_read_ones() {
        let first = record();
        assert_eq!(first.reported, first.version);
        let seen = first.sees(&named(2, "b")).record;
        assert_eq!(
            (seen.version, seen.reported),
            (named(2, "b").version, seen.version)
        );
        let owing = seen.edits(Field::Starred, Value::Flag(true));
        let (sent, _) = owing.sends(&named(5, "c"), 1);
        assert_eq!(
            (sent.version, sent.reported),
            (named(5, "c").version, seen.version)
        );
        let late = sent.sees(&named(5, "c")).record;
        assert_eq!(late, sent, "a known snapshot writes nothing");
    }

    #[test]
    fn observed_state_is_drives_side_only() {
        let edited = record().edits(Field::Name, text("b"));
        assert!(snapshot(2, &[]).repeats(&edited.observed().unwrap()));
        assert!(!named(2, "b").repeats(&edited.observed().unwrap()));
        let policies = Policies::default();
        let gone = Observation::Gone(Gone::Removed);
        let gone = record()
            .apply_lookup(&gone, crate::fixture::context(&policies))
            .record;
        assert_eq!(gone.observed(), None);
    }
}
