use crate::fixture::{Manually as _, NOW, context, named, present, record, text};
use crate::rate_limit::{Cost, Limits, RateLimit};
use crate::{
    ConflictStatus, Field, FileRecord, Gone, InconsistencyKind, Observation, Policies, Timestamp,
    Transition,
};

/// Returns a file with one open conflict on its name.
fn in_conflict() -> Transition {
    record()
        .edits(Field::Name, text("ours"))
        .sees(&named(2, "theirs"))
}

fn rewrite_conflicts(record: &FileRecord) -> Transition {
    record.rewrite_conflicts(context(&Policies::default()))
}

#[test]
fn every_kind_has_a_unique_label() {
    for kind in InconsistencyKind::ALL {
        assert_eq!(InconsistencyKind::from_label(kind.label()), Some(kind));
    }
    assert_eq!(InconsistencyKind::from_label("none"), None);
}

#[test]
fn rewriting_a_conflict_reproduces_its_record() {
    let opened = in_conflict();
    assert!(opened.record.has_consistent_conflicts());
    let again = rewrite_conflicts(&opened.record);
    assert_eq!(again.conflicts, opened.conflicts);
    assert_eq!(again.record, opened.record, "nothing else changed");
}

#[test]
fn rewriting_an_existence_conflict_reproduces_its_record() {
    let edited = record().edits(Field::Name, text("ours"));
    let policies = Policies::default();
    let gone = edited.apply_lookup(&Observation::Gone(Gone::Removed), context(&policies));
    assert_eq!(gone.conflicts.len(), 1);
    assert!(gone.record.has_consistent_conflicts());
    assert_eq!(rewrite_conflicts(&gone.record).conflicts, gone.conflicts);
}

#[test]
fn an_unnumbered_conflict_gets_the_next_number() {
    let mut spoilt = in_conflict().record;
    spoilt.open.clear();
    assert!(!spoilt.has_consistent_conflicts());
    let transition = rewrite_conflicts(&spoilt);
    assert!(transition.record.has_consistent_conflicts());
    let id = transition.record.open_conflict(&Field::Name).unwrap();
    assert_eq!(id.number, 2);
    let conflict = &transition.conflicts[&id];
    assert_eq!(
        (&conflict.base, &conflict.app, &conflict.drive),
        (&text("a"), &text("ours"), &text("theirs"))
    );
    assert_eq!(conflict.status, ConflictStatus::Open);
}

#[test]
fn a_number_without_a_conflict_is_closed() {
    let mut spoilt = in_conflict().record;
    spoilt.fields.get_mut(&Field::Name).unwrap().conflict = None;
    assert!(!spoilt.has_consistent_conflicts());
    let id = spoilt.open_conflict(&Field::Name).unwrap();
    let transition = rewrite_conflicts(&spoilt);
    assert!(transition.record.open.is_empty());
    assert_eq!(
        transition.conflicts[&id].status,
        ConflictStatus::Closed { at: NOW }
    );
}

#[test]
fn a_stray_conflict_record_is_closed_and_a_valid_one_is_left_alone() {
    let policies = Policies::default();
    let opened = in_conflict();
    let (id, conflict) = opened.conflicts.first_key_value().unwrap();
    let transition = opened
        .record
        .close_stray_conflict(conflict, context(&policies));
    assert!(transition.conflicts.is_empty());
    assert!(!record().is_in_conflict(id));
    let transition = record().close_stray_conflict(conflict, context(&policies));
    let closed = &transition.conflicts[id];
    assert_eq!(closed.status, ConflictStatus::Closed { at: NOW });
    assert_eq!(
        (&closed.app, &closed.drive),
        (&conflict.app, &conflict.drive)
    );
    assert_eq!(transition.record, record());
}

#[test]
fn only_a_push_that_is_due_for_long_is_overdue() {
    let owed = record().edits(Field::Name, text("ours"));
    let after = |minutes: i64| owed.is_overdue(NOW.plus_millis(minutes * 60_000));
    assert!(!after(15));
    assert!(after(16));
    assert!(!record().is_overdue(Timestamp::from_millis(i64::MAX)));
    let settled = owed.observe(
        &present(2, &[(Field::Name, text("ours"))]),
        context(&Policies::default()),
    );
    assert!(!settled.record.is_overdue(NOW.plus_millis(i64::MAX / 2)));
}

#[test]
fn a_rate_limit_with_recent_writes_is_not_idle() {
    let limits = Limits::default();
    let rate_limit = RateLimit::new(&limits, NOW);
    assert!(rate_limit.is_idle(&limits, NOW));
    let one = Cost {
        quota: 0,
        writes: 1,
    };
    let after = rate_limit
        .lease(one, one, false, &limits, NOW)
        .unwrap()
        .rate_limit;
    assert!(!after.is_idle(&limits, NOW));
    assert!(after.is_idle(&limits, NOW.plus_millis(3_600_000)));
    let blocked = RateLimit {
        blocked_until: NOW.plus_millis(7_200_000),
        ..after
    };
    assert!(!blocked.is_idle(&limits, NOW.plus_millis(3_600_000)));
}
