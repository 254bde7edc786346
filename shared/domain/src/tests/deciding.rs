use crate::fixture::{
    FULL, Manually as _, NOW, all, moment, named, present, property, record, snapshot, text, values,
};
use crate::{
    AttemptId, Choice, ConflictRecord, ConflictStatus, Decider, Field, FileRecord, Observation,
    PROPERTIES_MAX, Policies, Policy, Refusal, ResolveRefused, Step, Value, ValueRefused,
};

/// A name that we changed to `b` and a person to `c`.
fn conflicting() -> FileRecord {
    record()
        .edits(Field::Name, text("b"))
        .sees(&named(2, "c"))
        .record
}

fn resolve(record: &FileRecord, choice: &Choice) -> Step {
    let id = record.open_conflict(&Field::Name).unwrap();
    record
        .resolve(&id, None, choice, "bob", moment(&Policies::default()))
        .unwrap()
}

fn only(step: &Step) -> &ConflictRecord {
    assert_eq!(step.conflicts.len(), 1);
    step.conflicts.values().next().unwrap()
}

#[test]
fn both_sides_moving_apart_is_a_conflict_that_holds_the_intent() {
    let step = record().edits(Field::Name, text("b")).sees(&named(2, "c"));
    let conflict = only(&step);
    assert_eq!(
        (&conflict.base, &conflict.app, &conflict.drive),
        (&text("a"), &text("b"), &text("c"))
    );
    assert_eq!(conflict.status, ConflictStatus::Open);
    assert_eq!((step.record.due(), step.record.intent()), (None, None));
}

#[test]
fn every_choice_ends_with_the_stated_sides() {
    let other = text("other");
    for (choice, app) in [
        (Choice::App, text("b")),
        (Choice::Drive, text("c")),
        (Choice::Base, text("a")),
        (Choice::Value(other.clone()), other),
    ] {
        let step = resolve(&conflicting(), &choice);
        let sides = step.record.sides(&Field::Name);
        assert_eq!((&sides.base, &sides.app), (&text("c"), &app), "{choice:?}");
        assert_eq!(step.record.due().is_some(), app != text("c"));
        let ConflictStatus::Resolved(resolution) = &only(&step).status else {
            panic!("not resolved");
        };
        assert_eq!((&resolution.value, &resolution.choice), (&app, &choice));
        assert_eq!(resolution.by, Decider::Person("bob".to_owned()));
        assert_eq!(
            (&only(&step).app, &only(&step).drive),
            (&text("b"), &text("c"))
        );
    }
}

#[test]
fn a_decision_over_sides_that_moved_is_refused() {
    let record = conflicting();
    let id = record.open_conflict(&Field::Name).unwrap();
    let moved = record.sees(&named(3, "d"));
    assert_eq!((only(&moved).moves, &only(&moved).drive), (1, &text("d")));
    let decide = |moves| {
        moved.record.resolve(
            &id,
            moves,
            &Choice::App,
            "bob",
            moment(&Policies::default()),
        )
    };
    assert_eq!(decide(Some(0)), Err(ResolveRefused::Moved));
    assert!(decide(Some(1)).is_ok());
    let settled = decide(None).unwrap().record;
    let again = settled.resolve(&id, None, &Choice::App, "bob", moment(&Policies::default()));
    assert_eq!(again, Err(ResolveRefused::NotOpen));
}

#[test]
fn a_conflict_closes_by_itself_when_the_sides_agree_again() {
    let step = conflicting().sees(&named(3, "b"));
    assert_eq!(only(&step).status, ConflictStatus::Closed { at: NOW });
    assert_eq!(
        (step.record.due(), step.record.app(&Field::Name)),
        (None, text("b"))
    );
}

#[test]
fn a_conflict_that_closes_as_drive_returns_leaves_the_value_owed_at_once() {
    let step = conflicting().sees(&named(3, "a"));
    assert_eq!(only(&step).status, ConflictStatus::Closed { at: NOW });
    assert_eq!(step.record.due(), Some(NOW));
    assert_eq!(step.record.intent().unwrap().fields, [&Field::Name]);
}

#[test]
fn a_value_that_can_not_be_stored_is_no_choice() {
    let record = conflicting();
    let id = record.open_conflict(&Field::Name).unwrap();
    let empty = Choice::Value(text(""));
    assert_eq!(
        record.resolve(&id, None, &empty, "bob", moment(&Policies::default())),
        Err(ResolveRefused::Value(ValueRefused::Empty))
    );
}

#[test]
fn regression_a_decision_adds_no_property_over_the_limit() {
    let key = |n| (property(&format!("k{n:02}")), text("v"));
    let set: Vec<_> = (0..PROPERTIES_MAX).map(key).collect();
    let record = FileRecord::first_sight(&snapshot(1, &set)).edits(property("k00"), Value::Null);
    let record = record.edits(property("more"), text("v"));
    let mut moved = set;
    moved[0].1 = text("w");
    let record = record.sees(&snapshot(2, &moved)).record;
    let id = record.open_conflict(&property("k00")).unwrap();
    let decide = |choice| record.resolve(&id, None, &choice, "bob", moment(&Policies::default()));
    let refused = Err(ResolveRefused::Value(ValueRefused::TooManyProperties));
    assert_eq!(decide(Choice::Base), refused);
    assert!(decide(Choice::App).is_ok());
}

#[test]
fn a_policy_decides_at_once_and_its_decision_is_recorded() {
    for (policy, choice, app) in [
        (Policy::DriveWins, Choice::Drive, "c"),
        (Policy::AppWins, Choice::App, "b"),
    ] {
        let policies = all(policy);
        let record = record().edits(Field::Name, text("b"));
        let step = record.observe(&present(2, &[(Field::Name, text("c"))]), moment(&policies));
        assert!(step.record.open.is_empty());
        let conflict = only(&step);
        assert_eq!(
            (&conflict.app, &conflict.drive),
            (&text("b"), &text("c")),
            "nothing is lost"
        );
        let ConflictStatus::Resolved(resolution) = &conflict.status else {
            panic!("not resolved");
        };
        assert_eq!(
            (&resolution.choice, &resolution.by),
            (&choice, &Decider::Policy)
        );
        assert_eq!(step.record.app(&Field::Name), text(app));
        assert_eq!(step.record.sides(&Field::Name).base, text("c"));
        assert_eq!(step.record.due().is_some(), policy == Policy::AppWins);
    }
}

#[test]
fn regression_a_policy_decides_the_same_conflict_once() {
    let policies = all(Policy::AppWins);
    let (record, _) = record()
        .edits(Field::Name, text("b"))
        .sends(&named(1, "a"), 1);
    let decided = record.observe(&Observation::Present(named(2, "c")), moment(&policies));
    assert_eq!(
        decided.record.sides(&Field::Name).sent,
        [],
        "the decision ends what was settled"
    );
    let claim = decided
        .record
        .claim(&named(2, "c"), AttemptId(2), moment(&policies), FULL);
    assert!(claim.step.conflicts.is_empty());
    assert!(claim.patch.is_some());
}

#[test]
fn regression_a_decision_for_drive_leaves_the_backoff_of_other_fields() {
    let policies = all(Policy::DriveWins);
    let both = values(&[
        (Field::Name, text("b")),
        (Field::Starred, Value::Flag(true)),
    ]);
    let record = record()
        .edit(&both, "ann", moment(&policies))
        .unwrap()
        .record;
    let (record, patch) = record.sends(&named(1, "a"), 1);
    let busy = record
        .refused(&patch, &Refusal::Busy, moment(&policies), FULL)
        .record;
    let after = busy
        .observe(&Observation::Present(named(2, "c")), moment(&policies))
        .record;
    assert_eq!(after.push, busy.push);
}

#[test]
fn a_write_of_unknown_fate_is_a_question_and_not_a_second_write() {
    let (record, patch) = record()
        .edits(Field::Name, text("b"))
        .sends(&named(1, "a"), 1);
    let lost = Refusal::Unknown("timeout".to_owned());
    let record = record
        .refused(&patch, &lost, moment(&Policies::default()), FULL)
        .record;
    let inbound = record.sees(&named(3, "a")).record;
    assert!(
        inbound.open.is_empty(),
        "a snapshot may be about the time before the write"
    );
    let claim = inbound.claims(&named(3, "a"), 2);
    assert_eq!(claim.patch, None);
    assert!(only(&claim.step).unsure);
    let same = claim.step.record.sees(&named(4, "a"));
    assert!(
        same.conflicts.is_empty(),
        "Drive at the base is how it began"
    );
    let sent = resolve(&claim.step.record, &Choice::App)
        .record
        .claims(&named(3, "a"), 3);
    assert!(sent.patch.is_some());
}
