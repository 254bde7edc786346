use crate::fixture::{Manually as _, context, named, present, property, record, snapshot, text};
use crate::{
    Difference, Drift, Field, FieldSetVersion, FileRecord, Gone, Observation, ObservedPermission,
    Policies, Presence, Value, drift,
};

const REMOVED: Observation = Observation::Gone(Gone::Removed);

fn differs(label: &str, ours: &str, drive: &str) -> Difference {
    Difference {
        label: label.to_owned(),
        ours: text(ours),
        drive: text(drive),
    }
}

#[test]
fn an_agreeing_or_later_record_is_no_drift() {
    let at = |version| record().sees(&named(version, "b")).record;
    assert_eq!(
        drift(Some(&at(3)), &present(3, &[(Field::Name, text("b"))])),
        None
    );
    assert_eq!(
        drift(Some(&at(3)), &present(2, &[])),
        None,
        "an older observation"
    );
    assert_eq!(drift(None, &REMOVED), None);
    let gone = record()
        .apply_lookup(&REMOVED, context(&Policies::default()))
        .record;
    assert_eq!(drift(Some(&gone), &REMOVED), None);
}

#[test]
fn each_kind_of_drift_is_reported() {
    assert_eq!(drift(None, &present(1, &[])), Some(Drift::MissingHere));
    let gone = record()
        .apply_lookup(&REMOVED, context(&Policies::default()))
        .record;
    assert_eq!(
        drift(Some(&gone), &present(1, &[])),
        Some(Drift::MissingHere),
        "the tombstone of a file that exists"
    );
    assert_eq!(
        drift(Some(&record()), &Observation::Gone(Gone::AccessLost)),
        Some(Drift::MissingThere(Gone::AccessLost))
    );
    assert_eq!(
        drift(Some(&record()), &present(2, &[(Field::Name, text("b"))])),
        Some(Drift::Stale(vec![differs("name", "a", "b")]))
    );
    assert_eq!(
        drift(Some(&record()), &present(2, &[])),
        Some(Drift::Stale(Vec::new())),
        "a version-only change"
    );
    let theirs = present(1, &[(Field::Name, text("b")), (property("k"), text("v"))]);
    let unset = Difference {
        label: "properties.k".to_owned(),
        ours: Value::Null,
        drive: text("v"),
    };
    assert_eq!(
        drift(Some(&record()), &theirs),
        Some(Drift::Differing(vec![differs("name", "a", "b"), unset]))
    );
}

#[test]
fn a_metadata_member_is_compared_too() {
    let mut theirs = snapshot(1, &[]);
    theirs.metadata.md5 = Some("00".to_owned());
    theirs.metadata.modified_by = Some("another reader@example.com".to_owned());
    let found = drift(Some(&record()), &Observation::Present(theirs));
    let md5 = Difference {
        label: "md5".to_owned(),
        ours: Value::Null,
        drive: text("00"),
    };
    assert_eq!(found, Some(Drift::Differing(vec![md5])));
}

#[test]
fn a_direct_role_is_compared_if_drive_shows_it() {
    let ann = || Field::Permission("user:ann@example.com".to_owned());
    let theirs = snapshot(1, &[(ann(), text("writer"))]);
    let lacking = Difference {
        label: "permissions.user:ann@example.com".to_owned(),
        ours: Value::Null,
        drive: text("writer"),
    };
    let shown = Observation::Present(theirs.clone());
    assert_eq!(
        drift(Some(&record()), &shown),
        Some(Drift::Differing(vec![lacking]))
    );
    let ours = FileRecord::from_snapshot(&theirs);
    assert_eq!(drift(Some(&ours), &shown), None);
    let spurious = Difference {
        label: "permissions.user:ann@example.com".to_owned(),
        ours: text("writer"),
        drive: Value::Null,
    };
    assert_eq!(
        drift(Some(&ours), &present(1, &[])),
        Some(Drift::Differing(vec![spurious])),
        "a role that Drive removed"
    );
    // An item of a shared drive, or a file that the user may not share: absent does not mean none.
    let mut silent = snapshot(1, &[]);
    silent.metadata.permissions_known = false;
    assert_eq!(drift(Some(&ours), &Observation::Present(silent)), None);
}

#[test]
fn an_inherited_role_is_no_drift() {
    let mut theirs = snapshot(1, &[]);
    theirs.metadata.permissions.push(ObservedPermission {
        principal: "user:ann@example.com".to_owned(),
        role: "writer".to_owned(),
        inherited: true,
        ..ObservedPermission::default()
    });
    assert_eq!(drift(Some(&record()), &Observation::Present(theirs)), None);
}

#[test]
fn an_owed_edit_is_no_drift() {
    let ours = record().edits(Field::Name, text("ours"));
    assert_eq!(drift(Some(&ours), &present(1, &[])), None);
}

#[test]
fn a_record_with_an_older_field_set_is_stale_at_the_same_version() {
    let old = FileRecord {
        field_set: FieldSetVersion(0),
        ..record()
    };
    assert_eq!(
        drift(Some(&old), &present(1, &[])),
        Some(Drift::Stale(Vec::new()))
    );
}

#[test]
fn a_correction_merges_the_same_version_without_losing_an_edit() {
    let policies = Policies::default();
    let theirs = named(1, "b");
    let seen = record().sees(&theirs).record;
    assert_eq!(
        seen,
        record(),
        "a queue's snapshot of that version says nothing"
    );
    let corrected = record().corrected(&theirs, context(&policies)).record;
    assert_eq!(corrected.app(&Field::Name), text("b"));
    let ours = record().edits(Field::Name, text("ours"));
    let transition = ours.corrected(&theirs, context(&policies));
    assert_eq!(transition.record.app(&Field::Name), text("ours"));
    assert_eq!(transition.conflicts.len(), 1, "both left the base");
    let again = corrected.corrected(&theirs, context(&policies)).record;
    assert_eq!(again, corrected, "a repetition changes nothing");
    let later = record().sees(&named(5, "e")).record;
    assert_eq!(later.corrected(&theirs, context(&policies)).record, later);
}

#[test]
fn a_correction_does_not_restore_a_file() {
    let policies = Policies::default();
    let gone = record().apply_lookup(&REMOVED, context(&policies)).record;
    let transition = gone.corrected(&named(9, "b"), context(&policies));
    assert!(matches!(transition.record.presence, Presence::Gone(_, _)));
}
