use crate::fixture::{
    FULL, Manually as _, NOW, all, context, named, present, property, record, snapshot, text,
    values,
};
use crate::{
    AttemptId, Choice, ConflictRecord, ConflictStatus, Decider, Field, FileRecord, Observation,
    PROPERTIES_MAX, Policies, Policy, Refusal, ResolveRefused, Transition, Value, ValueRefused,
};

/// Returns a record whose name the application changed to `b` and a person to `c`.
fn conflicting() -> FileRecord {
    record()
        .edits(Field::Name, text("b"))
        .sees(&named(2, "c"))
        .record
}

fn resolve(record: &FileRecord, choice: &Choice) -> Transition {
    let id = record.open_conflict(&Field::Name).unwrap();
    record
        .resolve(&id, None, choice, "bob", context(&Policies::default()))
        .unwrap()
}

fn only(transition: &Transition) -> &ConflictRecord {
    assert_eq!(transition.conflicts.len(), 1);
    transition.conflicts.values().next().unwrap()
}

#[test]
fn both_sides_moving_apart_is_a_conflict_that_holds_the_intent() {
    let transition = record().edits(Field::Name, text("b")).sees(&named(2, "c"));
    let conflict = only(&transition);
    assert_eq!(
        (&conflict.base, &conflict.app, &conflict.drive),
        (&text("a"), &text("b"), &text("c"))
    );
    assert_eq!(conflict.status, ConflictStatus::Open);
    assert_eq!(
        (transition.record.due(), transition.record.intent()),
        (None, None)
    );
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
        let transition = resolve(&conflicting(), &choice);
        let sides = transition.record.sides(&Field::Name);
        assert_eq!((&sides.base, &sides.app), (&text("c"), &app), "{choice:?}");
        assert_eq!(transition.record.due().is_some(), app != text("c"));
        let ConflictStatus::Resolved(resolution) = &only(&transition).status else {
            panic!("not resolved");
        };
        assert_eq!((&resolution.value, &resolution.choice), (&app, &choice));
        assert_eq!(resolution.by, Decider::Person("bob".to_owned()));
        assert_eq!(
            (&only(&transition).app, &only(&transition).drive),
            (&text("b"), &text("c"))
        );
    }
}

#[test]
fn a_decision_on_moved_sides_is_refused() {
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
            context(&Policies::default()),
        )
    };
    assert_eq!(decide(Some(0)), Err(ResolveRefused::Moved));
    assert!(decide(Some(1)).is_ok());
    let settled = decide(None).unwrap().record;
    let again = settled.resolve(
        &id,
        None,
        &Choice::App,
        "bob",
        context(&Policies::default()),
    );
    assert_eq!(again, Err(ResolveRefused::NotOpen));
}

#[test]
fn a_conflict_closes_by_itself_when_the_sides_agree_again() {
    let transition = conflicting().sees(&named(3, "b"));
    assert_eq!(only(&transition).status, ConflictStatus::Closed { at: NOW });
    assert_eq!(
        (transition.record.due(), transition.record.app(&Field::Name)),
        (None, text("b"))
    );
}

#[test]
fn a_conflict_that_closes_at_the_base_leaves_the_value_due_at_once() {
    let transition = conflicting().sees(&named(3, "a"));
    assert_eq!(only(&transition).status, ConflictStatus::Closed { at: NOW });
    assert_eq!(transition.record.due(), Some(NOW));
    assert_eq!(transition.record.intent().unwrap().fields, [&Field::Name]);
}

#[test]
fn a_value_that_is_not_allowed_can_not_be_chosen() {
    let record = conflicting();
    let id = record.open_conflict(&Field::Name).unwrap();
    let empty = Choice::Value(text(""));
    assert_eq!(
        record.resolve(&id, None, &empty, "bob", context(&Policies::default())),
        Err(ResolveRefused::Value(ValueRefused::Empty))
    );
}

#[test]
fn regression_a_decision_never_exceeds_the_property_limit() {
    let key = |n| (property(&format!("k{n:02}")), text("v"));
    let set: Vec<_> = (0..PROPERTIES_MAX).map(key).collect();
    let record = FileRecord::from_snapshot(&snapshot(1, &set)).edits(property("k00"), Value::Null);
    let record = record.edits(property("more"), text("v"));
    let mut moved = set;
    moved[0].1 = text("w");
    let record = record.sees(&snapshot(2, &moved)).record;
    let id = record.open_conflict(&property("k00")).unwrap();
    let decide = |choice| record.resolve(&id, None, &choice, "bob", context(&Policies::default()));
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
        let policies = all(policy.clone());
        let record = record().edits(Field::Name, text("b"));
        let transition =
            record.observe(&present(2, &[(Field::Name, text("c"))]), context(&policies));
        assert!(transition.record.open.is_empty());
        let conflict = only(&transition);
        assert_eq!(
            (&conflict.app, &conflict.drive),
            (&text("b"), &text("c")),
            "no value is lost"
        );
        let ConflictStatus::Resolved(resolution) = &conflict.status else {
            panic!("not resolved");
        };
        assert_eq!(
            (&resolution.choice, &resolution.by),
            (&choice, &Decider::Policy)
        );
        assert_eq!(transition.record.app(&Field::Name), text(app));
        assert_eq!(transition.record.sides(&Field::Name).base, text("c"));
        assert_eq!(transition.record.due().is_some(), policy == Policy::AppWins);
    }
}

#[test]
fn regression_a_policy_decides_the_same_conflict_once() {
    let policies = all(Policy::AppWins);
    let (record, _) = record()
        .edits(Field::Name, text("b"))
        .sends(&named(1, "a"), 1);
    let decided = record.observe(&Observation::Present(named(2, "c")), context(&policies));
    assert_eq!(
        decided.record.sides(&Field::Name).sent,
        [],
        "a decision removes settled entries"
    );
    let claim = decided
        .record
        .claim(&named(2, "c"), AttemptId(2), context(&policies), FULL);
    assert!(claim.transition.conflicts.is_empty());
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
        .edit(&both, "ann", context(&policies))
        .unwrap()
        .record;
    let (record, patch) = record.sends(&named(1, "a"), 1);
    let busy = record
        .refused(&patch, &Refusal::Busy, context(&policies), FULL)
        .record;
    let after = busy
        .observe(&Observation::Present(named(2, "c")), context(&policies))
        .record;
    assert_eq!(after.push, busy.push);
}

#[test]
fn a_write_of_unknown_outcome_is_a_conflict_and_not_repeated() {
    let (record, patch) = record()
        .edits(Field::Name, text("b"))
        .sends(&named(1, "a"), 1);
    let lost = Refusal::Unknown("timeout".to_owned());
    let record = record
        .refused(&patch, &lost, context(&Policies::default()), FULL)
        .record;
    let inbound = record.sees(&named(3, "a")).record;
    assert!(
        inbound.open.is_empty(),
        "a snapshot may date from before the write"
    );
    let claim = inbound.claims(&named(3, "a"), 2);
    assert_eq!(claim.patch, None);
    assert!(only(&claim.transition).unsure);
    let same = claim.transition.record.sees(&named(4, "a"));
    assert!(
        same.conflicts.is_empty(),
        "Drive at the base is how it began"
    );
    let sent = resolve(&claim.transition.record, &Choice::App)
        .record
        .claims(&named(3, "a"), 3);
    assert!(sent.patch.is_some());
}
