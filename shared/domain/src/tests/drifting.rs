use crate::fixture::{Manually as _, moment, named, present, property, record, snapshot, text};
use crate::{
    Difference, Drift, Field, FieldMask, FileRecord, Gone, MirroredPermission, Observation,
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
fn what_agrees_or_is_known_to_be_later_is_no_drift() {
    let at = |version| record().sees(&named(version, "b")).record;
    assert_eq!(
        drift(Some(&at(3)), &present(3, &[(Field::Name, text("b"))])),
        None
    );
    assert_eq!(drift(Some(&at(3)), &present(2, &[])), None, "an older look");
    assert_eq!(drift(None, &REMOVED), None);
    let gone = record()
        .answered(&REMOVED, moment(&Policies::default()))
        .record;
    assert_eq!(drift(Some(&gone), &REMOVED), None);
}

#[test]
fn each_kind_of_drift_is_told() {
    assert_eq!(drift(None, &present(1, &[])), Some(Drift::MissingHere));
    let gone = record()
        .answered(&REMOVED, moment(&Policies::default()))
        .record;
    assert_eq!(
        drift(Some(&gone), &present(1, &[])),
        Some(Drift::MissingHere),
        "a tombstone of what is there"
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
        "a version of which nothing is seen"
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
fn a_member_that_drive_alone_decides_is_compared_too() {
    let mut theirs = snapshot(1, &[]);
    theirs.mirror.md5 = Some("00".to_owned());
    theirs.mirror.modified_by = Some("whoever looks@example.com".to_owned());
    let found = drift(Some(&record()), &Observation::Present(theirs));
    let md5 = Difference {
        label: "md5".to_owned(),
        ours: Value::Null,
        drive: text("00"),
    };
    assert_eq!(found, Some(Drift::Differing(vec![md5])));
}

#[test]
fn a_role_on_the_file_itself_is_compared_where_drive_shows_it() {
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
    let ours = FileRecord::first_sight(&theirs);
    assert_eq!(drift(Some(&ours), &shown), None);
    let spurious = Difference {
        label: "permissions.user:ann@example.com".to_owned(),
        ours: text("writer"),
        drive: Value::Null,
    };
    assert_eq!(
        drift(Some(&ours), &present(1, &[])),
        Some(Drift::Differing(vec![spurious])),
        "one that Drive has taken away"
    );
    // The item of a shared drive, or one that we may not share: absent is not none.
    let mut silent = snapshot(1, &[]);
    silent.mirror.permissions_known = false;
    assert_eq!(drift(Some(&ours), &Observation::Present(silent)), None);
}

#[test]
fn what_comes_from_a_folder_above_is_no_drift() {
    let mut theirs = snapshot(1, &[]);
    theirs.mirror.permissions.push(MirroredPermission {
        principal: "user:ann@example.com".to_owned(),
        role: "writer".to_owned(),
        inherited: true,
        ..MirroredPermission::default()
    });
    assert_eq!(drift(Some(&record()), &Observation::Present(theirs)), None);
}

#[test]
fn an_edit_that_is_owed_is_no_drift() {
    let ours = record().edits(Field::Name, text("ours"));
    assert_eq!(drift(Some(&ours), &present(1, &[])), None);
}

#[test]
fn a_record_of_an_older_mask_is_stale_at_the_same_version() {
    let old = FileRecord {
        mask: FieldMask(0),
        ..record()
    };
    assert_eq!(
        drift(Some(&old), &present(1, &[])),
        Some(Drift::Stale(Vec::new()))
    );
}

#[test]
fn a_correction_takes_the_same_version_and_loses_no_edit() {
    let policies = Policies::default();
    let theirs = named(1, "b");
    let seen = record().sees(&theirs).record;
    assert_eq!(
        seen,
        record(),
        "a queue's snapshot of that version says nothing"
    );
    let corrected = record().corrected(&theirs, moment(&policies)).record;
    assert_eq!(corrected.app(&Field::Name), text("b"));
    let ours = record().edits(Field::Name, text("ours"));
    let step = ours.corrected(&theirs, moment(&policies));
    assert_eq!(step.record.app(&Field::Name), text("ours"));
    assert_eq!(step.conflicts.len(), 1, "both left the base");
    let again = corrected.corrected(&theirs, moment(&policies)).record;
    assert_eq!(again, corrected, "doing it twice is doing it once");
    let later = record().sees(&named(5, "e")).record;
    assert_eq!(later.corrected(&theirs, moment(&policies)).record, later);
}

#[test]
fn a_correction_brings_no_file_back() {
    let policies = Policies::default();
    let gone = record().answered(&REMOVED, moment(&policies)).record;
    let step = gone.corrected(&named(9, "b"), moment(&policies));
    assert!(matches!(step.record.presence, Presence::Gone(_, _)));
}
