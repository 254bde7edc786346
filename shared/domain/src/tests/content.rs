//! Content as a field: what the mirror tells, until someone uploads.

use crate::fixture::{FULL, Manually as _, all, moment, record, snapshot, values};
use crate::{
    AttemptId, EditRefused, Field, FileId, FileRecord, NewFile, Policies, Policy, Snapshot, Value,
    ValueRefused,
};

fn hash(digit: char) -> Value {
    Value::Text(std::iter::repeat_n(digit, 64).collect())
}

fn holding(version: u64, digit: char) -> Snapshot {
    let mut shown = snapshot(version, &[]);
    let Value::Text(sha256) = hash(digit) else {
        unreachable!("a hash is a text")
    };
    shown.mirror.sha256 = Some(sha256);
    shown.mirror.mime_type = "text/plain".to_owned();
    shown
}

fn stored() -> FileRecord {
    FileRecord::first_sight(&holding(1, 'a'))
}

fn content(record: &FileRecord) -> (Value, u32) {
    (record.app(&Field::Content), record.content_version)
}

#[test]
fn content_is_what_the_mirror_tells_and_costs_the_record_nothing() {
    let first = stored();
    assert_eq!(content(&first), (hash('a'), 1));
    let next = first.sees(&holding(2, 'b')).record;
    assert_eq!(content(&next), (hash('b'), 2));
    assert!(!next.fields.contains_key(&Field::Content));
    let renamed = next.edits(Field::Name, Value::text("b"));
    assert_eq!(
        content(&renamed),
        (hash('b'), 2),
        "other edits are none of it"
    );
}

#[test]
fn uploaded_content_is_owed_claimed_by_itself_and_agreed_when_drive_holds_it() {
    let owing = stored()
        .edits(Field::Content, hash('c'))
        .edits(Field::Name, Value::text("b"));
    assert_eq!(content(&owing), (hash('c'), 2));
    assert!(owing.content_owed());

    let fields = owing.claims(&holding(1, 'a'), 1);
    let patch = fields.patch.unwrap();
    assert_eq!(patch.values, values(&[(Field::Name, Value::text("b"))]));

    let policies = Policies::default();
    let claim = owing.claim_content(&holding(1, 'a'), AttemptId(2), moment(&policies), FULL);
    let (claimed, patch) = (claim.step.record, claim.patch.unwrap());
    assert_eq!(patch.values, values(&[(Field::Content, hash('c'))]));
    assert_eq!(
        claimed.due(),
        Some(crate::fixture::NOW.plus_millis(900_000))
    );

    let done = claimed
        .confirmed(&patch, &holding(2, 'c'), moment(&policies))
        .record;
    assert!(!done.content_owed());
    assert!(!done.fields.contains_key(&Field::Content), "it is agreed");
    assert_eq!(
        content(&done),
        (hash('c'), 2),
        "its number is that of the upload"
    );
}

#[test]
fn content_that_both_sides_changed_is_a_conflict_and_no_policy_of_two_files_decides_it() {
    let policies = all(Policy::KeepBoth);
    let owing = stored().edits(Field::Content, hash('c'));
    let seen = crate::Observation::Present(holding(2, 'd'));
    let met = owing.observe(&seen, moment(&policies)).record;
    let id = met.open_conflict(&Field::Content).unwrap();
    assert_eq!(content(&met), (hash('c'), 2));
    assert_eq!(met.sides(&Field::Content).drive(), &hash('d'));
    assert!(!met.content_owed());

    let beside = FileId::parse("copy").unwrap();
    let copy = met
        .conflicted_copy(beside.clone(), crate::fixture::NOW)
        .unwrap();
    assert_eq!(copy.values[&Field::Content], hash('c'));

    let step = met
        .kept_both(&id, beside.clone(), moment(&policies))
        .unwrap();
    let kept = step.record;
    assert_eq!(content(&kept), (hash('d'), 3));
    assert!(!kept.fields.contains_key(&Field::Content));
    let crate::ConflictStatus::Resolved(resolution) = &step.conflicts[&id].status else {
        panic!("it is decided")
    };
    assert_eq!(resolution.choice, crate::Choice::Both(beside.clone()));
    assert_eq!(resolution.by, crate::Decider::Policy);
    assert!(
        kept.kept_both(&id, beside, moment(&policies)).is_err(),
        "only once"
    );
}

#[test]
fn our_own_upload_coming_back_is_no_conflict() {
    let owing = stored().edits(Field::Content, hash('c'));
    let policies = Policies::default();
    let claim = owing.claim_content(&holding(1, 'a'), AttemptId(1), moment(&policies), FULL);
    let newer = claim.step.record.edits(Field::Content, hash('e'));
    let echo = newer.sees(&holding(2, 'c')).record;
    assert!(echo.open.is_empty() && echo.content_owed());
    assert_eq!(echo.sides(&Field::Content).base, hash('c'));
}

#[test]
fn what_holds_no_bytes_takes_none() {
    let mut folder = record();
    folder.mirror.mime_type = "application/vnd.google-apps.folder".to_owned();
    let policies = Policies::default();
    let edit = values(&[(Field::Content, hash('c'))]);
    assert_eq!(
        folder.edit(&edit, "ann", moment(&policies)),
        Err(EditRefused::Value(Field::Content, ValueRefused::NoContent))
    );
    let odd = values(&[(Field::Content, Value::text("AB"))]);
    assert!(stored().edit(&odd, "ann", moment(&policies)).is_err());
}

#[test]
fn a_file_that_is_made_with_content_is_made_empty_and_owes_it() {
    let policies = Policies::default();
    let new = NewFile {
        file: crate::fixture::file(),
        mime_type: "text/plain".to_owned(),
        shortcut_target: None,
        values: values(&[(Field::Name, Value::text("a")), (Field::Content, hash('c'))]),
    };
    let making = FileRecord::creating(&new, "ann", moment(&policies)).unwrap();
    let making = making.record;
    assert_eq!(content(&making), (hash('c'), 1));
    let claim = making.claim_creation(AttemptId(1), moment(&policies));
    let patch = claim.patch.unwrap();
    assert!(!patch.values.contains_key(&Field::Content));
    let made = claim
        .step
        .record
        .confirmed(&patch, &holding(1, '0'), moment(&policies))
        .record;
    assert!(made.open.is_empty() && made.content_owed());
    assert_eq!(made.sides(&Field::Content).base, hash('0'));
    assert_eq!(content(&made).0, hash('c'));
}
