//! What the tests build records with.

use std::collections::BTreeMap;

use crate::{
    AttemptId, Claim, DriveVersion, Field, FieldMask, FileId, FileRecord, Jitter, Mirror, Moment,
    Observation, Patch, Policies, Policy, Snapshot, Step, Timestamp, Value,
};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// The highest wait, so that waits are known.
pub(crate) const FULL: Jitter = Jitter(1.0);

pub(crate) fn file() -> FileId {
    FileId::parse("f1").unwrap()
}

pub(crate) fn property(key: &str) -> Field {
    Field::Property(key.to_owned())
}

pub(crate) fn permission(principal: &str) -> Field {
    Field::Permission(principal.to_owned())
}

pub(crate) fn text(value: &str) -> Value {
    Value::text(value)
}

pub(crate) fn values(values: &[(Field, Value)]) -> BTreeMap<Field, Value> {
    values.iter().cloned().collect()
}

/// A file in Drive: named `a` and not starred, but for `fields`.
pub(crate) fn snapshot(version: u64, fields: &[(Field, Value)]) -> Snapshot {
    let mut all = values(&[
        (Field::Name, text("a")),
        (Field::Description, text("")),
        (Field::Starred, Value::Flag(false)),
        (Field::Trashed, Value::Flag(false)),
    ]);
    all.extend(values(fields));
    Snapshot {
        file: file(),
        version: DriveVersion(version),
        mask: FieldMask::CURRENT,
        fields: all,
        mirror: Mirror {
            permissions_known: true,
            ..Mirror::default()
        },
    }
}

pub(crate) fn present(version: u64, fields: &[(Field, Value)]) -> Observation {
    Observation::Present(snapshot(version, fields))
}

pub(crate) fn named(version: u64, name: &str) -> Snapshot {
    snapshot(version, &[(Field::Name, text(name))])
}

pub(crate) fn record() -> FileRecord {
    FileRecord::first_sight(&snapshot(1, &[]))
}

/// One policy for every field.
pub(crate) fn all(policy: Policy) -> Policies {
    Policies {
        default: policy,
        fields: BTreeMap::new(),
    }
}

pub(crate) fn moment(policies: &Policies) -> Moment<'_> {
    Moment {
        now: NOW,
        drive_at: Some(NOW),
        policies,
    }
}

/// Operations under manual policies, at [`NOW`]: most tests need no others.
pub(crate) trait Manually {
    fn sees(&self, snapshot: &Snapshot) -> Step;
    fn edits(&self, field: Field, value: Value) -> FileRecord;
    fn claims(&self, read: &Snapshot, attempt: u64) -> Claim;
    /// Claims, and takes the record and what is to be sent.
    fn sends(&self, read: &Snapshot, attempt: u64) -> (FileRecord, Patch);
}

impl Manually for FileRecord {
    fn sees(&self, snapshot: &Snapshot) -> Step {
        let observation = Observation::Present(snapshot.clone());
        self.observe(&observation, moment(&Policies::default()))
    }

    fn edits(&self, field: Field, value: Value) -> FileRecord {
        let edit = values(&[(field, value)]);
        self.edit(&edit, "ann", moment(&Policies::default()))
            .unwrap()
            .record
    }

    fn claims(&self, read: &Snapshot, attempt: u64) -> Claim {
        self.claim(read, AttemptId(attempt), moment(&Policies::default()), FULL)
    }

    fn sends(&self, read: &Snapshot, attempt: u64) -> (FileRecord, Patch) {
        let claim = self.claims(read, attempt);
        (claim.step.record, claim.patch.unwrap())
    }
}
