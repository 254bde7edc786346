//! The world of one field: Drive, people, the application, the push workers, and the queue.

use crate::merge::{SentWrite, Sides};
use crate::{AttemptId, DriveVersion};

/// The rules under search: those of [`crate::merge`], or a mutant of them.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) observe: fn(&Sides<u8>, u8, DriveVersion) -> Sides<u8>,
    pub(super) assess_in_flight: fn(&Sides<u8>, DriveVersion) -> Sides<u8>,
    pub(super) discard_in_flight: fn(&Sides<u8>) -> Sides<u8>,
    pub(super) claimed: fn(&Sides<u8>, DriveVersion, AttemptId) -> Sides<u8>,
    pub(super) refused: fn(&Sides<u8>, AttemptId) -> Sides<u8>,
    /// There was no answer: the write may have happened, or may yet.
    pub(super) unanswered: fn(&Sides<u8>, AttemptId) -> Sides<u8>,
    pub(super) confirmed: fn(&Sides<u8>, AttemptId, u8, DriveVersion, DriveVersion) -> Sides<u8>,
    pub(super) resolved: fn(&Sides<u8>, u8, DriveVersion) -> Sides<u8>,
}

/// The production rules.
pub(super) const OURS: Rules = Rules {
    observe: |sides, drive, at| sides.observe(drive, at),
    assess_in_flight: Sides::assess_in_flight,
    discard_in_flight: Sides::discard_in_flight,
    claimed: Sides::claimed,
    refused: Sides::refused,
    unanswered: Sides::unanswered,
    confirmed: |sides, attempt, value, at, seen| sides.confirmed(attempt, value, at, seen),
    resolved: |sides, app, seen| sides.resolved(app, seen),
};

/// The author of a version of the file in Drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Author {
    Person,
    Us,
}

/// A conditional write in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Request {
    pub(super) value: u8,
    pub(super) against: u8,
    pub(super) attempt: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Worker {
    Idle,
    Waiting(Request),
    /// Drive accepted the write, which created this version.
    Took(Request, u8),
    /// Drive refused the write: another change came first, or for another reason.
    Refused(Request),
}

/// The remaining number of events of each kind. Makes the search finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) people: u8,
    pub(super) edits: u8,
    pub(super) crashes: u8,
    pub(super) refusals: u8,
    pub(super) decisions: u8,
}

/// An intention, and what its author could have seen. Only the oracle reads this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Intention {
    /// A person changed the value in Drive, which created `version`.
    Person { value: u8, version: u8 },
    /// The application set the value, having seen Drive at `seen` while it was at `version`.
    Edit {
        value: u8,
        before: u8,
        version: u8,
        seen: u8,
        /// A return to the base with nothing in flight: as if the edit before had never been made.
        withdrawal: bool,
    },
    /// Someone decided a conflict between `app` and `drive`.
    Decision {
        value: u8,
        app: u8,
        drive: u8,
        version: u8,
        seen: u8,
    },
}

/// One step of the world, for the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Start,
    PersonSets(u8),
    PersonEditsAnotherField,
    AppSets(u8),
    SnapshotArrives(u8),
    Decide(u8),
    WorkerReadsAndSends(u8),
    WorkerReadsAndSendsNothing,
    WorkerReadsWhenNothingIsOnItsWay,
    WriteLands(u8),
    WriteMeets412(u8),
    WriteIsRefused(u8),
    WorkerCrashesWithRequestInFlight(u8),
    LostRequestLands(u8),
    LostRequestMeets412(u8),
    LostRequestVanishes(u8),
    WorkerCrashesBeforeItRecordsTheAnswer,
    Confirm(u8),
    RecordRefusal(u8),
}

/// The complete state of the world of one field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// Drive's values, by version.
    pub(super) history: Vec<(u8, Author)>,
    /// Our record: the latest observed version, and the sides.
    pub(super) seen: u8,
    pub(super) sides: Sides<u8>,
    pub(super) workers: Vec<Worker>,
    /// Requests whose sender is gone: nothing will receive Drive's answer.
    pub(super) lost: Vec<Request>,
    pub(super) left: Budget,
    pub(super) intentions: Vec<Intention>,
}

const VALUES: u8 = 3;

impl World {
    pub(super) fn new(left: Budget, workers: usize) -> Self {
        Self {
            history: vec![(0, Author::Person)],
            seen: 0,
            sides: Sides::agreed(0),
            workers: vec![Worker::Idle; workers],
            lost: Vec::new(),
            left,
            intentions: Vec::new(),
        }
    }

    pub(super) fn version(&self) -> u8 {
        u8::try_from(self.history.len() - 1).unwrap()
    }

    /// Returns Drive's current value.
    pub(super) fn current(&self) -> u8 {
        self.history.last().unwrap().0
    }

    /// Returns whether everything that happens without new intentions has happened.
    pub(super) fn at_rest(&self) -> bool {
        !self.sides.pending() && self.nothing_is_on_its_way() && self.seen == self.version()
    }

    fn nothing_is_on_its_way(&self) -> bool {
        self.lost.is_empty() && self.workers.iter().all(|w| *w == Worker::Idle)
    }

    /// Returns every possible next world.
    pub(super) fn next(&self, rules: &Rules) -> Vec<(Move, Self)> {
        let mut out = Vec::new();
        self.people(&mut out);
        self.application(&mut out);
        self.queue(rules, &mut out);
        self.decisions(rules, &mut out);
        self.lost_requests(&mut out);
        for worker in 0..self.workers.len() {
            self.worker(worker, rules, &mut out);
        }
        for (_, world) in &mut out {
            // Neither order carries meaning: worlds that differ in nothing else are equal.
            world.sides.sent.sort();
            world.workers.sort();
            world.lost.sort();
        }
        out
    }

    fn people(&self, out: &mut Vec<(Move, Self)>) {
        if self.left.people == 0 {
            return;
        }
        let mut next = self.clone();
        next.left.people -= 1;
        let (current, author) = *self.history.last().unwrap();
        for value in (0..VALUES).filter(|value| *value != current) {
            let mut next = next.clone();
            next.history.push((value, Author::Person));
            let version = next.version();
            next.intentions.push(Intention::Person { value, version });
            out.push((Move::PersonSets(value), next));
        }
        next.history.push((current, author));
        out.push((Move::PersonEditsAnotherField, next));
    }

    fn application(&self, out: &mut Vec<(Move, Self)>) {
        if self.left.edits == 0 || self.sides.conflict.is_some() {
            return;
        }
        // Each value is set once, or the oracle could not determine its author. A return to the
        // base is always possible.
        let set_before = |value| {
            let is_it =
                |i: &Intention| matches!(i, Intention::Edit { value: v, .. } if *v == value);
            self.intentions.iter().any(is_it)
        };
        for value in (0..VALUES).filter(|value| *value != self.sides.app) {
            if value != self.sides.base && set_before(value) {
                continue;
            }
            let seen = version(self.seen);
            let in_flight = self.sides.sent.iter().any(|sent| sent.against >= seen);
            let mut next = self.clone();
            next.left.edits -= 1;
            next.sides = self.sides.edited(value, seen);
            next.intentions.push(Intention::Edit {
                value,
                before: self.sides.app,
                version: self.version(),
                seen: self.seen,
                withdrawal: value == self.sides.base && !in_flight,
            });
            out.push((Move::AppSets(value), next));
        }
    }

    /// Any version later than the observed one may arrive: some are skipped (Drive's log is
    /// compacted), some are late. An older or repeated one changes nothing, by its version alone.
    fn queue(&self, rules: &Rules, out: &mut Vec<(Move, Self)>) {
        for at in self.seen + 1..=self.version() {
            let mut next = self.clone();
            next.observe(at, rules);
            out.push((Move::SnapshotArrives(at), next));
        }
    }

    fn decisions(&self, rules: &Rules, out: &mut Vec<(Move, Self)>) {
        let Some(conflict) = self
            .sides
            .conflict
            .as_ref()
            .filter(|_| self.left.decisions > 0)
        else {
            return;
        };
        let mut values = vec![self.sides.app, conflict.drive, self.sides.base];
        values.sort_unstable();
        values.dedup();
        for value in values {
            let mut next = self.clone();
            next.left.decisions -= 1;
            next.sides = (rules.resolved)(&self.sides, value, version(self.seen));
            next.intentions.push(Intention::Decision {
                value,
                app: self.sides.app,
                drive: conflict.drive,
                version: self.version(),
                seen: self.seen,
            });
            out.push((Move::Decide(value), next));
        }
    }

    fn lost_requests(&self, out: &mut Vec<(Move, Self)>) {
        for (at, request) in self.lost.iter().enumerate() {
            let mut next = self.clone();
            next.lost.remove(at);
            out.push((Move::LostRequestVanishes(request.value), next.clone()));
            if request.against == self.version() {
                next.history.push((request.value, Author::Us));
                out.push((Move::LostRequestLands(request.value), next));
            } else {
                out.push((Move::LostRequestMeets412(request.value), next));
            }
        }
    }

    fn worker(&self, worker: usize, rules: &Rules, out: &mut Vec<(Move, Self)>) {
        match self.workers[worker] {
            Worker::Idle => {
                if self.sides.pending() {
                    out.push(self.read_and_claim(worker, rules));
                    if self.nothing_is_on_its_way() {
                        out.push(self.read_late(rules));
                    }
                }
            }
            Worker::Waiting(request) => self.request(worker, request, rules, out),
            Worker::Took(request, at) => {
                self.crash(worker, out);
                let mut next = self.with(worker, Worker::Idle);
                next.sides = (rules.confirmed)(
                    &self.sides,
                    attempt(request.attempt),
                    request.value,
                    version(at),
                    version(self.seen),
                );
                if self.remembers(request.attempt) {
                    next.seen = self.seen.max(at);
                } else {
                    // The answer is a snapshot too: without an entry to settle, it counts as one.
                    next.observe(at, rules);
                }
                out.push((Move::Confirm(request.value), next));
            }
            Worker::Refused(request) => {
                self.crash(worker, out);
                let mut next = self.with(worker, Worker::Idle);
                next.sides = (rules.refused)(&self.sides, attempt(request.attempt));
                out.push((Move::RecordRefusal(request.value), next));
            }
        }
    }

    /// Reads Drive, merges, assesses and claims: one conditional write of our record. Drive may
    /// move between the read and that write, which equals a move right after it.
    fn read_and_claim(&self, worker: usize, rules: &Rules) -> (Move, Self) {
        let now = self.version();
        let mut next = self.clone();
        next.observe(now, rules);
        next.sides = (rules.assess_in_flight)(&next.sides, version(now));
        if !next.sides.owed() {
            return (Move::WorkerReadsAndSendsNothing, next);
        }
        let request = Request {
            value: next.sides.app,
            against: now,
            attempt: next.unused_attempt(),
        };
        next.sides = (rules.claimed)(&next.sides, version(now), attempt(request.attempt));
        next.workers[worker] = Worker::Waiting(request);
        (Move::WorkerReadsAndSends(request.value), next)
    }

    /// The same read so late that no write can be in flight any more.
    fn read_late(&self, rules: &Rules) -> (Move, Self) {
        let now = self.version();
        let mut next = self.clone();
        next.observe(now, rules);
        next.sides = (rules.assess_in_flight)(&next.sides, version(now));
        next.sides = (rules.discard_in_flight)(&next.sides);
        (Move::WorkerReadsWhenNothingIsOnItsWay, next)
    }

    fn request(&self, worker: usize, request: Request, rules: &Rules, out: &mut Vec<(Move, Self)>) {
        if request.against == self.version() {
            let mut next = self.clone();
            next.history.push((request.value, Author::Us));
            next.workers[worker] = Worker::Took(request, next.version());
            out.push((Move::WriteLands(request.value), next));
        } else {
            let next = self.with(worker, Worker::Refused(request));
            out.push((Move::WriteMeets412(request.value), next));
        }
        if self.left.refusals > 0 {
            let mut next = self.with(worker, Worker::Refused(request));
            next.left.refusals -= 1;
            out.push((Move::WriteIsRefused(request.value), next));
        }
        if self.left.crashes > 0 {
            let mut next = self.with(worker, Worker::Idle);
            next.left.crashes -= 1;
            next.lost.push(request);
            next.sides = (rules.unanswered)(&self.sides, attempt(request.attempt));
            out.push((Move::WorkerCrashesWithRequestInFlight(request.value), next));
        }
    }

    fn crash(&self, worker: usize, out: &mut Vec<(Move, Self)>) {
        if self.left.crashes > 0 {
            let mut next = self.with(worker, Worker::Idle);
            next.left.crashes -= 1;
            out.push((Move::WorkerCrashesBeforeItRecordsTheAnswer, next));
        }
    }

    fn with(&self, worker: usize, state: Worker) -> Self {
        let mut next = self.clone();
        next.workers[worker] = state;
        next
    }

    fn observe(&mut self, at: u8, rules: &Rules) {
        if at > self.seen {
            let (value, _) = self.history[usize::from(at)];
            self.sides = (rules.observe)(&self.sides, value, version(at));
            self.seen = at;
        }
    }

    fn remembers(&self, number: u8) -> bool {
        let is_it = |sent: &SentWrite<u8>| sent.attempt == attempt(number);
        self.sides.sent.iter().any(is_it)
    }

    /// Returns the smallest number that is not the number of a recorded attempt. Real ones are
    /// random and never repeat; small ones keep worlds comparable.
    fn unused_attempt(&self) -> u8 {
        let in_worker = |n| {
            self.workers.iter().any(|worker| match worker {
                Worker::Idle => false,
                Worker::Waiting(r) | Worker::Took(r, _) | Worker::Refused(r) => r.attempt == n,
            })
        };
        (0..)
            .find(|n| !self.remembers(*n) && !in_worker(*n))
            .unwrap()
    }
}

fn version(at: u8) -> DriveVersion {
    DriveVersion(u64::from(at))
}

/// Attempt 0 stands for those without an answer.
fn attempt(number: u8) -> AttemptId {
    AttemptId(u64::from(number) + 1)
}
