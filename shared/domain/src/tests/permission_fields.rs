use crate::fixture::{
    FULL, Manually as _, NOW, context, permission, property, record, snapshot, text, values,
};
use crate::{
    AttemptId, Choice, ConflictStatus, Decider, EditRefused, Field, FieldSetVersion, FileId,
    FileRecord, OWNER, ObservedPermission, PERMISSIONS_MAX, Policies, Policy, ROLES, Refusal,
    Snapshot, Value, ValueRefused, decide, is_principal, most_restrictive, principal_of,
};

const ANN: &str = "user:ann@x.y";

fn ann() -> Field {
    permission(ANN)
}

/// A file on which Ann has a direct role.
fn shared(version: u64, role: &str) -> Snapshot {
    snapshot(version, &[(ann(), text(role))])
}

/// The same file, as Drive shows it in a shared drive or to users who may not share it.
fn unseen(version: u64) -> Snapshot {
    let mut snapshot = snapshot(version, &[]);
    snapshot.metadata.permissions_known = false;
    snapshot
}

fn edit(record: &FileRecord, role: Value) -> Result<FileRecord, ValueRefused> {
    edit_of(record, ANN, role)
}

fn edit_of(record: &FileRecord, who: &str, role: Value) -> Result<FileRecord, ValueRefused> {
    let values = values(&[(permission(who), role)]);
    match record.edit(&values, "bob", context(&Policies::default())) {
        Ok(transition) => Ok(transition.record),
        Err(EditRefused::Value(_, why)) => Err(why),
        Err(other) => panic!("{other:?}"),
    }
}

fn restrictive() -> Policies {
    Policies {
        default: Policy::Manual,
        fields: [("permissions".to_owned(), Policy::MostRestrictive)].into(),
        ..Policies::default()
    }
}

#[test]
fn hidden_permissions_do_not_mean_that_there_are_none() {
    let record = FileRecord::from_snapshot(&shared(1, "writer"));
    let seen = record.sees(&unseen(2)).record;
    assert_eq!(seen.app(&ann()), text("writer"));
    assert!(seen.metadata.permissions_known && !seen.permissions_are_current());
    let none = record.sees(&snapshot(2, &[])).record;
    assert_eq!(none.app(&ann()), Value::Null);
    assert!(
        !none.fields.contains_key(&ann()),
        "a role that is not granted is not stored"
    );
    assert!(none.permissions_are_current());
}

#[test]
fn permissions_listed_later_are_merged_into_the_current_version() {
    let record = FileRecord::from_snapshot(&unseen(1));
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

    let behind = FileRecord::from_snapshot(&shared(1, "writer"))
        .sees(&unseen(2))
        .record;
    let caught_up = behind.sees(&shared(2, "reader")).record;
    assert_eq!(caught_up.app(&ann()), text("reader"));
}

#[test]
fn a_record_with_an_older_field_set_takes_permissions_of_the_same_version() {
    let mut old = unseen(1);
    old.field_set = FieldSetVersion(1);
    let upgraded = FileRecord::from_snapshot(&old)
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
        "an older build does not know them"
    );
}

#[test]
fn too_many_permissions_leave_the_fields_unchanged() {
    let record = FileRecord::from_snapshot(&shared(1, "writer"));
    let mut many = unseen(2);
    many.metadata.permissions_left_out = 201;
    let after = record.sees(&many).record;
    assert_eq!(after.app(&ann()), text("writer"));
    assert_eq!(after.metadata.permissions_left_out, 201);
    assert_eq!(
        edit(&after, text("reader")),
        Err(ValueRefused::PermissionsUnknown)
    );
}

#[test]
fn only_grantable_roles_of_valid_principals_are_accepted() {
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
    for invalid in [
        "",
        "user:",
        "user:ann",
        "user:a b@x.y",
        "domain:a@b",
        "robot:a@b",
        "anyone:x",
        "@",
    ] {
        let refused = edit_of(&record, invalid, text("reader"));
        assert_eq!(refused, Err(ValueRefused::NotAPrincipal), "{invalid}");
    }
    let unheard_of = edit_of(&record, "id:0717", text("reader"));
    assert_eq!(
        unheard_of,
        Err(ValueRefused::NotAPrincipal),
        "Drive shows no principal to grant it to"
    );
    assert_eq!(principal_of("user:Ann@X.y"), ANN);
    assert_eq!(principal_of("id:AbC"), "id:AbC");
}

#[test]
fn the_owner_is_never_edited_and_an_unknown_role_survives() {
    let owned = FileRecord::from_snapshot(&shared(1, OWNER));
    assert_eq!(edit(&owned, text("reader")), Err(ValueRefused::OwnerRole));
    assert_eq!(edit(&owned, Value::Null), Err(ValueRefused::OwnerRole));
    let strange = FileRecord::from_snapshot(&shared(1, "overlord"));
    assert_eq!(strange.app(&ann()), text("overlord"));
    assert!(edit(&strange, text("reader")).is_ok());
}

#[test]
fn an_inherited_role_can_not_be_removed_but_can_be_added_to() {
    let mut inherits = snapshot(1, &[]);
    inherits.metadata.permissions = vec![ObservedPermission {
        principal: ANN.to_owned(),
        id: "0717".to_owned(),
        role: "reader".to_owned(),
        inherited: true,
        inherited_from: Some("0AFolder".to_owned()),
        ..ObservedPermission::default()
    }];
    let record = FileRecord::from_snapshot(&inherits);
    // Removing what is agreed to be absent requires nothing of Drive, and is refused nevertheless.
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
        "no role is inherited either"
    );
}

#[test]
fn the_lower_of_two_roles_is_the_most_restrictive() {
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
    assert_eq!(decide(&Policy::MostRestrictive, Some(NOW), Some(NOW)), None);
}

#[test]
fn the_policy_decides_at_once_and_records_the_losing_value() {
    let policies = restrictive();
    for (app, drive, choice) in [
        (text("reader"), "organizer", Choice::App),
        (text("organizer"), "commenter", Choice::Drive),
        (Value::Null, "reader", Choice::App),
    ] {
        let record = FileRecord::from_snapshot(&shared(1, "writer"));
        let transition = record.edits(ann(), app.clone()).observe(
            &crate::Observation::Present(shared(2, drive)),
            context(&policies),
        );
        let [conflict] = transition.conflicts.values().collect::<Vec<_>>()[..] else {
            panic!("{transition:?}");
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
        assert_eq!(transition.record.app(&ann()), wins);
        assert_eq!(transition.record.due().is_some(), choice == Choice::App);
    }
    let record = FileRecord::from_snapshot(&shared(1, "writer"));
    let transition = record.edits(ann(), text("reader")).observe(
        &crate::Observation::Present(shared(2, "overlord")),
        context(&policies),
    );
    assert!(
        transition.record.open_conflict(&ann()).is_some(),
        "an unknown role is left to a person"
    );
}

#[test]
fn a_permission_is_sent_alone_after_everything_else() {
    let bo = permission("user:bo@x.y");
    let read = shared(1, "writer");
    let record = FileRecord::from_snapshot(&read)
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
        .confirmed(&patch, &next, context(&Policies::default()))
        .record;

    let (claimed, patch) = record.sends(&next, 2);
    assert_eq!(patch.permission(), Some((ANN, &text("reader"))));
    let mut after = next.clone();
    after.version.0 = 3;
    after.fields.insert(ann(), text("reader"));
    let record = claimed
        .confirmed_by_reread(&patch, None, &after, context(&Policies::default()), FULL)
        .record;
    assert_eq!(
        (record.push.failures, record.sides(&ann()).pending()),
        (0, false)
    );
    let (_, patch) = record.sends(&after, 3);
    assert_eq!(patch.permission(), Some(("user:bo@x.y", &text("writer"))));
}

#[test]
fn an_accepted_write_that_was_changed_again_takes_the_newer_value() {
    let read = shared(1, "writer");
    let record = FileRecord::from_snapshot(&read).edits(ann(), text("reader"));
    let (claimed, patch) = record.sends(&read, 1);
    let theirs = claimed
        .confirmed_by_reread(
            &patch,
            None,
            &shared(3, "commenter"),
            context(&Policies::default()),
            FULL,
        )
        .record;
    assert!(
        theirs.open_conflict(&ann()).is_some(),
        "both values are kept"
    );
    // Back at the base: perhaps undone, perhaps never done. The next push opens a conflict.
    let undone = claimed
        .confirmed_by_reread(
            &patch,
            None,
            &shared(3, "writer"),
            context(&Policies::default()),
            FULL,
        )
        .record;
    assert!(undone.sides(&ann()).pending());
    let assess_in_flight = undone.claims(&shared(3, "writer"), 2);
    assert_eq!(assess_in_flight.patch, None);
    assert!(
        assess_in_flight
            .transition
            .record
            .sides(&ann())
            .conflict
            .unwrap()
            .unsure
    );
}

#[test]
fn a_read_that_lags_behind_the_answer_is_repeated_later() {
    let read = shared(1, "writer");
    let record = FileRecord::from_snapshot(&read).edits(ann(), text("reader"));
    let (claimed, patch) = record.sends(&read, 1);
    let waits = claimed
        .confirmed_by_reread(&patch, None, &read, context(&Policies::default()), FULL)
        .record;
    assert_eq!(waits.due(), Some(NOW.plus_millis(1_000)));
    assert_eq!(waits.push.failures, 0);
    let came = waits.sees(&shared(2, "reader")).record;
    assert_eq!((came.due(), came.app(&ann())), (None, text("reader")));
}

#[test]
fn a_lost_answer_is_settled_by_the_next_read() {
    let read = shared(1, "writer");
    let record = FileRecord::from_snapshot(&read).edits(ann(), text("reader"));
    let (claimed, patch) = record.sends(&read, 1);
    let lost = Refusal::Unknown("timeout".to_owned());
    let waiting = claimed
        .refused(&patch, &lost, context(&Policies::default()), FULL)
        .record;
    let landed = waiting.claims(&shared(2, "reader"), 2);
    assert_eq!((landed.patch, landed.transition.record.due()), (None, None));
    let never = waiting.claims(&read, 2);
    assert_eq!(
        never.patch.unwrap().permission(),
        Some((ANN, &text("reader")))
    );
}

#[test]
fn a_sharing_limit_waits_long_and_never_counts() {
    let read = shared(1, "writer");
    let mut record = FileRecord::from_snapshot(&read).edits(ann(), text("reader"));
    for attempt in 1..20 {
        let (claimed, patch) = record.sends(&read, attempt);
        let later = Refusal::Later {
            wait_millis: 900_000,
        };
        record = claimed
            .refused(&patch, &later, context(&Policies::default()), FULL)
            .record;
        assert!(record.due().unwrap() > NOW.plus_millis(900_000));
        assert_eq!(record.push.failures, 0);
    }
    assert!(record.push.failed.is_empty());
}

#[test]
fn unknown_permissions_are_never_written() {
    let record = FileRecord::from_snapshot(&shared(1, "writer"))
        .edits(ann(), text("reader"))
        .edits(Field::Name, text("b"));
    let (record, patch) = record.sends(&unseen(2), 1);
    assert_eq!(patch.values.keys().collect::<Vec<_>>(), [&Field::Name]);
    assert!(record.push.failed[&ann()].contains("does not show"));
    assert!(record.sides(&ann()).owed(), "and the edit stays");
}

#[test]
fn permissions_are_listed_only_if_a_change_is_likely() {
    let item = |version: u64, name: &str, ids: u64| {
        let mut snapshot = snapshot(version, &[(Field::Name, text(name))]);
        snapshot.metadata.permissions_known = false;
        snapshot.metadata.has_augmented_permissions = Some(true);
        snapshot.metadata.drive_id = Some("0ADrive".to_owned());
        snapshot.metadata.permission_ids = Some(ids);
        snapshot
    };
    let listed = |mut snapshot: Snapshot| {
        snapshot.metadata.permissions_known = true;
        snapshot
    };
    let first = item(1, "a", 7);
    assert!(first.needs_permissions(None, false));
    let record = FileRecord::from_snapshot(&listed(first.clone()));
    assert!(
        !first.needs_permissions(Some(&record), false),
        "a repetition"
    );
    assert!(!first.needs_permissions(Some(&record), true));
    assert!(
        item(2, "a", 7).needs_permissions(Some(&record), false),
        "no tracked change explains it"
    );
    assert!(
        !item(2, "b", 7).needs_permissions(Some(&record), false),
        "a name does"
    );
    assert!(
        item(2, "b", 8).needs_permissions(Some(&record), false),
        "the set of ids changed"
    );
    assert!(
        item(2, "b", 7).needs_permissions(Some(&record), true),
        "a resync is thorough"
    );
    let behind = record.sees(&item(2, "b", 7)).record;
    assert!(item(2, "b", 7).needs_permissions(Some(&behind), true));
    assert!(
        !item(1, "c", 9).needs_permissions(Some(&behind), true),
        "an old snapshot says nothing"
    );
    let unknown = FileRecord::from_snapshot(&first);
    assert!(item(2, "b", 7).needs_permissions(Some(&unknown), false));

    // In My Drive they are part of the file or unavailable.
    let mut private = item(2, "a", 7);
    private.metadata.has_augmented_permissions = None;
    assert!(!private.needs_permissions(None, true));
    // The root of a shared drive has its members.
    private.file = FileId::parse("0ADrive").unwrap();
    assert!(private.needs_permissions(None, false));
}

#[test]
fn the_attempt_of_a_permission_is_recorded_like_any_other() {
    let read = shared(1, "writer");
    let record = FileRecord::from_snapshot(&read).edits(ann(), text("reader"));
    let (claimed, _) = record.sends(&read, 9);
    assert_eq!(claimed.sides(&ann()).sent[0].attempt, AttemptId(9));
    // Our own write comes back after the application has moved on: this does not conflict.
    let newer = claimed.edits(ann(), text("commenter"));
    let echo = newer.sees(&shared(2, "reader")).record;
    assert!(echo.open.is_empty());
    assert_eq!(echo.app(&ann()), text("commenter"));
    assert!(echo.sides(&ann()).owed());
}

#[test]
fn permissions_that_drive_does_not_list_are_asked_for_again_at_growing_intervals() {
    let policies = Policies::default();
    let unknown = || unseen(1);
    let mut record = crate::FileRecord::from_snapshot(&unknown());
    record = record.permissions_unlisted(context(&policies), FULL).record;
    let first = record.unlisted_due().unwrap();
    assert_eq!((record.due(), record.push_due()), (Some(first), None));
    assert!(record.intent().is_none());
    let at = |now| crate::Context {
        now,
        ..context(&policies)
    };
    let claim = record.claim(&unknown(), AttemptId(1), at(first), FULL);
    assert_eq!(claim.patch, None);
    let again = claim.transition.record;
    let second = again.unlisted_due().unwrap();
    assert_eq!(
        second.millis_since(first),
        2 * first.millis_since(crate::fixture::NOW)
    );
    let mut known = unknown();
    known.metadata.permissions_known = true;
    let done = again.claim(&known, AttemptId(2), at(second), FULL);
    assert_eq!(
        (
            done.transition.record.unlisted,
            done.transition.record.due()
        ),
        (None, None)
    );
}

/// A record that grows by roles without a bound could not be stored any more.
#[test]
fn a_file_has_at_most_as_many_roles_as_are_stored() {
    let user = |n: usize| permission(&format!("user:u{n}@x.y"));
    let granted = |range: std::ops::Range<usize>| -> Vec<(Field, Value)> {
        range.map(|n| (user(n), text("reader"))).collect()
    };
    let edited = |record: &FileRecord, fields: &[(Field, Value)]| {
        let edited = record.edit(&values(fields), "bob", context(&Policies::default()));
        edited.map(|transition| transition.record)
    };
    let some = FileRecord::from_snapshot(&snapshot(1, &granted(0..150)));
    let full = edited(&some, &granted(150..PERMISSIONS_MAX)).unwrap();
    let refused = |field| Err(EditRefused::Value(field, ValueRefused::TooManyPermissions));
    let one_more = PERMISSIONS_MAX;
    let excess = edited(&full, &granted(one_more..one_more + 1));
    assert_eq!(excess, refused(user(one_more)));
    assert!(edited(&full, &[(user(1), text("writer"))]).is_ok());

    // Drive may have both until the removal has reached it.
    let removed = edited(&full, &[(user(1), Value::Null)]).unwrap();
    let excess = edited(&removed, &granted(one_more..one_more + 1));
    assert_eq!(excess, refused(user(one_more)));
    let withdrawn = edited(&full, &[(user(150), Value::Null)]).unwrap();
    assert!(edited(&withdrawn, &granted(one_more..one_more + 1)).is_ok());
}
