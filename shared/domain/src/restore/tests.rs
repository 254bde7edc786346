//! What a restore sets back, and what it leaves.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::content::ContentHash;
use crate::fixture::{
    Manually as _, NOW, context, named, permission, property, record, snapshot, text,
};
use crate::properties::{FIELDS, field, value};
use crate::{
    Context, DriveVersion, Field, FileRecord, Gone, Observation, ObservedPermission, Policies,
    Snapshot, Timestamp, Value,
};

const FACTS: RestoreFacts = RestoreFacts {
    out_of_scope: false,
    folder_gone: false,
    content: ContentAt::NotHeld,
};

/// A time before every edit of these tests.
const AT: Timestamp = Timestamp::from_millis(500_000);

fn plan(record: &FileRecord, then: &Snapshot, facts: &RestoreFacts) -> RestorePlan {
    let then = StateAt::Known(Box::new(then.clone()));
    RestorePlan::of(record, &then, AT, facts)
}

fn left(plan: &RestorePlan) -> Vec<(Field, Option<LeftReason>)> {
    let fields = plan.fields.iter();
    fields
        .map(|field| (field.field.clone(), field.left))
        .collect()
}

fn restored(record: &FileRecord, then: &Snapshot) -> FileRecord {
    let policies = Policies::default();
    let (_, transition) = plan(record, then, &FACTS).apply(record, "eve", context(&policies));
    transition.unwrap().record
}

#[test]
fn only_what_differs_is_set_back_and_becomes_owed() {
    let wrong = snapshot(
        7,
        &[
            (Field::Name, text("a.locked")),
            (Field::Trashed, Value::Flag(true)),
            (Field::Parent, text("1elsewhere")),
            (property("added"), text("x")),
        ],
    );
    let then = snapshot(
        3,
        &[
            (Field::Name, text("a")),
            (Field::Parent, text("1folder")),
            (property("stage"), text("draft")),
        ],
    );
    let record = FileRecord::from_snapshot(&wrong);
    let after = restored(&record, &then);
    let app = |field: &Field| after.app(field);
    assert_eq!(app(&Field::Name), text("a"));
    assert_eq!(app(&Field::Trashed), Value::Flag(false));
    assert_eq!(app(&Field::Parent), text("1folder"));
    assert_eq!(app(&property("added")), Value::Null);
    assert_eq!(app(&property("stage")), text("draft"));
    assert_eq!(after.intent().unwrap().fields.len(), 5);
    assert_eq!(after.edits[&Field::Name].by, "eve");
    assert!(plan(&after, &then, &FACTS).is_empty(), "once is enough");
}

#[test]
fn a_file_that_is_not_there_or_was_not_there_is_left() {
    use LeftReason::{AccessLost, Conflict, Deleting, MadeSince, MovedAway, Purged, StateNotKnown};
    let known = || StateAt::Known(Box::new(named(1, "old")));
    let gone = |gone| {
        let policies = Policies::default();
        let gone = Observation::Gone(gone);
        record().apply_lookup(&gone, context(&policies)).record
    };
    let deleting = || {
        let policies = Policies::default();
        let deleted = record().delete("ann", context(&policies));
        deleted.unwrap().record
    };
    let in_question = || deleting().sees(&named(2, "b")).record;
    for (record, state, wanted) in [
        (record(), StateAt::MadeSince, Some(MadeSince)),
        (record(), StateAt::NotKnown, Some(StateNotKnown)),
        (gone(Gone::Removed), known(), Some(Purged)),
        (gone(Gone::Removed), StateAt::NotKnown, Some(Purged)),
        (gone(Gone::Removed), StateAt::MadeSince, None),
        (gone(Gone::AccessLost), known(), Some(AccessLost)),
        (gone(Gone::MovedAway), known(), Some(MovedAway)),
        (deleting(), known(), Some(Deleting)),
        (in_question(), known(), Some(Conflict)),
    ] {
        let plan = RestorePlan::of(&record, &state, AT, &FACTS);
        assert!(!plan.changes(), "{state:?}");
        assert_eq!(plan.reasons().into_iter().next(), wanted, "{state:?}");
    }
    // It was gone then, and is gone now.
    let later = NOW.plus_millis(1);
    let plan = RestorePlan::of(&gone(Gone::Removed), &known(), later, &FACTS);
    assert!(plan.is_empty());
}

#[test]
fn a_file_without_history_was_made_since_if_drive_created_it_later() {
    let made = |created_at| {
        let mut seen = named(1, "a");
        seen.metadata.created_at = created_at;
        StateAt::without_history(&FileRecord::from_snapshot(&seen), AT)
    };
    assert_eq!(made(Some(AT.plus_millis(1))), StateAt::MadeSince);
    assert_eq!(made(Some(AT)), StateAt::NotKnown);
    assert_eq!(made(None), StateAt::NotKnown);
}

#[test]
fn what_facts_forbid_is_left_with_its_reason() {
    let record = FileRecord::from_snapshot(&snapshot(2, &[(Field::Parent, text("1new"))]));
    let then = snapshot(
        1,
        &[(Field::Name, text("b")), (Field::Parent, text("1old"))],
    );
    let gone = RestoreFacts {
        folder_gone: true,
        ..FACTS
    };
    let wanted = [
        (Field::Name, None),
        (Field::Parent, Some(LeftReason::FolderGone)),
    ];
    assert_eq!(left(&plan(&record, &then, &gone)), wanted);
    let outside = RestoreFacts {
        out_of_scope: true,
        ..FACTS
    };
    let reasons = plan(&record, &then, &outside).reasons();
    assert_eq!(Vec::from_iter(reasons), [LeftReason::OutOfScope]);
    let unwritable = snapshot(1, &[(Field::Name, text(&"x".repeat(40_000)))]);
    let wanted = [(Field::Name, Some(LeftReason::NotWritable))];
    assert_eq!(left(&plan(&record, &unwritable, &FACTS)), wanted);
}

#[test]
fn an_owed_edit_stays_if_it_was_made_before_and_is_set_back_if_made_since() {
    let edited = record().edits(Field::Name, text("mine"));
    let then = named(1, "before");
    let known = || StateAt::Known(Box::new(then.clone()));
    let after = RestorePlan::of(&edited, &known(), NOW, &FACTS);
    assert!(after.is_empty(), "it was wanted by then");
    let before = RestorePlan::of(&edited, &known(), NOW.plus_millis(-1), &FACTS);
    assert_eq!(
        before.values(),
        BTreeMap::from([(Field::Name, text("before"))])
    );
    // Back to the base with nothing in flight: the edit is withdrawn, and nothing is owed.
    let withdrawn = restored(&edited, &named(1, "a"));
    assert_eq!(withdrawn.intent(), None);
}

#[test]
fn a_field_in_conflict_is_left_and_the_others_are_set_back() {
    let edited = record().edits(Field::Name, text("mine"));
    let met = edited.sees(&snapshot(
        2,
        &[
            (Field::Name, text("theirs")),
            (Field::Starred, Value::Flag(true)),
        ],
    ));
    let plan = plan(&met.record, &named(1, "a"), &FACTS);
    let wanted = [
        (Field::Name, Some(LeftReason::Conflict)),
        (Field::Starred, None),
    ];
    assert_eq!(left(&plan), wanted);
    let policies = Policies::default();
    let (carried_out, transition) = plan.clone().apply(&met.record, "eve", context(&policies));
    assert_eq!(carried_out, plan);
    let after = transition.unwrap().record;
    assert_eq!(after.app(&Field::Starred), Value::Flag(false));
    assert!(after.open_conflict(&Field::Name).is_some());
}

#[test]
fn nobody_gets_more_access() {
    let bob = permission("user:bob@x.y");
    let roles = ["", "reader", "commenter", "writer", "owner"];
    let with = |version, role: &str| match role {
        "" => snapshot(version, &[]),
        role => snapshot(version, &[(bob.clone(), text(role))]),
    };
    for (now, now_role) in roles.iter().enumerate() {
        for (then, then_role) in roles.iter().enumerate() {
            let record = FileRecord::from_snapshot(&with(2, now_role));
            let plan = plan(&record, &with(1, then_role), &FACTS);
            let wanted = match (now, then) {
                (now, then) if now == then => vec![],
                (4, _) | (_, 4) => vec![(bob.clone(), Some(LeftReason::NotWritable))],
                (now, then) if then < now => vec![(bob.clone(), None)],
                _ => vec![(bob.clone(), Some(LeftReason::WidensSharing))],
            };
            assert_eq!(left(&plan), wanted, "{now_role} {then_role}");
        }
    }
    let mut hidden = with(2, "writer");
    hidden.metadata.permissions_known = false;
    let hidden = FileRecord::from_snapshot(&hidden);
    let wanted = [(bob.clone(), Some(LeftReason::PermissionsNotKnown))];
    assert_eq!(left(&plan(&hidden, &with(1, "reader"), &FACTS)), wanted);
    let mut unknown = with(1, "reader");
    unknown.metadata.permissions_known = false;
    let shown = FileRecord::from_snapshot(&with(2, "writer"));
    assert!(plan(&shown, &unknown, &FACTS).is_empty());
}

#[test]
fn an_address_that_was_changed_since_is_no_other_permission() {
    let shared = |version, address: &str| {
        let mut shared = snapshot(version, &[(permission(address), text("writer"))]);
        shared.metadata.permissions = vec![ObservedPermission {
            id: "p1".to_owned(),
            principal: address.to_owned(),
            role: "writer".to_owned(),
            direct: true,
            ..ObservedPermission::default()
        }];
        shared
    };
    let now = FileRecord::from_snapshot(&shared(2, "user:ann@new.com"));
    assert!(plan(&now, &shared(1, "user:ann@old.com"), &FACTS).is_empty());
}

#[test]
fn content_is_set_back_if_it_is_stored() {
    let holding = |version, digit: &str| {
        let mut seen = named(version, "a");
        seen.metadata.mime_type = "text/plain".to_owned();
        seen.metadata.size_bytes = Some(3);
        seen.metadata.sha256 = Some(digit.repeat(64));
        seen
    };
    let record = FileRecord::from_snapshot(&holding(2, "b"));
    let hash = ContentHash::parse(&"a".repeat(64)).unwrap();
    let with = |content| RestoreFacts { content, ..FACTS };
    for (content, wanted) in [
        (ContentAt::Held(hash), None),
        (ContentAt::NotHeld, Some(LeftReason::ContentNotHeld)),
        (ContentAt::NotMirrored, Some(LeftReason::ContentNotMirrored)),
    ] {
        let plan = plan(&record, &holding(1, "a"), &with(content));
        assert_eq!(left(&plan), [(Field::Content, wanted)]);
        assert_eq!(plan.fields[0].from, text(&"b".repeat(64)));
        assert_eq!(plan.fields[0].to, text(&"a".repeat(64)));
    }
    assert!(plan(&record, &holding(1, "b"), &FACTS).is_empty());
    // The same bytes, of which Drive stated less then.
    let mut less = holding(1, "b");
    (less.metadata.sha256, less.metadata.md5) = (None, Some("c".repeat(32)));
    let mut more = holding(2, "b");
    more.metadata.md5 = Some("c".repeat(32));
    assert!(plan(&FileRecord::from_snapshot(&more), &less, &FACTS).is_empty());
    let document = |version| {
        let mut seen = named(version, "a");
        seen.metadata.mime_type = "application/vnd.google-apps.document".to_owned();
        seen
    };
    let wanted = [(Field::Content, Some(LeftReason::Document))];
    let written = FileRecord::from_snapshot(&document(2));
    assert_eq!(left(&plan(&written, &document(1), &FACTS)), wanted);
    assert!(plan(&written, &document(2), &FACTS).is_empty());
}

#[test]
fn what_was_changed_after_the_list_was_made_is_left() {
    let listed = FileRecord::from_snapshot(&snapshot(
        2,
        &[
            (Field::Name, text("b")),
            (Field::Starred, Value::Flag(true)),
        ],
    ));
    let then = named(1, "a");
    let first = plan(&listed, &then, &FACTS);
    let moved = listed.sees(&named(3, "c")).record;
    let overtaken = first.overtaken_by(&plan(&moved, &then, &FACTS));
    let wanted = [
        (Field::Name, Some(LeftReason::ChangedMeanwhile)),
        (Field::Starred, None),
    ];
    assert_eq!(left(&overtaken), wanted, "the star is off already");
}

#[test]
fn every_reason_has_a_name_and_a_sentence() {
    for reason in LeftReason::ALL {
        assert_eq!(LeftReason::from_label(reason.label()), Some(reason));
        assert!(reason.sentence().ends_with(['.', ')']), "{reason:?}");
    }
}

/// A state of the fields that the properties use, and the metadata of a content.
fn state(version: u64, picks: &[usize]) -> Snapshot {
    let set = picks.iter().enumerate().map(|(at, pick)| {
        let field = field(at);
        let value = value(&field, *pick);
        (field, value)
    });
    let set: Vec<_> = set.filter(|(_, value)| *value != Value::Null).collect();
    snapshot(version, &set)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// After any edits on both sides, a restore gives the fields of the time, but for those that
    /// are listed as left; and it is undone by a restore to the state before it.
    #[test]
    fn a_restore_gives_the_state_of_the_time_and_is_undone_by_another(
        then in prop::collection::vec(0..3usize, FIELDS),
        steps in prop::collection::vec(
            (prop::bool::ANY, 0..FIELDS, 0..3usize, prop::collection::vec(0..3usize, FIELDS)),
            0..12,
        ),
    ) {
        let policies = Policies::default();
        let at_time = |millis| Context { now: AT.plus_millis(millis), ..context(&policies) };
        let then = state(1, &then);
        let mut record = FileRecord::from_snapshot(&then);
        for (number, (by_app, at, pick, seen)) in (1_i64..).zip(steps) {
            let field = field(at);
            let edit = BTreeMap::from([(field.clone(), value(&field, pick))]);
            record = match by_app {
                true => record
                    .edit(&edit, "ann", at_time(number))
                    .map_or(record, |edited| edited.record),
                false => {
                    let version = u64::try_from(number).unwrap() + 1;
                    record.observe(&Observation::Present(state(version, &seen)), at_time(number))
                        .record
                }
            };
        }
        let before = record.clone();
        let (done, transition) = plan(&record, &then, &FACTS).apply(&record, "eve", at_time(50));
        if let Some(transition) = transition {
            record = transition.record;
        }
        let kept: Vec<&Field> =
            done.fields.iter().filter(|f| f.left.is_some()).map(|f| &f.field).collect();
        for at in 0..FIELDS {
            let field = field(at);
            if kept.contains(&&field) {
                prop_assert_eq!(record.app(&field), before.app(&field));
            } else {
                prop_assert_eq!(record.app(&field), then.value(&field));
            }
        }
        prop_assert!(!plan(&record, &then, &FACTS).changes());
        // Undone: Drive has taken everything, and its state before the restore is that of a time.
        let owes_nothing_before = before.intent().is_none() && before.open.is_empty();
        if owes_nothing_before {
            let taken = Snapshot {
                version: DriveVersion(90),
                ..before.observed().unwrap()
            };
            let drive = Snapshot {
                fields: record.fields.iter().map(|(f, sides)| (f.clone(), sides.app.clone()))
                    .filter(|(f, value)| !f.is_one_of_many() || *value != Value::Null)
                    .collect(),
                version: DriveVersion(91),
                ..taken.clone()
            };
            let settled = FileRecord::from_snapshot(&drive);
            let undo = plan(&settled, &taken, &FACTS);
            let widened = |f: &&RestoreField| f.left != Some(LeftReason::WidensSharing);
            prop_assert!(undo.fields.iter().filter(widened).all(|f| f.left.is_none()));
            let (undone, transition) = undo.apply(&settled, "eve", at_time(60));
            let settled = transition.map_or(settled, |transition| transition.record);
            let left: Vec<&Field> =
                undone.fields.iter().filter(|f| f.left.is_some()).map(|f| &f.field).collect();
            for field in (0..FIELDS).map(field).filter(|field| !left.contains(&field)) {
                prop_assert_eq!(settled.app(&field), before.app(&field));
            }
        }
    }
}
