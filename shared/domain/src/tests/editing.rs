use crate::fixture::{
    Manually as _, all, context, named, property, record, snapshot, text, values,
};
use crate::{
    EditRefused, Field, FieldSetVersion, FileRecord, PROPERTIES_MAX, Policies, Policy, Timestamp,
    Value, ValueRefused,
};

fn full() -> FileRecord {
    let key = |n| (property(&format!("k{n:02}")), text("v"));
    let set: Vec<_> = (0..PROPERTIES_MAX).map(key).collect();
    FileRecord::from_snapshot(&snapshot(1, &set))
}

#[test]
fn a_field_held_by_a_conflict_refuses_the_whole_edit() {
    let record = record().edits(Field::Name, text("b"));
    let record = record.sees(&named(2, "c")).record;
    let conflict = record.open_conflict(&Field::Name).unwrap();
    let both = values(&[
        (Field::Name, text("d")),
        (Field::Starred, Value::Flag(true)),
    ]);
    assert_eq!(
        record.edit(&both, "ann", context(&Policies::default())),
        Err(EditRefused::InConflict(vec![conflict]))
    );
    let free = record.edits(Field::Starred, Value::Flag(true));
    assert_eq!(
        free.app(&Field::Starred),
        Value::Flag(true),
        "the other field is not held"
    );
}

#[test]
fn one_value_that_is_not_allowed_refuses_the_whole_edit() {
    let both = values(&[(Field::Description, text("fine")), (Field::Name, text(""))]);
    assert_eq!(
        record().edit(&both, "ann", context(&Policies::default())),
        Err(EditRefused::Value(Field::Name, ValueRefused::Empty))
    );
}

#[test]
fn an_excess_property_is_refused_and_a_change_of_one_is_not() {
    let more = values(&[(property("one_more"), text("v"))]);
    assert_eq!(
        full().edit(&more, "ann", context(&Policies::default())),
        Err(EditRefused::Value(
            property("one_more"),
            ValueRefused::TooManyProperties
        ))
    );
    let changed = full().edits(property("k00"), text("w"));
    let exchanged = values(&[(property("k00"), Value::Null), (property("new"), text("v"))]);
    assert!(
        changed
            .edit(&exchanged, "ann", context(&Policies::default()))
            .is_ok()
    );
}

#[test]
fn regression_a_file_above_the_limit_can_lose_a_property() {
    let key = |n| (property(&format!("k{n:02}")), text("v"));
    let most: Vec<_> = (0..PROPERTIES_MAX - 1).map(key).collect();
    let record = FileRecord::from_snapshot(&snapshot(1, &most)).edits(property("ours"), text("v"));
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
fn an_edit_to_the_current_value_changes_nothing() {
    let before = record();
    assert_eq!(before.edits(Field::Name, text("a")), before);
    assert_eq!(before.edits(property("none"), Value::Null), before);
}

#[test]
fn an_edit_is_due_at_once_and_names_its_author() {
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
    assert!(record.due().is_some(), "but Drive must be read");
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
        "and its author is known"
    );
}

#[test]
fn an_edit_after_a_landed_write_does_not_conflict_with_it() {
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
fn a_newer_field_set_reaches_a_record_of_the_same_version() {
    let mut old = snapshot(5, &[]);
    old.field_set = FieldSetVersion(0);
    old.fields.remove(&Field::Starred);
    let record = FileRecord::from_snapshot(&old).edits(Field::Name, text("b"));
    let full = snapshot(5, &[(Field::Starred, Value::Flag(true))]);
    let record = record.sees(&full).record;
    assert_eq!(record.app(&Field::Starred), Value::Flag(true));
    assert_eq!(
        record.app(&Field::Name),
        text("b"),
        "known fields do not change"
    );
    assert_eq!(record.sees(&full).record, record, "and only once");
}

#[test]
fn regression_an_older_builds_snapshot_does_not_unset_unknown_fields() {
    let starred = [
        (Field::Starred, Value::Flag(true)),
        (property("p"), text("v")),
    ];
    let record = FileRecord::from_snapshot(&snapshot(5, &starred));
    let mut old = named(6, "b");
    old.field_set = FieldSetVersion(0);
    old.fields.remove(&Field::Starred);
    let record = record.sees(&old).record;
    assert_eq!(record.app(&Field::Name), text("b"));
    assert_eq!(record.app(&Field::Starred), Value::Flag(true));
    assert_eq!(
        record.app(&property("p")),
        Value::Null,
        "an absent property is unset"
    );
    let now = snapshot(6, &[(Field::Name, text("b"))]);
    assert_eq!(
        record.sees(&now).record.app(&Field::Starred),
        Value::Flag(false)
    );
}

#[test]
fn the_etag_does_not_change_for_invisible_changes() {
    let record = record().edits(property("p"), text("x"));
    let mut touched = snapshot(2, &[]);
    let touched_only = record.sees(&touched).record;
    assert_eq!(touched_only.visible, record.visible, "a version alone");
    assert!(touched_only.revision > record.revision);
    let (claimed, patch) = touched_only.sends(&touched, 1);
    assert_eq!(claimed.visible, record.visible, "a claim");
    let cancelled = claimed.cancel(context(&Policies::default())).record;
    assert_eq!(cancelled.visible, cancelled.revision, "the value returned");
    let stale = crate::Refusal::Stale;
    let refused = cancelled.refused(
        &patch,
        &stale,
        context(&Policies::default()),
        crate::Jitter(0.5),
    );
    assert_eq!(
        refused.record.visible, cancelled.visible,
        "the entry of the attempt is removed"
    );
    touched.version.0 = 3;
    touched.metadata.size_bytes = Some(7);
    let grown = refused.record.sees(&touched).record;
    assert_eq!(grown.visible, grown.revision, "metadata is visible");
}

#[test]
fn the_last_writer_wins_outside_the_window() {
    let policies = all(Policy::LastWriterWins { window_millis: 100 });
    let record = record().edits(Field::Name, text("b"));
    let at = |offset| {
        let mut context = context(&policies);
        context.drive_at = Some(crate::fixture::NOW.plus_millis(offset));
        record
            .observe(&crate::Observation::Present(named(2, "c")), context)
            .record
    };
    assert_eq!(
        at(100).app(&Field::Name),
        text("c"),
        "Drive's change is later"
    );
    assert_eq!(
        at(-100).app(&Field::Name),
        text("b"),
        "the application's edit is later"
    );
    assert_eq!(at(-100).due(), Some(crate::fixture::NOW));
    assert_eq!(at(99).open.len(), 1, "too close to decide");
    assert_ne!(at(-100).due(), Some(Timestamp::default()));
}
