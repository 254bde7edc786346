//! Content as a field: part of the metadata until someone uploads.

use crate::content::ContentIdentity;
use crate::fixture::{FULL, Manually as _, all, context, record, snapshot, values};
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
    shown.metadata.sha256 = Some(sha256);
    shown.metadata.mime_type = "text/plain".to_owned();
    shown
}

fn stored() -> FileRecord {
    FileRecord::from_snapshot(&holding(1, 'a'))
}

fn content(record: &FileRecord) -> (Value, u32) {
    (record.app(&Field::Content), record.content_version)
}

#[test]
fn content_in_the_metadata_is_not_stored_in_the_fields() {
    let first = stored();
    assert_eq!(content(&first), (hash('a'), 1));
    let next = first.sees(&holding(2, 'b')).record;
    assert_eq!(content(&next), (hash('b'), 2));
    assert!(!next.fields.contains_key(&Field::Content));
    let renamed = next.edits(Field::Name, Value::text("b"));
    assert_eq!(
        content(&renamed),
        (hash('b'), 2),
        "other edits do not count"
    );
}

#[test]
fn uploaded_content_is_claimed_separately_and_agreed_once_in_drive() {
    let owing = stored()
        .edits(Field::Content, hash('c'))
        .edits(Field::Name, Value::text("b"));
    assert_eq!(content(&owing), (hash('c'), 2));
    assert!(owing.content_owed());

    let fields = owing.claims(&holding(1, 'a'), 1);
    let patch = fields.patch.unwrap();
    assert_eq!(patch.values, values(&[(Field::Name, Value::text("b"))]));

    let policies = Policies::default();
    let claim = owing.claim_content(&holding(1, 'a'), AttemptId(2), context(&policies), FULL);
    let (claimed, patch) = (claim.transition.record, claim.patch.unwrap());
    assert_eq!(patch.values, values(&[(Field::Content, hash('c'))]));
    assert_eq!(
        claimed.due(),
        Some(crate::fixture::NOW.plus_millis(900_000))
    );

    let done = claimed
        .confirmed(&patch, &holding(2, 'c'), context(&policies))
        .record;
    assert!(!done.content_owed());
    assert!(
        !done.fields.contains_key(&Field::Content),
        "both sides agree"
    );
    assert_eq!(
        content(&done),
        (hash('c'), 2),
        "it has the number of the upload"
    );
}

#[test]
fn content_changed_on_both_sides_is_a_conflict_that_keep_both_leaves_open() {
    let policies = all(Policy::KeepBoth);
    let owing = stored().edits(Field::Content, hash('c'));
    let seen = crate::Observation::Present(holding(2, 'd'));
    let met = owing.observe(&seen, context(&policies)).record;
    let id = met.open_conflict(&Field::Content).unwrap();
    assert_eq!(content(&met), (hash('c'), 2));
    assert_eq!(met.sides(&Field::Content).drive(), &hash('d'));
    assert!(!met.content_owed());

    let beside = FileId::parse("copy").unwrap();
    let copy = met
        .conflicted_copy(beside.clone(), crate::fixture::NOW)
        .unwrap();
    assert_eq!(copy.values[&Field::Content], hash('c'));

    let decided = met
        .resolve_keeping_both(&id, beside.clone(), context(&policies))
        .unwrap();
    let keeping = decided.conflicts[&id].keeping.clone().unwrap();
    assert_eq!(
        (&keeping.copy, &keeping.by),
        (&beside, &crate::Decider::Policy)
    );
    assert_eq!(decided.conflicts[&id].status, crate::ConflictStatus::Open);
    let decided = decided.record;
    assert_eq!(
        content(&decided),
        (hash('c'), 2),
        "open until the copy is in Drive"
    );
    let refused = decided.update_keeping(beside.clone(), Some("no".to_owned()), context(&policies));
    let reason = refused.conflicts[&id].keeping.clone().unwrap().reason;
    assert_eq!(reason.as_deref(), Some("no"));
    let other = FileId::parse("other").unwrap();
    let nothing = decided.settle_kept(&other, context(&policies));
    assert!(nothing.conflicts.is_empty());

    let transition = decided.settle_kept(&beside, context(&policies));
    let kept = transition.record;
    assert_eq!(content(&kept), (hash('d'), 3));
    assert!(!kept.fields.contains_key(&Field::Content));
    let crate::ConflictStatus::Resolved(resolution) = &transition.conflicts[&id].status else {
        panic!("the conflict is resolved")
    };
    assert_eq!(resolution.choice, crate::Choice::Both(beside.clone()));
    assert_eq!(resolution.by, crate::Decider::Policy);
    assert!(
        kept.resolve_keeping_both(&id, beside, context(&policies))
            .is_err(),
        "only once"
    );
}

#[test]
fn our_own_upload_coming_back_is_no_conflict() {
    let owing = stored().edits(Field::Content, hash('c'));
    let policies = Policies::default();
    let claim = owing.claim_content(&holding(1, 'a'), AttemptId(1), context(&policies), FULL);
    let newer = claim.transition.record.edits(Field::Content, hash('e'));
    let echo = newer.sees(&holding(2, 'c')).record;
    assert!(echo.open.is_empty() && echo.content_owed());
    assert_eq!(echo.sides(&Field::Content).base, hash('c'));
}

#[test]
fn a_file_without_bytes_accepts_no_content() {
    let mut folder = record();
    folder.metadata.mime_type = "application/vnd.google-apps.folder".to_owned();
    let policies = Policies::default();
    let edit = values(&[(Field::Content, hash('c'))]);
    assert_eq!(
        folder.edit(&edit, "ann", context(&policies)),
        Err(EditRefused::Value(Field::Content, ValueRefused::NoContent))
    );
    let odd = values(&[(Field::Content, Value::text("AB"))]);
    assert!(stored().edit(&odd, "ann", context(&policies)).is_err());
}

#[test]
fn a_file_with_content_is_created_empty_and_owes_its_content() {
    let policies = Policies::default();
    let new = NewFile {
        file: crate::fixture::file(),
        mime_type: "text/plain".to_owned(),
        shortcut_target: None,
        values: values(&[(Field::Name, Value::text("a")), (Field::Content, hash('c'))]),
    };
    let making = FileRecord::creating(&new, "ann", context(&policies)).unwrap();
    let making = making.record;
    assert_eq!(content(&making), (hash('c'), 1));
    let claim = making.claim_creation(AttemptId(1), context(&policies));
    let patch = claim.patch.unwrap();
    assert!(!patch.values.contains_key(&Field::Content));
    let made = claim
        .transition
        .record
        .confirmed(&patch, &holding(1, '0'), context(&policies))
        .record;
    assert!(made.open.is_empty() && made.content_owed());
    assert_eq!(made.sides(&Field::Content).base, hash('0'));
    assert_eq!(content(&made).0, hash('c'));
}

fn old_binary(version: u64, md5: &str, sha256: Option<Value>) -> Snapshot {
    let mut shown = holding(version, 'a');
    shown.metadata.size_bytes = Some(3);
    shown.metadata.md5 = Some(md5.to_owned());
    shown.metadata.sha256 = match sha256 {
        Some(Value::Text(sha256)) => Some(sha256),
        Some(_) | None => None,
    };
    shown
}

fn identity(record: &FileRecord) -> ContentIdentity {
    ContentIdentity::parse(&record.metadata.content()).unwrap()
}

fn learned(record: &FileRecord, digit: char) -> FileRecord {
    let policies = Policies::default();
    let sha256 = ContentIdentity::parse(&hash(digit))
        .unwrap()
        .hash()
        .unwrap();
    let transition = record.learn_content(&identity(record), &sha256, context(&policies));
    transition.record
}

#[test]
fn regression_an_upload_to_a_file_without_sha256_conflicts_with_a_persons_content() {
    let first = FileRecord::from_snapshot(&old_binary(1, "aa", None));
    let owing = first.edits(Field::Content, hash('c'));
    let met = owing.sees(&old_binary(2, "bb", None)).record;
    assert!(met.open_conflict(&Field::Content).is_some());
    assert!(!met.content_owed());
    let renamed = owing.sees(&old_binary(2, "aa", None)).record;
    assert!(renamed.open.is_empty() && renamed.content_owed());
}

#[test]
fn a_sha256_that_becomes_known_moves_nothing() {
    let first = FileRecord::from_snapshot(&old_binary(1, "aa", None));
    let known = learned(&first, 'a');
    assert_eq!(content(&known), (hash('a'), 1));
    let again = known.sees(&old_binary(2, "aa", None)).record;
    assert_eq!(content(&again), (hash('a'), 1), "Drive still states none");
    let stated = first.sees(&old_binary(2, "aa", Some(hash('a')))).record;
    assert_eq!(content(&stated), (hash('a'), 1));
    let moved = known.sees(&old_binary(2, "bb", None)).record;
    assert_eq!(moved.content_version, 2);

    let owing = first.edits(Field::Content, hash('c'));
    for known in [
        learned(&owing, 'a'),
        owing.sees(&old_binary(2, "aa", Some(hash('a')))).record,
    ] {
        assert!(known.open.is_empty() && known.content_owed());
        assert_eq!(known.sides(&Field::Content).base, hash('a'));
        assert_eq!(content(&known), (hash('c'), 2));
    }
}

#[test]
fn a_conflict_whose_sides_turn_out_to_be_equal_closes() {
    let first = FileRecord::from_snapshot(&old_binary(1, "aa", None));
    let owing = first.edits(Field::Content, hash('c'));
    let met = owing.sees(&old_binary(2, "cc", None)).record;
    assert!(met.open_conflict(&Field::Content).is_some());
    let other = learned(&met, 'd');
    assert!(other.open_conflict(&Field::Content).is_some());
    assert_eq!(other.sides(&Field::Content).drive(), &hash('d'));
    let same = learned(&met, 'c');
    assert!(same.open.is_empty() && !same.content_owed());
    assert_eq!(content(&same), (hash('c'), 2));
}
