//! Wrong rules, each of which the search must catch: the proof that the oracle can fail.

use super::model::{OURS, Rules};
use super::oracle::Violation;
use super::{Budget, Search, budget};
use crate::DriveVersion;
use crate::merge::{Clash, Sides};

/// The search must find the mutant out, and in this way first or among others.
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

/// Drive's value against base and app, as if nothing had ever been sent.
fn plain_merge(sides: &Sides<u8>, drive: u8) -> Sides<u8> {
    let mut next = sides.clone();
    if drive == next.app {
        next.base = drive;
        next.clash = None;
    } else if next.clash.is_some() || (drive != next.base && next.app != next.base) {
        next.clash = Some(Clash {
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
fn without_any_memory_of_what_was_sent() {
    let mutant = Rules {
        claimed: |sides, _, _| sides.clone(),
        ..OURS
    };
    caught(&mutant, budget(0, 2, 0, 0, 0), Violation::SelfConflict);
    caught(&mutant, budget(1, 1, 1, 0, 0), Violation::HumanEditLost);
}

/// Rule (a): Drive at a settled sent value is our own write.
#[test]
fn without_knowing_our_own_write_when_it_comes_back() {
    let mutant = Rules {
        observe: |sides, drive, at| {
            let own = sides.clash.is_none()
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

/// Rule (b): a settled write that differs from the application's side shows that it moved and returned.
#[test]
fn without_seeing_that_the_application_moved_and_returned() {
    let mutant = Rules {
        observe: |sides, drive, at| {
            let next = sides.observe(drive, at);
            let returned = sides.clash.is_none() && sides.app == sides.base;
            if returned && next.clash.is_some() {
                Sides::agreed(drive)
            } else {
                next
            }
        },
        ..OURS
    };
    caught(&mutant, budget(1, 2, 0, 0, 0), Violation::AppEditLost);
}

/// Rule (c): a settled write of unknown fate is not sent again over what may be a person's undo.
#[test]
fn without_the_unsure_conflict() {
    let mutant = Rules {
        judged: |sides, at| {
            let mut next = sides.judged(at);
            if sides.clash.is_none() {
                next.clash = None;
            }
            next
        },
        ..OURS
    };
    caught(&mutant, budget(1, 1, 1, 0, 0), Violation::HumanEditLost);
}

/// Rule (d): settled entries have said all they can once the base has moved.
#[test]
fn without_ever_dropping_settled_entries() {
    fn keep(before: &Sides<u8>, mut after: Sides<u8>) -> Sides<u8> {
        after.sent.clone_from(&before.sent);
        after
    }
    let mutant = Rules {
        observe: |sides, drive, at| keep(sides, sides.observe(drive, at)),
        judged: |sides, at| keep(sides, sides.judged(at)),
        resolved: |sides, app, seen| keep(sides, sides.resolved(app, seen)),
        ..OURS
    };
    caught(&mutant, budget(1, 2, 1, 0, 1), Violation::AppEditLost);
}

#[test]
fn without_ever_dropping_what_never_landed() {
    let mutant = Rules {
        unlanded: Sides::clone,
        ..OURS
    };
    caught(&mutant, budget(0, 2, 1, 0, 0), Violation::Stuck);
}

#[test]
fn what_may_still_land_taken_for_what_never_did() {
    let mutant = Rules {
        judged: |sides, at| sides.judged(at).unlanded(),
        ..OURS
    };
    caught(&mutant, budget(0, 2, 1, 0, 0), Violation::AppEditLost);
}

#[test]
fn a_confirmation_that_moves_the_base_and_looks_no_further() {
    let mutant = Rules {
        confirmed: |sides, attempt, value, _, _| {
            let mut next = sides.refused(attempt);
            next.base = value;
            next.clash = next.clash.filter(|clash| clash.drive != value);
            next
        },
        ..OURS
    };
    caught(&mutant, budget(1, 1, 0, 0, 0), Violation::Diverged);
}

#[test]
fn a_confirmation_that_forgets_what_drive_was_seen_to_hold_later() {
    let mutant = Rules {
        confirmed: |sides, attempt, value, at, _| sides.confirmed(attempt, value, at, at),
        ..OURS
    };
    caught(&mutant, budget(1, 1, 0, 0, 0), Violation::Diverged);
}

#[test]
fn a_confirmation_that_ignores_that_an_observation_has_settled_it() {
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
fn no_answer_taken_for_a_refusal() {
    let mutant = Rules {
        unanswered: |sides, attempt| sides.refused(attempt),
        ..OURS
    };
    caught(&mutant, budget(1, 1, 1, 0, 0), Violation::HumanEditLost);
}

#[test]
fn a_refusal_that_leaves_its_entry_behind() {
    let mutant = Rules {
        refused: |sides, _| sides.clone(),
        ..OURS
    };
    caught(&mutant, budget(1, 1, 0, 0, 0), Violation::NeedlessQuestion);
}

#[test]
fn an_open_conflict_that_does_not_follow_drive() {
    let mutant = Rules {
        observe: |sides, drive, at| match &sides.clash {
            Some(_) => sides.clone(),
            None => sides.observe(drive, at),
        },
        ..OURS
    };
    caught(&mutant, budget(2, 1, 0, 0, 1), Violation::Diverged);
}

#[test]
fn a_decision_that_forgets_what_drive_held() {
    let mutant = Rules {
        resolved: |sides, app, _| Sides {
            app,
            clash: None,
            ..sides.clone()
        },
        ..OURS
    };
    caught(&mutant, budget(1, 1, 0, 0, 1), Violation::Diverged);
}

#[test]
fn a_conflict_that_is_decided_for_the_application_by_itself() {
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
fn a_conflict_that_is_decided_for_drive_by_itself() {
    let mutant = Rules {
        observe: |sides, drive, at| {
            let next = sides.observe(drive, at);
            next.resolved(*next.drive(), at)
        },
        ..OURS
    };
    caught(&mutant, budget(1, 1, 0, 0, 0), Violation::AppEditLost);
}
