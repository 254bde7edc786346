//! The merge of one observation, exhaustively: every base, application side, Drive value, list of
//! sent writes and open conflict over three values, against an independent statement of the table.

use crate::merge::{DriveSide, SentWrite, Sides};
use crate::{AttemptId, DriveVersion};

/// The effect of an observation on a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Nothing moved.
    Same,
    /// Both sides have Drive's value.
    Agreed,
    /// The base takes Drive's value; the application's value stays, owed or returned.
    OwnWrite,
    /// The application's value stays owed.
    Owed,
    /// Drive's value is taken.
    Taken,
    /// Both values are kept.
    Conflict,
}

/// The table for a field without an open conflict.
fn table(base: u8, app: u8, drive: u8, settled: Option<u8>) -> Verdict {
    let app_moved = app != base || settled.is_some_and(|value| value != app);
    match (drive != base, app_moved) {
        (true, _) if drive == app => Verdict::Agreed,
        (true, _) if settled == Some(drive) => Verdict::OwnWrite,
        (true, true) => Verdict::Conflict,
        (true, false) => Verdict::Taken,
        (false, _) if app != base => Verdict::Owed,
        (false, _) => Verdict::Same,
    }
}

/// The table for a field with an open conflict.
fn table_open(base: u8, app: u8, drive: u8, unsure: bool) -> Verdict {
    if drive == app {
        Verdict::Agreed
    } else if drive == base && !unsure {
        Verdict::Owed
    } else {
        Verdict::Conflict
    }
}

/// Returns the base, the application's side, and Drive's side of a conflict after a verdict.
fn outcome(verdict: Verdict, base: u8, app: u8, drive: u8) -> (u8, u8, Option<u8>) {
    match verdict {
        Verdict::Same | Verdict::Owed => (base, app, None),
        Verdict::Agreed | Verdict::Taken => (drive, drive, None),
        Verdict::OwnWrite => (drive, app, None),
        Verdict::Conflict => (base, app, Some(drive)),
    }
}

const BEFORE: DriveVersion = DriveVersion(4);
const NOW: DriveVersion = DriveVersion(5);
const LATER: DriveVersion = DriveVersion(6);

fn sent(value: u8, against: DriveVersion) -> SentWrite<u8> {
    SentWrite {
        value,
        against,
        attempt: AttemptId(u64::from(value)),
    }
}

fn triples() -> impl Iterator<Item = (u8, u8, u8)> {
    (0..27).map(|n| (n / 9, n / 3 % 3, n % 3))
}

#[track_caller]
fn check(sides: &Sides<u8>, drive: u8, verdict: Verdict) {
    let after = sides.observe(drive, NOW);
    let conflict = after.conflict.as_ref().map(|conflict| conflict.drive);
    let expected = outcome(verdict, sides.base, sides.app, drive);
    assert_eq!(
        (after.base, after.app, conflict),
        expected,
        "{sides:?} observes {drive}: {verdict:?}"
    );
    assert_eq!(*after.drive(), drive, "Drive's value is recorded");
    let live = |sides: &Sides<u8>| {
        let live = sides.sent.iter().filter(|sent| sent.against >= NOW);
        live.cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        live(&after),
        live(sides),
        "an unsettled entry is never removed"
    );
    if after.base != sides.base {
        assert_eq!(
            after.sent,
            live(&after),
            "settled entries are removed when the base moves"
        );
    }
    assert_eq!(
        after.observe(drive, NOW),
        after,
        "a repetition changes nothing"
    );
}

#[test]
fn every_observation_of_a_field_without_a_conflict_follows_the_table() {
    let mut seen = std::collections::BTreeSet::new();
    for (base, app, drive) in triples() {
        // A write that may still land carries no information about the observation, and must not
        // matter.
        for settled in [None, Some(0), Some(1), Some(2)] {
            for live in [None, Some(0), Some(1), Some(2)] {
                let settled_entry = settled.map(|value| sent(value, BEFORE));
                let live_entry = live.map(|value| sent(value, NOW));
                let sides = Sides {
                    base,
                    app,
                    conflict: None,
                    sent: settled_entry.into_iter().chain(live_entry).collect(),
                };
                let verdict = table(base, app, drive, settled);
                check(&sides, drive, verdict);
                seen.insert(verdict);
            }
        }
    }
    assert_eq!(seen.len(), 6, "every line of the table occurred");
}

#[test]
fn every_observation_of_an_open_conflict_follows_the_table() {
    for (base, app, drive) in triples() {
        for other in (0..3).filter(|other| *other != app) {
            for unsure in [false, true] {
                for settled in [None, Some(0), Some(1), Some(2)] {
                    let sides = Sides {
                        base,
                        app,
                        conflict: Some(DriveSide {
                            drive: other,
                            unsure,
                        }),
                        sent: settled
                            .map(|value| sent(value, BEFORE))
                            .into_iter()
                            .collect(),
                    };
                    check(&sides, drive, table_open(base, app, drive, unsure));
                }
            }
        }
    }
}

#[test]
fn only_what_is_owed_is_sent_and_no_unknown_outcome_is_repeated() {
    for (base, app, _) in triples() {
        for settled in [None, Some(0), Some(1), Some(2)] {
            let sides = Sides {
                base,
                app,
                conflict: None,
                sent: settled
                    .map(|value| sent(value, BEFORE))
                    .into_iter()
                    .collect(),
            };
            // One change since then can't be the write and its undoing.
            let next = sides.assess_in_flight(NOW);
            assert_eq!((next.conflict, next.sent), (None, vec![]));
            let assess_in_flight = sides.assess_in_flight(LATER);
            assert_eq!((assess_in_flight.base, assess_in_flight.app), (base, app));
            assert_eq!(
                assess_in_flight.sent,
                [],
                "an assessment removes settled entries"
            );
            let ask = app != base && settled.is_some();
            assert_eq!(assess_in_flight.conflict.is_some(), ask, "{sides:?}");
            assert_eq!(assess_in_flight.owed(), app != base && !ask, "{sides:?}");
        }
    }
}

#[test]
fn every_decision_makes_drives_value_the_base_and_the_choice_the_applications() {
    for (base, app, drive) in triples().filter(|(_, app, drive)| app != drive) {
        for choice in 0..3 {
            for unsure in [false, true] {
                let sides = Sides {
                    base,
                    app,
                    conflict: Some(DriveSide { drive, unsure }),
                    sent: vec![sent(app, BEFORE)],
                };
                let after = sides.resolved(choice, NOW);
                let expected = Sides {
                    app: choice,
                    ..Sides::agreed(drive)
                };
                assert_eq!(after, expected);
                assert_eq!(after.owed(), choice != drive);
            }
        }
    }
}

#[test]
fn every_confirmation_moves_the_base_and_then_merges_what_was_seen_later() {
    for (base, app, asked) in triples() {
        for (value, drive, later) in triples().map(|(v, d, _)| (v, d, d != base)) {
            let sides = Sides {
                base,
                app,
                conflict: (later && drive != app).then_some(DriveSide {
                    drive,
                    unsure: false,
                }),
                sent: vec![sent(asked, BEFORE)],
            };
            let seen = if later { DriveVersion(6) } else { BEFORE };
            let after = sides.confirmed(AttemptId(u64::from(asked)), value, NOW, seen);
            // If the application still has what was sent, it takes what Drive made of it.
            let app = if app == asked { value } else { app };
            let drive = if later { *sides.drive() } else { value };
            let verdict = table(value, app, drive, None);
            let conflict = after.conflict.as_ref().map(|conflict| conflict.drive);
            assert_eq!(
                (after.base, after.app, conflict),
                outcome(verdict, value, app, drive)
            );
            assert_eq!(after.sent, []);
            assert_eq!(
                after.confirmed(AttemptId(u64::from(asked)), value, NOW, seen),
                after,
                "a repetition changes nothing"
            );
        }
    }
}
