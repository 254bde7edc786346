use crate::fixture::{
    FULL, Manually as _, NOW, all, context, file, named, present, record, snapshot, text, values,
};
use crate::{
    AttemptId, Backoff, Choice, Claim, ConflictStatus, EditRefused, Field, FileId, FileRecord,
    Gone, NewFile, Observation, Patch, Policies, Policy, Presence, Refusal, ResolveRefused,
    Snapshot, Transition, Value,
};

const REMOVED: Observation = Observation::Gone(Gone::Removed);

fn answered(record: &FileRecord, answer: &Observation) -> Transition {
    record.apply_lookup(answer, context(&Policies::default()))
}

fn refuse(record: &FileRecord, patch: &Patch, refusal: &Refusal) -> FileRecord {
    let policies = Policies::default();
    record
        .refused(patch, refusal, context(&policies), FULL)
        .record
}

fn cancel(record: &FileRecord) -> FileRecord {
    record.cancel(context(&Policies::default())).record
}

fn try_edit(record: &FileRecord, name: &str) -> Result<Transition, EditRefused> {
    let edit = values(&[(Field::Name, text(name))]);
    record.edit(&edit, "ann", context(&Policies::default()))
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
        record.delete("ann", context(&policies)).unwrap().record
    }

    fn deleting() -> FileRecord {
        delete(&record())
    }

    fn resolve(
        record: &FileRecord,
        moves: Option<u32>,
        choice: &Choice,
    ) -> Result<Transition, ResolveRefused> {
        let id = record.open_conflict(&Field::Existence).unwrap();
        record.resolve(&id, moves, choice, "bob", context(&Policies::default()))
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
    fn a_confirmed_deletion_is_a_tombstone_without_conflict() {
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
    fn deleting_a_file_that_changed_meanwhile_is_a_conflict() {
        let mut content = snapshot(2, &[]);
        content.metadata.md5 = Some("0".to_owned());
        let mut document = snapshot(2, &[]);
        document.metadata.modified_at = Some(NOW);
        let mut moved = snapshot(2, &[]);
        moved.metadata.drive_id = Some("0AShared".to_owned());
        let trashed = snapshot(2, &[(Field::Trashed, Value::Flag(true))]);
        let property = snapshot(2, &[(crate::fixture::property("p"), text("x"))]);
        for seen in [named(2, "c"), content, document, moved, trashed, property] {
            let claim = deleting().claims(&seen, 1);
            assert_eq!(claim.patch, None, "{seen:?}");
            let id = claim
                .transition
                .record
                .open_conflict(&Field::Existence)
                .unwrap();
            let conflict = &claim.transition.conflicts[&id];
            assert_eq!(
                (&conflict.app, &conflict.drive),
                (&text("removed"), &text("present"))
            );
            assert_eq!(claim.transition.record.due(), None);
            // The same through a queue.
            let seen_again = deleting().sees(&seen).record;
            assert!(seen_again.open.contains_key(&Field::Existence), "{seen:?}");
        }
    }

    #[test]
    fn a_version_only_change_does_not_prevent_a_deletion() {
        let mut version_only = snapshot(9, &[]);
        version_only.metadata.modified_by = Some("someone".to_owned());
        let (_, patch) = deleting().sends(&version_only, 1);
        assert!(patch.deletes());
        // If there is a checksum, a changed time does not count either.
        let mut with_content = snapshot(1, &[]);
        with_content.metadata.md5 = Some("0".to_owned());
        let record = delete(&FileRecord::from_snapshot(&with_content));
        with_content.version.0 = 2;
        with_content.metadata.modified_at = Some(NOW);
        assert!(record.claims(&with_content, 1).patch.is_some());
    }

    #[test]
    fn our_own_write_coming_back_does_not_prevent_a_deletion() {
        let (sent, patch) = record()
            .edits(Field::Name, text("b"))
            .sends(&named(1, "a"), 1);
        let record = delete(&sent);
        let echo = record.sees(&named(2, "b")).record;
        assert!(echo.open.is_empty());
        let mut answer = named(2, "b");
        answer.metadata.modified_at = Some(NOW);
        let confirmed = record.confirmed(&patch, &answer, context(&Policies::default()));
        assert!(confirmed.record.open.is_empty());
        assert!(confirmed.record.deletion_owed());
    }

    #[test]
    fn a_deletion_that_lost_the_race_is_assessed_again() {
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
    fn an_unanswered_deletion_is_not_a_conflict_by_itself() {
        let (claimed, patch) = deleting().sends(&named(1, "a"), 1);
        let unanswered = refuse(&claimed, &patch, &unknown());
        assert!(unanswered.due().is_some());
        assert!(answered(&unanswered, &REMOVED).record.is_gone());
        let Claim { transition, patch } = unanswered.claims(&named(2, "a"), 2);
        assert!(patch.unwrap().deletes() && transition.record.open.is_empty());
    }

    #[test]
    fn a_permanently_refused_deletion_fails_alone() {
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
        assert!(
            delete(&refused).deletion_owed(),
            "a new request is tried again"
        );
        let retried = refused.retry(context(&Policies::default())).record;
        assert!(retried.deletion_owed());
    }

    #[test]
    fn cancelling_a_deletion_keeps_the_file() {
        let kept = cancel(&deleting());
        assert_eq!((kept.due(), kept.intent()), (None, None));
        assert!(!kept.fields.contains_key(&Field::Existence) && kept.edits.is_empty());
        // While in flight it may still happen, and then it has.
        let (claimed, _) = deleting().sends(&named(1, "a"), 1);
        let taken_back = cancel(&claimed);
        assert!(taken_back.due().is_some() && taken_back.intent().is_none());
        assert!(answered(&taken_back, &REMOVED).record.is_gone());
        let settled = taken_back.claims(&named(2, "a"), 2);
        assert_eq!(
            (settled.patch, settled.transition.record.due()),
            (None, None)
        );
    }

    #[test]
    fn a_file_that_is_being_deleted_can_not_be_edited() {
        assert_eq!(try_edit(&deleting(), "b"), Err(EditRefused::Deleting));
        let asked = deleting().sees(&named(2, "c")).record;
        let id = asked.open_conflict(&Field::Existence).unwrap();
        assert_eq!(
            try_edit(&asked, "b"),
            Err(EditRefused::InConflict(vec![id.clone()]))
        );
        let again = asked.delete("ann", context(&Policies::default()));
        assert_eq!(again, Err(EditRefused::InConflict(vec![id])));
        let gone = answered(&record(), &REMOVED).record;
        let deleted = gone.delete("ann", context(&Policies::default()));
        assert_eq!(deleted, Err(EditRefused::Gone));
    }

    #[test]
    fn an_existence_conflict_is_resolved_for_the_file_or_its_deletion() {
        let asked = deleting().sees(&named(2, "c")).record;
        for choice in [Choice::Drive, Choice::Base, Choice::Value(text("present"))] {
            let kept = resolve(&asked, None, &choice).unwrap().record;
            assert!(kept.open.is_empty() && kept.due().is_none());
            assert_eq!(kept.app(&Field::Name), text("c"));
        }
        for choice in [Choice::App, Choice::Value(text("removed"))] {
            let transition = resolve(&asked, Some(0), &choice).unwrap();
            assert!(transition.record.deletion_owed());
            assert!(matches!(
                transition.conflicts.values().next().unwrap().status,
                ConflictStatus::Resolved(_)
            ));
            // Against what the decision saw: the next change is another conflict.
            assert!(transition.record.claims(&named(2, "c"), 1).patch.is_some());
            assert!(transition.record.claims(&named(3, "d"), 1).patch.is_none());
        }
        let odd = resolve(&asked, None, &Choice::Value(text("b")));
        assert!(matches!(odd, Err(ResolveRefused::Value(_))));
    }

    #[test]
    fn an_existence_conflict_follows_the_file_and_refuses_stale_decisions() {
        let asked = deleting().sees(&named(2, "c")).record;
        let later = asked.sees(&named(3, "d")).record;
        assert_eq!(later.open[&Field::Existence].moves, 1);
        assert_eq!(
            resolve(&later, Some(0), &Choice::App),
            Err(ResolveRefused::Moved)
        );
        let version_only = asked.sees(&named(3, "c")).record;
        assert_eq!(version_only.open[&Field::Existence].moves, 0);
        let gone = answered(&asked, &REMOVED);
        assert!(gone.record.open.is_empty() && gone.record.is_gone());
        let ended = gone.conflicts.values().next().unwrap();
        assert_eq!(ended.status, ConflictStatus::Closed { at: NOW });
    }

    #[test]
    fn a_policy_resolves_it_at_once() {
        for (policy, kept) in [(Policy::DriveWins, true), (Policy::AppWins, false)] {
            let policies = all(policy);
            let seen = Observation::Present(named(2, "c"));
            let transition = deleting().observe(&seen, context(&policies));
            assert_eq!(transition.record.deletion_owed(), !kept);
            assert!(transition.record.open.is_empty() && transition.conflicts.len() == 1);
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
        FileRecord::creating(&new(), "ann", context(&policies))
            .unwrap()
            .record
    }

    fn made(version: u64, name: &str) -> Snapshot {
        let parent = (Field::Parent, text("0AFolder"));
        let mut snapshot = snapshot(version, &[(Field::Name, text(name)), parent]);
        snapshot.metadata.mime_type = "text/plain".to_owned();
        snapshot
    }

    fn claim(record: &FileRecord, attempt: u64) -> Claim {
        record.claim_creation(AttemptId(attempt), context(&Policies::default()))
    }

    fn send(record: &FileRecord, attempt: u64) -> (FileRecord, Patch) {
        let claim = claim(record, attempt);
        (claim.transition.record, claim.patch.unwrap())
    }

    fn confirm(record: &FileRecord, patch: &Patch, answer: &Snapshot) -> FileRecord {
        let policies = Policies::default();
        record.confirmed(patch, answer, context(&policies)).record
    }

    #[test]
    fn a_created_file_is_visible_at_once_and_owed() {
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
    fn a_value_that_is_not_allowed_creates_nothing() {
        let new = NewFile {
            values: values(&[(Field::Name, text(""))]),
            ..new()
        };
        let refused = FileRecord::creating(&new, "ann", context(&Policies::default()));
        assert!(matches!(refused, Err(EditRefused::Value(Field::Name, _))));
    }

    #[test]
    fn a_created_file_is_present_and_in_sync() {
        let (claimed, patch) = send(&creating(), 1);
        let by_answer = confirm(&claimed, &patch, &made(5, "a"));
        let by_look = answered(&claimed, &Observation::Present(made(5, "a"))).record;
        for done in [by_answer, by_look] {
            assert!(done.is_present() && done.open.is_empty());
            assert_eq!((done.due(), done.intent()), (None, None));
            assert_eq!(
                (done.version.0, done.metadata.mime_type.as_str()),
                (5, "text/plain")
            );
            let seen = FileRecord::from_snapshot(&made(5, "a"));
            assert_eq!((done.fields, done.field_set), (seen.fields, seen.field_set));
            assert!(done.edits.is_empty());
        }
    }

    #[test]
    fn our_own_created_file_in_the_log_needs_a_lookup() {
        let (claimed, _) = send(&creating(), 1);
        let echo = Observation::Present(made(5, "a"));
        assert!(claimed.needs_lookup(&echo));
        let untouched = claimed.observe(&echo, context(&Policies::default()));
        assert_eq!(untouched, Transition::unchanged(claimed.clone()));
        assert!(answered(&claimed, &echo).record.is_present());
    }

    #[test]
    fn changes_after_a_creation_are_the_persons_or_owed() {
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
    fn two_attempts_with_different_values_do_not_conflict() {
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
    fn a_permanently_refused_creation_fails_as_a_whole_until_a_change() {
        let (claimed, patch) = send(&creating(), 1);
        let failed = refuse(&claimed, &patch, &permanent());
        assert_eq!(failed.due(), None);
        let intent = failed.intent().unwrap();
        assert!(intent.failed && intent.reason == Some("insufficientFilePermissions"));
        assert_eq!(failed.push.failed.len(), 1);
        assert_eq!(claim(&failed, 2).patch, None);
        let retried = failed.retry(context(&Policies::default())).record;
        assert!(claim(&retried, 2).patch.is_some());
        let edited = failed.edits(Field::Name, text("b"));
        assert_eq!(edited.due(), Some(NOW));
        let (_, patch) = send(&edited, 2);
        assert_eq!(patch.values[&Field::Name], text("b"));
    }

    #[test]
    fn unanswered_attempts_are_repeated_and_those_of_crashed_workers_wait() {
        let mut record = creating();
        let tries = u64::from(Backoff::PUSH.failures_max);
        for attempt in 1..=tries + 1 {
            let (claimed, patch) = send(&record, attempt);
            record = refuse(&claimed, &patch, &unknown());
        }
        assert!(record.due().is_some() && record.push.failed.is_empty());
        let mut dead = creating();
        for attempt in 1..=tries {
            dead = send(&dead, attempt).0;
        }
        assert_eq!(claim(&dead, tries + 1).patch, None);
    }

    #[test]
    fn an_unsent_creation_is_cancelled_without_a_trace_in_drive() {
        for record in [cancel(&creating()), {
            let policies = Policies::default();
            creating().delete("ann", context(&policies)).unwrap().record
        }] {
            assert_eq!(record.presence, Presence::Gone(Gone::Removed, NOW));
            assert_eq!((record.due(), record.intent()), (None, None));
            assert!(record.edits.is_empty());
            assert_eq!(record.app(&Field::Name), text("a"), "its values are kept");
        }
    }

    #[test]
    fn a_sent_creation_that_is_cancelled_is_deleted_if_it_happened() {
        let (claimed, patch) = send(&creating(), 1);
        let taken_back = cancel(&claimed);
        assert!(taken_back.creation_taken_back() && taken_back.due().is_some());
        assert_eq!(try_edit(&taken_back, "b"), Err(EditRefused::Deleting));
        assert!(answered(&taken_back, &REMOVED).record.is_gone());
        let late = confirm(&taken_back, &patch, &made(5, "a"));
        let looked_up = answered(&taken_back, &Observation::Present(made(5, "a"))).record;
        for there in [late, looked_up] {
            assert!(there.deletion_owed() && there.open.is_empty());
            assert!(there.claims(&made(5, "a"), 2).patch.unwrap().deletes());
        }
        let touched = answered(&taken_back, &Observation::Present(made(7, "theirs"))).record;
        assert!(touched.open.contains_key(&Field::Existence));
    }

    #[test]
    fn a_file_created_and_removed_unobserved_is_not_created_again() {
        let fresh = creating();
        assert!(!fresh.needs_lookup(&REMOVED));
        assert_eq!(
            answered(&fresh, &REMOVED),
            Transition::unchanged(fresh.clone())
        );
        let (claimed, patch) = send(&fresh, 1);
        let unanswered = refuse(&claimed, &patch, &unknown());
        assert!(unanswered.needs_lookup(&REMOVED));
        let gone = answered(&unanswered, &REMOVED);
        assert!(gone.record.is_gone() && gone.conflicts.is_empty());
        // An edit that Drive never received is kept, as for any file that is gone.
        let edited = unanswered.edits(Field::Name, text("b"));
        let gone = answered(&edited, &REMOVED);
        let conflict = gone.conflicts.values().next().unwrap();
        assert_eq!(conflict.owed, values(&[(Field::Name, text("b"))]));
        assert_eq!(conflict.moves, 0);
    }

    #[test]
    fn a_field_that_drive_left_unchanged_is_given_up_and_not_undone() {
        let starred = NewFile {
            values: values(&[
                (Field::Name, text("a")),
                (Field::Starred, Value::Flag(true)),
            ]),
            ..new()
        };
        let record = FileRecord::creating(&starred, "ann", context(&Policies::default()));
        let (claimed, patch) = send(&record.unwrap().record, 1);
        let seen_again = confirm(&claimed, &patch, &made(5, "a"));
        assert_eq!(seen_again.app(&Field::Starred), Value::Flag(true));
        assert!(seen_again.push.failed.contains_key(&Field::Starred));
        let looked_up = answered(&claimed, &Observation::Present(made(5, "a"))).record;
        let assessed = looked_up.claims(&made(5, "a"), 2).transition.record;
        assert!(
            assessed.open.contains_key(&Field::Starred),
            "the outcome is unknown"
        );
    }

    #[test]
    fn a_shortcut_keeps_its_target() {
        let shortcut = NewFile {
            shortcut_target: Some(FileId::parse("1Target").unwrap()),
            ..new()
        };
        let record = FileRecord::creating(&shortcut, "ann", context(&Policies::default()));
        let target = record.unwrap().record.metadata.shortcut_target;
        assert_eq!(target.as_deref(), Some("1Target"));
        let seen = present(1, &[]);
        assert!(creating().needs_lookup(&seen));
    }
}
