use crate::fixture::{
    FULL, Manually as _, NOW, all, file, moment, named, present, record, snapshot, text, values,
};
use crate::{
    AttemptId, Backoff, Choice, Claim, ConflictStatus, EditRefused, Field, FileId, FileRecord,
    Gone, NewFile, Observation, Patch, Policies, Policy, Presence, Refusal, ResolveRefused,
    Snapshot, Step, Value,
};

const REMOVED: Observation = Observation::Gone(Gone::Removed);

fn answered(record: &FileRecord, answer: &Observation) -> Step {
    record.answered(answer, moment(&Policies::default()))
}

fn refuse(record: &FileRecord, patch: &Patch, refusal: &Refusal) -> FileRecord {
    let policies = Policies::default();
    record
        .refused(patch, refusal, moment(&policies), FULL)
        .record
}

fn cancel(record: &FileRecord) -> FileRecord {
    record.cancel(moment(&Policies::default())).record
}

fn try_edit(record: &FileRecord, name: &str) -> Result<Step, EditRefused> {
    let edit = values(&[(Field::Name, text(name))]);
    record.edit(&edit, "ann", moment(&Policies::default()))
}

fn unknown() -> Refusal {
    Refusal::Unknown("timeout".to_owned())
}

fn permanent() -> Refusal {
    Refusal::Permanent("insufficientFilePermissions".to_owned())
}

mod deleting {
    use super::*;

    fn delete(record: &FileRecord) -> FileRecord {
        let policies = Policies::default();
        record.delete("ann", moment(&policies)).unwrap().record
    }

    fn deleting() -> FileRecord {
        delete(&record())
    }

    fn resolve(
        record: &FileRecord,
        moves: Option<u32>,
        choice: &Choice,
    ) -> Result<Step, ResolveRefused> {
        let id = record.open_conflict(&Field::Existence).unwrap();
        record.resolve(&id, moves, choice, "bob", moment(&Policies::default()))
    }

    #[test]
    fn a_deletion_is_owed_and_pushed_alone() {
        let record = delete(&record().edits(Field::Name, text("b")));
        assert_eq!(record.due(), Some(NOW));
        assert_eq!(
            record.intent().unwrap().fields,
            [&Field::Existence, &Field::Name]
        );
        let (claimed, patch) = record.sends(&named(1, "a"), 1);
        assert!(patch.deletes() && patch.values.len() == 1);
        assert_eq!(claimed.due(), Some(NOW.plus_millis(30_000)));
    }

    #[test]
    fn a_deletion_that_drive_took_is_a_tombstone_and_no_conflict() {
        let record = delete(&record().edits(Field::Name, text("b")));
        let (claimed, _) = record.sends(&named(1, "a"), 1);
        for record in [claimed, record] {
            let done = answered(&record, &REMOVED);
            assert_eq!(done.record.presence, Presence::Gone(Gone::Removed, NOW));
            assert!(done.conflicts.is_empty());
            assert_eq!((done.record.due(), done.record.intent()), (None, None));
            assert!(done.record.edits.is_empty());
        }
    }

    #[test]
    fn a_deletion_of_what_somebody_changed_meanwhile_is_a_question() {
        let mut content = snapshot(2, &[]);
        content.mirror.md5 = Some("0".to_owned());
        let mut document = snapshot(2, &[]);
        document.mirror.modified_at = Some(NOW);
        let mut moved = snapshot(2, &[]);
        moved.mirror.drive_id = Some("0AShared".to_owned());
        let trashed = snapshot(2, &[(Field::Trashed, Value::Flag(true))]);
        let property = snapshot(2, &[(crate::fixture::property("p"), text("x"))]);
        for seen in [named(2, "c"), content, document, moved, trashed, property] {
            let claim = deleting().claims(&seen, 1);
            assert_eq!(claim.patch, None, "{seen:?}");
            let id = claim.step.record.open_conflict(&Field::Existence).unwrap();
            let conflict = &claim.step.conflicts[&id];
            assert_eq!(
                (&conflict.app, &conflict.drive),
                (&text("removed"), &text("present"))
            );
            assert_eq!(claim.step.record.due(), None);
            // The same through a queue.
            let told = deleting().sees(&seen).record;
            assert!(told.open.contains_key(&Field::Existence), "{seen:?}");
        }
    }

    #[test]
    fn noise_is_no_reason_to_ask_before_a_deletion() {
        let mut noise = snapshot(9, &[]);
        noise.mirror.modified_by = Some("somebody".to_owned());
        let (_, patch) = deleting().sends(&noise, 1);
        assert!(patch.deletes());
        // Where there is a checksum, a time that moves is noise as well.
        let mut with_content = snapshot(1, &[]);
        with_content.mirror.md5 = Some("0".to_owned());
        let record = delete(&FileRecord::first_sight(&with_content));
        with_content.version.0 = 2;
        with_content.mirror.modified_at = Some(NOW);
        assert!(record.claims(&with_content, 1).patch.is_some());
    }

    #[test]
    fn our_own_write_that_comes_back_is_no_reason_to_ask() {
        let (sent, patch) = record()
            .edits(Field::Name, text("b"))
            .sends(&named(1, "a"), 1);
        let record = delete(&sent);
        let echo = record.sees(&named(2, "b")).record;
        assert!(echo.open.is_empty());
        let mut answer = named(2, "b");
        answer.mirror.modified_at = Some(NOW);
        let confirmed = record.confirmed(&patch, &answer, moment(&Policies::default()));
        assert!(confirmed.record.open.is_empty());
        assert!(confirmed.record.deletion_owed());
    }

    #[test]
    fn a_deletion_that_lost_the_race_is_judged_again() {
        let (claimed, patch) = deleting().sends(&named(1, "a"), 1);
        let again = refuse(&claimed, &patch, &Refusal::Stale);
        assert!(again.deletion_owed());
        assert!(
            again.claims(&named(2, "a"), 2).patch.is_some(),
            "only noise"
        );
        assert!(again.claims(&named(2, "c"), 2).patch.is_none(), "a person");
    }

    #[test]
    fn a_deletion_without_an_answer_is_looked_at_and_is_no_question_by_itself() {
        let (claimed, patch) = deleting().sends(&named(1, "a"), 1);
        let unanswered = refuse(&claimed, &patch, &unknown());
        assert!(unanswered.due().is_some());
        assert!(answered(&unanswered, &REMOVED).record.is_gone());
        let Claim { step, patch } = unanswered.claims(&named(2, "a"), 2);
        assert!(patch.unwrap().deletes() && step.record.open.is_empty());
    }

    #[test]
    fn a_deletion_that_is_refused_for_good_fails_alone() {
        let record = delete(&record().edits(Field::Name, text("b")));
        let (claimed, patch) = record.sends(&named(1, "a"), 1);
        let refused = refuse(&claimed, &patch, &permanent());
        assert_eq!(
            refused.push.failed[&Field::Existence],
            "insufficientFilePermissions"
        );
        assert!(!refused.deletion_owed());
        let (_, next) = refused.sends(&named(1, "a"), 2);
        assert_eq!(next.values, values(&[(Field::Name, text("b"))]));
        assert!(try_edit(&refused, "c").is_ok());
        assert!(delete(&refused).deletion_owed(), "asked again, tried again");
        let retried = refused.retry(moment(&Policies::default())).record;
        assert!(retried.deletion_owed());
    }

    #[test]
    fn taking_a_deletion_back_keeps_the_file() {
        let kept = cancel(&deleting());
        assert_eq!((kept.due(), kept.intent()), (None, None));
        assert!(!kept.fields.contains_key(&Field::Existence) && kept.edits.is_empty());
        // In flight, it may still happen, and then it has.
        let (claimed, _) = deleting().sends(&named(1, "a"), 1);
        let taken_back = cancel(&claimed);
        assert!(taken_back.due().is_some() && taken_back.intent().is_none());
        assert!(answered(&taken_back, &REMOVED).record.is_gone());
        let settled = taken_back.claims(&named(2, "a"), 2);
        assert_eq!((settled.patch, settled.step.record.due()), (None, None));
    }

    #[test]
    fn a_file_that_is_being_deleted_is_not_edited() {
        assert_eq!(try_edit(&deleting(), "b"), Err(EditRefused::Deleting));
        let asked = deleting().sees(&named(2, "c")).record;
        let id = asked.open_conflict(&Field::Existence).unwrap();
        assert_eq!(
            try_edit(&asked, "b"),
            Err(EditRefused::Held(vec![id.clone()]))
        );
        let again = asked.delete("ann", moment(&Policies::default()));
        assert_eq!(again, Err(EditRefused::Held(vec![id])));
        let gone = answered(&record(), &REMOVED).record;
        let deleted = gone.delete("ann", moment(&Policies::default()));
        assert_eq!(deleted, Err(EditRefused::Gone));
    }

    #[test]
    fn a_question_is_settled_for_the_file_or_for_its_deletion() {
        let asked = deleting().sees(&named(2, "c")).record;
        for choice in [Choice::Drive, Choice::Base, Choice::Value(text("present"))] {
            let kept = resolve(&asked, None, &choice).unwrap().record;
            assert!(kept.open.is_empty() && kept.due().is_none());
            assert_eq!(kept.app(&Field::Name), text("c"));
        }
        for choice in [Choice::App, Choice::Value(text("removed"))] {
            let step = resolve(&asked, Some(0), &choice).unwrap();
            assert!(step.record.deletion_owed());
            assert!(matches!(
                step.conflicts.values().next().unwrap().status,
                ConflictStatus::Resolved(_)
            ));
            // Against what the decision saw: the next change is another question.
            assert!(step.record.claims(&named(2, "c"), 1).patch.is_some());
            assert!(step.record.claims(&named(3, "d"), 1).patch.is_none());
        }
        let odd = resolve(&asked, None, &Choice::Value(text("b")));
        assert!(matches!(odd, Err(ResolveRefused::Value(_))));
    }

    #[test]
    fn a_question_follows_the_file_and_a_decision_on_an_older_one_is_refused() {
        let asked = deleting().sees(&named(2, "c")).record;
        let later = asked.sees(&named(3, "d")).record;
        assert_eq!(later.open[&Field::Existence].moves, 1);
        assert_eq!(
            resolve(&later, Some(0), &Choice::App),
            Err(ResolveRefused::Moved)
        );
        let noise = asked.sees(&named(3, "c")).record;
        assert_eq!(noise.open[&Field::Existence].moves, 0);
        let gone = answered(&asked, &REMOVED);
        assert!(gone.record.open.is_empty() && gone.record.is_gone());
        let ended = gone.conflicts.values().next().unwrap();
        assert_eq!(ended.status, ConflictStatus::Closed { at: NOW });
    }

    #[test]
    fn a_policy_settles_it_at_once() {
        for (policy, kept) in [(Policy::DriveWins, true), (Policy::AppWins, false)] {
            let policies = all(policy);
            let seen = Observation::Present(named(2, "c"));
            let step = deleting().observe(&seen, moment(&policies));
            assert_eq!(step.record.deletion_owed(), !kept);
            assert!(step.record.open.is_empty() && step.conflicts.len() == 1);
        }
    }

    #[test]
    fn conflicts_of_fields_end_with_the_file_and_keep_their_values() {
        let open = record()
            .edits(Field::Name, text("b"))
            .sees(&named(2, "c"))
            .record;
        let done = answered(&delete(&open), &REMOVED);
        let conflict = done.conflicts.values().next().unwrap();
        assert_eq!((&conflict.app, &conflict.drive), (&text("b"), &text("c")));
        assert!(matches!(conflict.status, ConflictStatus::Resolved(_)));
        assert!(done.record.open.is_empty());
    }
}

mod creating {
    use super::*;

    fn new() -> NewFile {
        NewFile {
            file: file(),
            mime_type: "text/plain".to_owned(),
            shortcut_target: None,
            values: values(&[(Field::Name, text("a")), (Field::Parent, text("0AFolder"))]),
        }
    }

    fn creating() -> FileRecord {
        let policies = Policies::default();
        FileRecord::creating(&new(), "ann", moment(&policies))
            .unwrap()
            .record
    }

    fn made(version: u64, name: &str) -> Snapshot {
        let parent = (Field::Parent, text("0AFolder"));
        let mut snapshot = snapshot(version, &[(Field::Name, text(name)), parent]);
        snapshot.mirror.mime_type = "text/plain".to_owned();
        snapshot
    }

    fn claim(record: &FileRecord, attempt: u64) -> Claim {
        record.claim_creation(AttemptId(attempt), moment(&Policies::default()))
    }

    fn send(record: &FileRecord, attempt: u64) -> (FileRecord, Patch) {
        let claim = claim(record, attempt);
        (claim.step.record, claim.patch.unwrap())
    }

    fn confirm(record: &FileRecord, patch: &Patch, answer: &Snapshot) -> FileRecord {
        let policies = Policies::default();
        record.confirmed(patch, answer, moment(&policies)).record
    }

    #[test]
    fn a_file_that_is_made_is_shown_at_once_and_owed() {
        let record = creating();
        assert_eq!(record.presence, Presence::Creating);
        assert_eq!(record.app(&Field::Name), text("a"));
        assert_eq!(record.due(), Some(NOW));
        let intent = record.intent().unwrap();
        assert!(intent.fields.contains(&&Field::Existence) && !intent.failed);
        let (_, patch) = send(&record, 1);
        assert!(patch.creates());
        assert_eq!(patch.values.len(), 3);
    }

    #[test]
    fn a_value_that_is_not_allowed_makes_nothing() {
        let new = NewFile {
            values: values(&[(Field::Name, text(""))]),
            ..new()
        };
        let refused = FileRecord::creating(&new, "ann", moment(&Policies::default()));
        assert!(matches!(refused, Err(EditRefused::Value(Field::Name, _))));
    }

    #[test]
    fn a_file_that_drive_made_is_present_and_in_step() {
        let (claimed, patch) = send(&creating(), 1);
        let by_answer = confirm(&claimed, &patch, &made(5, "a"));
        let by_look = answered(&claimed, &Observation::Present(made(5, "a"))).record;
        for done in [by_answer, by_look] {
            assert!(done.is_present() && done.open.is_empty());
            assert_eq!((done.due(), done.intent()), (None, None));
            assert_eq!(
                (done.version.0, done.mirror.mime_type.as_str()),
                (5, "text/plain")
            );
            let seen = FileRecord::first_sight(&made(5, "a"));
            assert_eq!((done.fields, done.mask), (seen.fields, seen.mask));
            assert!(done.edits.is_empty());
        }
    }

    #[test]
    fn our_own_file_in_the_log_is_asked_about_and_taken() {
        let (claimed, _) = send(&creating(), 1);
        let echo = Observation::Present(made(5, "a"));
        assert!(claimed.must_ask(&echo));
        let untouched = claimed.observe(&echo, moment(&Policies::default()));
        assert_eq!(untouched, Step::stay(claimed.clone()));
        assert!(answered(&claimed, &echo).record.is_present());
    }

    #[test]
    fn what_a_person_changed_since_is_theirs_and_what_the_application_changed_is_owed() {
        let (claimed, _) = send(&creating(), 1);
        let theirs = answered(&claimed, &Observation::Present(made(7, "theirs"))).record;
        assert!(theirs.open.is_empty());
        assert_eq!(theirs.app(&Field::Name), text("theirs"));

        let edited = claimed.edits(Field::Name, text("later"));
        let ours = answered(&edited, &Observation::Present(made(5, "a"))).record;
        assert_eq!(ours.intent().unwrap().fields, [&Field::Name]);
        let both = answered(&edited, &Observation::Present(made(7, "theirs"))).record;
        assert!(both.open.contains_key(&Field::Name));
    }

    #[test]
    fn two_attempts_with_different_values_are_no_conflict_of_our_own() {
        let (first, lost) = send(&creating(), 1);
        let first = refuse(&first, &lost, &unknown());
        let (second, _) = send(&first.edits(Field::Name, text("b")), 2);
        for name in ["a", "b"] {
            let record = answered(&second, &Observation::Present(made(5, name))).record;
            assert!(record.open.is_empty(), "{name}");
            assert_eq!(record.app(&Field::Name), text("b"));
            assert_eq!(record.due().is_some(), name == "a");
        }
    }

    #[test]
    fn a_refusal_for_good_is_failed_as_a_whole_until_something_changes() {
        let (claimed, patch) = send(&creating(), 1);
        let failed = refuse(&claimed, &patch, &permanent());
        assert_eq!(failed.due(), None);
        let intent = failed.intent().unwrap();
        assert!(intent.failed && intent.reason == Some("insufficientFilePermissions"));
        assert_eq!(failed.push.failed.len(), 1);
        assert_eq!(claim(&failed, 2).patch, None);
        let retried = failed.retry(moment(&Policies::default())).record;
        assert!(claim(&retried, 2).patch.is_some());
        let edited = failed.edits(Field::Name, text("b"));
        assert_eq!(edited.due(), Some(NOW));
        let (_, patch) = send(&edited, 2);
        assert_eq!(patch.values[&Field::Name], text("b"));
    }

    #[test]
    fn attempts_without_an_answer_are_given_up_in_the_end() {
        let mut record = creating();
        let tries = u64::from(Backoff::PUSH.failures_max);
        for attempt in 1..=tries {
            let (claimed, patch) = send(&record, attempt);
            record = refuse(&claimed, &patch, &unknown());
        }
        assert_eq!(record.due(), None);
        let mut dead = creating();
        for attempt in 1..=tries {
            dead = send(&dead, attempt).0;
        }
        assert_eq!(claim(&dead, tries + 1).patch, None);
    }

    #[test]
    fn what_was_never_sent_is_taken_back_without_a_trace_in_drive() {
        for record in [cancel(&creating()), {
            let policies = Policies::default();
            creating().delete("ann", moment(&policies)).unwrap().record
        }] {
            assert_eq!(record.presence, Presence::Gone(Gone::Removed, NOW));
            assert_eq!((record.due(), record.intent()), (None, None));
            assert!(record.edits.is_empty());
            assert_eq!(
                record.app(&Field::Name),
                text("a"),
                "it still tells what it was"
            );
        }
    }

    #[test]
    fn what_was_sent_already_is_looked_at_and_deleted_if_it_came_about() {
        let (claimed, patch) = send(&creating(), 1);
        let taken_back = cancel(&claimed);
        assert!(taken_back.creation_taken_back() && taken_back.due().is_some());
        assert_eq!(try_edit(&taken_back, "b"), Err(EditRefused::Deleting));
        assert!(answered(&taken_back, &REMOVED).record.is_gone());
        let late = confirm(&taken_back, &patch, &made(5, "a"));
        let looked = answered(&taken_back, &Observation::Present(made(5, "a"))).record;
        for there in [late, looked] {
            assert!(there.deletion_owed() && there.open.is_empty());
            assert!(there.claims(&made(5, "a"), 2).patch.unwrap().deletes());
        }
        let touched = answered(&taken_back, &Observation::Present(made(7, "theirs"))).record;
        assert!(touched.open.contains_key(&Field::Existence));
    }

    #[test]
    fn a_file_that_was_made_and_removed_before_we_knew_is_not_made_again() {
        let fresh = creating();
        assert!(!fresh.must_ask(&REMOVED));
        assert_eq!(answered(&fresh, &REMOVED), Step::stay(fresh.clone()));
        let (claimed, patch) = send(&fresh, 1);
        let unanswered = refuse(&claimed, &patch, &unknown());
        assert!(unanswered.must_ask(&REMOVED));
        let gone = answered(&unanswered, &REMOVED);
        assert!(gone.record.is_gone() && gone.conflicts.is_empty());
        // An edit that it never had is kept, as it is for any file that goes.
        let edited = unanswered.edits(Field::Name, text("b"));
        let gone = answered(&edited, &REMOVED);
        let conflict = gone.conflicts.values().next().unwrap();
        assert_eq!(conflict.owed, values(&[(Field::Name, text("b"))]));
        assert_eq!(conflict.moves, 0);
    }

    #[test]
    fn a_field_that_drive_did_not_take_is_not_undone_unseen() {
        let starred = NewFile {
            values: values(&[
                (Field::Name, text("a")),
                (Field::Starred, Value::Flag(true)),
            ]),
            ..new()
        };
        let record = FileRecord::creating(&starred, "ann", moment(&Policies::default()));
        let (claimed, patch) = send(&record.unwrap().record, 1);
        let told = confirm(&claimed, &patch, &made(5, "a"));
        assert_eq!(told.app(&Field::Starred), Value::Flag(true));
        assert!(told.push.failed.contains_key(&Field::Starred));
        let looked = answered(&claimed, &Observation::Present(made(5, "a"))).record;
        let judged = looked.claims(&made(5, "a"), 2).step.record;
        assert!(judged.open.contains_key(&Field::Starred), "nobody can tell");
    }

    #[test]
    fn a_shortcut_keeps_its_target() {
        let shortcut = NewFile {
            shortcut_target: Some(FileId::parse("1Target").unwrap()),
            ..new()
        };
        let record = FileRecord::creating(&shortcut, "ann", moment(&Policies::default()));
        let target = record.unwrap().record.mirror.shortcut_target;
        assert_eq!(target.as_deref(), Some("1Target"));
        let seen = present(1, &[]);
        assert!(creating().must_ask(&seen));
    }
}
