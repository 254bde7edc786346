//! An exhaustive search of a whole record whose file is made or deleted by the application: every
//! interleaving of a person, noise, the application, the log, a worker, lost answers, crashes and
//! decisions, within a budget of each, over the very code that runs.
//!
//! What must hold: nothing that a person changed is deleted unless somebody who could have seen the change
//! asked for it; what the application wants of the file comes about, is in question, or was taken back;
//! a file is made once; and everything comes to rest.

use std::collections::HashMap;
use std::rc::Rc;

use crate::fixture::{FULL, file, moment, snapshot, text, values};
use crate::{
    AttemptId, Choice, Field, FileRecord, Gone, NewFile, Observation, Patch, Policies, Refusal,
    Snapshot,
};

/// Drive's side: what it holds, and whether it ever made the file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Drive {
    version: u64,
    name: &'static str,
    there: bool,
    /// How often the file came to be.
    made: u8,
}

#[derive(Debug, Clone, PartialEq)]
struct Request {
    patch: Patch,
    against: u64,
    /// What whoever asked for the deletion had seen.
    seen: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Budget {
    people: u8,
    noise: u8,
    deletions: u8,
    crashes: u8,
    decisions: u8,
}

/// What Drive last did to the file, and what whoever asked for a deletion had seen: for the judge alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Book {
    /// A person's changes so far.
    changes: u8,
    /// Those that our record had taken in.
    taken_in: u8,
    /// Those that the latest deletion, or decision for it, could know of.
    seen: Option<u8>,
    /// A person deleted it.
    removed_by_person: bool,
    /// We deleted it while changes stood that nobody had seen.
    lost: bool,
}

#[derive(Debug, Clone)]
struct World {
    drive: Drive,
    record: FileRecord,
    /// On its way, with somebody who waits for the answer.
    waiting: Option<Request>,
    /// On its way, and nobody will hear the answer.
    lost: Option<Request>,
    left: Budget,
    book: Book,
}

/// The rules under search, or a mutant of them.
#[derive(Clone, Copy)]
struct Rules {
    claim: fn(&FileRecord, &Snapshot, AttemptId) -> (FileRecord, Option<Patch>),
    observe: fn(&FileRecord, &Observation) -> FileRecord,
    answered: fn(&FileRecord, &Observation) -> FileRecord,
    /// Whether Drive deletes on condition of the etag.
    conditional: bool,
    /// Whether Drive makes a file once for one id.
    given_id: bool,
}

const OURS: Rules = Rules {
    claim: |record, read, attempt| {
        let claim = record.claim(read, attempt, moment(&Policies::default()), FULL);
        (claim.step.record, claim.patch)
    },
    observe: |record, seen| record.observe(seen, moment(&Policies::default())).record,
    answered: |record, seen| record.answered(seen, moment(&Policies::default())).record,
    conditional: true,
    given_id: true,
};

impl World {
    fn deleting(left: Budget) -> Self {
        Self {
            drive: Drive {
                version: 1,
                name: "a",
                there: true,
                made: 1,
            },
            record: FileRecord::first_sight(&snapshot(1, &[])),
            waiting: None,
            lost: None,
            left,
            book: Book::default(),
        }
    }

    fn making(left: Budget) -> Self {
        let new = NewFile {
            file: file(),
            mime_type: "text/plain".to_owned(),
            shortcut_target: None,
            values: values(&[(Field::Name, text("a"))]),
        };
        let record = FileRecord::creating(&new, "ann", moment(&Policies::default()));
        Self {
            drive: Drive {
                version: 0,
                name: "a",
                there: false,
                made: 0,
            },
            record: record.unwrap().record,
            ..Self::deleting(left)
        }
    }

    fn held(&self) -> Snapshot {
        let name = (Field::Name, text(self.drive.name));
        snapshot(self.drive.version, &[name])
    }

    fn look(&self) -> Observation {
        if self.drive.there {
            Observation::Present(self.held())
        } else {
            Observation::Gone(Gone::Removed)
        }
    }

    /// Without revisions and attempts' numbers, which make no difference.
    fn key(&self) -> String {
        let mut record = self.record.clone();
        record.revision = crate::Revision(0);
        record.visible = crate::Revision(0);
        record.conflicts_opened = 0;
        record.push.attempts = 0;
        record.push.not_before = crate::Timestamp::default();
        for open in record.open.values_mut() {
            open.number = 0;
            open.moves = 0;
        }
        format!(
            "{:?}{record:?}{:?}{:?}{:?}{:?}",
            self.drive, self.waiting, self.lost, self.left, self.book
        )
    }

    fn next(&self, rules: &Rules) -> Vec<(&'static str, Self)> {
        let mut out = Vec::new();
        self.people(&mut out);
        self.application(&mut out);
        self.log(rules, &mut out);
        self.worker(rules, &mut out);
        out
    }

    fn people(&self, out: &mut Vec<(&'static str, Self)>) {
        if self.drive.there && self.left.people > 0 {
            let mut next = self.clone();
            next.left.people -= 1;
            next.drive.version += 1;
            next.drive.name = if self.drive.name == "b" { "c" } else { "b" };
            next.book.changes += 1;
            out.push(("a person edits", next));
            let mut next = self.clone();
            next.left.people -= 1;
            next.drive.there = false;
            next.book.removed_by_person = true;
            out.push(("a person deletes", next));
        }
        if self.drive.there && self.left.noise > 0 {
            let mut next = self.clone();
            next.left.noise -= 1;
            next.drive.version += 1;
            out.push(("noise", next));
        }
    }

    fn application(&self, out: &mut Vec<(&'static str, Self)>) {
        let policies = Policies::default();
        if self.left.deletions > 0 {
            if let Ok(step) = self.record.delete("ann", moment(&policies)) {
                let mut next = self.clone();
                next.left.deletions -= 1;
                next.book.seen = Some(self.book.taken_in);
                next.record = step.record;
                out.push(("the application deletes", next));
            }
            let taken_back = self.record.cancel(moment(&policies)).record;
            if taken_back != self.record {
                let mut next = self.clone();
                next.left.deletions -= 1;
                // Taking a making back is a deletion of what may have been made.
                let unmakes = self.record.is_creating();
                next.book.seen = unmakes.then_some(self.book.taken_in);
                next.record = taken_back;
                out.push(("the application takes back", next));
            }
        }
        let open = self.record.open_conflict(&Field::Existence);
        if let (Some(id), true) = (open, self.left.decisions > 0) {
            for choice in [Choice::App, Choice::Drive] {
                let decided = self
                    .record
                    .resolve(&id, None, &choice, "bob", moment(&policies));
                if let Ok(step) = decided {
                    let mut next = self.clone();
                    next.left.decisions -= 1;
                    let deletes = choice == Choice::App && self.record.is_present();
                    next.book.seen = deletes.then_some(self.book.taken_in);
                    next.record = step.record;
                    out.push(("a decision", next));
                }
            }
        }
    }

    /// The log brings Drive's state as it is; what would change presence is asked, which is the same.
    fn log(&self, rules: &Rules, out: &mut Vec<(&'static str, Self)>) {
        if self.drive.made == 0 {
            return;
        }
        let seen = self.look();
        let mut next = self.clone();
        next.record = if self.record.must_ask(&seen) {
            (rules.answered)(&self.record, &seen)
        } else {
            (rules.observe)(&self.record, &seen)
        };
        next.takes_in();
        out.push(("the log", next));
    }

    fn takes_in(&mut self) {
        if self.record.is_present() && self.record.version.0 == self.drive.version {
            self.book.taken_in = self.book.changes;
        }
    }

    fn worker(&self, rules: &Rules, out: &mut Vec<(&'static str, Self)>) {
        if let Some(request) = &self.lost {
            let mut next = self.clone();
            next.lost = None;
            let _ = next.lands(request, rules);
            out.push(("a lost request arrives", next));
            let mut next = self.clone();
            next.lost = None;
            out.push(("a lost request vanishes", next));
        }
        let Some(request) = &self.waiting else {
            // A making has no condition that could stop it. Whether it came about is looked at when the claim
            // is over, which outlives any request.
            let too_early = self.record.creation_taken_back() && self.lost.is_some();
            if self.record.due().is_some() && !too_early {
                out.push(("a round begins", self.begins(rules)));
            }
            return;
        };
        let mut next = self.clone();
        next.waiting = None;
        let answer = next.lands(request, rules);
        if self.left.crashes > 0 {
            let mut unheard = next.clone();
            unheard.left.crashes -= 1;
            out.push(("it lands and nobody hears", unheard));
        }
        next.settles(request, answer, rules);
        out.push(("it lands and is settled", next));
        if self.left.crashes > 0 && self.lost.is_none() {
            let mut next = self.clone();
            next.left.crashes -= 1;
            next.waiting = None;
            next.lost = Some(request.clone());
            out.push(("the worker dies", next));
        }
    }

    fn begins(&self, rules: &Rules) -> Self {
        let mut next = self.clone();
        let policies = Policies::default();
        let attempt = AttemptId(1 + u64::from(self.left.crashes) * 10 + self.drive.version);
        if self.record.is_creating() && !self.record.creation_taken_back() {
            let claim = self.record.claim_creation(attempt, moment(&policies));
            next.record = claim.step.record;
            let seen = self.book.seen;
            next.waiting = claim.patch.map(|patch| Request {
                patch,
                against: 0,
                seen,
            });
            return next;
        }
        if !self.drive.there || self.record.is_creating() {
            next.record = (rules.answered)(&self.record, &self.look());
            next.takes_in();
            return next;
        }
        let (record, patch) = (rules.claim)(&self.record, &self.held(), attempt);
        next.record = record;
        next.takes_in();
        let against = self.drive.version;
        let seen = self.book.seen;
        next.waiting = patch.map(|patch| Request {
            patch,
            against,
            seen,
        });
        next
    }

    /// What Drive makes of a request.
    fn lands(&mut self, request: &Request, rules: &Rules) -> Answer {
        if request.patch.creates() {
            if self.drive.made > 0 && rules.given_id {
                return Answer::Already;
            }
            self.drive.made += 1;
            self.drive.there = true;
            self.drive.version += 2;
            self.drive.name = "a";
            return Answer::Made(Box::new(self.held()));
        }
        if !self.drive.there {
            return Answer::NotThere;
        }
        if request.against != self.drive.version && (rules.conditional || !request.patch.deletes())
        {
            return Answer::Stale;
        }
        if request.patch.deletes() {
            self.book.lost |= request.seen.is_none_or(|seen| seen < self.book.changes);
            self.drive.there = false;
            return Answer::NotThere;
        }
        self.drive.version += 1;
        Answer::Made(Box::new(self.held()))
    }

    fn settles(&mut self, request: &Request, answer: Answer, rules: &Rules) {
        let policies = Policies::default();
        let now = moment(&policies);
        let patch = &request.patch;
        self.record = match answer {
            Answer::Made(held) => self.record.confirmed(patch, &held, now).record,
            Answer::Already => (rules.answered)(&self.record, &self.look()),
            Answer::NotThere => (rules.answered)(&self.record, &Observation::Gone(Gone::Removed)),
            Answer::Stale => {
                let refused = self.record.refused(patch, &Refusal::Stale, now, FULL);
                refused.record
            }
        };
        self.takes_in();
    }

    fn at_rest(&self) -> bool {
        let quiet = self.waiting.is_none() && self.lost.is_none();
        let told = self.record.is_present() == self.drive.there
            && (!self.drive.there || self.record.version.0 == self.drive.version);
        quiet && told && self.record.due().is_none()
    }

    /// Whether nothing needs to happen any more. Accepted: a deletion that was taken back while its request
    /// went missing leaves the file looked at until its version moves, like any edit.
    fn may_stay(&self) -> bool {
        let existence = self.record.sides(&Field::Existence);
        self.at_rest() || !existence.owed() && !existence.sent.is_empty()
    }

    fn wrong(&self) -> Option<&'static str> {
        if self.book.lost {
            return Some("a person's change was deleted unseen");
        }
        if self.drive.made > 1 {
            return Some("made twice");
        }
        let in_question = self.record.open.contains_key(&Field::Existence);
        let wanted_gone = self.book.seen.is_some();
        if self.at_rest() && wanted_gone && self.drive.there && !in_question {
            return Some("the deletion came to nothing");
        }
        None
    }
}

enum Answer {
    Made(Box<Snapshot>),
    Already,
    NotThere,
    Stale,
}

/// The states that were seen, those at rest, and what went wrong first, with its trace.
fn search(start: World, rules: &Rules) -> (usize, usize, Option<String>) {
    let mut index: HashMap<String, usize> = HashMap::from([(start.key(), 0)]);
    let mut worlds = vec![Rc::new(start)];
    let mut reached = vec![(0, "start")];
    let (mut at, mut rests) = (0, 0);
    while let Some(world) = worlds.get(at).cloned() {
        rests += usize::from(world.at_rest());
        let nexts = world.next(rules);
        let stuck = nexts.iter().all(|(_, next)| next.key() == world.key());
        let wrong = world
            .wrong()
            .or((stuck && !world.may_stay()).then_some("stuck"));
        if let Some(wrong) = wrong {
            let (mut path, mut back) = (Vec::new(), at);
            while back != 0 {
                path.push(reached[back].1);
                back = reached[back].0;
            }
            path.reverse();
            return (
                worlds.len(),
                rests,
                Some(format!("{wrong}: {path:?} {world:?}")),
            );
        }
        for (step, next) in nexts {
            if let std::collections::hash_map::Entry::Vacant(entry) = index.entry(next.key()) {
                entry.insert(worlds.len());
                worlds.push(Rc::new(next));
                reached.push((at, step));
            }
        }
        at += 1;
    }
    (worlds.len(), rests, None)
}

const fn budget(people: u8, noise: u8, deletions: u8, crashes: u8, decisions: u8) -> Budget {
    Budget {
        people,
        noise,
        deletions,
        crashes,
        decisions,
    }
}

#[track_caller]
fn holds(start: World, states_at_least: usize) {
    let (states, rests, wrong) = search(start, &OURS);
    eprintln!("{states} states, {rests} at rest");
    assert_eq!(wrong, None);
    assert!(states >= states_at_least, "only {states} states were seen");
    assert!(rests > 0, "no state was ever judged");
}

#[track_caller]
fn caught(start: World, rules: &Rules, as_what: &str) {
    let (states, _, wrong) = search(start, rules);
    let wrong = wrong.unwrap_or_else(|| panic!("not caught in {states} states"));
    assert!(wrong.starts_with(as_what), "{wrong}");
}

#[test]
fn a_deletion_never_takes_with_it_what_its_author_had_not_seen() {
    holds(World::deleting(budget(2, 1, 2, 1, 1)), 4_000);
}

#[test]
fn a_file_is_made_once_and_what_becomes_of_it_is_known() {
    holds(World::making(budget(2, 1, 1, 2, 1)), 1_000);
}

#[test]
fn a_deletion_that_does_not_look_at_what_moved_is_caught() {
    let blind = Rules {
        claim: |record, read, attempt| {
            // As if the deletion had been asked for after the read.
            let deleting = record.deletion_owed();
            let kept = record.cancel(moment(&Policies::default())).record;
            let record = if deleting { &kept } else { record };
            let seen = Observation::Present(read.clone());
            let seen = record.observe(&seen, moment(&Policies::default())).record;
            let again = match seen.delete("ann", moment(&Policies::default())) {
                Ok(step) if deleting => step.record,
                Ok(_) | Err(_) => seen,
            };
            (OURS.claim)(&again, read, attempt)
        },
        ..OURS
    };
    caught(
        World::deleting(budget(1, 0, 1, 0, 0)),
        &blind,
        "a person's change was deleted unseen",
    );
}

#[test]
fn a_deletion_without_a_condition_is_caught() {
    let rules = Rules {
        conditional: false,
        ..OURS
    };
    caught(
        World::deleting(budget(1, 0, 1, 0, 0)),
        &rules,
        "a person's change was deleted unseen",
    );
}

#[test]
fn a_deletion_that_is_dropped_when_somebody_edits_is_caught() {
    let rules = Rules {
        observe: |record, seen| {
            let next = (OURS.observe)(record, seen);
            match next.open_conflict(&Field::Existence) {
                Some(id) => next
                    .resolve(&id, None, &Choice::Drive, "x", moment(&Policies::default()))
                    .map_or(next, |step| step.record),
                None => next,
            }
        },
        ..OURS
    };
    caught(
        World::deleting(budget(1, 0, 1, 0, 0)),
        &rules,
        "the deletion came to nothing",
    );
}

#[test]
fn a_creation_without_an_id_of_its_own_is_caught() {
    let rules = Rules {
        given_id: false,
        ..OURS
    };
    caught(World::making(budget(0, 0, 0, 1, 0)), &rules, "made twice");
}
