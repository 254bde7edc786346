use crate::fixture::{
    FULL, Manually as _, NOW, moment, permission, property, record, snapshot, text, values,
};
use crate::{
    AttemptId, Choice, ConflictStatus, Decider, EditRefused, Field, FieldMask, FileId, FileRecord,
    MirroredPermission, OWNER, Policies, Policy, ROLES, Refusal, Snapshot, Value, ValueRefused,
    decide, is_principal, most_restrictive, principal_of,
};

const ANN: &str = "user:ann@x.y";

fn ann() -> Field {
    permission(ANN)
}

/// A file where Ann has a role of her own.
fn shared(version: u64, role: &str) -> Snapshot {
    snapshot(version, &[(ann(), text(role))])
}

/// The same, as Drive shows it to those who may not share it, and in a shared drive.
fn unseen(version: u64) -> Snapshot {
    let mut snapshot = snapshot(version, &[]);
    snapshot.mirror.permissions_known = false;
    snapshot
}

fn edit(record: &FileRecord, role: Value) -> Result<FileRecord, ValueRefused> {
    edit_of(record, ANN, role)
}

fn edit_of(record: &FileRecord, who: &str, role: Value) -> Result<FileRecord, ValueRefused> {
    let values = values(&[(permission(who), role)]);
    match record.edit(&values, "bob", moment(&Policies::default())) {
        Ok(step) => Ok(step.record),
        Err(EditRefused::Value(_, why)) => Err(why),
        Err(other) => panic!("{other:?}"),
    }
}

fn restrictive() -> Policies {
    Policies {
        default: Policy::Manual,
        fields: [("permissions".to_owned(), Policy::MostRestrictive)].into(),
    }
}

#[test]
fn absent_is_not_none_where_drive_does_not_show_the_permissions() {
    let record = FileRecord::first_sight(&shared(1, "writer"));
    let seen = record.sees(&unseen(2)).record;
    assert_eq!(seen.app(&ann()), text("writer"));
    assert!(seen.mirror.permissions_known && !seen.permissions_are_current());
    let none = record.sees(&snapshot(2, &[])).record;
    assert_eq!(none.app(&ann()), Value::Null);
    assert!(
        !none.fields.contains_key(&ann()),
        "a role of none is no field"
    );
    assert!(none.permissions_are_current());
}

#[test]
fn permissions_that_are_listed_later_are_taken_from_the_version_that_is_held() {
    let record = FileRecord::first_sight(&unseen(1));
    assert_eq!(
        edit(&record, text("reader")),
        Err(ValueRefused::PermissionsUnknown)
    );
    let listed = record.sees(&shared(1, "writer")).record;
    assert_eq!(listed.app(&ann()), text("writer"));
    assert_eq!(
        listed.sees(&shared(1, "reader")).record,
        listed,
        "and only once"
    );

    let behind = FileRecord::first_sight(&shared(1, "writer"))
        .sees(&unseen(2))
        .record;
    let caught_up = behind.sees(&shared(2, "reader")).record;
    assert_eq!(caught_up.app(&ann()), text("reader"));
}

#[test]
fn a_record_of_an_older_mask_takes_the_permissions_from_the_same_version() {
    let mut old = unseen(1);
    old.mask = FieldMask(1);
    let upgraded = FileRecord::first_sight(&old)
        .sees(&shared(1, "writer"))
        .record;
    assert_eq!(upgraded.app(&ann()), text("writer"));
    assert!(upgraded.open.is_empty() && upgraded.due().is_none());
    let late = upgraded
        .sees(&Snapshot {
            version: crate::DriveVersion(2),
            ..old
        })
        .record;
    assert_eq!(
        late.app(&ann()),
        text("writer"),
        "an older build knows nothing of them"
    );
}

#[test]
fn too_many_permissions_are_not_known_and_leave_the_fields_as_they_were() {
    let record = FileRecord::first_sight(&shared(1, "writer"));
    let mut many = unseen(2);
    many.mirror.permissions_left_out = 201;
    let after = record.sees(&many).record;
    assert_eq!(after.app(&ann()), text("writer"));
    assert_eq!(after.mirror.permissions_left_out, 201);
    assert_eq!(
        edit(&after, text("reader")),
        Err(ValueRefused::PermissionsUnknown)
    );
}

#[test]
fn only_roles_that_can_be_given_are_taken_and_only_for_somebody() {
    let record = record();
    for role in ROLES {
        assert!(edit(&record, text(role)).is_ok(), "{role}");
    }
    assert_eq!(edit(&record, text(OWNER)), Err(ValueRefused::OwnerRole));
    for wrong in [
        text("god"),
        text(""),
        text("publishedReader"),
        Value::Flag(true),
    ] {
        assert!(matches!(
            edit(&record, wrong),
            Err(ValueRefused::Kind { .. })
        ));
    }
    for who in ["anyone", "domain:x.y", "group:g@x.y", "user:a+b@x.y"] {
        assert!(is_principal(who) && edit_of(&record, who, text("reader")).is_ok());
    }
    for nobody in [
        "",
        "user:",
        "user:ann",
        "user:a b@x.y",
        "domain:a@b",
        "robot:a@b",
        "anyone:x",
        "@",
    ] {
        let refused = edit_of(&record, nobody, text("reader"));
        assert_eq!(refused, Err(ValueRefused::NotAPrincipal), "{nobody}");
    }
    let unheard_of = edit_of(&record, "id:0717", text("reader"));
    assert_eq!(
        unheard_of,
        Err(ValueRefused::NotAPrincipal),
        "Drive names nobody to give it to"
    );
    assert_eq!(principal_of("user:Ann@X.y"), ANN);
    assert_eq!(principal_of("id:AbC"), "id:AbC");
}

#[test]
fn the_owner_is_never_edited_and_an_unknown_role_survives() {
    let owned = FileRecord::first_sight(&shared(1, OWNER));
    assert_eq!(edit(&owned, text("reader")), Err(ValueRefused::OwnerRole));
    assert_eq!(edit(&owned, Value::Null), Err(ValueRefused::OwnerRole));
    let strange = FileRecord::first_sight(&shared(1, "overlord"));
    assert_eq!(strange.app(&ann()), text("overlord"));
    assert!(edit(&strange, text("reader")).is_ok());
}

#[test]
fn what_is_only_inherited_can_not_be_removed_but_can_be_added_to() {
    let mut inherits = snapshot(1, &[]);
    inherits.mirror.permissions = vec![MirroredPermission {
        principal: ANN.to_owned(),
        id: "0717".to_owned(),
        role: "reader".to_owned(),
        inherited: true,
        inherited_from: Some("0AFolder".to_owned()),
        ..MirroredPermission::default()
    }];
    let record = FileRecord::first_sight(&inherits);
    // Removing what is agreed to be absent asks nothing of Drive, and is said not to be possible all the same.
    let refused = edit(&record, Value::Null).unwrap_err();
    assert_eq!(
        refused,
        ValueRefused::Inherited {
            from: Some("0AFolder".to_owned())
        }
    );
    assert!(refused.to_string().contains("0AFolder"));
    assert!(edit(&record, text("writer")).is_ok());
    assert!(
        edit_of(&record, "user:bo@x.y", Value::Null).is_ok(),
        "nobody has it from anywhere"
    );
}

#[test]
fn of_two_roles_the_lower_one_is_the_most_restrictive() {
    let order: Vec<Value> = [Value::Null].into_iter().chain(ROLES.map(text)).collect();
    for (at, app) in order.iter().enumerate() {
        for (other, drive) in order.iter().enumerate() {
            let wanted = match at.cmp(&other) {
                std::cmp::Ordering::Less => Some(Choice::App),
                std::cmp::Ordering::Greater => Some(Choice::Drive),
                std::cmp::Ordering::Equal => None,
            };
            assert_eq!(
                most_restrictive(&ann(), app, drive),
                wanted,
                "{app:?} {drive:?}"
            );
        }
        for unknown in [text(OWNER), text("overlord"), Value::Flag(false)] {
            assert_eq!(most_restrictive(&ann(), app, &unknown), None);
            assert_eq!(most_restrictive(&ann(), &unknown, app), None);
        }
    }
    assert_eq!(
        most_restrictive(&property("p"), &Value::Null, &text("reader")),
        None
    );
    assert_eq!(decide(Policy::MostRestrictive, Some(NOW), Some(NOW)), None);
}

#[test]
fn the_policy_decides_at_once_and_says_what_gave_way() {
    let policies = restrictive();
    for (app, drive, choice) in [
        (text("reader"), "organizer", Choice::App),
        (text("organizer"), "commenter", Choice::Drive),
        (Value::Null, "reader", Choice::App),
    ] {
        let record = FileRecord::first_sight(&shared(1, "writer"));
        let step = record.edits(ann(), app.clone()).observe(
            &crate::Observation::Present(shared(2, drive)),
            moment(&policies),
        );
        let [conflict] = step.conflicts.values().collect::<Vec<_>>()[..] else {
            panic!("{step:?}");
        };
        assert_eq!((&conflict.app, &conflict.drive), (&app, &text(drive)));
        let ConflictStatus::Resolved(made) = &conflict.status else {
            panic!("{conflict:?}");
        };
        assert_eq!((&made.choice, &made.by), (&choice, &Decider::Policy));
        let wins = if choice == Choice::App {
            app
        } else {
            text(drive)
        };
        assert_eq!(step.record.app(&ann()), wins);
        assert_eq!(step.record.due().is_some(), choice == Choice::App);
    }
    let record = FileRecord::first_sight(&shared(1, "writer"));
    let step = record.edits(ann(), text("reader")).observe(
        &crate::Observation::Present(shared(2, "overlord")),
        moment(&policies),
    );
    assert!(
        step.record.open_conflict(&ann()).is_some(),
        "an unknown role is for a person"
    );
}

#[test]
fn a_permission_is_sent_alone_after_everything_else() {
    let bo = permission("user:bo@x.y");
    let read = shared(1, "writer");
    let record = FileRecord::first_sight(&read)
        .edits(ann(), text("reader"))
        .edits(bo.clone(), text("writer"))
        .edits(Field::Name, text("b"))
        .edits(property("p"), text("x"));
    let (claimed, patch) = record.sends(&read, 1);
    assert_eq!(
        patch.values.keys().collect::<Vec<_>>(),
        [&Field::Name, &property("p")]
    );
    assert_eq!(patch.permission(), None);
    let mut next = shared(2, "writer");
    next.fields.extend(patch.values.clone());
    let record = claimed
        .confirmed(&patch, &next, moment(&Policies::default()))
        .record;

    let (claimed, patch) = record.sends(&next, 2);
    assert_eq!(patch.permission(), Some((ANN, &text("reader"))));
    let mut after = next.clone();
    after.version.0 = 3;
    after.fields.insert(ann(), text("reader"));
    let record = claimed
        .took(&patch, &after, moment(&Policies::default()), FULL)
        .record;
    assert_eq!(
        (record.push.failures, record.sides(&ann()).pending()),
        (0, false)
    );
    let (_, patch) = record.sends(&after, 3);
    assert_eq!(patch.permission(), Some(("user:bo@x.y", &text("writer"))));
}

#[test]
fn a_write_that_drive_took_and_somebody_changed_again_takes_what_they_made() {
    let read = shared(1, "writer");
    let record = FileRecord::first_sight(&read).edits(ann(), text("reader"));
    let (claimed, patch) = record.sends(&read, 1);
    let theirs = claimed
        .took(
            &patch,
            &shared(3, "commenter"),
            moment(&Policies::default()),
            FULL,
        )
        .record;
    assert!(
        theirs.open_conflict(&ann()).is_some(),
        "ours and theirs differ, and neither is lost"
    );
    // Back at what it was: perhaps undone, perhaps never done. The next push asks a person.
    let undone = claimed
        .took(
            &patch,
            &shared(3, "writer"),
            moment(&Policies::default()),
            FULL,
        )
        .record;
    assert!(undone.sides(&ann()).pending());
    let judged = undone.claims(&shared(3, "writer"), 2);
    assert_eq!(judged.patch, None);
    assert!(judged.step.record.sides(&ann()).clash.unwrap().unsure);
}

#[test]
fn drive_that_is_behind_its_own_answer_is_looked_at_again_later() {
    let read = shared(1, "writer");
    let record = FileRecord::first_sight(&read).edits(ann(), text("reader"));
    let (claimed, patch) = record.sends(&read, 1);
    let waits = claimed
        .took(&patch, &read, moment(&Policies::default()), FULL)
        .record;
    assert_eq!(waits.due(), Some(NOW.plus_millis(1_000)));
    assert_eq!(waits.push.failures, 0);
    let came = waits.sees(&shared(2, "reader")).record;
    assert_eq!((came.due(), came.app(&ann())), (None, text("reader")));
}

#[test]
fn a_lost_answer_is_settled_by_the_next_look() {
    let read = shared(1, "writer");
    let record = FileRecord::first_sight(&read).edits(ann(), text("reader"));
    let (claimed, patch) = record.sends(&read, 1);
    let lost = Refusal::Unknown("timeout".to_owned());
    let waiting = claimed
        .refused(&patch, &lost, moment(&Policies::default()), FULL)
        .record;
    let landed = waiting.claims(&shared(2, "reader"), 2);
    assert_eq!((landed.patch, landed.step.record.due()), (None, None));
    let never = waiting.claims(&read, 2);
    assert_eq!(
        never.patch.unwrap().permission(),
        Some((ANN, &text("reader")))
    );
}

#[test]
fn a_sharing_limit_waits_long_and_never_counts() {
    let read = shared(1, "writer");
    let mut record = FileRecord::first_sight(&read).edits(ann(), text("reader"));
    for attempt in 1..20 {
        let (claimed, patch) = record.sends(&read, attempt);
        let later = Refusal::Later {
            wait_millis: 900_000,
        };
        record = claimed
            .refused(&patch, &later, moment(&Policies::default()), FULL)
            .record;
        assert!(record.due().unwrap() > NOW.plus_millis(900_000));
        assert_eq!(record.push.failures, 0);
    }
    assert!(record.push.failed.is_empty());
}

#[test]
fn nothing_is_written_to_permissions_that_can_not_be_read() {
    let record = FileRecord::first_sight(&shared(1, "writer"))
        .edits(ann(), text("reader"))
        .edits(Field::Name, text("b"));
    let (record, patch) = record.sends(&unseen(2), 1);
    assert_eq!(patch.values.keys().collect::<Vec<_>>(), [&Field::Name]);
    assert!(record.push.failed[&ann()].contains("does not show"));
    assert!(record.sides(&ann()).owed(), "and the edit stands");
}

#[test]
fn permissions_are_listed_only_where_something_speaks_for_a_change_of_them() {
    let item = |version: u64, name: &str, ids: u64| {
        let mut snapshot = snapshot(version, &[(Field::Name, text(name))]);
        snapshot.mirror.permissions_known = false;
        snapshot.mirror.has_augmented_permissions = Some(true);
        snapshot.mirror.drive_id = Some("0ADrive".to_owned());
        snapshot.mirror.permission_ids = Some(ids);
        snapshot
    };
    let listed = |mut snapshot: Snapshot| {
        snapshot.mirror.permissions_known = true;
        snapshot
    };
    let first = item(1, "a", 7);
    assert!(first.wants_permissions(None, false));
    let record = FileRecord::first_sight(&listed(first.clone()));
    assert!(
        !first.wants_permissions(Some(&record), false),
        "the same again"
    );
    assert!(!first.wants_permissions(Some(&record), true));
    assert!(
        item(2, "a", 7).wants_permissions(Some(&record), false),
        "nothing explains it"
    );
    assert!(
        !item(2, "b", 7).wants_permissions(Some(&record), false),
        "a name does"
    );
    assert!(
        item(2, "b", 8).wants_permissions(Some(&record), false),
        "others have access"
    );
    assert!(
        item(2, "b", 7).wants_permissions(Some(&record), true),
        "a resync wants to know"
    );
    let behind = record.sees(&item(2, "b", 7)).record;
    assert!(item(2, "b", 7).wants_permissions(Some(&behind), true));
    assert!(
        !item(1, "c", 9).wants_permissions(Some(&behind), true),
        "what is old says nothing"
    );
    let unknown = FileRecord::first_sight(&first);
    assert!(item(2, "b", 7).wants_permissions(Some(&unknown), false));

    // In My Drive they are in the file or not to be had.
    let mut private = item(2, "a", 7);
    private.mirror.has_augmented_permissions = None;
    assert!(!private.wants_permissions(None, true));
    // The root of a shared drive has its members.
    private.file = FileId::parse("0ADrive").unwrap();
    assert!(private.wants_permissions(None, false));
}

#[test]
fn the_attempt_of_a_permission_is_remembered_like_any_other() {
    let read = shared(1, "writer");
    let record = FileRecord::first_sight(&read).edits(ann(), text("reader"));
    let (claimed, _) = record.sends(&read, 9);
    assert_eq!(claimed.sides(&ann()).sent[0].attempt, AttemptId(9));
    // Our own write comes back while the application has moved on: no conflict with ourselves.
    let newer = claimed.edits(ann(), text("commenter"));
    let echo = newer.sees(&shared(2, "reader")).record;
    assert!(echo.open.is_empty());
    assert_eq!(echo.app(&ann()), text("commenter"));
    assert!(echo.sides(&ann()).owed());
}
