//! Wrong rules that the search must catch, each by a given violation: the proof that the oracle can
//! fail.

use super::model::{OURS, Rules};
use super::oracle::Violation;
use super::{Budget, Search, budget};
use crate::DriveVersion;
use crate::merge::{DriveSide, SentWrite, Sides};

/// Fails unless the search catches the mutant, by this violation first or among others.
#[track_caller]
fn caught(mutant: &Rules, left: Budget, as_what: Violation) {
    let found = Search::run(mutant, left, 1);
    let kinds: Vec<Violation> = found.violations.iter().map(|(kind, _)| *kind).collect();
    assert!(
        kinds.contains(&as_what),
        "not caught as {as_what:?} in {} states, but as {kinds:?}",
        found.states
    );
}

fn settled(sides: &Sides<u8>, at: DriveVersion) -> bool {
    sides.sent.iter().any(|sent| sent.against < at)
}

/// Merges by comparing Drive's value with base and app, ignoring what was sent.
fn plain_merge(sides: &Sides<u8>, drive: u8) -> Sides<u8> {
    let mut next = sides.clone();
    if drive == next.app {
        next.base = drive;
        next.conflict = None;
    } else if next.conflict.is_some() || (drive != next.base && next.app != next.base) {
        next.conflict = Some(DriveSide {
            drive,
            unsure: false,
        });
    } else if drive != next.base {
        next.base = drive;
        next.app = drive;
    }
    next
}

#[test]
fn without_any_record_of_sent_writes() {
    let mutant = Rules {
        claimed: |sides, _, _| sides.clone(),
        ..OURS
    };
    caught(&mutant, budget(0, 2, 0, 0, 0), Violation::SelfConflict);
    caught(&mutant, budget(1, 1, 1, 0, 0), Violation::HumanEditLost);
}

/// Rule (a): Drive at a settled sent value is our own write.
#[test]
fn without_recognising_our_own_write() {
    let mutant = Rules {
        observe: |sides, drive, at| {
            let own = sides.conflict.is_none()
                && drive != sides.base
                && drive != sides.app
                && settled(sides, at);
            if own {
                plain_merge(sides, drive)
            } else {
                sides.observe(drive, at)
            }
        },
        ..OURS
    };
    caught(&mutant, budget(0, 2, 0, 0, 0), Violation::AppEditLost);
    caught(&mutant, budget(0, 2, 1, 0, 0), Violation::SelfConflict);
}

/// Rule (b): a settled write that differs from the application's side shows that it moved and
/// returned.
#[test]
fn without_detecting_that_the_application_returned() {
    let mutant = Rules {
        observe: |sides, drive, at| {
            let next = sides.observe(drive, at);
            let returned = sides.conflict.is_none() && sides.app == sides.base;
            if returned && next.conflict.is_some() {
                Sides::agreed(drive)
            } else {
                next
            }
        },
        ..OURS
    };
    caught(&mutant, budget(1, 2, 0, 0, 0), Violation::AppEditLost);
}

/// Rule (c): a settled write of unknown outcome is not sent again over what may be a person's undo.
#[test]
fn without_the_unsure_conflict() {
    let mutant = Rules {
        assess_in_flight: |sides, at| {
            let mut next = sides.assess_in_flight(at);
            if sides.conflict.is_none() {
                next.conflict = None;
            }
            next
        },
        ..OURS
    };
    caught(&mutant, budget(1, 1, 1, 0, 0), Violation::HumanEditLost);
}

/// Rule (d): settled entries carry no further information once the base has moved.
#[test]
fn without_ever_dropping_settled_entries() {
    fn keep(before: &Sides<u8>, mut after: Sides<u8>) -> Sides<u8> {
        after.sent.clone_from(&before.sent);
        after
    }
    let mutant = Rules {
        observe: |sides, drive, at| keep(sides, sides.observe(drive, at)),
        assess_in_flight: |sides, at| keep(sides, sides.assess_in_flight(at)),
        resolved: |sides, app, seen| keep(sides, sides.resolved(app, seen)),
        ..OURS
    };
    caught(&mutant, budget(1, 2, 1, 0, 1), Violation::AppEditLost);
}

#[test]
fn without_ever_dropping_writes_that_never_landed() {
    let mutant = Rules {
        discard_in_flight: Sides::clone,
        ..OURS
    };
    caught(&mutant, budget(0, 2, 1, 0, 0), Violation::Stuck);
}

#[test]
fn an_in_flight_write_taken_for_one_that_never_landed() {
    let mutant = Rules {
        assess_in_flight: |sides, at| sides.assess_in_flight(at).discard_in_flight(),
        ..OURS
    };
    caught(&mutant, budget(0, 2, 1, 0, 0), Violation::AppEditLost);
}

#[test]
fn a_confirmation_that_only_moves_the_base() {
    let mutant = Rules {
        confirmed: |sides, attempt, value, _, _| {
            let mut next = sides.refused(attempt);
            next.base = value;
            next.conflict = next.conflict.filter(|conflict| conflict.drive != value);
            next
        },
        ..OURS
    };
    caught(&mutant, budget(1, 1, 0, 0, 0), Violation::Diverged);
}

#[test]
fn a_confirmation_that_forgets_a_later_observation() {
    let mutant = Rules {
        confirmed: |sides, attempt, value, at, _| sides.confirmed(attempt, value, at, at),
        ..OURS
    };
    caught(&mutant, budget(1, 1, 0, 0, 0), Violation::Diverged);
}

#[test]
fn a_confirmation_that_ignores_a_settling_observation() {
    let mutant = Rules {
        confirmed: |sides, attempt, value, at, seen| {
            if sides.sent.iter().any(|sent| sent.attempt == attempt) {
                return sides.confirmed(attempt, value, at, seen);
            }
            Sides {
                base: value,
                ..sides.clone()
            }
        },
        ..OURS
    };
    caught(&mutant, budget(2, 1, 0, 0, 0), Violation::HumanEditLost);
}

#[test]
fn a_missing_answer_taken_for_a_refusal() {
    let mutant = Rules {
        unanswered: |sides, attempt| sides.refused(attempt),
        ..OURS
    };
    caught(&mutant, budget(1, 1, 1, 0, 0), Violation::HumanEditLost);
}

#[test]
fn a_refusal_that_keeps_its_entry() {
    let mutant = Rules {
        refused: |sides, _| sides.clone(),
        ..OURS
    };
    caught(&mutant, budget(2, 1, 0, 0, 0), Violation::NeedlessQuestion);
}

/// One change since the claim's read can't be our write and its undoing; two can.
#[test]
fn two_changes_taken_for_one_that_shows_that_the_write_never_landed() {
    let mutant = Rules {
        assess_in_flight: |sides, at| {
            let mut next = sides.assess_in_flight(at);
            let two = |sent: &SentWrite<u8>| sent.against.0 + 2 >= at.0;
            if sides.conflict.is_none() && sides.sent.iter().all(two) {
                next.conflict = None;
            }
            next
        },
        ..OURS
    };
    caught(&mutant, budget(1, 1, 1, 0, 0), Violation::HumanEditLost);
}

#[test]
fn a_lost_write_forgotten_because_a_worker_still_sends_the_same() {
    let mutant = Rules {
        unanswered: |sides, attempt| {
            let mut next = sides.clone();
            let same = |sent: &SentWrite<u8>| {
                sides.sent.iter().any(|mine| {
                    mine.attempt == attempt
                        && (mine.value, mine.against) == (sent.value, sent.against)
                })
            };
            if sides.sent.iter().filter(|sent| same(sent)).count() > 1 {
                next.sent.retain(|sent| sent.attempt != attempt);
            }
            next
        },
        ..OURS
    };
    let found = Search::run(&mutant, budget(1, 2, 2, 0, 0), 2);
    assert!(!found.violations.is_empty(), "{} states", found.states);
}

#[test]
fn an_open_conflict_that_does_not_follow_drive() {
    let mutant = Rules {
        observe: |sides, drive, at| match &sides.conflict {
            Some(_) => sides.clone(),
            None => sides.observe(drive, at),
        },
        ..OURS
    };
    caught(&mutant, budget(2, 1, 0, 0, 1), Violation::Diverged);
}

#[test]
fn a_decision_that_forgets_drives_value() {
    let mutant = Rules {
        resolved: |sides, app, _| Sides {
            app,
            conflict: None,
            ..sides.clone()
        },
        ..OURS
    };
    caught(&mutant, budget(1, 1, 0, 0, 1), Violation::Diverged);
}

#[test]
fn a_conflict_that_resolves_itself_for_the_application() {
    let mutant = Rules {
        observe: |sides, drive, at| {
            let next = sides.observe(drive, at);
            next.resolved(next.app, at)
        },
        ..OURS
    };
    caught(&mutant, budget(1, 1, 0, 0, 0), Violation::HumanEditLost);
}

#[test]
fn a_conflict_that_resolves_itself_for_drive() {
    let mutant = Rules {
        observe: |sides, drive, at| {
            let next = sides.observe(drive, at);
            next.resolved(*next.drive(), at)
        },
        ..OURS
    };
    caught(&mutant, budget(1, 1, 0, 0, 0), Violation::AppEditLost);
}
