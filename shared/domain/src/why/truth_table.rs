//! The truth table: for every combination of facts, the reasons of a file, and the first one.
//!
//! Each column is one fact with all of its values. The table says of each value which reason it
//! gives; a combination has exactly the reasons of its values, in the order of their names.

use super::*;
use crate::fixture::{Manually as _, NOW, context, file, record, text};
use crate::merge::Sides;
use crate::rate_limit::{CircuitBreaker, Pause, WritesRefused};
use crate::{
    Again, AttemptId, DriveVersion, Edit, FileRecord, Glob, Gone, Missing, OpenConflict, Policies,
    Presence, Suspicion,
};

/// The states of one field, with the reason of each.
const FIELDS: [(&str, Option<ReasonKind>); 8] = [
    ("agreed", None),
    ("owed", Some(ReasonKind::Owed)),
    ("owed, refused before", Some(ReasonKind::Owed)),
    ("failed", Some(ReasonKind::EditRefused)),
    ("failed for now", Some(ReasonKind::EditRefusedForNow)),
    ("in flight", Some(ReasonKind::OutcomeUnknown)),
    ("in conflict", Some(ReasonKind::Conflict)),
    ("both kept", Some(ReasonKind::KeepingBoth)),
];

const PRESENCES: [(Presence, Option<ReasonKind>); 4] = [
    (Presence::Present, None),
    (
        Presence::Gone(Gone::Removed, NOW),
        Some(ReasonKind::Removed),
    ),
    (
        Presence::Gone(Gone::AccessLost, NOW),
        Some(ReasonKind::AccessLost),
    ),
    (
        Presence::Gone(Gone::MovedAway, NOW),
        Some(ReasonKind::MovedAway),
    ),
];

/// What keeps the connection from reading or writing, with the reason; whether it is only a reason
/// of a file that owes something.
const TURNS: [(&str, Option<ReasonKind>, bool); 7] = [
    ("none", None, false),
    ("asks to wait", Some(ReasonKind::DriveAsksToWait), false),
    ("breaker", Some(ReasonKind::DriveFails), false),
    ("writes refused", Some(ReasonKind::WritesRefused), true),
    ("quota", Some(ReasonKind::QuotaUsed), true),
    ("writes", Some(ReasonKind::WritesLimited), true),
    ("uploads paused", None, true),
];

const STATES: [(SyncState<'_>, Option<ReasonKind>); 4] = [
    (SyncState::Active, None),
    (SyncState::Paused, Some(ReasonKind::Paused)),
    (
        SyncState::Suspended {
            reason: "invalid_grant",
            at: NOW,
        },
        Some(ReasonKind::Suspended),
    ),
    (SyncState::Deleted, Some(ReasonKind::Deleted)),
];

const READINGS: [(LogReading, bool, Option<ReasonKind>); 4] = [
    (LogReading::Following, true, None),
    (LogReading::Following, false, Some(ReasonKind::NoChannel)),
    (LogReading::Listing, false, Some(ReasonKind::Listing)),
    (
        LogReading::Left { at: NOW },
        false,
        Some(ReasonKind::DriveLeft),
    ),
];

fn with_field(state: &str, presence: Presence) -> FileRecord {
    let mut made = record();
    let edited = Sides::agreed(text("a")).edited(text("b"), DriveVersion(1));
    let edit = Edit {
        by: "ann".to_owned(),
        at: NOW,
        cause: None,
    };
    let again = Again {
        at: NOW.plus_millis(60_000),
        times: 2,
    };
    let open = OpenConflict {
        number: 1,
        moves: 0,
        opened_at: NOW,
        keeping: None,
        question: None,
    };
    let sides = match state {
        "agreed" => None,
        "in flight" => Some(
            edited
                .claimed(DriveVersion(1), AttemptId(1))
                .edited(text("a"), DriveVersion(1)),
        ),
        "in conflict" | "both kept" => Some(edited.observe(text("c"), DriveVersion(2))),
        _ => Some(edited),
    };
    if let Some(sides) = sides {
        made.fields.insert(Field::Name, sides);
        made.edits.insert(Field::Name, edit);
    }
    match state {
        "owed, refused before" => {
            made = made.edits(Field::Name, text("b"));
            made.push.trouble = Some(crate::Trouble {
                reason: "userRateLimitExceeded".to_owned(),
                since: NOW,
                times: 2,
                against: DriveVersion(0),
            });
        }
        "failed" | "failed for now" => {
            made.push.failed.insert(Field::Name, "invalid".to_owned());
            if state == "failed for now" {
                made.push.again.insert(Field::Name, again);
            }
        }
        "in conflict" => {
            made.open.insert(Field::Name, open);
        }
        "both kept" => {
            let keeping = crate::Keeping {
                copy: file(),
                by: crate::Decider::Policy,
                at: NOW,
                reason: None,
            };
            made.open.insert(
                Field::Name,
                OpenConflict {
                    keeping: Some(keeping),
                    ..open
                },
            );
        }
        _ => {}
    }
    made.presence = presence;
    made
}

fn limiter(turn: &str, limits: &Limits) -> RateLimit {
    let later = NOW.plus_millis(30_000);
    let mut state = RateLimit::new(limits, NOW);
    match turn {
        "asks to wait" => state.blocked_until = later,
        "breaker" => state.breaker = CircuitBreaker::Open { until: later },
        "writes refused" => {
            state.writes_breaker = CircuitBreaker::Open { until: later };
            state.writes_refused = Some(WritesRefused {
                since: NOW,
                status: Some(503),
                subject: 1,
            });
        }
        "quota" => state.quota.level_micros = 0,
        "writes" => state.writes.level_micros = 0,
        "uploads paused" => {
            state.uploads = Pause {
                until: later,
                times: 1,
            }
        }
        _ => {}
    }
    state
}

/// Says what must hold of every answer, whatever the facts are.
fn check(why: &Why, wanted: &[ReasonKind], facts: &str) {
    let all: Vec<&Reason> = std::iter::once(&why.first).chain(&why.also).collect();
    let kinds: Vec<ReasonKind> = all.iter().map(|reason| reason.kind).collect();
    assert_eq!(kinds, wanted, "{facts}");
    for reason in all {
        let sentence = &reason.sentence;
        assert!(sentence.ends_with('.'), "{sentence}");
        assert!(sentence.starts_with(char::is_uppercase), "{sentence}");
        let asks = reason.kind.group() == ReasonGroup::NeedsPerson;
        assert!(!asks || reason.what_to_do.is_some(), "{sentence}");
        let held = reason.kind == ReasonKind::Conflict;
        assert!(!held || reason.conflict.is_some(), "{sentence}");
    }
}

#[test]
fn every_combination_of_facts_has_the_reasons_of_its_facts_in_order() {
    let limits = Limits::default();
    let log = LogId::user();
    let glob = Rule::Name(Glob::parse("*.tmp").unwrap());
    let above = FileId::parse("above").unwrap();
    let trouble = content::Trouble {
        of: "x".to_owned(),
        reason: "cannotDownloadAbusiveFile".to_owned(),
        verdict: content::Verdict::Refused,
        since: NOW,
        asked_at: NOW,
    };
    let missing = MissingContent {
        trouble: &trouble,
        failures: 3,
        due_at: Some(NOW),
    };
    let parked = |redrive_at| Parked {
        reason: "too_large",
        at: NOW,
        redrive_at,
    };
    let excluded = [
        (None, None),
        (Some(Excluded::By(&glob)), Some(ReasonKind::Excluded)),
        (Some(Excluded::NotIncluded), Some(ReasonKind::Excluded)),
    ];
    let contents = [
        (None, None, None),
        (Some(missing), None, Some(ReasonKind::ContentUnavailable)),
        (None, Some(Skipped::Size), Some(ReasonKind::ContentLeftOut)),
    ];
    let letters = [
        (None, None),
        (Some(parked(None)), Some(ReasonKind::Parked)),
        (Some(parked(Some(NOW))), Some(ReasonKind::ParkedForNow)),
    ];
    let trashes = [(None, None), (Some(&above), Some(ReasonKind::Trashed))];
    let mut seen = 0_u32;
    for (field, of_field) in FIELDS {
        for (presence, of_presence) in PRESENCES {
            let record = with_field(field, presence);
            let gone = record.is_gone();
            for (turn, of_turn, of_owed_alone) in TURNS {
                let state = limiter(turn, &limits);
                for (sync_state, of_state) in STATES {
                    for (reading, has_channel, of_reading) in READINGS {
                        for owed_held in [false, true] {
                            let sync = SyncFacts {
                                state: sync_state,
                                owed_held,
                                logs: vec![LogFacts {
                                    log: &log,
                                    reading,
                                    has_channel,
                                    next_poll_at: NOW,
                                    read_at: Some(NOW),
                                    stop: None,
                                }],
                                rate_limit: Some(&state),
                                limits: &limits,
                                operation: None,
                                now: NOW,
                            };
                            // Of these, each kind of fact comes alone and with others.
                            for (number, ((excluded, of_rules), (trashed_by, of_trash))) in excluded
                                .iter()
                                .flat_map(|one| trashes.iter().map(move |other| (*one, *other)))
                                .enumerate()
                            {
                                let (content, content_left_out, of_content) =
                                    contents[number % contents.len()];
                                let (parked, of_letter) = letters[(number + 1) % letters.len()];
                                let why = why_file(
                                    &FileFacts {
                                        record: &record,
                                        excluded,
                                        trashed_by,
                                        content,
                                        content_left_out,
                                        parked,
                                        asked: &[],
                                        changed_at: None,
                                    },
                                    &sync,
                                );
                                let owes = matches!(field, "owed" | "owed, refused before");
                                let is_active = sync_state == SyncState::Active;
                                let lost = presence == Presence::Gone(Gone::AccessLost, NOW);
                                let synced = !gone || lost;
                                let of_conflict = matches!(field, "in conflict" | "both kept");
                                let notes = reading == LogReading::Following;
                                let wanted = [
                                    of_field.filter(|_| !gone || of_conflict),
                                    of_presence,
                                    of_state.filter(|_| synced),
                                    of_turn.filter(|_| {
                                        synced && is_active && (!of_owed_alone || owes && !gone)
                                    }),
                                    of_reading.filter(|_| synced && is_active && (!notes || !gone)),
                                    (owed_held && owes && !gone).then_some(ReasonKind::OwedHeld),
                                    of_rules.filter(|_| !gone),
                                    of_trash.filter(|_| !gone),
                                    of_content.filter(|_| !gone),
                                    of_letter,
                                ];
                                let mut wanted: Vec<ReasonKind> =
                                    wanted.into_iter().flatten().collect();
                                let open = |kind: &ReasonKind| kind.group() < ReasonGroup::InStep;
                                if !wanted.iter().any(open) {
                                    wanted.push(ReasonKind::InStep);
                                }
                                wanted.sort();
                                let facts = format!(
                                    "{field} {presence:?} {turn} {sync_state:?} {reading:?} \
                                     {owed_held} {number}"
                                );
                                check(&why, &wanted, &facts);
                                seen += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(seen, 8 * 4 * 7 * 4 * 4 * 2 * 6);
}

#[test]
fn every_combination_of_a_connections_facts_has_their_reasons_in_order() {
    let limits = Limits::default();
    let log = LogId::user();
    let mut seen = 0_u32;
    for (turn, of_turn, of_owed_alone) in TURNS {
        let state = limiter(turn, &limits);
        for (sync_state, of_state) in STATES {
            for (reading, has_channel, of_reading) in READINGS {
                for bits in 0..64_u64 {
                    let bit = |number: u32| bits >> number & 1;
                    let counts = AttentionCounts {
                        conflicts: bit(0),
                        refused: bit(1),
                        owed: bit(2),
                        content: bit(3),
                        parked: bit(4),
                    };
                    let owed_held = bit(5) == 1;
                    let sync = SyncFacts {
                        state: sync_state,
                        owed_held,
                        logs: vec![LogFacts {
                            log: &log,
                            reading,
                            has_channel,
                            next_poll_at: NOW,
                            read_at: None,
                            stop: None,
                        }],
                        rate_limit: Some(&state),
                        limits: &limits,
                        operation: None,
                        now: NOW,
                    };
                    let is_active = sync_state == SyncState::Active;
                    let owes = counts.owed > 0;
                    let of_turn = match turn {
                        "uploads paused" => Some(ReasonKind::UploadsPaused),
                        _ => of_turn,
                    };
                    let flag = |is: bool, kind| is.then_some(kind);
                    let wanted = [
                        flag(bit(0) == 1, ReasonKind::Conflict),
                        flag(bit(1) == 1, ReasonKind::EditRefused),
                        flag(owes, ReasonKind::Owed),
                        flag(bit(3) == 1, ReasonKind::ContentUnavailable),
                        flag(bit(4) == 1, ReasonKind::Parked),
                        flag(owed_held, ReasonKind::OwedHeld),
                        of_state,
                        of_turn.filter(|_| is_active && (!of_owed_alone || owes)),
                        of_reading.filter(|_| is_active),
                    ];
                    let mut wanted: Vec<ReasonKind> = wanted.into_iter().flatten().collect();
                    if wanted.iter().all(|kind| kind.group() > ReasonGroup::InStep) {
                        wanted.push(ReasonKind::InStep);
                    }
                    wanted.sort();
                    let why = why_connection(counts, &sync);
                    let all = std::iter::once(&why.first).chain(&why.also);
                    let kinds: Vec<ReasonKind> = all.map(|reason| reason.kind).collect();
                    assert_eq!(kinds, wanted, "{turn} {sync_state:?} {reading:?} {bits:b}");
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 7 * 4 * 4 * 64);
}

#[test]
fn what_is_not_known_of_a_file_is_a_reason() {
    let limits = Limits::default();
    let sync = SyncFacts {
        state: SyncState::Active,
        owed_held: false,
        logs: Vec::new(),
        rate_limit: None,
        limits: &limits,
        operation: None,
        now: NOW,
    };
    let mut doubted = record();
    let seen = Suspicion {
        since: NOW,
        times: 1,
    };
    doubted.missing = Some(Missing {
        why: Gone::Removed,
        seen,
    });
    let mut unlisted = record();
    unlisted.unlisted = Some(Again { at: NOW, times: 1 });
    let deleted = record().delete("ann", context(&Policies::default()));
    let gone = record().edits(Field::Name, text("b"));
    let gone = gone.apply_lookup(
        &crate::Observation::Gone(Gone::Removed),
        context(&Policies::default()),
    );
    for (record, kind) in [
        (doubted, ReasonKind::InDoubt),
        (unlisted, ReasonKind::PermissionsUnknown),
        (deleted.unwrap().record, ReasonKind::Owed),
        (gone.record, ReasonKind::Conflict),
    ] {
        let file = FileFacts {
            record: &record,
            excluded: None,
            trashed_by: None,
            content: None,
            content_left_out: None,
            parked: None,
            asked: &[],
            changed_at: None,
        };
        assert_eq!(why_file(&file, &sync).first.kind, kind, "{record:?}");
    }
}
