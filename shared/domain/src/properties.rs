//! Properties of whole records, over random histories.

mod history;
mod world;

use proptest::prelude::*;

use crate::fixture::{Manually as _, context, permission, property, record, snapshot, text};
use crate::{Choice, Field, FileRecord, Policies, ROLES, Snapshot, Value};

/// The number of fields that the properties use.
pub(crate) const FIELDS: usize = 5;

/// Returns a field that the properties use; each has three values.
pub(crate) fn field(at: usize) -> Field {
    match at % FIELDS {
        0 => Field::Name,
        1 => Field::Starred,
        2 => property("p"),
        3 => property("q"),
        _ => permission("user:p@x.y"),
    }
}

pub(crate) fn value(field: &Field, at: usize) -> Value {
    match (field, at % 3) {
        (Field::Starred, n) => Value::Flag(n == 0),
        (Field::Property(_) | Field::Permission(_), 0) => Value::Null,
        (Field::Permission(_), n) => text(ROLES[n]),
        (_, 0) => text("a"),
        (_, 1) => text("b"),
        (_, _) => text("c"),
    }
}

/// Returns the settings of the properties: 256 cases, or `PROPTEST_CASES`.
fn cases() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Generates snapshots of versions 2, 3, ..., each with its own values.
fn snapshots() -> impl Strategy<Value = Vec<Snapshot>> {
    let one = prop::collection::vec(0..3usize, FIELDS);
    prop::collection::vec(one, 1..6).prop_map(|all| {
        let numbered = all.into_iter().zip(2..);
        numbered
            .map(|(picks, version)| drive(version, &picks))
            .collect()
    })
}

fn drive(version: u64, picks: &[usize]) -> Snapshot {
    let set = picks.iter().enumerate().map(|(at, pick)| {
        let field = field(at);
        let value = value(&field, *pick);
        (field, value)
    });
    let set: Vec<_> = set.filter(|(_, value)| *value != Value::Null).collect();
    let mut snapshot = snapshot(version, &set);
    snapshot.metadata.size_bytes = Some(version);
    snapshot
}

/// Generates the same snapshots in order, and shuffled with some of them repeated.
fn shuffled() -> impl Strategy<Value = (Vec<Snapshot>, Vec<Snapshot>)> {
    snapshots().prop_flat_map(|all| {
        let twice: Vec<Snapshot> = all.iter().chain(&all).cloned().collect();
        (Just(all), Just(twice).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(cases())]

    /// Convergence: order and repetition do not matter.
    #[test]
    fn any_order_of_the_same_snapshots_ends_at_the_latest((all, order) in shuffled()) {
        let end = order.iter().fold(record(), |record, snapshot| record.sees(snapshot).record);
        let latest = FileRecord::from_snapshot(all.last().unwrap());
        prop_assert_eq!(end.fields, latest.fields);
        prop_assert_eq!(end.version, latest.version);
        prop_assert_eq!(end.metadata, latest.metadata);
        prop_assert!(end.open.is_empty());
    }

    #[test]
    fn any_order_ends_at_the_same_drive_side_whatever_the_application_edits(
        (all, order) in shuffled(),
        edits in prop::collection::vec((0..FIELDS, 0..3usize, 0..8usize), 0..4),
    ) {
        let mut now = record();
        for (at, snapshot) in order.iter().enumerate() {
            for (which, pick, _) in edits.iter().filter(|(_, _, when)| *when == at) {
                let field = field(*which);
                if now.open_conflict(&field).is_none() {
                    let value = value(&field, *pick);
                    now = now.edits(field, value);
                }
            }
            now = now.sees(snapshot).record;
        }
        let latest = all.last().unwrap();
        for field in (0..FIELDS).map(field) {
            let drive = latest.fields.get(&field).cloned().unwrap_or_else(|| field.unset());
            prop_assert_eq!(now.sides(&field).drive().clone(), drive);
        }
    }

    /// Symmetry: the merge favours no side. Swapping who moved to which value swaps the result.
    #[test]
    fn swapping_the_sides_swaps_the_result(which in 0..FIELDS, one in 0..3usize, two in 0..3usize) {
        let field = field(which);
        let (one, two) = (value(&field, one), value(&field, two));
        let meet = |app: &Value, drive: &Value| {
            let set = [(field.clone(), drive.clone())];
            let set = if *drive == Value::Null { &[][..] } else { &set[..] };
            record().edits(field.clone(), app.clone()).sees(&snapshot(2, set)).record
        };
        let (left, right) = (meet(&one, &two), meet(&two, &one));
        let base = record().app(&field);
        prop_assert_eq!(left.open.is_empty(), right.open.is_empty());
        let open = (left.open_conflict(&field), right.open_conflict(&field));
        if let (Some(here), Some(there)) = open {
            prop_assert_eq!(left.sides(&field).drive().clone(), right.app(&field));
            prop_assert_eq!(left.app(&field), right.sides(&field).drive().clone());
            let decide = |record: &FileRecord, id, choice| {
                let policies = Policies::default();
                record.resolve(id, None, &choice, "ann", context(&policies)).unwrap().record
            };
            for (mine, theirs) in [(Choice::App, Choice::Drive), (Choice::Drive, Choice::App)] {
                let (left, right) = (decide(&left, &here, mine), decide(&right, &there, theirs));
                prop_assert_eq!(left.app(&field), right.app(&field));
            }
        } else {
            // The one side that moved, or both to the same value.
            let moved = if one == base { &two } else { &one };
            prop_assert_eq!(&left.app(&field), moved);
            prop_assert_eq!(&right.app(&field), moved);
        }
    }

    /// Isolation: what happens to one field leaves every other unchanged.
    #[test]
    fn a_field_is_merged_as_if_it_were_alone(
        all in snapshots(),
        edits in prop::collection::vec((0..FIELDS, 0..3usize), 0..6),
        only in 0..FIELDS,
    ) {
        let only = field(only);
        let (mut whole, mut alone) = (record(), record());
        for (at, snapshot) in all.iter().enumerate() {
            for (which, pick) in edits.iter().skip(at * 2).take(2) {
                let field = field(*which);
                if whole.open_conflict(&field).is_some() {
                    continue;
                }
                let others = |record: &FileRecord| {
                    let mut fields = record.fields.clone();
                    fields.remove(&field);
                    fields
                };
                let value = value(&field, *pick);
                let next = whole.edits(field.clone(), value.clone());
                prop_assert_eq!(others(&next), others(&whole));
                whole = next;
                if field == only {
                    alone = alone.edits(field, value);
                }
            }
            whole = whole.sees(snapshot).record;
            alone = alone.sees(snapshot).record;
            prop_assert_eq!(whole.sides(&only), alone.sides(&only));
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * cases().cases, ..cases() })]

    /// Safety, completeness, replay, revision and visibility, over whole histories of all possible
    /// events; and at the end, both sides agree.
    #[test]
    fn every_history_keeps_every_promise(history in history::any()) {
        world::play(&history)?;
    }
}
