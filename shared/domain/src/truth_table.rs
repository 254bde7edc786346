//! The merge of one observation, exhaustively: every base, application's side, Drive value, memory of
//! what was sent and open conflict over three values, against the table written once more in words.

use crate::merge::{Clash, Sent, Sides};
use crate::{AttemptId, DriveVersion};

/// What an observation does to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Nothing moved.
    Same,
    /// Both sides hold Drive's value.
    Agreed,
    /// Drive's value is taken for the base; the application's stays, owed or returned.
    OwnWrite,
    /// The application's value stays owed.
    Owed,
    /// Drive's value is taken.
    Taken,
    /// Both stand.
    Conflict,
}

/// The table, for a field without an open conflict.
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

/// The table, for a field with an open conflict.
fn table_open(base: u8, app: u8, drive: u8, unsure: bool) -> Verdict {
    if drive == app {
        Verdict::Agreed
    } else if drive == base && !unsure {
        Verdict::Owed
    } else {
        Verdict::Conflict
    }
}

/// The base, application's side, and Drive's side of a conflict that a verdict leaves.
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

fn sent(value: u8, against: DriveVersion) -> Sent<u8> {
    Sent {
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
    let clash = after.clash.as_ref().map(|clash| clash.drive);
    let expected = outcome(verdict, sides.base, sides.app, drive);
    assert_eq!(
        (after.base, after.app, clash),
        expected,
        "{sides:?} observes {drive}: {verdict:?}"
    );
    assert_eq!(*after.drive(), drive, "Drive's value is remembered");
    let live = |sides: &Sides<u8>| {
        let live = sides.sent.iter().filter(|sent| sent.against >= NOW);
        live.cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        live(&after),
        live(sides),
        "what may still land is never forgotten"
    );
    if after.base != sides.base {
        assert_eq!(
            after.sent,
            live(&after),
            "what is settled goes when the base moves"
        );
    }
    assert_eq!(after.observe(drive, NOW), after, "twice is once");
}

#[test]
fn every_observation_of_a_field_without_a_conflict_follows_the_table() {
    let mut seen = std::collections::BTreeSet::new();
    for (base, app, drive) in triples() {
        // A write that may still land tells nothing about what was seen: it must not matter.
        for settled in [None, Some(0), Some(1), Some(2)] {
            for live in [None, Some(0), Some(1), Some(2)] {
                let settled_entry = settled.map(|value| sent(value, BEFORE));
                let live_entry = live.map(|value| sent(value, NOW));
                let sides = Sides {
                    base,
                    app,
                    clash: None,
                    sent: settled_entry.into_iter().chain(live_entry).collect(),
                };
                let verdict = table(base, app, drive, settled);
                check(&sides, drive, verdict);
                seen.insert(verdict);
            }
        }
    }
    assert_eq!(seen.len(), 6, "every line of the table was met");
}

#[test]
fn every_observation_of_an_open_conflict_follows_the_table() {
    for (base, app, drive) in triples() {
        for held in (0..3).filter(|held| *held != app) {
            for unsure in [false, true] {
                for settled in [None, Some(0), Some(1), Some(2)] {
                    let sides = Sides {
                        base,
                        app,
                        clash: Some(Clash {
                            drive: held,
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
fn what_is_sent_is_what_is_owed_and_no_write_of_unknown_fate_is_sent_again() {
    for (base, app, _) in triples() {
        for settled in [None, Some(0), Some(1), Some(2)] {
            let sides = Sides {
                base,
                app,
                clash: None,
                sent: settled
                    .map(|value| sent(value, BEFORE))
                    .into_iter()
                    .collect(),
            };
            let judged = sides.judged(NOW);
            assert_eq!((judged.base, judged.app), (base, app));
            assert_eq!(
                judged.sent,
                [],
                "a judgement is the last that a settled entry has to say"
            );
            let ask = app != base && settled.is_some();
            assert_eq!(judged.clash.is_some(), ask, "{sides:?}");
            assert_eq!(judged.owed(), app != base && !ask, "{sides:?}");
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
                    clash: Some(Clash { drive, unsure }),
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
                clash: (later && drive != app).then_some(Clash {
                    drive,
                    unsure: false,
                }),
                sent: vec![sent(asked, BEFORE)],
            };
            let seen = if later { DriveVersion(6) } else { BEFORE };
            let after = sides.confirmed(AttemptId(u64::from(asked)), value, NOW, seen);
            // Where the application still holds what was sent, it takes what Drive made of it.
            let app = if app == asked { value } else { app };
            let drive = if later { *sides.drive() } else { value };
            let verdict = table(value, app, drive, None);
            let clash = after.clash.as_ref().map(|clash| clash.drive);
            assert_eq!(
                (after.base, after.app, clash),
                outcome(verdict, value, app, drive)
            );
            assert_eq!(after.sent, []);
            assert_eq!(
                after.confirmed(AttemptId(u64::from(asked)), value, NOW, seen),
                after,
                "twice is once"
            );
        }
    }
}
