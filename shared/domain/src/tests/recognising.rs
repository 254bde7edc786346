//! The same permission under another name, and the same parents in another order.

use std::collections::BTreeSet;

use crate::fixture::{FULL, Manually as _, context, permission, property, snapshot, text, values};
use crate::trail::ErasedPersons;
use crate::{
    EditRefused, Field, FileRecord, Observation, ObservedPermission, Patch, Policies, Snapshot,
    Value, ValueRefused, drift,
};

const OLD: &str = "user:ann@old.com";
const NEW: &str = "user:ann@new.com";
const ALIAS: &str = "user:a.smith@new.com";

/// A direct permission: id, principal, role.
type Granted<'a> = (&'a str, &'a str, &'a str);

/// The file as Drive shows it with these permissions on it.
fn shared(version: u64, granted: &[Granted<'_>]) -> Snapshot {
    let fields: Vec<(Field, Value)> = granted
        .iter()
        .map(|(_, principal, role)| (permission(principal), text(role)))
        .collect();
    let mut shown = snapshot(version, &fields);
    shown.metadata.permissions = granted.iter().map(observed).collect();
    shown.metadata.permissions.sort();
    shown
}

fn observed((id, principal, role): &Granted<'_>) -> ObservedPermission {
    ObservedPermission {
        principal: (*principal).to_owned(),
        id: (*id).to_owned(),
        role: (*role).to_owned(),
        direct: true,
        ..ObservedPermission::default()
    }
}

/// The roles that the application sees.
fn roles(record: &FileRecord) -> Vec<(String, Value)> {
    let mut roles = Vec::new();
    for (field, sides) in &record.fields {
        if let Field::Permission(principal) = field {
            roles.push((principal.clone(), sides.app.clone()));
        }
    }
    roles
}

fn role(principal: &str, role: &str) -> (String, Value) {
    (principal.to_owned(), text(role))
}

fn reread(
    claimed: &FileRecord,
    patch: &Patch,
    answer: Option<&Granted<'_>>,
    read: &Snapshot,
) -> FileRecord {
    let answer = answer.map(observed);
    claimed
        .confirmed_by_reread(
            patch,
            answer.as_ref(),
            read,
            context(&Policies::default()),
            FULL,
        )
        .record
}

#[test]
fn an_address_that_changes_is_followed_and_the_former_one_leads_there() {
    let record = FileRecord::from_snapshot(&shared(1, &[("p1", OLD, "writer")]));
    for new in [NEW, "id:p1"] {
        let renamed = record.sees(&shared(2, &[("p1", new, "writer")]));
        assert!(renamed.conflicts.is_empty());
        let renamed = renamed.record;
        assert_eq!(roles(&renamed), [role(new, "writer")]);
        assert_eq!(renamed.due(), None, "nothing is owed");
        assert_eq!(renamed.present_principal(OLD), new);

        let revoked = renamed.edits(permission(OLD), Value::Null);
        assert_eq!(roles(&revoked), [(new.to_owned(), Value::Null)]);
        assert!(revoked.due().is_some(), "not reported done: access stays");

        // Once the permission is gone, the address means nothing here any more.
        let gone = renamed.sees(&shared(3, &[])).record;
        assert_eq!(gone.present_principal(OLD), OLD);
        assert!(gone.former_principals.is_empty());
    }
}

#[test]
fn an_erased_persons_permission_is_followed_and_the_name_is_not_remembered() {
    const ERASED: &str = "user:erased:1";
    let erased = ErasedPersons::new(|name| (name == "ann@old.com").then_some(1));
    let before = shared(1, &[("p1", OLD, "writer")]);
    let after = shared(2, &[("p1", OLD, "writer")]).without(&erased);
    let record = FileRecord::from_snapshot(&before);
    let seen = record.sees(&after);
    assert!(seen.conflicts.is_empty());
    assert_eq!(roles(&seen.record), [role(ERASED, "writer")]);
    assert_eq!(seen.record.due(), None, "nothing is owed");
    assert!(seen.record.former_principals.is_empty());

    // What is owed of the role is still owed, under the name that the record has: the erasure
    // replaces that where the record is stored.
    for owed in [Value::Null, text("reader")] {
        let owing = record.edits(permission(OLD), owed.clone());
        let seen = owing.sees(&after);
        assert!(seen.conflicts.is_empty(), "{owed:?}");
        assert_eq!(roles(&seen.record), [(OLD.to_owned(), owed.clone())]);
        assert!(seen.record.due().is_some());
    }

    // A former name is forgotten as well.
    let renamed = record.sees(&shared(2, &[("p1", NEW, "writer")])).record;
    assert!(!renamed.former_principals.is_empty());
    let erased = ErasedPersons::new(|name| (name == "ann@new.com").then_some(2));
    let after = shared(3, &[("p1", NEW, "writer")]).without(&erased);
    let seen = renamed.sees(&after).record;
    assert_eq!(roles(&seen), [role("user:erased:2", "writer")]);
    assert!(seen.former_principals.is_empty());
}

#[test]
fn an_erased_person_is_granted_no_role_but_keeps_one_that_can_be_changed() {
    const ERASED: &str = "user:erased:1";
    let edit = |record: &FileRecord, value: Value| {
        let values = values(&[(permission(ERASED), value)]);
        record
            .edit(&values, "bob", context(&Policies::default()))
            .map(|done| done.record)
    };
    let without = FileRecord::from_snapshot(&shared(1, &[("p2", "user:bo@x.y", "reader")]));
    let refused = EditRefused::Value(permission(ERASED), ValueRefused::ErasedPerson);
    assert_eq!(edit(&without, text("reader")), Err(refused));
    assert!(
        edit(&without, Value::Null).is_ok(),
        "there is nothing to revoke"
    );
    let with = FileRecord::from_snapshot(&shared(1, &[("p1", ERASED, "reader")]));
    for value in [text("writer"), Value::Null] {
        assert_eq!(
            roles(&edit(&with, value.clone()).unwrap()),
            [(ERASED.to_owned(), value)]
        );
    }
}

#[test]
fn a_revocation_is_of_the_permission_and_done_when_its_id_is_gone() {
    let before = shared(1, &[("p1", OLD, "writer"), ("p2", "user:bo@x.y", "reader")]);
    let owing = FileRecord::from_snapshot(&before).edits(permission(OLD), Value::Null);
    for (after, whose) in [
        (vec![("p1", NEW, "writer")], "another address"),
        (vec![("p1", "id:p1", "writer")], "a deleted account"),
        (
            vec![("p1", NEW, "writer"), ("p3", OLD, "writer")],
            "somebody else has the address now",
        ),
    ] {
        let read = shared(2, &after);
        let (claimed, patch) = owing.sees(&read).record.sends(&read, 1);
        assert_eq!(patch.permission(), Some((OLD, &Value::Null)), "{whose}");
        let target = claimed.permission_in(OLD, &read).unwrap();
        assert_eq!(target.id, "p1", "{whose}");

        // The permission is still there, whatever it is called.
        let still = reread(&claimed, &patch, None, &shared(3, &after));
        assert!(still.sides(&permission(OLD)).pending(), "{whose}");
        let mut hidden = shared(3, &[]);
        hidden.metadata.permissions_known = false;
        let unknown = reread(&claimed, &patch, None, &hidden);
        assert!(unknown.sides(&permission(OLD)).pending(), "{whose}");
        let rest: Vec<Granted<'_>> = after.iter().copied().filter(|p| p.0 != "p1").collect();
        let done = reread(&claimed, &patch, None, &shared(3, &rest));
        assert_eq!(done.due(), None, "{whose}");
        let left: Vec<_> = rest.iter().map(|(_, who, what)| role(who, what)).collect();
        assert_eq!(roles(&done), left, "{whose}");
        assert!(done.open.is_empty(), "{whose}");
    }
}

#[test]
fn a_changed_role_reaches_the_permission_under_its_new_name() {
    let before = shared(1, &[("p1", OLD, "writer")]);
    let owing = FileRecord::from_snapshot(&before).edits(permission(OLD), text("reader"));
    let read = shared(2, &[("p1", NEW, "writer")]);
    let (claimed, patch) = owing.sends(&read, 1);
    assert!(claimed.open.is_empty(), "the name is no change of the role");
    assert_eq!(claimed.permission_in(OLD, &read).unwrap().id, "p1");
    let done = reread(
        &claimed,
        &patch,
        Some(&("p1", NEW, "reader")),
        &shared(3, &[("p1", NEW, "reader")]),
    );
    assert_eq!(roles(&done), [role(NEW, "reader")]);
    assert_eq!(done.due(), None);
    assert_eq!(done.present_principal(OLD), NEW);

    // Both sides changed the role: a conflict, under the name that the edit has.
    let theirs = owing.sees(&shared(2, &[("p1", NEW, "commenter")])).record;
    assert!(theirs.open_conflict(&permission(OLD)).is_some());
    let still = theirs.sees(&shared(3, &[("p1", NEW, "commenter")])).record;
    assert!(still.open_conflict(&permission(OLD)).is_some());
}

#[test]
fn what_drive_answers_to_a_grant_is_the_agreement() {
    let none = shared(1, &[]);
    let owner = ("p9", "user:bo@x.y", "writer");
    for (before, answer, read, agreed) in [
        // An alias of an account, new to the file or not.
        (
            vec![],
            ("p1", NEW, "writer"),
            vec![("p1", NEW, "writer")],
            NEW,
        ),
        (
            vec![("p1", NEW, "reader"), owner],
            ("p1", NEW, "writer"),
            vec![("p1", NEW, "writer"), owner],
            NEW,
        ),
        // The read does not show it yet.
        (vec![], ("p1", NEW, "writer"), vec![], NEW),
        // Another role than the one that was asked for.
        (
            vec![],
            ("p1", ALIAS, "reader"),
            vec![("p1", ALIAS, "reader")],
            ALIAS,
        ),
    ] {
        let first = shared(1, &before);
        let owing = FileRecord::from_snapshot(&first).edits(permission(ALIAS), text("writer"));
        let (claimed, patch) = owing.sends(&first, 1);
        let version = if read.is_empty() { 1 } else { 2 };
        let done = reread(&claimed, &patch, Some(&answer), &shared(version, &read));
        assert!(
            !done.fields.values().any(crate::merge::Sides::pending),
            "{answer:?}"
        );
        assert_eq!(done.due(), None, "{answer:?}");
        assert_eq!(done.app(&permission(agreed)), text(answer.2), "{answer:?}");
        assert!(done.open.is_empty(), "{answer:?}");
        let later = done.sees(&shared(3, &[answer])).record;
        assert_eq!(roles(&later), [role(agreed, answer.2)], "{answer:?}");
        // The alias leads to the permission.
        let revoked = later.edits(permission(ALIAS), Value::Null);
        assert_eq!(roles(&revoked), [(agreed.to_owned(), Value::Null)]);
        assert!(revoked.due().is_some());
    }
    // A newer edit of the alias is owed under the agreed name.
    let owing = FileRecord::from_snapshot(&none).edits(permission(ALIAS), text("writer"));
    let (claimed, patch) = owing.sends(&none, 1);
    let newer = claimed.edits(permission(ALIAS), text("reader"));
    let granted = ("p1", NEW, "writer");
    let done = reread(&newer, &patch, Some(&granted), &shared(2, &[granted]));
    assert_eq!(roles(&done), [role(NEW, "reader")]);
    assert!(done.due().is_some() && done.edits.contains_key(&permission(NEW)));
}

#[test]
fn a_role_that_drive_answers_unchanged_is_given_up_with_its_reason() {
    let before = shared(1, &[("p1", OLD, "reader")]);
    let owing = FileRecord::from_snapshot(&before).edits(permission(OLD), text("writer"));
    let (claimed, patch) = owing.sends(&before, 1);
    let unchanged = ("p1", OLD, "reader");
    let answered = reread(&claimed, &patch, Some(&unchanged), &shared(2, &[unchanged]));
    assert!(answered.push.failed.contains_key(&permission(OLD)));
    assert_eq!(answered.app(&permission(OLD)), text("writer"));
}

#[test]
fn a_link_that_becomes_discoverable_is_another_permission() {
    let link = ("anyoneWithLink", "anyone", "reader");
    let owing = FileRecord::from_snapshot(&shared(1, &[link]));
    let owing = owing.edits(permission("anyone"), Value::Null);
    let found = ("anyone", "anyone", "reader");
    let both = shared(
        2,
        &[found, ("anyoneWithLink", "id:anyoneWithLink", "reader")],
    );
    let (claimed, patch) = owing.sends(&both, 1);
    assert_eq!(
        claimed.permission_in("anyone", &both).unwrap().id,
        "anyoneWithLink"
    );
    let done = reread(&claimed, &patch, None, &shared(3, &[found]));
    assert_eq!(roles(&done), [role("anyone", "reader")]);
}

#[test]
fn regression_a_role_for_a_principal_that_inherits_another_permission_is_settled() {
    let mut inherits = shared(1, &[]);
    let inherited = ObservedPermission {
        direct: false,
        inherited: true,
        ..observed(&("anyone", "anyone", "writer"))
    };
    inherits.metadata.permissions.push(inherited.clone());
    let granted = ("anyoneWithLink", "anyone", "reader");
    let mut both = shared(2, &[granted]);
    both.metadata.permissions.push(ObservedPermission {
        principal: "id:anyone".to_owned(),
        ..inherited
    });
    let mut after = shared(3, &[]);
    after.metadata = inherits.metadata.clone();
    let owing = FileRecord::from_snapshot(&inherits).edits(permission("anyone"), text("reader"));
    let (claimed, patch) = owing.sends(&inherits, 1);
    // Its grant is shown before it is answered, and it is granted once.
    let seen = claimed.sees(&both).record;
    assert_eq!(
        claimed.permission_in("anyone", &both).unwrap().id,
        "anyoneWithLink"
    );
    for done in [
        reread(&seen, &patch, Some(&granted), &both),
        reread(&claimed, &patch, Some(&granted), &both),
    ] {
        assert_eq!(done.due(), None);
        assert_eq!(roles(&done), [role("anyone", "reader")]);
        let revoked = done.edits(permission("anyone"), Value::Null);
        let (claimed, patch) = revoked.sends(&both, 2);
        let done = reread(&claimed, &patch, None, &after);
        assert_eq!((done.due(), roles(&done)), (None, vec![]));
    }
}

/// The file as Drive shows it in these folders.
fn within(version: u64, parents: &[&str]) -> Snapshot {
    let all: BTreeSet<String> = parents.iter().map(|id| (*id).to_owned()).collect();
    let first = all.first().cloned().unwrap();
    let mut shown = snapshot(version, &[(Field::Parent, text(&first))]);
    if all.len() > 1 {
        shown.metadata.parents = all;
    }
    shown
}

#[test]
fn the_shown_parent_stays_while_it_is_one_of_several() {
    for (first, then, shown) in [
        (&["b"][..], &["a", "b"][..], "b"),
        (&["b", "c"], &["a", "b", "c"], "b"),
        (&["a", "b"], &["b", "a"], "a"),
        (&["a", "b"], &["b"], "b"),
        // It was moved: the folder that is new is where to.
        (&["a", "c"], &["b", "c"], "b"),
        (&["a", "b"], &["b", "c"], "c"),
        (&["a"], &["c", "b"], "b"),
    ] {
        let record = FileRecord::from_snapshot(&within(1, first));
        let seen = record.sees(&within(2, then));
        assert!(seen.conflicts.is_empty());
        assert_eq!(
            seen.record.app(&Field::Parent),
            text(shown),
            "{first:?} {then:?}"
        );
        let again = seen.record.sees(&within(3, then)).record;
        assert_eq!(again.visible, seen.record.visible, "{first:?} {then:?}");
    }
}

#[test]
fn a_move_of_the_application_is_recognised_among_several_parents() {
    let both = within(1, &["a", "b"]);
    let owing = FileRecord::from_snapshot(&both).edits(Field::Parent, text("z"));
    let (claimed, patch) = owing.sends(&both, 1);
    assert_eq!(
        *claimed.sides(&Field::Parent).drive(),
        text("a"),
        "what is moved from"
    );
    let answer = within(2, &["b", "z"]);
    let policies = Policies::default();
    let done = claimed
        .confirmed(&patch, &answer, context(&policies))
        .record;
    assert_eq!((done.app(&Field::Parent), done.due()), (text("z"), None));
    // Its echo, if the answer was lost.
    let echo = claimed.sees(&answer).record;
    assert_eq!(echo.app(&Field::Parent), text("z"));
    assert!(echo.open.is_empty());
    // A person adds a folder meanwhile: that is not where the application moved it from.
    let added = owing.sees(&within(2, &["0", "a", "b"])).record;
    assert!(added.open.is_empty() && added.due().is_some());
    // A person moves it too.
    let moved = owing.sees(&within(2, &["b", "x"])).record;
    assert!(moved.open_conflict(&Field::Parent).is_some());
}

#[test]
fn names_and_orders_are_no_drift() {
    let record = FileRecord::from_snapshot(&within(1, &["b", "c"]));
    let record = record.sees(&within(2, &["a", "b", "c"])).record;
    let found = drift(
        Some(&record),
        &Observation::Present(within(2, &["c", "b", "a"])),
    );
    assert_eq!(found, None);
    let owing = FileRecord::from_snapshot(&shared(1, &[("p1", OLD, "writer")]));
    let owing = owing.edits(permission(OLD), text("reader"));
    let found = drift(
        Some(&owing),
        &Observation::Present(shared(1, &[("p1", NEW, "writer")])),
    );
    assert_eq!(found, None);
}

#[test]
fn an_edit_of_both_names_counts_under_the_present_one() {
    let record = FileRecord::from_snapshot(&shared(1, &[("p1", OLD, "writer")]));
    let renamed = record.sees(&shared(2, &[("p1", NEW, "writer")])).record;
    let both = values(&[
        (permission(OLD), Value::Null),
        (permission(NEW), text("reader")),
        (property("a"), text("b")),
    ]);
    let policies = Policies::default();
    let edited = renamed
        .edit(&both, "ann", context(&policies))
        .unwrap()
        .record;
    assert_eq!(roles(&edited), [role(NEW, "reader")]);
    assert_eq!(edited.app(&property("a")), text("b"));
}
