//! The next action for a file's content.

use crate::content::{
    ContentAction, ContentContext, ContentHash, ContentIdentity, ContentOutcome, ContentState,
    Failure, Verdict,
};
use crate::fixture::{Manually as _, NOW, all, context, snapshot};
use crate::{
    Capabilities, ContentSettings, DAY_MILLIS, DriveVersion, Field, FileRecord, Gone, Observation,
    Policies, Policy, Snapshot, Timestamp, Value,
};

fn hash(digit: char) -> ContentHash {
    ContentHash::parse(&digit.to_string().repeat(64)).unwrap()
}

fn holding(version: u64, digit: char) -> Snapshot {
    let mut shown = snapshot(version, &[]);
    shown.metadata.mime_type = "text/plain".to_owned();
    shown.metadata.sha256 = Some(hash(digit).to_string());
    shown.metadata.size_bytes = Some(1);
    shown.metadata.capabilities = Capabilities::from_names(["canDownload"]);
    shown
}

fn file() -> FileRecord {
    FileRecord::from_snapshot(&holding(1, 'a'))
}

fn uploaded(digit: char) -> FileRecord {
    file().edits(Field::Content, Value::Text(hash(digit).to_string()))
}

fn with_outcome(number: u32, outcome: ContentOutcome) -> ContentState {
    ContentState::default().with_outcome(number, outcome)
}

fn action(state: &ContentState, record: &FileRecord, policy: Policy) -> ContentAction {
    let settings = ContentSettings {
        enabled: true,
        retention_days: 2,
        ..ContentSettings::default()
    };
    let context = ContentContext {
        settings: &settings,
        policies: &all(policy),
        above: None,
        in_scope: true,
        now: NOW,
        asked_at: Timestamp::default(),
    };
    state.next_action(record, context)
}

fn store(number: u32, digit: char) -> ContentAction {
    ContentAction::Store {
        number,
        content: ContentIdentity::Sha256(hash(digit)),
        in_drive: true,
        of: hash(digit).to_string(),
    }
}

fn store_own(number: u32, digit: char) -> ContentAction {
    ContentAction::Store {
        number,
        content: ContentIdentity::Sha256(hash(digit)),
        in_drive: false,
        of: format!("{} (of the application)", hash(digit)),
    }
}

fn in_trouble(state: &ContentState, of: &str, due_millis: i64) -> ContentState {
    let failure = Failure {
        of: of.to_owned(),
        reason: "downloadQuotaExceeded".to_owned(),
        verdict: Verdict::Passing,
    };
    state.with_trouble(failure, NOW.plus_millis(due_millis), NOW)
}

fn next(state: &ContentState, record: &FileRecord) -> ContentAction {
    action(state, record, Policy::Manual)
}

fn skipped() -> ContentOutcome {
    ContentOutcome::Skipped {
        rule: "size".to_owned(),
    }
}

fn unavailable() -> ContentOutcome {
    ContentOutcome::Unavailable {
        reason: "abusive".to_owned(),
    }
}

#[test]
fn drives_content_is_stored_once() {
    let wanted = store(1, 'a');
    assert_eq!(next(&ContentState::default(), &file()), wanted);
    for (so_far, again) in [
        (ContentOutcome::Stored, ContentAction::Nothing),
        (unavailable(), wanted.clone()),
        (skipped(), wanted.clone()),
        (ContentOutcome::Released, wanted),
    ] {
        assert_eq!(
            next(&with_outcome(1, so_far.clone()), &file()),
            again,
            "{so_far:?}"
        );
    }
    let changed = file().sees(&holding(2, 'b')).record;
    let stored = with_outcome(1, ContentOutcome::Stored);
    assert_eq!(next(&stored, &changed), store(2, 'b'));
}

#[test]
fn content_in_trouble_is_asked_for_when_it_is_due_and_another_content_at_once() {
    let of = hash('a').to_string();
    let waiting = in_trouble(&ContentState::default(), &of, 1);
    assert_eq!(next(&waiting, &file()), ContentAction::Nothing);
    let due = in_trouble(&ContentState::default(), &of, 0);
    assert_eq!(next(&due, &file()), store(1, 'a'));
    let changed = file().sees(&holding(2, 'b')).record;
    assert_eq!(next(&waiting, &changed), store(2, 'b'));
    let own = in_trouble(
        &with_outcome(1, ContentOutcome::Stored),
        &format!("{} (of the application)", hash('c')),
        1,
    );
    assert_eq!(next(&own, &uploaded('c')), ContentAction::Nothing);

    let settings = ContentSettings {
        enabled: true,
        ..ContentSettings::default()
    };
    let asked = ContentContext {
        settings: &settings,
        policies: &Policies::default(),
        above: None,
        in_scope: true,
        now: NOW,
        asked_at: NOW.plus_millis(1),
    };
    assert_eq!(waiting.next_action(&file(), asked), store(1, 'a'));
    let unwanted = ContentContext {
        in_scope: false,
        ..asked
    };
    assert_eq!(
        waiting.next_action(&file(), unwanted),
        ContentAction::Unschedule
    );
}

#[test]
fn what_drive_forbids_is_not_asked_for_before_it_is_due_or_allowed() {
    let mut closed = file();
    closed.metadata.capabilities = Capabilities::default();
    let failed = next(&ContentState::default(), &closed);
    let ContentAction::Fail(failure) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(failure.verdict, Verdict::Forbidden);
    let of = failure.of.clone();
    let waiting = ContentState::default().with_trouble(failure, NOW.plus_millis(1), NOW);
    assert_eq!(next(&waiting, &closed), ContentAction::Nothing);
    assert_eq!(next(&waiting, &file()), store(1, 'a'), "it is allowed now");
    let due = in_trouble(&ContentState::default(), &of, 0);
    let looked = next(&due, &closed);
    assert!(matches!(looked, ContentAction::Store { .. }), "{looked:?}");
}

#[test]
fn content_without_a_sha256_is_stored_by_what_identifies_it() {
    let mut shown = holding(1, 'a');
    shown.metadata.sha256 = None;
    shown.metadata.md5 = Some("0f".repeat(16));
    let record = FileRecord::from_snapshot(&shown);
    assert_eq!(record.content_version, 1);
    let wanted = next(&ContentState::default(), &record);
    let ContentAction::Store { content, .. } = wanted else {
        panic!("{wanted:?}")
    };
    assert_eq!(content.md5(), shown.metadata.md5.as_deref());
}

#[test]
fn content_that_is_out_of_scope_or_excluded_is_not_stored() {
    let excluding = ContentSettings {
        enabled: true,
        size_bytes_max: 0,
        ..ContentSettings::default()
    };
    let context = ContentContext {
        settings: &excluding,
        policies: &Policies::default(),
        above: None,
        in_scope: true,
        now: NOW,
        asked_at: NOW,
    };
    let noted = ContentAction::Record {
        number: 1,
        outcome: skipped(),
    };
    assert_eq!(ContentState::default().next_action(&file(), context), noted);
    assert_eq!(
        with_outcome(1, skipped()).next_action(&file(), context),
        ContentAction::Nothing
    );
    let outside = ContentContext {
        in_scope: false,
        ..context
    };
    assert_eq!(
        ContentState::default().next_action(&file(), outside),
        ContentAction::Nothing
    );
}

#[test]
fn content_is_uploaded_to_drive_only_after_it_is_stored() {
    let record = uploaded('c');
    assert_eq!(
        next(&with_outcome(1, ContentOutcome::Stored), &record),
        store_own(2, 'c')
    );
    let carried = ContentAction::Upload {
        number: 2,
        hash: hash('c'),
    };
    assert_eq!(
        next(&with_outcome(2, ContentOutcome::Stored), &record),
        carried
    );
    assert_eq!(
        next(&with_outcome(2, unavailable()), &record),
        store_own(2, 'c')
    );
}

#[test]
fn a_conflict_is_copied_or_drives_side_is_brought_here() {
    let open = uploaded('c').sees(&holding(2, 'd')).record;
    let id = open.open_conflict(&Field::Content).unwrap();
    let stored = with_outcome(2, ContentOutcome::Stored);
    let of = "the copy of conflict 1".to_owned();
    let copy = ContentAction::Copy {
        conflict: id.clone(),
        of: of.clone(),
    };
    assert_eq!(action(&stored, &open, Policy::KeepBoth), copy);
    let waiting = in_trouble(&stored, &of, 1);
    assert_eq!(
        action(&waiting, &open, Policy::KeepBoth),
        ContentAction::Nothing
    );
    let side = ContentAction::StoreDriveSide {
        content: ContentIdentity::Sha256(hash('d')),
        of: format!("{} (of Drive)", hash('d')),
    };
    assert_eq!(action(&stored, &open, Policy::Manual), side);
    let brought = ContentState {
        drive_side: Some(hash('d')),
        ..stored.clone()
    };
    assert_eq!(
        action(&brought, &open, Policy::Manual),
        ContentAction::Nothing
    );
    let beside = crate::FileId::parse("beside").unwrap();
    let kept = open.resolve_keeping_both(&id, beside, context(&all(Policy::Manual)));
    assert_eq!(
        action(&brought, &kept.unwrap().record, Policy::Manual),
        copy
    );
    let ended = open.sees(&holding(3, 'c')).record;
    assert_eq!(
        action(&brought, &ended, Policy::Manual),
        ContentAction::ReleaseDriveSide
    );
    let unstored = action(
        &with_outcome(1, ContentOutcome::Stored),
        &open,
        Policy::KeepBoth,
    );
    assert!(matches!(unstored, ContentAction::Store { number: 2, .. }));
}

#[test]
fn content_of_a_removed_file_is_retained_and_kept_if_restored() {
    let policies = all(Policy::Manual);
    let removed = Observation::Gone(Gone::Removed);
    let gone = file().apply_lookup(&removed, context(&policies)).record;
    let trashed = file()
        .sees(&{
            let mut shown = holding(2, 'a');
            shown.fields.insert(Field::Trashed, Value::Flag(true));
            shown
        })
        .record;
    let at = NOW.plus_millis(2 * DAY_MILLIS);
    for out in [&gone, &trashed] {
        let stored = with_outcome(1, ContentOutcome::Stored);
        assert_eq!(next(&stored, out), ContentAction::ReleaseAt(at));
        let waiting = ContentState {
            due_at: Some(at),
            ..stored.clone()
        };
        assert_eq!(next(&waiting, out), ContentAction::Nothing);
        let over = ContentState {
            due_at: Some(NOW),
            ..stored
        };
        assert_eq!(next(&over, out), ContentAction::Release);
        assert_eq!(next(&over, &file()), ContentAction::Unschedule);
        assert_eq!(
            next(&with_outcome(1, ContentOutcome::Released), out),
            ContentAction::Nothing
        );
        assert_eq!(next(&ContentState::default(), out), ContentAction::Nothing);
    }
}

#[test]
fn a_changed_document_is_exported_again() {
    let mut document = file();
    document.metadata.mime_type = "application/vnd.google-apps.drawing".to_owned();
    document.metadata.sha256 = None;
    document.metadata.modified_at = Some(NOW);
    document.content_moved_at = DriveVersion(1);
    let export = |number, modified_at: Timestamp, moved_at| ContentAction::Export {
        number,
        format: "image/png".to_owned(),
        modified_at,
        moved_at: DriveVersion(moved_at),
        of: format!("image/png {modified_at} {moved_at}"),
    };
    assert_eq!(next(&ContentState::default(), &document), export(1, NOW, 1));
    let exported = ContentState {
        exported: Some(NOW),
        exported_version: DriveVersion(1),
        ..with_outcome(1, ContentOutcome::Stored)
    };
    assert_eq!(next(&exported, &document), ContentAction::Nothing);
    let later = NOW.plus_millis(1);
    document.metadata.modified_at = Some(later);
    assert_eq!(next(&exported, &document), export(2, later, 1));
    document.metadata.modified_at = Some(NOW);
    document.content_moved_at = DriveVersion(5);
    assert_eq!(
        next(&exported, &document),
        export(2, NOW, 5),
        "the time was put back"
    );
}
