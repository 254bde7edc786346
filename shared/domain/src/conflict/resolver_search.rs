//! All interleavings of a conflict that moves, a person who decides, workers that ask its resolver,
//! crash and answer, and time that passes. Faults in the rules must be caught.

use std::collections::{BTreeSet, VecDeque};

use super::{AnswerRefused, Asked, NoDecision, Resolver};
use crate::fixture::{NOW, context, named, record, text, values};
use crate::webhook::LeaseToken;
use crate::{
    Choice, ConflictRecord, ConflictStatus, Context, Decider, EndpointId, Field, FileRecord,
    Observation, Policies, Policy, Timestamp, Transition,
};

/// The times that matter, in milliseconds: at once, after a lease, after the resolver's time, after
/// the lease of what was sent at its last moment, and after all of that for the last move.
const TIMES_MILLIS: [i64; 5] = [0, 31_000, 61_000, 93_000, 125_000];
/// The last of these at which the sides move.
const LAST_MOVE: usize = 2;
const WORKERS: usize = 2;
const CRASHES: usize = 1;

/// A fault in the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// An answer counts for whatever the sides are by then.
    AnyState,
    /// Each attempt has an id of its own.
    FreshId,
    /// An answer counts whenever it comes.
    Late,
    /// A worker does not look whether another one sends.
    NoClaim,
    /// A decision of a person is replaced.
    OverPerson,
}

/// A worker, by what it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Worker {
    Idle,
    /// It has claimed the question of these sides.
    Claimed {
        moves: u32,
    },
    /// It has the answer about these sides.
    Answered {
        moves: u32,
    },
}

#[derive(Debug, Clone)]
struct World {
    record: FileRecord,
    conflict: ConflictRecord,
    time: usize,
    workers: Vec<Worker>,
    crashes: usize,
    /// How often the lease of a worker ran out before it was done.
    stalls: usize,
    person: bool,
    /// The messages: the sides that they are about, and their ids.
    sent: Vec<(u32, String)>,
}

fn policies() -> Policies {
    Policies {
        default: Policy::Webhook(Resolver {
            endpoint: EndpointId::fresh(1),
            seconds_max: 60,
        }),
        ..Policies::default()
    }
}

fn answer(moves: u32) -> Choice {
    Choice::Value(text(&format!("resolved {moves}")))
}

impl World {
    fn new() -> Self {
        let policies = policies();
        let edit = values(&[(Field::Name, text("ours"))]);
        let edited = record().edit(&edit, "ann", context(&policies)).unwrap();
        let seen = Observation::Present(named(2, "theirs"));
        let opened = edited.record.observe(&seen, context(&policies));
        let conflict = opened.conflicts.values().next().unwrap().clone();
        assert!(conflict.asked.is_some());
        Self {
            record: opened.record,
            conflict,
            time: 0,
            workers: vec![Worker::Idle; WORKERS],
            crashes: 0,
            stalls: 0,
            person: false,
            sent: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        NOW.plus_millis(TIMES_MILLIS[self.time])
    }

    fn context<'a>(&self, policies: &'a Policies) -> Context<'a> {
        Context {
            now: self.now(),
            ..context(policies)
        }
    }

    fn is_open(&self) -> bool {
        self.conflict.status == ConflictStatus::Open
    }

    fn committed(mut self, step: Transition) -> Self {
        if let Some(conflict) = step.conflicts.get(&self.conflict.id) {
            self.conflict = conflict.clone();
        }
        self.record = step.record;
        self
    }

    /// Stores what became of the question, if it is still that of these sides.
    fn stored(mut self, moves: u32, asked: Option<Asked>) -> Self {
        if self.is_open() && self.conflict.moves == moves && asked.is_some() {
            self.conflict.asked = asked;
        }
        self
    }

    /// Every next state. `Err` says which rule is broken.
    fn next(&self, fault: Fault) -> Result<Vec<Self>, String> {
        let policies = policies();
        let mut all = Vec::new();
        if self.is_open() && self.conflict.moves == 0 && self.time <= LAST_MOVE {
            let seen = Observation::Present(named(3, "theirs again"));
            let step = self.record.observe(&seen, self.context(&policies));
            all.push(self.clone().committed(step));
        }
        if self.is_open() && !self.person {
            let id = &self.conflict.id;
            let context = self.context(&policies);
            let step = self.record.resolve(id, None, &Choice::App, "bob", context);
            let mut next = self.clone().committed(step.unwrap());
            next.person = true;
            all.push(next);
        }
        if self.time + 1 < TIMES_MILLIS.len() {
            let mut next = self.clone();
            next.time += 1;
            let busy = next
                .workers
                .iter()
                .filter(|worker| **worker != Worker::Idle);
            next.stalls += busy.count();
            all.push(next);
        }
        for number in 0..WORKERS {
            all.extend(self.step(number, fault)?);
            if self.workers[number] != Worker::Idle && self.crashes < CRASHES {
                let mut next = self.clone();
                next.workers[number] = Worker::Idle;
                next.crashes += 1;
                all.push(next);
            }
        }
        Ok(all)
    }

    fn step(&self, number: usize, fault: Fault) -> Result<Vec<Self>, String> {
        let token = LeaseToken(number as u64 + 1);
        let now = self.now();
        let mut next = self.clone();
        match self.workers[number] {
            Worker::Idle => {
                let asked = self.conflict.asked.as_ref().filter(|_| self.is_open());
                let Some(asked) = asked else {
                    return Ok(Vec::new());
                };
                let moves = self.conflict.moves;
                let fresh = Asked {
                    question: asked.question.clone(),
                    course: super::AskCourse::Owed {
                        at: now,
                        failures: 0,
                    },
                };
                let asked = if fault == Fault::NoClaim && asked.due_at().is_some() {
                    &fresh
                } else {
                    asked
                };
                if let Some(claimed) = asked.claimed(token, now) {
                    next.workers[number] = Worker::Claimed { moves };
                    return Ok(vec![next.stored(moves, Some(claimed))]);
                }
                if let super::AskDuty::Leave(why) = asked.duty(now) {
                    let left = asked.left(None, (why, None), now);
                    return Ok(vec![next.stored(moves, left)]);
                }
                Ok(Vec::new())
            }
            Worker::Claimed { moves } => {
                let id = if fault == Fault::FreshId {
                    format!("{moves}-{}", self.sent.len())
                } else {
                    moves.to_string()
                };
                next.sent.push((moves, id));
                next.check_sent()?;
                next.workers[number] = Worker::Answered { moves };
                let asked = self.conflict.asked.as_ref();
                // It answers, or no answer comes, or no connection is made.
                let mut silent = next.clone();
                silent.workers[number] = Worker::Idle;
                let left = asked
                    .and_then(|asked| asked.left(Some(token), (NoDecision::NoAnswer, None), now));
                let mut unsent = self.clone();
                unsent.workers[number] = Worker::Idle;
                let again = asked.and_then(|asked| asked.unsent(token, now));
                Ok(vec![
                    next,
                    silent.stored(moves, left),
                    unsent.stored(moves, again),
                ])
            }
            Worker::Answered { moves } => {
                next.workers[number] = Worker::Idle;
                Ok(vec![next.apply(moves, token, fault)?])
            }
        }
    }

    fn apply(self, moves: u32, token: LeaseToken, fault: Fault) -> Result<Self, String> {
        let policies = policies();
        let (now, id) = (self.now(), self.conflict.id.clone());
        let choice = answer(moves);
        let open = self.record.open.get(&id.field);
        let state = match open {
            Some(open) if fault == Fault::AnyState => open.moves,
            Some(_) | None => moves,
        };
        let mut context = self.context(&policies);
        if fault == Fault::Late {
            context.now = NOW;
        }
        let record = if fault == Fault::OverPerson && self.person {
            // The record before the decision.
            World::new().record
        } else {
            self.record.clone()
        };
        match record.answered(&id, state, &choice, context) {
            Ok(step) => {
                let until = self
                    .conflict
                    .asked
                    .as_ref()
                    .map(|asked| asked.question.until());
                let (was_open, stood) = (self.is_open(), self.conflict.moves);
                let next = self.committed(step);
                if !was_open {
                    return Err("a decision is replaced".to_owned());
                }
                if until.is_none_or(|until| now >= until) {
                    return Err("a late answer decides".to_owned());
                }
                if stood != moves {
                    return Err("an answer decides sides that it was not asked about".to_owned());
                }
                Ok(next)
            }
            Err(refused) => {
                let why = match refused {
                    AnswerRefused::Late => NoDecision::NoAnswer,
                    AnswerRefused::Unasked | AnswerRefused::Decision(_) => {
                        NoDecision::InvalidAnswer
                    }
                };
                let asked = self.conflict.asked.clone();
                let left = asked.and_then(|asked| asked.left(Some(token), (why, None), now));
                Ok(self.stored(moves, left))
            }
        }
    }

    fn check_sent(&self) -> Result<(), String> {
        let ids: BTreeSet<&(u32, String)> = self.sent.iter().collect();
        let states: BTreeSet<u32> = self.sent.iter().map(|(moves, _)| *moves).collect();
        if ids.len() != states.len() {
            return Err("one state is sent under two ids".to_owned());
        }
        for state in states {
            let times = self
                .sent
                .iter()
                .filter(|(moves, _)| *moves == state)
                .count();
            if times > 1 + self.crashes + self.stalls {
                return Err("one state is sent twice under a lease".to_owned());
            }
        }
        Ok(())
    }

    /// Checks a state from which nothing goes on.
    fn check_end(&self) -> Result<(), String> {
        match (&self.conflict.status, &self.conflict.asked) {
            (ConflictStatus::Resolved(made), asked) => {
                let by_person = matches!(made.by, Decider::Person(_));
                if by_person != self.person || by_person == asked.is_some() {
                    return Err(format!("decided by another: {made:?} {asked:?}"));
                }
                Ok(())
            }
            (ConflictStatus::Open, Some(asked)) if asked.due_at().is_none() => Ok(()),
            (status, asked) => Err(format!("it is left to nobody: {status:?} {asked:?}")),
        }
    }
}

/// Searches all states. Returns their number, or the first rule that is broken.
fn search(fault: Fault) -> Result<usize, String> {
    let mut seen = BTreeSet::new();
    let mut ahead = VecDeque::from([World::new()]);
    while let Some(world) = ahead.pop_front() {
        if !seen.insert(format!("{world:?}")) {
            continue;
        }
        let next = world.next(fault)?;
        let at_end = world.time + 1 == TIMES_MILLIS.len();
        let idle = world.workers.iter().all(|worker| *worker == Worker::Idle);
        // Moves and persons may come or not; time and workers go on.
        let goes_on = (0..WORKERS).any(|number| {
            world
                .step(number, fault)
                .is_ok_and(|steps| !steps.is_empty())
        });
        if at_end && idle && !goes_on {
            world.check_end()?;
        }
        ahead.extend(next);
    }
    Ok(seen.len())
}

#[test]
fn an_answer_decides_the_sides_that_it_was_asked_about_or_nothing() {
    let states = search(Fault::None).unwrap();
    assert!(states > 1_000, "{states}");
}

#[test]
fn every_fault_in_the_rules_is_caught() {
    for (fault, caught) in [
        (Fault::AnyState, "was not asked about"),
        (Fault::FreshId, "under two ids"),
        (Fault::Late, "a late answer decides"),
        (Fault::NoClaim, "twice under a lease"),
        (Fault::OverPerson, "a decision is replaced"),
    ] {
        let found = search(fault).expect_err("it is caught");
        assert!(found.contains(caught), "{fault:?}: {found}");
    }
}
