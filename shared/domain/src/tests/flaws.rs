use crate::fixture::{Manually as _, NOW, moment, named, present, record, text};
use crate::pace::{Ask, Limits, Pace};
use crate::{
    ConflictStatus, Field, FileRecord, FlawKind, Gone, Observation, Policies, Step, Timestamp,
};

/// A file with one open conflict on its name.
fn in_conflict() -> Step {
    record()
        .edits(Field::Name, text("ours"))
        .sees(&named(2, "theirs"))
}

fn rebooked(record: &FileRecord) -> Step {
    record.rebooked(moment(&Policies::default()))
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    for kind in FlawKind::ALL {
        assert_eq!(FlawKind::from_label(kind.label()), Some(kind));
    }
    assert_eq!(FlawKind::from_label("none"), None);
}

#[test]
fn a_conflict_is_written_anew_as_it_was_written_first() {
    let opened = in_conflict();
    assert!(opened.record.is_booked());
    let again = rebooked(&opened.record);
    assert_eq!(again.conflicts, opened.conflicts);
    assert_eq!(again.record, opened.record, "nothing else has moved");
}

#[test]
fn a_conflict_over_a_file_that_is_gone_is_written_anew_as_it_was_written_first() {
    let edited = record().edits(Field::Name, text("ours"));
    let policies = Policies::default();
    let gone = edited.answered(&Observation::Gone(Gone::Removed), moment(&policies));
    assert_eq!(gone.conflicts.len(), 1);
    assert!(gone.record.is_booked());
    assert_eq!(rebooked(&gone.record).conflicts, gone.conflicts);
}

#[test]
fn sides_that_stand_apart_without_a_number_get_the_next_one() {
    let mut spoilt = in_conflict().record;
    spoilt.open.clear();
    assert!(!spoilt.is_booked());
    let step = rebooked(&spoilt);
    assert!(step.record.is_booked());
    let id = step.record.open_conflict(&Field::Name).unwrap();
    assert_eq!(id.number, 2);
    let conflict = &step.conflicts[&id];
    assert_eq!(
        (&conflict.base, &conflict.app, &conflict.drive),
        (&text("a"), &text("ours"), &text("theirs"))
    );
    assert_eq!(conflict.status, ConflictStatus::Open);
}

#[test]
fn a_number_without_a_conflict_is_closed() {
    let mut spoilt = in_conflict().record;
    spoilt.fields.get_mut(&Field::Name).unwrap().clash = None;
    assert!(!spoilt.is_booked());
    let id = spoilt.open_conflict(&Field::Name).unwrap();
    let step = rebooked(&spoilt);
    assert!(step.record.open.is_empty());
    assert_eq!(
        step.conflicts[&id].status,
        ConflictStatus::Closed { at: NOW }
    );
}

#[test]
fn a_stray_record_is_closed_with_the_values_that_it_holds_and_one_that_is_right_is_left_alone() {
    let policies = Policies::default();
    let opened = in_conflict();
    let (id, conflict) = opened.conflicts.first_key_value().unwrap();
    let step = opened.record.without_stray(conflict, moment(&policies));
    assert!(step.conflicts.is_empty());
    assert!(!record().is_in(id));
    let step = record().without_stray(conflict, moment(&policies));
    let closed = &step.conflicts[id];
    assert_eq!(closed.status, ConflictStatus::Closed { at: NOW });
    assert_eq!(
        (&closed.app, &closed.drive),
        (&conflict.app, &conflict.drive)
    );
    assert_eq!(step.record, record());
}

#[test]
fn only_what_is_due_for_long_is_overdue() {
    let owed = record().edits(Field::Name, text("ours"));
    let after = |minutes: i64| owed.is_overdue(NOW.plus_millis(minutes * 60_000));
    assert!(!after(15));
    assert!(after(16));
    assert!(!record().is_overdue(Timestamp::from_millis(i64::MAX)));
    let settled = owed.observe(
        &present(2, &[(Field::Name, text("ours"))]),
        moment(&Policies::default()),
    );
    assert!(!settled.record.is_overdue(NOW.plus_millis(i64::MAX / 2)));
}

#[test]
fn a_pace_of_which_writes_were_taken_just_now_is_not_idle() {
    let limits = Limits::default();
    let pace = Pace::fresh(&limits, NOW);
    assert!(pace.is_idle(&limits, NOW));
    let one = Ask {
        quota: 0,
        writes: 1,
    };
    let taken = pace.take(one, one, false, &limits, NOW).unwrap().pace;
    assert!(!taken.is_idle(&limits, NOW));
    assert!(taken.is_idle(&limits, NOW.plus_millis(3_600_000)));
    let held = Pace {
        held_until: NOW.plus_millis(7_200_000),
        ..taken
    };
    assert!(!held.is_idle(&limits, NOW.plus_millis(3_600_000)));
}
