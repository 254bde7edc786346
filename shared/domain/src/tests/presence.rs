use crate::fixture::{
    FULL, Manually as _, NOW, all, file, moment, named, present, property, record, snapshot, text,
};
use crate::{
    Choice, ConflictStatus, EditRefused, Field, FileRecord, Gone, Observation, Policies, Policy,
    Presence, Refusal, ResolveRefused, Step, Value,
};

const REMOVED: Observation = Observation::Gone(Gone::Removed);

fn answered(record: &FileRecord, answer: &Observation) -> Step {
    record.answered(answer, moment(&Policies::default()))
}

/// A file that went while a name and a property were owed.
fn gone_with_edits() -> Step {
    let record = record()
        .edits(Field::Name, text("b"))
        .edits(property("p"), text("x"));
    answered(&record, &REMOVED)
}

fn let_go(record: &FileRecord, choice: &Choice) -> Result<Step, ResolveRefused> {
    let id = record.open_conflict(&Field::Existence).unwrap();
    record.resolve(&id, None, choice, "bob", moment(&Policies::default()))
}

#[test]
fn a_queue_can_neither_remove_a_file_nor_bring_it_back() {
    let here = record();
    assert!(here.must_ask(&REMOVED));
    assert_eq!(
        here.observe(&REMOVED, moment(&Policies::default())),
        Step::stay(here.clone())
    );
    let gone = answered(&here, &REMOVED).record;
    let late = present(9, &[]);
    assert!(gone.must_ask(&late));
    assert_eq!(
        gone.observe(&late, moment(&Policies::default())),
        Step::stay(gone.clone())
    );
    assert!(!here.must_ask(&late) && !gone.must_ask(&REMOVED));
}

#[test]
fn a_file_that_goes_without_owed_edits_is_a_tombstone() {
    let step = answered(&record(), &REMOVED);
    assert_eq!(step.record.presence, Presence::Gone(Gone::Removed, NOW));
    assert!(step.conflicts.is_empty());
    let edit = step.record.edit(
        &[(Field::Name, text("b"))].into(),
        "ann",
        moment(&Policies::default()),
    );
    assert_eq!(edit, Err(EditRefused::Gone));
    assert_eq!(step.record.claims(&named(2, "a"), 1).patch, None);
}

#[test]
fn a_file_that_goes_with_owed_edits_is_a_conflict_that_keeps_them() {
    let step = gone_with_edits();
    let id = step.record.open_conflict(&Field::Existence).unwrap();
    let conflict = &step.conflicts[&id];
    assert_eq!(
        conflict.owed,
        [(Field::Name, text("b")), (property("p"), text("x"))].into()
    );
    assert_eq!(
        (&conflict.app, &conflict.drive),
        (&text("present"), &text("removed"))
    );
    assert_eq!((step.record.due(), step.record.intent()), (None, None));
}

#[test]
fn giving_in_to_the_removal_keeps_the_values_in_the_record_of_the_conflict() {
    let record = gone_with_edits().record;
    let step = let_go(&record, &Choice::Drive).unwrap();
    assert!(step.record.open.is_empty() && step.record.edits.is_empty());
    assert_eq!(step.record.app(&Field::Name), text("a"));
    let conflict = step.conflicts.values().next().unwrap();
    assert_eq!(conflict.owed[&property("p")], text("x"));
    assert!(matches!(conflict.status, ConflictStatus::Resolved(_)));
}

#[test]
fn the_application_can_not_win_over_a_file_that_is_not_there() {
    let record = gone_with_edits().record;
    for choice in [Choice::App, Choice::Base, Choice::Value(text("present"))] {
        assert_eq!(let_go(&record, &choice), Err(ResolveRefused::StillGone));
    }
}

#[test]
fn a_file_that_is_back_owes_what_it_owed() {
    let step = answered(
        &gone_with_edits().record,
        &present(2, &[(Field::Starred, Value::Flag(true))]),
    );
    let conflict = step.conflicts.values().next().unwrap();
    assert_eq!(conflict.status, ConflictStatus::Closed { at: NOW });
    assert!(step.record.is_present() && step.record.open.is_empty());
    assert_eq!(
        step.record.intent().unwrap().fields,
        [&Field::Name, &property("p")]
    );
    assert_eq!(step.record.due(), Some(NOW));
    assert_eq!(step.record.app(&Field::Starred), Value::Flag(true));
}

#[test]
fn a_file_that_is_back_changed_is_merged_like_any_other() {
    let step = answered(
        &gone_with_edits().record,
        &present(2, &[(Field::Name, text("c"))]),
    );
    let open: Vec<&Field> = step.record.open.keys().collect();
    assert_eq!(open, [&Field::Name]);
}

#[test]
fn a_policy_of_drive_wins_gives_in_at_once() {
    let policies = all(Policy::DriveWins);
    let record = record().edits(Field::Name, text("b"));
    let step = record.answered(&REMOVED, moment(&policies));
    assert!(step.record.open.is_empty());
    let conflict = step.conflicts.values().next().unwrap();
    assert_eq!(conflict.owed[&Field::Name], text("b"));
    assert!(matches!(conflict.status, ConflictStatus::Resolved(_)));
}

#[test]
fn open_conflicts_of_fields_end_with_the_file_that_is_let_go() {
    let record = record()
        .edits(Field::Name, text("b"))
        .sees(&named(2, "c"))
        .record;
    let gone = answered(&record, &Observation::Gone(Gone::AccessLost)).record;
    assert_eq!(gone.open.len(), 2, "the field's own, and the file's");
    let step = let_go(&gone, &Choice::Drive).unwrap();
    assert!(step.record.open.is_empty());
    assert_eq!(step.conflicts.len(), 2);
    for conflict in step.conflicts.values() {
        assert!(matches!(conflict.status, ConflictStatus::Resolved(_)));
    }
    assert_eq!(step.record.app(&Field::Name), text("c"));
}

#[test]
fn regression_a_conflict_on_existence_closes_when_nothing_is_owed_any_more() {
    let record = gone_with_edits().record;
    let step = record.cancel(moment(&Policies::default()));
    assert!(step.record.open.is_empty());
    let conflict = step.conflicts.values().next().unwrap();
    assert_eq!(conflict.status, ConflictStatus::Closed { at: NOW });
    assert_eq!(conflict.owed.len(), 2, "what was taken back is still told");
}

#[test]
fn the_reason_of_absence_follows_drives_answers() {
    let gone = answered(&record(), &Observation::Gone(Gone::AccessLost)).record;
    let later = answered(&gone, &REMOVED).record;
    assert_eq!(later.presence, Presence::Gone(Gone::Removed, NOW));
}

#[test]
fn a_file_that_was_gone_before_it_was_seen_comes_back_whole() {
    let tombstone = FileRecord::never_seen(file(), Gone::Removed, NOW);
    assert!(tombstone.must_ask(&present(7, &[])));
    let back = answered(&tombstone, &present(7, &[(property("p"), text("x"))])).record;
    let seen = FileRecord::first_sight(&snapshot(7, &[(property("p"), text("x"))]));
    assert_eq!(back.fields, seen.fields);
    assert_eq!((back.version, back.mask), (seen.version, seen.mask));
    assert!(back.open.is_empty());
}

#[test]
fn regression_an_answer_for_a_file_that_was_let_go_is_one_more_snapshot() {
    let (record, patch) = record()
        .edits(Field::Name, text("b"))
        .sends(&named(1, "a"), 1);
    let gone = answered(&record, &REMOVED).record;
    let given_in = let_go(&gone, &Choice::Drive).unwrap().record;
    let told = given_in
        .confirmed(&patch, &named(2, "b"), moment(&Policies::default()))
        .record;
    assert_eq!(told.app(&Field::Name), text("b"), "Drive has it after all");
    let back = answered(&told, &present(2, &[(Field::Name, text("b"))])).record;
    assert_eq!(back.app(&Field::Name), text("b"));
    assert_eq!(back.due(), None);
}

#[test]
fn a_late_confirmation_ends_the_conflict_over_what_it_confirms() {
    let (record, patch) = record()
        .edits(Field::Name, text("b"))
        .sends(&named(1, "a"), 1);
    let gone = answered(&record, &REMOVED).record;
    let step = gone.confirmed(&patch, &named(2, "b"), moment(&Policies::default()));
    assert!(step.record.open.is_empty() && !step.record.is_present());
    let refused = gone.refused(&patch, &Refusal::Stale, moment(&Policies::default()), FULL);
    assert_eq!(refused.record.open.len(), 1);
}
