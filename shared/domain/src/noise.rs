//! Entries of a change log that tell of nothing that we keep: only Drive's version has moved.

use std::collections::BTreeMap;

use crate::{Field, FileRecord, Snapshot, Value};

impl Snapshot {
    /// Whether this shows what `earlier` showed, in every field that we keep, at the same version or a
    /// later one. (Drive moves the version for reasons of its own: "even those not visible to the user",
    /// v3 `files` resource.)
    #[must_use]
    pub fn repeats(&self, earlier: &Self) -> bool {
        self.version >= earlier.version
            && self.mask == earlier.mask
            && self.mirror == earlier.mirror
            && set(&self.fields) == set(&earlier.fields)
    }
}

/// A field that is not set is no different from one that is not there.
fn set(fields: &BTreeMap<Field, Value>) -> Vec<(&Field, &Value)> {
    let all = fields.iter();
    all.filter(|(field, value)| **value != field.unset())
        .collect()
}

impl FileRecord {
    /// What Drive was last observed to hold, where the file is there.
    #[must_use]
    pub fn observed(&self) -> Option<Snapshot> {
        let fields = self.fields.iter();
        self.is_present().then(|| Snapshot {
            file: self.file.clone(),
            version: self.version,
            mask: self.mask,
            fields: fields
                .filter(|(field, _)| **field != Field::Content)
                .map(|(field, sides)| (field.clone(), sides.drive().clone()))
                .collect(),
            mirror: self.mirror.clone(),
        })
    }

    /// Whether `before` became this record by noise: Drive's version moved, and nothing that anybody sees.
    #[must_use]
    pub fn is_noise_since(&self, before: &Self) -> bool {
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
    use crate::{FieldMask, Gone, Mirror, Observation, Policies};

    #[test]
    fn a_version_that_moves_alone_is_noise_and_anything_else_is_not() {
        let first = record();
        let seen = |snapshot: &Snapshot| first.sees(snapshot).record;
        let noise = snapshot(7, &[]);
        assert!(noise.repeats(&first.observed().unwrap()));
        let after = seen(&noise);
        assert!(after.is_noise_since(&first));
        assert_eq!(
            (after.version, after.visible),
            (noise.version, first.visible)
        );
        assert!(seen(&named(7, "a")).is_noise_since(&first));

        assert!(!seen(&named(7, "b")).is_noise_since(&first));
        let mirror = Mirror {
            size_bytes: Some(1),
            ..Mirror::default()
        };
        let grown = Snapshot {
            mirror,
            ..snapshot(7, &[])
        };
        assert!(!seen(&grown).is_noise_since(&first));
        assert!(!grown.repeats(&noise));
        let more = Snapshot {
            mask: FieldMask(FieldMask::CURRENT.0 + 1),
            ..snapshot(7, &[])
        };
        assert!(!more.repeats(&noise));
        assert!(
            !snapshot(6, &[]).repeats(&noise),
            "an older one has a place of its own"
        );
        assert!(snapshot(7, &[(Field::Parent, Value::Null)]).repeats(&noise));
        assert!(!first.is_noise_since(&first), "nothing has moved");
    }

    #[test]
    fn a_record_knows_what_was_reported_from_what_was_only_read() {
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
        assert_eq!(late, sent, "what is known already writes nothing");
    }

    #[test]
    fn what_drive_holds_is_told_from_what_the_application_wants() {
        let edited = record().edits(Field::Name, text("b"));
        assert!(snapshot(2, &[]).repeats(&edited.observed().unwrap()));
        assert!(!named(2, "b").repeats(&edited.observed().unwrap()));
        let policies = Policies::default();
        let gone = Observation::Gone(Gone::Removed);
        let gone = record()
            .answered(&gone, crate::fixture::moment(&policies))
            .record;
        assert_eq!(gone.observed(), None);
    }
}
