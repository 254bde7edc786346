use crate::fixture::{Manually as _, all, moment, named, property, record, snapshot, text, values};
use crate::{
    EditRefused, Field, FieldMask, FileRecord, PROPERTIES_MAX, Policies, Policy, Timestamp, Value,
    ValueRefused,
};

fn full() -> FileRecord {
    let key = |n| (property(&format!("k{n:02}")), text("v"));
    let set: Vec<_> = (0..PROPERTIES_MAX).map(key).collect();
    FileRecord::first_sight(&snapshot(1, &set))
}

#[test]
fn a_field_that_a_conflict_holds_refuses_the_whole_edit() {
    let record = record().edits(Field::Name, text("b"));
    let record = record.sees(&named(2, "c")).record;
    let held = record.open_conflict(&Field::Name).unwrap();
    let both = values(&[
        (Field::Name, text("d")),
        (Field::Starred, Value::Flag(true)),
    ]);
    assert_eq!(
        record.edit(&both, "ann", moment(&Policies::default())),
        Err(EditRefused::Held(vec![held]))
    );
    let free = record.edits(Field::Starred, Value::Flag(true));
    assert_eq!(
        free.app(&Field::Starred),
        Value::Flag(true),
        "the other field is free"
    );
}

#[test]
fn one_value_that_is_not_allowed_refuses_the_whole_edit() {
    let both = values(&[(Field::Description, text("fine")), (Field::Name, text(""))]);
    assert_eq!(
        record().edit(&both, "ann", moment(&Policies::default())),
        Err(EditRefused::Value(Field::Name, ValueRefused::Empty))
    );
}

#[test]
fn one_property_too_many_is_refused_and_a_change_of_one_is_not() {
    let more = values(&[(property("one_more"), text("v"))]);
    assert_eq!(
        full().edit(&more, "ann", moment(&Policies::default())),
        Err(EditRefused::Value(
            property("one_more"),
            ValueRefused::TooManyProperties
        ))
    );
    let changed = full().edits(property("k00"), text("w"));
    let exchanged = values(&[(property("k00"), Value::Null), (property("new"), text("v"))]);
    assert!(
        changed
            .edit(&exchanged, "ann", moment(&Policies::default()))
            .is_ok()
    );
}

#[test]
fn regression_a_file_over_the_limit_lets_go_of_a_property() {
    let key = |n| (property(&format!("k{n:02}")), text("v"));
    let most: Vec<_> = (0..PROPERTIES_MAX - 1).map(key).collect();
    let record = FileRecord::first_sight(&snapshot(1, &most)).edits(property("ours"), text("v"));
    let theirs: Vec<_> = most
        .into_iter()
        .chain([(property("theirs"), text("v")), (property("z"), text("v"))])
        .collect();
    let record = record.sees(&snapshot(2, &theirs)).record;
    let set = record
        .fields
        .keys()
        .filter(|f| matches!(f, Field::Property(_)));
    assert_eq!(set.count(), PROPERTIES_MAX + 2);
    let record = record.edits(property("z"), Value::Null);
    assert_eq!(record.app(&property("z")), Value::Null);
}

#[test]
fn an_edit_of_the_value_that_is_there_changes_nothing() {
    let before = record();
    assert_eq!(before.edits(Field::Name, text("a")), before);
    assert_eq!(before.edits(property("none"), Value::Null), before);
}

#[test]
fn an_edit_is_due_at_once_and_says_whose_it_is() {
    let record = record().edits(Field::Name, text("b"));
    assert_eq!(record.due(), Some(crate::fixture::NOW));
    assert_eq!(record.edits[&Field::Name].by, "ann");
    assert_eq!(record.intent().unwrap().fields, [&Field::Name]);
    let withdrawn = record.edits(Field::Name, text("a"));
    assert_eq!((withdrawn.due(), withdrawn.edits.len()), (None, 0));
}

#[test]
fn an_edit_back_to_the_base_stays_pending_while_a_write_may_land() {
    let (record, _) = record()
        .edits(Field::Name, text("b"))
        .sends(&named(1, "a"), 1);
    let record = record.edits(Field::Name, text("a"));
    assert!(record.intent().is_none(), "nothing is owed");
    assert!(record.due().is_some(), "but Drive must be looked at");
    let landed = record.sees(&named(2, "b")).record;
    assert!(landed.open.is_empty());
    assert_eq!(
        landed.intent().unwrap().fields,
        [&Field::Name],
        "the return is owed now"
    );
    assert_eq!(
        landed.edits[&Field::Name].by,
        "ann",
        "and known to be somebody's"
    );
}

#[test]
fn an_edit_over_a_write_that_landed_is_no_conflict_with_ourselves() {
    let (record, _) = record()
        .edits(Field::Name, text("b"))
        .sends(&named(1, "a"), 1);
    let record = record.edits(Field::Name, text("c"));
    let record = record.sees(&named(2, "b")).record;
    assert!(record.open.is_empty());
    assert_eq!(record.sides(&Field::Name).base, text("b"));
    assert_eq!(record.app(&Field::Name), text("c"));
}

#[test]
fn a_newer_field_mask_reaches_a_record_of_the_same_version() {
    let mut old = snapshot(5, &[]);
    old.mask = FieldMask(0);
    old.fields.remove(&Field::Starred);
    let record = FileRecord::first_sight(&old).edits(Field::Name, text("b"));
    let full = snapshot(5, &[(Field::Starred, Value::Flag(true))]);
    let record = record.sees(&full).record;
    assert_eq!(record.app(&Field::Starred), Value::Flag(true));
    assert_eq!(
        record.app(&Field::Name),
        text("b"),
        "what was known is not touched"
    );
    assert_eq!(record.sees(&full).record, record, "and only once");
}

#[test]
fn regression_a_snapshot_by_an_older_build_unsets_no_field_that_it_does_not_know() {
    let starred = [
        (Field::Starred, Value::Flag(true)),
        (property("p"), text("v")),
    ];
    let record = FileRecord::first_sight(&snapshot(5, &starred));
    let mut old = named(6, "b");
    old.mask = FieldMask(0);
    old.fields.remove(&Field::Starred);
    let record = record.sees(&old).record;
    assert_eq!(record.app(&Field::Name), text("b"));
    assert_eq!(record.app(&Field::Starred), Value::Flag(true));
    assert_eq!(
        record.app(&property("p")),
        Value::Null,
        "a property that is not there is not set"
    );
    let now = snapshot(6, &[(Field::Name, text("b"))]);
    assert_eq!(
        record.sees(&now).record.app(&Field::Starred),
        Value::Flag(false)
    );
}

#[test]
fn the_etag_stays_for_what_nobody_can_see() {
    let record = record().edits(property("p"), text("x"));
    let mut touched = snapshot(2, &[]);
    let noise = record.sees(&touched).record;
    assert_eq!(noise.visible, record.visible, "a version alone");
    assert!(noise.revision > record.revision);
    let (claimed, patch) = noise.sends(&touched, 1);
    assert_eq!(claimed.visible, record.visible, "a claim");
    let cancelled = claimed.cancel(moment(&Policies::default())).record;
    assert_eq!(cancelled.visible, cancelled.revision, "the value went back");
    let stale = crate::Refusal::Stale;
    let refused = cancelled.refused(
        &patch,
        &stale,
        moment(&Policies::default()),
        crate::Jitter(0.5),
    );
    assert_eq!(
        refused.record.visible, cancelled.visible,
        "the entry of the attempt went"
    );
    touched.version.0 = 3;
    touched.mirror.size_bytes = Some(7);
    let grown = refused.record.sees(&touched).record;
    assert_eq!(
        grown.visible, grown.revision,
        "what Drive alone decides is shown"
    );
}

#[test]
fn the_last_writer_wins_outside_the_window() {
    let policies = all(Policy::LastWriterWins { window_millis: 100 });
    let record = record().edits(Field::Name, text("b"));
    let at = |offset| {
        let mut moment = moment(&policies);
        moment.drive_at = Some(crate::fixture::NOW.plus_millis(offset));
        record
            .observe(&crate::Observation::Present(named(2, "c")), moment)
            .record
    };
    assert_eq!(at(100).app(&Field::Name), text("c"), "Drive's is later");
    assert_eq!(at(-100).app(&Field::Name), text("b"), "ours is later");
    assert_eq!(at(-100).due(), Some(crate::fixture::NOW));
    assert_eq!(at(99).open.len(), 1, "too close to tell");
    assert_ne!(at(-100).due(), Some(Timestamp::default()));
}
