//! Differences between the record of a file and what Drive shows of it.
//!
//! An audit compares what Drive lists with the stored records. The application's own edits are not
//! drift: only Drive's side of each field is compared, as the merge would take it. Permissions are
//! compared only if the snapshot knows them.

use std::collections::BTreeSet;

use crate::file::transition_builder::TransitionBuilder;
use crate::{
    Context, DriveMetadata, Field, FileRecord, Gone, Observation, Policies, Snapshot, Transition,
};
use crate::{Timestamp, Value};

/// A difference between the record of a file and Drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// Drive shows a file that has no present record.
    MissingHere,
    /// There is a present record of a file that Drive does not show.
    MissingThere(Gone),
    /// Drive is at a later version than the record. Lists the fields that changed, perhaps none.
    Stale(Vec<Difference>),
    /// Drive is at the record's version, yet these fields differ.
    Differing(Vec<Difference>),
}

/// One field on which the record and Drive differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field's [`Field::label`], or the name of a metadata member.
    pub label: String,
    /// Drive's value according to the record.
    pub ours: Value,
    /// Drive's value according to the snapshot.
    pub drive: Value,
}

/// Compares the record of a file, if there is one, with what Drive shows of it. Returns `None` if
/// they agree, or if the record has already seen a later version.
#[must_use]
pub fn drift(record: Option<&FileRecord>, seen: &Observation) -> Option<Drift> {
    let present = record.filter(|record| record.is_present());
    match (present, seen) {
        (None, Observation::Present(_)) => Some(Drift::MissingHere),
        (None, Observation::Gone(_)) => None,
        (Some(_), Observation::Gone(gone)) => Some(Drift::MissingThere(*gone)),
        (Some(record), Observation::Present(snapshot)) => {
            if snapshot.version < record.version {
                return None;
            }
            let differences = differences(record, snapshot);
            if snapshot.version > record.version || snapshot.field_set > record.field_set {
                Some(Drift::Stale(differences))
            } else {
                (!differences.is_empty()).then_some(Drift::Differing(differences))
            }
        }
    }
}

impl FileRecord {
    /// Merges a snapshot like [`FileRecord::observe`], but accepts one of the record's own version
    /// too. What an audit found to differ is merged like any change of Drive's side, so no edit of
    /// the application is lost.
    #[must_use]
    pub fn corrected(&self, snapshot: &Snapshot, context: Context<'_>) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        if self.is_present() && snapshot.version >= self.version {
            builder.merge(snapshot, &BTreeSet::new());
        }
        builder.finish()
    }
}

fn differences(record: &FileRecord, snapshot: &Snapshot) -> Vec<Difference> {
    // The merge decides which fields the snapshot says anything about.
    let policies = Policies::default();
    let context = Context {
        now: Timestamp::default(),
        drive_at: None,
        above: None,
        policies: &policies,
    };
    let after = record.corrected(snapshot, context).record;
    let fields: BTreeSet<&Field> = record.fields.keys().chain(after.fields.keys()).collect();
    let of_field = |field: &Field| {
        let (ours, drive) = (record.sides(field), after.sides(field));
        (ours.drive() != drive.drive()).then(|| Difference {
            label: field.label(),
            ours: ours.drive().clone(),
            drive: drive.drive().clone(),
        })
    };
    let metadata_members = members(&record.metadata)
        .into_iter()
        .zip(members(&snapshot.metadata));
    let of_metadata = metadata_members.filter_map(|((label, ours), (_, drive))| {
        (ours != drive).then(|| Difference {
            label: label.to_owned(),
            ours,
            drive,
        })
    });
    fields
        .into_iter()
        .filter_map(of_field)
        .chain(of_metadata)
        .collect()
}

/// Returns the metadata members that an audit compares. Times, links and capabilities are left out:
/// they depend on the reader and the time of reading.
fn members(metadata: &DriveMetadata) -> [(&'static str, Value); 7] {
    let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::Text);
    let size = metadata.size_bytes.map(|bytes| bytes.to_string());
    [
        ("mime_type", Value::text(metadata.mime_type.clone())),
        ("size", text(&size)),
        ("md5", text(&metadata.md5)),
        ("head_revision_id", text(&metadata.head_revision_id)),
        ("owner", text(&metadata.owner)),
        ("drive_id", text(&metadata.drive_id)),
        ("shortcut_target", text(&metadata.shortcut_target)),
    ]
}
