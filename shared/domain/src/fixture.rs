//! Fixtures for unit tests.

use std::collections::BTreeMap;

use crate::{
    AttemptId, Claim, Context, DriveMetadata, DriveVersion, Field, FieldSetVersion, FileId,
    FileRecord, Jitter, Observation, Patch, Policies, Policy, Snapshot, Timestamp, Transition,
    Value,
};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// The longest wait, so that waits are deterministic.
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

/// A file in Drive, named `a` and not starred, with `fields` applied.
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
        field_set: FieldSetVersion::CURRENT,
        fields: all,
        metadata: DriveMetadata {
            permissions_known: true,
            ..DriveMetadata::default()
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
    FileRecord::from_snapshot(&snapshot(1, &[]))
}

/// Policies with one policy for every field.
pub(crate) fn all(policy: Policy) -> Policies {
    Policies {
        default: policy,
        ..Policies::default()
    }
}

pub(crate) fn context(policies: &Policies) -> Context<'_> {
    Context {
        now: NOW,
        drive_at: Some(NOW),
        above: None,
        policies,
    }
}

/// Operations under manual policies at [`NOW`].
pub(crate) trait Manually {
    fn sees(&self, snapshot: &Snapshot) -> Transition;
    fn edits(&self, field: Field, value: Value) -> FileRecord;
    fn claims(&self, read: &Snapshot, attempt: u64) -> Claim;
    /// Claims, and returns the record and the patch to send.
    fn sends(&self, read: &Snapshot, attempt: u64) -> (FileRecord, Patch);
}

impl Manually for FileRecord {
    fn sees(&self, snapshot: &Snapshot) -> Transition {
        let observation = Observation::Present(snapshot.clone());
        self.observe(&observation, context(&Policies::default()))
    }

    fn edits(&self, field: Field, value: Value) -> FileRecord {
        let edit = values(&[(field, value)]);
        self.edit(&edit, "ann", context(&Policies::default()))
            .unwrap()
            .record
    }

    fn claims(&self, read: &Snapshot, attempt: u64) -> Claim {
        self.claim(
            read,
            AttemptId(attempt),
            context(&Policies::default()),
            FULL,
        )
    }

    fn sends(&self, read: &Snapshot, attempt: u64) -> (FileRecord, Patch) {
        let claim = self.claims(read, attempt);
        (claim.transition.record, claim.patch.unwrap())
    }
}
