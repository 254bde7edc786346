//! The sentences, as people read them.

use super::*;
use crate::fixture::{Manually as _, record, text};
use crate::merge::Sides;
use crate::rate_limit::CircuitBreaker;
use crate::rate_limit::WritesRefused;
use crate::{
    AskCourse, Asked, DriveVersion, EndpointId, Glob, NoDecision, OpenConflict, Question, Resolver,
    Trouble,
};

const NOON: Timestamp = Timestamp::from_millis(1_795_262_400_000);

fn at(seconds: i64) -> Timestamp {
    NOON.plus_millis(seconds * 1_000)
}

fn sync<'a>(limits: &'a Limits, log: &'a LogId) -> SyncFacts<'a> {
    SyncFacts {
        state: SyncState::Active,
        owed_held: false,
        logs: vec![LogFacts {
            log,
            reading: LogReading::Following,
            has_channel: true,
            next_poll_at: at(600),
            read_at: Some(at(-5)),
            stop: None,
        }],
        rate_limit: None,
        limits,
        operation: None,
        now: NOON,
    }
}

fn facts(record: &FileRecord) -> FileFacts<'_> {
    FileFacts {
        record,
        excluded: None,
        trashed_by: None,
        content: None,
        content_left_out: None,
        parked: None,
        asked: &[],
        changed_at: Some(at(-60)),
    }
}

#[test]
fn a_conflict_says_what_its_resolver_does() {
    let (limits, log) = (Limits::default(), LogId::user());
    let mut record = record();
    let sides = Sides::agreed(text("a")).edited(text("b"), DriveVersion(1));
    let sides = sides.observe(text("c"), DriveVersion(2));
    record.fields.insert(Field::Name, sides);
    let question = Question {
        resolver: Resolver {
            endpoint: EndpointId::fresh(1),
            seconds_max: 60,
        },
        asked_at: NOON,
    };
    let open = OpenConflict {
        number: 1,
        moves: 0,
        opened_at: NOON,
        keeping: None,
        question: Some(question.clone()),
    };
    record.open.insert(Field::Name, open);
    let said = |course| {
        let asked = [(
            Field::Name,
            Asked {
                question: question.clone(),
                course,
            },
        )];
        let file = FileFacts {
            asked: &asked,
            ..facts(&record)
        };
        why_file(&file, &sync(&limits, &log)).first.sentence
    };
    let owed = AskCourse::Owed {
        at: NOON,
        failures: 0,
    };
    let waits = said(owed);
    assert!(waits.contains("It waits for its resolver until"), "{waits}");
    let left = AskCourse::Left {
        why: NoDecision::Refused,
        detail: Some("status 500".to_owned()),
        at: NOON,
    };
    let left = said(left);
    let end = "The resolver did not decide: it answered with an error (\"status 500\").";
    assert!(left.ends_with(end), "{left}");
}

fn sentences(why: &Why) -> Vec<&str> {
    let all = std::iter::once(&why.first).chain(&why.also);
    all.map(|reason| reason.sentence.as_str()).collect()
}

#[test]
fn an_edit_that_is_owed_says_since_when_and_what_it_met() {
    let (limits, log) = (Limits::default(), LogId::user());
    let mut owing = record().edits(Field::Name, text("b"));
    owing.edits.get_mut(&Field::Name).unwrap().at = at(-120);
    owing.push.not_before = at(40);
    owing.push.trouble = Some(Trouble {
        reason: "userRateLimitExceeded".to_owned(),
        since: at(-90),
        times: 2,
        against: DriveVersion(0),
    });
    let why = why_file(&facts(&owing), &sync(&limits, &log));
    assert_eq!(
        sentences(&why),
        [
            "Owed to Drive since 2026-11-21 11:58:00 UTC: the name: \"userRateLimitExceeded\" \
             2 times since 2026-11-21 11:58:30 UTC; next try in 40 s."
        ]
    );
    assert_eq!(why.first.field, Some(Field::Name));
    assert_eq!(why.first.next_try_at, Some(at(40)));
    assert_eq!(
        (why.first.since, why.first.count),
        (Some(at(-120)), Some(2))
    );
    assert_eq!(why.first.detail.as_deref(), Some("userRateLimitExceeded"));
}

#[test]
fn a_file_in_step_says_as_of_when() {
    let (limits, log) = (Limits::default(), LogId::user());
    let record = record();
    let why = why_file(&facts(&record), &sync(&limits, &log));
    assert_eq!(
        sentences(&why),
        [
            "It is in step with Drive since its change at 2026-11-21 11:59:00 UTC; Drive's changes \
             were read at 2026-11-21 11:59:55 UTC."
        ]
    );
}

#[test]
fn writes_that_drive_does_not_answer_come_before_what_waits_for_them() {
    let (limits, log) = (Limits::default(), LogId::user());
    let owing = record().edits(Field::Name, text("b"));
    let mut state = RateLimit::new(&limits, NOON);
    state.writes_breaker = CircuitBreaker::Open { until: at(60) };
    state.writes_refused = Some(WritesRefused {
        since: at(-60),
        status: Some(503),
        subject: 0,
    });
    let sync = SyncFacts {
        rate_limit: Some(&state),
        ..sync(&limits, &log)
    };
    let why = why_file(&facts(&owing), &sync);
    assert_eq!(
        why.first.sentence,
        "Drive answers 503 to writes since 2026-11-21 11:59:00 UTC; next try in 60 s."
    );
    assert_eq!(why.also[0].kind, ReasonKind::Owed);
}

#[test]
fn a_suspension_names_its_remedy() {
    let (limits, log) = (Limits::default(), LogId::user());
    let state = SyncState::Suspended {
        reason: "invalid_grant",
        at: at(-60),
    };
    let sync = SyncFacts {
        state,
        ..sync(&limits, &log)
    };
    let why = why_connection(AttentionCounts::default(), &sync);
    assert_eq!(
        why.first.sentence,
        "The connection is suspended since 2026-11-21 11:59:00 UTC: Google refuses its \
         credentials: they were revoked, deleted or have expired (\"invalid_grant\"); next try in \
         10 min."
    );
    assert!(
        why.first
            .what_to_do
            .unwrap()
            .starts_with("Grant access again")
    );
    let other = words::remedy("another_account").1;
    assert!(other.contains("replace_account"), "{other}");
}

#[test]
fn a_foreign_text_can_not_pass_for_a_part_of_the_sentence() {
    let (limits, log) = (Limits::default(), LogId::user());
    let rule = Rule::Name(Glob::parse("x\". All is well.\u{202e}").unwrap());
    let record = record();
    let file = FileFacts {
        excluded: Some(Excluded::By(&rule)),
        ..facts(&record)
    };
    assert_eq!(
        why_file(&file, &sync(&limits, &log)).first.sentence,
        "The connection's rules leave the file out: an exclude rule (name \"x\\\". All is \
         well.\\u{202e}\")."
    );
    let long = words::quoted(&"x".repeat(1_000));
    assert_eq!(long.chars().count(), 123);
}
