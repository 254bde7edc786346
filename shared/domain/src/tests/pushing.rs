use crate::fixture::{
    FULL, Manually as _, NOW, all, context, named, record, snapshot, text, values,
};
use crate::{
    AttemptId, Backoff, Context, Field, FileRecord, Observation, Patch, Policies, Policy, Refusal,
    Snapshot, Timestamp, Value,
};

fn refuse(record: &FileRecord, patch: &Patch, refusal: &Refusal) -> FileRecord {
    record
        .refused(patch, refusal, context(&Policies::default()), FULL)
        .record
}

fn confirm(record: &FileRecord, patch: &Patch, answer: &Snapshot) -> FileRecord {
    record
        .confirmed(patch, answer, context(&Policies::default()))
        .record
}

fn owing_a_name() -> FileRecord {
    record().edits(Field::Name, text("b"))
}

fn owing_two() -> FileRecord {
    owing_a_name().edits(Field::Description, text("d"))
}

fn permanent() -> Refusal {
    Refusal::Permanent("refused by Drive".to_owned())
}

fn unknown() -> Refusal {
    Refusal::Unknown("timeout".to_owned())
}

#[test]
fn a_claim_keeps_other_workers_away_for_the_lifetime_of_its_worker() {
    let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
    assert_eq!(patch.values, values(&[(Field::Name, text("b"))]));
    assert_eq!(record.due(), Some(NOW.plus_millis(30_000)));
    assert_eq!(record.sides(&Field::Name).sent.len(), 1);
}

#[test]
fn a_confirmed_write_is_agreed_and_resets_the_push_state() {
    let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
    let done = confirm(&record, &patch, &named(2, "b"));
    assert_eq!((done.due(), done.intent()), (None, None));
    assert_eq!((&done.push, done.version.0), (&crate::Push::default(), 2));
    assert_eq!(
        confirm(&done, &patch, &named(2, "b")),
        done,
        "a repetition changes nothing"
    );
}

#[test]
fn the_answer_to_a_write_includes_other_changes() {
    let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
    let starred = (Field::Starred, Value::Flag(true));
    let done = confirm(
        &record,
        &patch,
        &snapshot(3, &[(Field::Name, text("b")), starred]),
    );
    assert_eq!(done.app(&Field::Starred), Value::Flag(true));
}

#[test]
fn a_value_that_drive_normalised_is_taken() {
    let record = record().edits(Field::Name, text("b "));
    let (record, patch) = record.sends(&named(1, "a"), 1);
    let done = confirm(&record, &patch, &named(2, "b"));
    assert_eq!((done.app(&Field::Name), done.due()), (text("b"), None));
}

#[test]
fn regression_a_field_that_drive_left_unchanged_is_not_undone() {
    let (record, patch) = owing_two().sends(&named(1, "a"), 1);
    let half = snapshot(2, &[(Field::Description, text("d"))]);
    let done = confirm(&record, &patch, &half);
    assert_eq!(done.app(&Field::Name), text("b"));
    let intent = done.intent().unwrap();
    assert!(intent.failed && intent.fields == [&Field::Name]);
    assert_eq!(done.owed_due(), None);
}

#[test]
fn a_lost_race_waits_longer_each_time_and_is_never_a_failure() {
    let mut record = owing_a_name();
    for attempt in 1..=20 {
        let (claimed, patch) = record.sends(&named(1, "a"), attempt);
        record = refuse(&claimed, &patch, &Refusal::Stale);
        assert_eq!(record.push.failures, 0);
        let wait = Backoff::PUSH.wait_millis(u32::try_from(attempt).unwrap(), FULL);
        assert_eq!(record.due(), Some(NOW.plus_millis(wait)));
        assert_eq!(record.sides(&Field::Name).sent, []);
    }
    assert!(!record.intent().unwrap().failed);
}

/// The context of a number of minutes after [`NOW`].
fn later(policies: &Policies, minutes: i64) -> Context<'_> {
    Context {
        now: NOW.plus_millis(minutes * 60_000),
        ..context(policies)
    }
}

/// Attempts the push again and again, a minute apart, each refused with `refusal`.
fn refused_for(minutes: i64, refusal: &Refusal) -> FileRecord {
    let policies = Policies::default();
    let mut record = owing_a_name();
    for minute in 0..=minutes {
        let context = later(&policies, minute);
        let attempt = AttemptId(u64::try_from(minute).unwrap() + 1);
        let claim = record.claim(&named(1, "a"), attempt, context, FULL);
        let Some(patch) = claim.patch else {
            record = claim.transition.record;
            continue;
        };
        let claimed = claim.transition.record;
        record = claimed.refused(&patch, refusal, context, FULL).record;
    }
    record
}

#[test]
fn no_number_of_unanswered_attempts_makes_an_edit_a_failed_one() {
    let record = refused_for(3 * 24 * 60, &unknown());
    assert!(record.push.failed.is_empty() && record.due().is_some());
    let trouble = record.push.trouble.clone().unwrap();
    assert_eq!((trouble.reason.as_str(), trouble.since), ("timeout", NOW));
    assert_eq!(trouble.times, 3 * 24 * 60 + 1);
    assert_eq!(record.sides(&Field::Name).sent.len(), 1, "remembered once");
    let (claimed, patch) = record.sends(&named(1, "a"), 9_999);
    let done = confirm(&claimed, &patch, &named(2, "b"));
    assert_eq!((done.due(), done.push), (None, crate::Push::default()));
}

#[test]
fn what_failed_for_a_reason_that_can_pass_is_tried_again_at_growing_intervals() {
    let full = Refusal::Passing("storageQuotaExceeded".to_owned());
    let policies = Policies::default();
    let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
    let failed = refuse(&record, &patch, &full);
    let intent = failed.intent().unwrap();
    assert!(intent.failed && intent.reason == Some("storageQuotaExceeded"));
    let at = failed.due().unwrap();
    assert_eq!(at, NOW.plus_millis(36_000), "half a minute, and its jitter");
    assert_eq!((failed.owed_due(), failed.failed_due()), (None, Some(at)));
    assert_eq!(failed.claims(&named(1, "a"), 2).patch, None, "not yet");
    let on_time = Context {
        now: at,
        ..context(&policies)
    };
    let claim = failed.claim(&named(1, "a"), AttemptId(2), on_time, FULL);
    let (claimed, patch) = (claim.transition.record, claim.patch.unwrap());
    let again = claimed.refused(&patch, &full, on_time, FULL).record;
    assert_eq!(again.due(), Some(at.plus_millis(72_000)));
    // A year of refusals ends at one attempt a day.
    let mut waits = 0;
    let (mut record, mut now) = (again, at);
    for attempt in 3..40 {
        now = record.due().unwrap();
        let context = Context {
            now,
            ..context(&policies)
        };
        let claim = record.claim(&named(1, "a"), AttemptId(attempt), context, FULL);
        let patch = claim.patch.unwrap();
        record = claim
            .transition
            .record
            .refused(&patch, &full, context, FULL)
            .record;
        waits = record.due().unwrap().millis_since(now);
    }
    assert_eq!(waits, 86_400_000 * 6 / 5);
    let hastened = record
        .hasten(Context {
            now,
            ..context(&policies)
        })
        .record;
    assert_eq!(hastened.due(), Some(now));
    let edited = record.edits(Field::Name, text("c"));
    assert!(edited.push.failed.is_empty() && edited.push.again.is_empty());
}

#[test]
fn new_capabilities_hasten_what_failed() {
    let denied = Refusal::Passing("insufficientFilePermissions".to_owned());
    let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
    let failed = refuse(&record, &patch, &denied);
    let mut seen = named(2, "a");
    seen.metadata.capabilities = crate::Capabilities::from_names(["canRename"]);
    assert_eq!(failed.sees(&seen).record.due(), Some(NOW));
}

#[test]
fn a_reason_that_is_doubted_fails_only_once_it_was_the_same_for_a_while() {
    let doubted = |reason: &str, minutes: i64| Refusal::Doubted {
        reason: reason.to_owned(),
        believed_after_millis: minutes * 60_000,
    };
    let once = refused_for(0, &doubted("notFound", 0));
    assert!(once.push.failed.is_empty(), "one answer is no fact");
    let soon = refused_for(9, &doubted("notFound", 10));
    assert!(soon.push.failed.is_empty());
    assert_eq!(soon.push.trouble.unwrap().times, 10);
    let believed = refused_for(10, &doubted("notFound", 10));
    assert_eq!(believed.push.failed[&Field::Name], "notFound");
    assert!(believed.due().is_some(), "tried again nevertheless");
    let strange = refused_for(24 * 60 - 1, &doubted("somethingNew", 24 * 60));
    assert!(strange.push.failed.is_empty());
    let shown = refused_for(24 * 60, &doubted("somethingNew", 24 * 60));
    assert_eq!(shown.push.failed[&Field::Name], "somethingNew");
}

#[test]
fn a_condition_that_is_refused_although_it_is_current_ends_in_a_question() {
    let lost_race = refused_for(0, &Refusal::Stale);
    assert!(!lost_race.push.trouble.unwrap().is_false_condition());
    let soon = refused_for(9, &Refusal::Stale);
    assert!(soon.push.failed.is_empty());
    assert!(soon.push.trouble.unwrap().is_false_condition());
    let asked = refused_for(10, &Refusal::Stale);
    assert_eq!(asked.push.failed[&Field::Name], crate::FALSE_CONDITION);
    assert_eq!(asked.due(), None, "a person decides");
    let retried = asked.retry(context(&Policies::default())).record;
    assert!(retried.claims(&named(1, "a"), 99).patch.is_some());
}

#[test]
fn attempts_of_crashed_workers_are_given_up_for_now() {
    let mut record = owing_a_name();
    for attempt in 1..=5 {
        record = record.sends(&named(1, "a"), attempt).0;
    }
    let claim = record.claims(&named(1, "a"), 6);
    assert_eq!(claim.patch, None);
    let failed = claim.transition.record;
    assert!(failed.intent().unwrap().failed && failed.due().is_some());
}

#[test]
fn regression_what_was_given_up_keeps_its_reason_when_another_field_is() {
    let passing = Refusal::Passing("storageQuotaExceeded".to_owned());
    for refusal in [permanent(), passing] {
        let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
        let failed = refuse(&record, &patch, &refusal);
        let mut record = failed.edits(Field::Description, text("d"));
        for attempt in 2..=6 {
            record = record.sends(&named(1, "a"), attempt).0;
        }
        let both = record.claims(&named(1, "a"), 7).transition.record.push;
        let name = &Field::Name;
        assert!(both.failed.contains_key(&Field::Description));
        assert_eq!(both.failed[name], failed.push.failed[name]);
        assert_eq!(both.again.get(name), failed.push.again.get(name));
    }
}

#[test]
fn a_doubted_field_does_not_keep_the_others_waiting() {
    let doubted = Refusal::Doubted {
        reason: "notFound".to_owned(),
        believed_after_millis: 600_000,
    };
    let mut record = owing_two();
    let mut tried = Vec::new();
    for attempt in 1..=4 {
        let (claimed, patch) = record.sends(&named(1, "a"), attempt);
        tried.push(patch.values.keys().cloned().collect::<Vec<_>>());
        record = refuse(&claimed, &patch, &doubted);
    }
    assert_eq!(tried[0].len(), 2);
    assert!(tried.contains(&vec![Field::Name]) && tried.contains(&vec![Field::Description]));
}

#[test]
fn a_refusal_of_several_fields_is_tried_one_by_one() {
    let (record, patch) = owing_two().sends(&named(1, "a"), 1);
    assert_eq!(patch.values.len(), 2);
    let record = refuse(&record, &patch, &permanent());
    assert_eq!(record.due(), Some(NOW));
    assert!(record.push.failed.is_empty());
    let (record, first) = record.sends(&named(1, "a"), 2);
    assert_eq!(first.values, values(&[(Field::Name, text("b"))]));
    let record = refuse(&record, &first, &permanent());
    assert_eq!(record.push.failed[&Field::Name], "refused by Drive");
    let (record, second) = record.sends(&named(1, "a"), 3);
    assert_eq!(second.values, values(&[(Field::Description, text("d"))]));
    let record = confirm(
        &record,
        &second,
        &snapshot(2, &[(Field::Description, text("d"))]),
    );
    assert_eq!((record.due(), record.push.one_at_a_time), (None, false));
    assert_eq!(record.intent().unwrap().fields, [&Field::Name]);
}

#[test]
fn an_edit_of_a_field_that_was_given_up_is_due_again() {
    let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
    let failed = refuse(&record, &patch, &permanent());
    assert_eq!(failed.due(), None);
    assert_eq!(
        failed.edits(Field::Name, text("b")).due(),
        Some(NOW),
        "including the same value"
    );
    let edited = failed.edits(Field::Name, text("c"));
    assert_eq!((edited.due(), edited.push.failed.len()), (Some(NOW), 0));
}

#[test]
fn a_failure_is_cleared_when_the_field_is_no_longer_owed() {
    let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
    let failed = refuse(&record, &patch, &permanent());
    let agreed = failed.sees(&named(2, "b")).record;
    assert!(agreed.push.failed.is_empty());
    let conflict = failed.sees(&named(2, "c")).record;
    assert!(conflict.push.failed.is_empty());
    let cancelled = failed.cancel(context(&Policies::default())).record;
    assert!(cancelled.push.failed.is_empty() && cancelled.intent().is_none());
}

#[test]
fn regression_a_refusal_of_an_older_value_does_not_give_up_a_newer_edit() {
    let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
    let record = refuse(&record.edits(Field::Name, text("c")), &patch, &permanent());
    assert!(record.push.failed.is_empty());
    let (_, next) = record.sends(&named(1, "a"), 2);
    assert_eq!(next.values[&Field::Name], text("c"));
}

#[test]
fn a_read_that_is_older_than_the_record_sends_nothing() {
    let record = owing_a_name().sees(&named(5, "a")).record;
    let claim = record.claims(&named(4, "a"), 1);
    assert_eq!(claim.patch, None);
    assert_eq!(claim.transition.record.due(), Some(NOW.plus_millis(1_000)));
    assert_eq!(claim.transition.record.fields, record.fields);
}

#[test]
fn a_read_that_shows_a_conflict_sends_the_other_fields_only() {
    let claim = owing_two().claims(&named(2, "c"), 1);
    assert_eq!(
        claim.patch.unwrap().values,
        values(&[(Field::Description, text("d"))])
    );
    assert!(claim.transition.record.open.contains_key(&Field::Name));
}

#[test]
fn cancelling_withdraws_what_is_owed_and_waits_for_what_is_in_flight() {
    let (record, patch) = owing_two().sends(&named(1, "a"), 1);
    let cancelled = record.cancel(context(&Policies::default())).record;
    assert_eq!(cancelled.app(&Field::Name), text("a"));
    assert_eq!(cancelled.intent(), None);
    assert!(cancelled.due().is_some());
    let settled = refuse(&cancelled, &patch, &Refusal::Stale);
    assert_eq!(
        (settled.due(), &settled.push),
        (None, &crate::Push::default())
    );
}

#[test]
fn regression_a_withdrawn_write_that_never_landed_is_removed_in_time() {
    let policies = Policies::default();
    let late = |minutes: i64| Context {
        now: NOW.plus_millis(minutes * 60_000),
        ..context(&policies)
    };
    let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
    let taken_back = record
        .refused(&patch, &unknown(), context(&policies), FULL)
        .record
        .edits(Field::Name, text("a"));
    let claim_after = |record: &FileRecord, minutes| {
        let claim = record.claim(&named(1, "a"), AttemptId(2), late(minutes), FULL);
        assert_eq!(claim.patch, None, "nothing is owed");
        claim.transition.record
    };
    let soon = claim_after(&taken_back, 59);
    assert_eq!(
        soon.sides(&Field::Name).sent.len(),
        1,
        "it may still be in flight"
    );
    let done = claim_after(&soon, 60);
    assert_eq!((done.due(), &done.push), (None, &crate::Push::default()));

    let landed = claim_after(&soon, 59).sees(&named(2, "b")).record;
    assert_eq!(landed.intent().unwrap().fields, [&Field::Name]);
}

#[test]
fn a_conflict_keeps_the_time_of_an_earlier_sent_write() {
    let (record, patch) = owing_a_name().sends(&named(1, "a"), 1);
    let unanswered = refuse(&record, &patch, &unknown());
    let open = unanswered.sees(&named(2, "c")).record;
    assert!(open.due().is_none() && !open.sides(&Field::Name).sent.is_empty());
    assert_eq!(open.push.sent_at, NOW);
}

#[test]
fn nothing_due_keeps_no_time() {
    let record = record().retry(context(&Policies::default())).record;
    assert_eq!(record.push.not_before, Timestamp::default());
    assert_eq!(record, crate::fixture::record(), "and the revision stays");
}

#[test]
fn regression_a_push_waits_for_the_log_to_report_the_time_of_a_change() {
    let policies = all(Policy::LastWriterWins { window_millis: 0 });
    let undated = Context {
        drive_at: None,
        above: None,
        ..context(&policies)
    };
    let edited = record().edits(Field::Name, text("b"));
    let read = named(2, "c");
    let claim = edited.claim(&read, AttemptId(1), undated, FULL);
    assert_eq!(claim.patch, None);
    let waiting = claim.transition.record;
    assert!(waiting.open.is_empty(), "no person is asked yet");
    assert_eq!(waiting.due(), Some(NOW.plus_millis(1_000)));

    let mut reported = context(&policies);
    reported.drive_at = Some(NOW.plus_millis(-5));
    let decided = waiting
        .observe(&Observation::Present(read.clone()), reported)
        .record;
    assert_eq!(
        decided.app(&Field::Name),
        text("b"),
        "the application's edit is later"
    );
    assert!(
        decided
            .claim(&read, AttemptId(2), undated, FULL)
            .patch
            .is_some()
    );
}

#[test]
fn a_log_that_never_reports_the_time_leaves_the_decision_to_a_person() {
    let policies = all(Policy::LastWriterWins { window_millis: 0 });
    let undated = Context {
        drive_at: None,
        above: None,
        ..context(&policies)
    };
    let mut record = record().edits(Field::Name, text("b"));
    for attempt in 1..=5 {
        let claim = record.claim(&named(2, "c"), AttemptId(attempt), undated, FULL);
        record = claim.transition.record;
        assert!(record.open.is_empty());
    }
    let asked = record.claim(&named(2, "c"), AttemptId(6), undated, FULL);
    assert_eq!(asked.transition.record.open.len(), 1);
}

#[test]
fn out_of_scope_pushes_back_off_and_are_never_given_up() {
    let mut record = record().edits(Field::Name, text("b"));
    for round in 0..20 {
        let deferred = record
            .defer_out_of_scope(context(&Policies::default()), FULL)
            .record;
        let wait_millis = Backoff::PUSH.wait_millis(round + 1, FULL);
        assert_eq!(deferred.due(), Some(NOW.plus_millis(wait_millis)));
        assert_eq!(
            (deferred.push.failures, deferred.visible),
            (0, record.visible)
        );
        assert!(deferred.push.failed.is_empty());
        record = deferred;
    }
    let (sent, _) = record.sends(&named(2, "a"), 1);
    let deferred = sent
        .defer_out_of_scope(context(&Policies::default()), FULL)
        .record;
    assert_eq!(
        deferred.sides(&Field::Name),
        sent.sides(&Field::Name),
        "what is in flight stays recorded"
    );
    let agreed = crate::fixture::record();
    assert_eq!(
        agreed
            .defer_out_of_scope(context(&Policies::default()), FULL)
            .record,
        agreed
    );
}

#[test]
fn a_throttled_call_is_no_attempt_and_subtracts_no_failure() {
    let (claimed, patch) = owing_a_name().sends(&named(1, "a"), 1);
    let not_yet = Refusal::Throttled { wait_millis: 7_000 };
    let waits = refuse(&claimed, &patch, &not_yet);
    assert_eq!(waits.due(), Some(NOW.plus_millis(8_000)));
    assert_eq!((waits.push.attempts, waits.push.failures), (0, 0));
    assert!(
        waits.sides(&Field::Name).sent.is_empty(),
        "nothing was sent"
    );
    let failed = refuse(&claimed, &patch, &unknown());
    assert_eq!((failed.push.attempts, failed.push.failures), (1, 0));
    let nothing = Patch {
        attempt: AttemptId(2),
        values: values(&[]),
    };
    let waits = refuse(&failed, &nothing, &not_yet);
    assert_eq!((waits.push.attempts, waits.push.failures), (1, 0));
}
