//! Where our record of a file and what Drive shows of it differ.
//!
//! An audit compares what Drive lists with what we hold. The application's own edits are no drift: only
//! Drive's side of each field is compared, as the merge would take it; that of a permission only where the
//! snapshot knows them.

use std::collections::BTreeSet;

use crate::change::Change;
use crate::{Field, FileRecord, Gone, Mirror, Moment, Observation, Policies, Snapshot, Step};
use crate::{Timestamp, Value};

/// How our record of a file and Drive differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// Drive shows a file that we have no present record of.
    MissingHere,
    /// We have a present record of a file that is not there for us.
    MissingThere(Gone),
    /// Drive is at a later version than our record; these are the fields that moved, perhaps none.
    Stale(Vec<Difference>),
    /// Drive is at the version of our record, and yet these fields differ.
    Differing(Vec<Difference>),
}

/// One field on which our record and Drive differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field, as [`Field::label`] has it, or the name of a member that Drive alone decides.
    pub label: String,
    /// Drive's value as our record has it.
    pub ours: Value,
    /// Drive's value.
    pub drive: Value,
}

/// Compares the record of a file, if there is one, with what Drive shows of it. `None` where they agree, and
/// where our record has seen a later version than this look at Drive.
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
            if snapshot.version > record.version || snapshot.mask > record.mask {
                Some(Drift::Stale(differences))
            } else {
                (!differences.is_empty()).then_some(Drift::Differing(differences))
            }
        }
    }
}

impl FileRecord {
    /// Takes a snapshot like [`FileRecord::observe`], but one of the very version that the record holds too:
    /// what an audit found to differ is merged like any move of Drive's side, so that no edit of the
    /// application is lost.
    #[must_use]
    pub fn corrected(&self, snapshot: &Snapshot, moment: Moment<'_>) -> Step {
        let mut change = Change::of(self, moment);
        if self.is_present() && snapshot.version >= self.version {
            change.take(snapshot, &BTreeSet::new());
        }
        change.finish()
    }
}

fn differences(record: &FileRecord, snapshot: &Snapshot) -> Vec<Difference> {
    // What the merge makes of it says which fields the snapshot speaks of at all.
    let policies = Policies::default();
    let moment = Moment {
        now: Timestamp::default(),
        drive_at: None,
        policies: &policies,
    };
    let after = record.corrected(snapshot, moment).record;
    let fields: BTreeSet<&Field> = record.fields.keys().chain(after.fields.keys()).collect();
    let of_field = |field: &Field| {
        let (ours, drive) = (record.sides(field), after.sides(field));
        (ours.drive() != drive.drive()).then(|| Difference {
            label: field.label(),
            ours: ours.drive().clone(),
            drive: drive.drive().clone(),
        })
    };
    let mirrored = members(&record.mirror)
        .into_iter()
        .zip(members(&snapshot.mirror));
    let of_mirror = mirrored.filter_map(|((label, ours), (_, drive))| {
        (ours != drive).then(|| Difference {
            label: label.to_owned(),
            ours,
            drive,
        })
    });
    fields
        .into_iter()
        .filter_map(of_field)
        .chain(of_mirror)
        .collect()
}

/// The members that Drive alone decides and that an audit compares. Times, links and what we may do are left
/// out: they depend on who looks, and when.
fn members(mirror: &Mirror) -> [(&'static str, Value); 7] {
    let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::Text);
    let size = mirror.size_bytes.map(|bytes| bytes.to_string());
    [
        ("mime_type", Value::text(mirror.mime_type.clone())),
        ("size", text(&size)),
        ("md5", text(&mirror.md5)),
        ("head_revision_id", text(&mirror.head_revision_id)),
        ("owner", text(&mirror.owner)),
        ("drive_id", text(&mirror.drive_id)),
        ("shortcut_target", text(&mirror.shortcut_target)),
    ]
}
