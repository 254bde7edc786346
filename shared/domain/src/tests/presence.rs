use crate::fixture::{
    FULL, Manually as _, NOW, all, context, file, named, present, property, record, snapshot, text,
};
use crate::{
    Choice, ConflictStatus, Context, EditRefused, Field, FileRecord, Gone, Observation, Policies,
    Policy, Presence, Refusal, ResolveRefused, Transition, Value,
};

const REMOVED: Observation = Observation::Gone(Gone::Removed);

fn answered(record: &FileRecord, answer: &Observation) -> Transition {
    record.apply_lookup(answer, context(&Policies::default()))
}

/// Returns a file that was removed while a name and a property were owed.
fn gone_with_edits() -> Transition {
    let record = record()
        .edits(Field::Name, text("b"))
        .edits(property("p"), text("x"));
    answered(&record, &REMOVED)
}

fn abandon_edits(record: &FileRecord, choice: &Choice) -> Result<Transition, ResolveRefused> {
    let id = record.open_conflict(&Field::Existence).unwrap();
    record.resolve(&id, None, choice, "bob", context(&Policies::default()))
}

#[test]
fn a_queue_can_neither_remove_nor_restore_a_file() {
    let here = record();
    assert!(here.needs_lookup(&REMOVED));
    assert_eq!(
        here.observe(&REMOVED, context(&Policies::default())),
        Transition::unchanged(here.clone())
    );
    let gone = answered(&here, &REMOVED).record;
    let late = present(9, &[]);
    assert!(gone.needs_lookup(&late));
    assert_eq!(
        gone.observe(&late, context(&Policies::default())),
        Transition::unchanged(gone.clone())
    );
    assert!(!here.needs_lookup(&late) && !gone.needs_lookup(&REMOVED));
}

#[test]
fn removal_without_owed_edits_leaves_a_tombstone() {
    let transition = answered(&record(), &REMOVED);
    assert_eq!(
        transition.record.presence,
        Presence::Gone(Gone::Removed, NOW)
    );
    assert!(transition.conflicts.is_empty());
    let edit = transition.record.edit(
        &[(Field::Name, text("b"))].into(),
        "ann",
        context(&Policies::default()),
    );
    assert_eq!(edit, Err(EditRefused::Gone));
    assert_eq!(transition.record.claims(&named(2, "a"), 1).patch, None);
}

#[test]
fn removal_with_owed_edits_is_a_conflict_that_keeps_them() {
    let transition = gone_with_edits();
    let id = transition.record.open_conflict(&Field::Existence).unwrap();
    let conflict = &transition.conflicts[&id];
    assert_eq!(
        conflict.owed,
        [(Field::Name, text("b")), (property("p"), text("x"))].into()
    );
    assert_eq!(
        (&conflict.app, &conflict.drive),
        (&text("present"), &text("removed"))
    );
    assert_eq!(
        (transition.record.due(), transition.record.intent()),
        (None, None)
    );
}

#[test]
fn accepting_the_removal_keeps_the_values_in_the_conflict_record() {
    let record = gone_with_edits().record;
    let transition = abandon_edits(&record, &Choice::Drive).unwrap();
    assert!(transition.record.open.is_empty() && transition.record.edits.is_empty());
    assert_eq!(transition.record.app(&Field::Name), text("a"));
    let conflict = transition.conflicts.values().next().unwrap();
    assert_eq!(conflict.owed[&property("p")], text("x"));
    assert!(matches!(conflict.status, ConflictStatus::Resolved(_)));
}

#[test]
fn the_application_can_not_win_over_a_file_that_is_gone() {
    let record = gone_with_edits().record;
    for choice in [Choice::App, Choice::Base, Choice::Value(text("present"))] {
        assert_eq!(
            abandon_edits(&record, &choice),
            Err(ResolveRefused::StillGone)
        );
    }
}

#[test]
fn a_restored_file_owes_what_it_owed_before() {
    let transition = answered(
        &gone_with_edits().record,
        &present(2, &[(Field::Starred, Value::Flag(true))]),
    );
    let conflict = transition.conflicts.values().next().unwrap();
    assert_eq!(conflict.status, ConflictStatus::Closed { at: NOW });
    assert!(transition.record.is_present() && transition.record.open.is_empty());
    assert_eq!(
        transition.record.intent().unwrap().fields,
        [&Field::Name, &property("p")]
    );
    assert_eq!(transition.record.due(), Some(NOW));
    assert_eq!(transition.record.app(&Field::Starred), Value::Flag(true));
}

#[test]
fn a_restored_file_that_changed_is_merged() {
    let transition = answered(
        &gone_with_edits().record,
        &present(2, &[(Field::Name, text("c"))]),
    );
    let open: Vec<&Field> = transition.record.open.keys().collect();
    assert_eq!(open, [&Field::Name]);
}

#[test]
fn drive_wins_abandons_the_edits_at_once() {
    let policies = all(Policy::DriveWins);
    let record = record().edits(Field::Name, text("b"));
    let transition = record.apply_lookup(&REMOVED, context(&policies));
    assert!(transition.record.open.is_empty());
    let conflict = transition.conflicts.values().next().unwrap();
    assert_eq!(conflict.owed[&Field::Name], text("b"));
    assert!(matches!(conflict.status, ConflictStatus::Resolved(_)));
}

#[test]
fn open_field_conflicts_end_when_the_file_is_abandoned() {
    let record = record()
        .edits(Field::Name, text("b"))
        .sees(&named(2, "c"))
        .record;
    let gone = answered(&record, &Observation::Gone(Gone::AccessLost)).record;
    assert_eq!(gone.open.len(), 2, "one of the field and one of the file");
    let transition = abandon_edits(&gone, &Choice::Drive).unwrap();
    assert!(transition.record.open.is_empty());
    assert_eq!(transition.conflicts.len(), 2);
    for conflict in transition.conflicts.values() {
        assert!(matches!(conflict.status, ConflictStatus::Resolved(_)));
    }
    assert_eq!(transition.record.app(&Field::Name), text("c"));
}

#[test]
fn regression_a_conflict_on_existence_closes_when_nothing_is_owed_any_more() {
    let record = gone_with_edits().record;
    let transition = record.cancel(context(&Policies::default()));
    assert!(transition.record.open.is_empty());
    let conflict = transition.conflicts.values().next().unwrap();
    assert_eq!(conflict.status, ConflictStatus::Closed { at: NOW });
    assert_eq!(
        conflict.owed.len(),
        2,
        "what was withdrawn is still recorded"
    );
}

#[test]
fn the_reason_of_absence_follows_the_lookups() {
    let gone = answered(&record(), &Observation::Gone(Gone::AccessLost)).record;
    let later = answered(&gone, &REMOVED).record;
    assert_eq!(later.presence, Presence::Gone(Gone::Removed, NOW));
}

#[test]
fn a_tombstone_takes_the_whole_snapshot_when_the_file_is_restored() {
    let tombstone = FileRecord::tombstone(file(), Gone::Removed, NOW);
    assert!(tombstone.needs_lookup(&present(7, &[])));
    let back = answered(&tombstone, &present(7, &[(property("p"), text("x"))])).record;
    let seen = FileRecord::from_snapshot(&snapshot(7, &[(property("p"), text("x"))]));
    assert_eq!(back.fields, seen.fields);
    assert_eq!(
        (back.version, back.field_set),
        (seen.version, seen.field_set)
    );
    assert!(back.open.is_empty());
}

#[test]
fn regression_an_answer_for_an_abandoned_file_is_one_more_snapshot() {
    let (record, patch) = record()
        .edits(Field::Name, text("b"))
        .sends(&named(1, "a"), 1);
    let gone = answered(&record, &REMOVED).record;
    let given_in = abandon_edits(&gone, &Choice::Drive).unwrap().record;
    let confirmed = given_in
        .confirmed(&patch, &named(2, "b"), context(&Policies::default()))
        .record;
    assert_eq!(
        confirmed.app(&Field::Name),
        text("b"),
        "Drive did accept it"
    );
    let back = answered(&confirmed, &present(2, &[(Field::Name, text("b"))])).record;
    assert_eq!(back.app(&Field::Name), text("b"));
    assert_eq!(back.due(), None);
}

#[test]
fn a_late_confirmation_closes_the_conflict_on_its_value() {
    let (record, patch) = record()
        .edits(Field::Name, text("b"))
        .sends(&named(1, "a"), 1);
    let gone = answered(&record, &REMOVED).record;
    let transition = gone.confirmed(&patch, &named(2, "b"), context(&Policies::default()));
    assert!(transition.record.open.is_empty() && !transition.record.is_present());
    let refused = gone.refused(&patch, &Refusal::Stale, context(&Policies::default()), FULL);
    assert_eq!(refused.record.open.len(), 1);
}

#[test]
fn a_missing_file_is_gone_after_three_answers_over_ten_minutes() {
    let policies = Policies::default();
    let at = |minutes: i64| Context {
        now: NOW.plus_millis(minutes * 60_000),
        ..context(&policies)
    };
    let owing = record().edits(Field::Name, text("b"));
    let missed = |record: &FileRecord, works, minutes| {
        let missed = record.suspected_gone(Gone::Removed, works, at(minutes), FULL);
        missed.record
    };
    let once = missed(&owing, true, 0);
    assert!(once.is_present() && once.open.is_empty() && once.due().is_some());
    let often = (1..10).fold(once.clone(), |record, minute| missed(&record, true, minute));
    assert!(often.is_present());
    assert!(
        missed(&often, false, 60).is_present(),
        "the account does not work"
    );
    let gone = missed(&often, true, 10);
    assert!(gone.is_gone() && gone.missing.is_none());
    assert!(gone.open_conflict(&Field::Existence).is_some());

    // It is read again until that is settled, although nothing is owed.
    let quiet = missed(&record(), true, 0);
    assert!(quiet.due().is_some() && quiet.intent().is_none());
    for seen in [
        quiet.sees(&named(1, "a")).record,
        quiet.claims(&named(1, "a"), 1).transition.record,
    ] {
        assert_eq!((seen.missing, seen.due()), (None, None));
    }
}
