//! An exhaustive search of a record whose file is created or deleted by the application: every
//! interleaving of a person, version-only changes, the application, the log, a worker, lost
//! answers, false 404s, crashes and decisions, within a budget of each, over the production code.
//!
//! Invariants: nothing that a person changed is deleted unless someone who could have seen the
//! change requested it; what the application wants of the file happens, is in conflict, or was
//! cancelled; a file is created once; and everything comes to rest.

use std::collections::HashMap;
use std::rc::Rc;

use crate::fixture::{FULL, context, file, snapshot, text, values};
use crate::{
    AttemptId, Choice, Field, FileRecord, Gone, NewFile, Observation, Patch, Policies, Refusal,
    Snapshot,
};

/// Drive's state, including whether it ever created the file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Drive {
    version: u64,
    name: &'static str,
    there: bool,
    /// The number of times that the file was created.
    made: u8,
}

#[derive(Debug, Clone, PartialEq)]
struct Request {
    patch: Patch,
    against: u64,
    /// The changes that the author of the deletion had seen.
    seen: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Budget {
    people: u8,
    version_only: u8,
    deletions: u8,
    crashes: u8,
    decisions: u8,
}

/// Drive's last action on the file, and what the author of a deletion had seen. Used by the oracle
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Book {
    /// The number of a person's changes so far.
    changes: u8,
    /// The number of those that our record has merged.
    taken_in: u8,
    /// The number of those that the latest deletion, or decision for it, could have seen.
    seen: Option<u8>,
    /// True if a person deleted it.
    removed_by_person: bool,
    /// True if we deleted it while it had unseen changes.
    lost: bool,
}

#[derive(Debug, Clone)]
struct World {
    drive: Drive,
    record: FileRecord,
    /// The request in flight whose sender waits for the answer.
    waiting: Option<Request>,
    /// The request in flight whose answer nothing will receive.
    lost: Option<Request>,
    left: Budget,
    book: Book,
}

/// The rules under search, or a mutant of them.
#[derive(Clone, Copy)]
struct Rules {
    claim: fn(&FileRecord, &Snapshot, AttemptId) -> (FileRecord, Option<Patch>),
    observe: fn(&FileRecord, &Observation) -> FileRecord,
    apply_lookup: fn(&FileRecord, &Observation) -> FileRecord,
    /// Drive did not find the file when it was read, without the word of a log.
    missed: fn(&FileRecord) -> FileRecord,
    /// True if Drive deletes on condition of the etag.
    conditional: bool,
    /// True if Drive creates a file once for one id.
    given_id: bool,
}

const OURS: Rules = Rules {
    claim: |record, read, attempt| {
        let claim = record.claim(read, attempt, context(&Policies::default()), FULL);
        (claim.transition.record, claim.patch)
    },
    observe: |record, seen| record.observe(seen, context(&Policies::default())).record,
    apply_lookup: |record, seen| {
        record
            .apply_lookup(seen, context(&Policies::default()))
            .record
    },
    missed: |record| {
        let policies = Policies::default();
        let missed = record.suspected_gone(Gone::Removed, true, context(&policies), FULL);
        missed.record
    },
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
            record: FileRecord::from_snapshot(&snapshot(1, &[])),
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
        let record = FileRecord::creating(&new, "ann", context(&Policies::default()));
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

    fn current(&self) -> Snapshot {
        let name = (Field::Name, text(self.drive.name));
        snapshot(self.drive.version, &[name])
    }

    fn lookup(&self) -> Observation {
        if self.drive.there {
            Observation::Present(self.current())
        } else {
            Observation::Gone(Gone::Removed)
        }
    }

    /// Omits revisions and attempt numbers, which make no difference.
    fn key(&self) -> String {
        let mut record = self.record.clone();
        record.revision = crate::Revision(0);
        record.visible = crate::Revision(0);
        record.conflicts_opened = 0;
        record.push.attempts = 0;
        record.push.not_before = crate::Timestamp::default();
        record.push.trouble = None;
        if let Some(missing) = &mut record.missing {
            missing.seen.times = 1;
        }
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
        if self.drive.there && self.left.version_only > 0 {
            let mut next = self.clone();
            next.left.version_only -= 1;
            next.drive.version += 1;
            out.push(("version_only", next));
        }
    }

    fn application(&self, out: &mut Vec<(&'static str, Self)>) {
        let policies = Policies::default();
        if self.left.deletions > 0 {
            if let Ok(transition) = self.record.delete("ann", context(&policies)) {
                let mut next = self.clone();
                next.left.deletions -= 1;
                next.book.seen = Some(self.book.taken_in);
                next.record = transition.record;
                out.push(("the application deletes", next));
            }
            let taken_back = self.record.cancel(context(&policies)).record;
            if taken_back != self.record {
                let mut next = self.clone();
                next.left.deletions -= 1;
                // Cancelling a creation deletes what may have been created.
                let unmakes = self.record.is_creating();
                next.book.seen = unmakes.then_some(self.book.taken_in);
                next.record = taken_back;
                out.push(("the application cancels", next));
            }
        }
        let open = self.record.open_conflict(&Field::Existence);
        if let (Some(id), true) = (open, self.left.decisions > 0) {
            for choice in [Choice::App, Choice::Drive] {
                let decided = self
                    .record
                    .resolve(&id, None, &choice, "bob", context(&policies));
                if let Ok(transition) = decided {
                    let mut next = self.clone();
                    next.left.decisions -= 1;
                    let deletes = choice == Choice::App && self.record.is_present();
                    next.book.seen = deletes.then_some(self.book.taken_in);
                    next.record = transition.record;
                    out.push(("a decision", next));
                }
            }
        }
    }

    /// The log reports Drive's current state. What would change presence needs a lookup, which
    /// returns the same.
    fn log(&self, rules: &Rules, out: &mut Vec<(&'static str, Self)>) {
        if self.drive.made == 0 {
            return;
        }
        let seen = self.lookup();
        let mut next = self.clone();
        next.record = if self.record.needs_lookup(&seen) {
            (rules.apply_lookup)(&self.record, &seen)
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
            // A creation has no condition that could stop it. Whether it happened is read when the
            // claim has expired, which outlives any request.
            let too_early = self.record.creation_taken_back() && self.lost.is_some();
            if self.record.due().is_some() && !too_early {
                out.push(("a push begins", self.begins(rules)));
                if self.left.crashes > 0 && self.drive.there && self.record.is_present() {
                    let mut next = self.clone();
                    next.left.crashes -= 1;
                    next.record = (rules.missed)(&self.record);
                    out.push(("a read falsely finds no file", next));
                }
            }
            return;
        };
        let mut next = self.clone();
        next.waiting = None;
        let answer = next.lands(request, rules);
        if self.left.crashes > 0 {
            let mut unheard = next.clone();
            unheard.left.crashes -= 1;
            out.push(("it lands and its answer is lost", unheard));
        }
        next.settles(request, answer, rules);
        out.push(("it lands and is confirmed", next));
        if self.left.crashes > 0 && self.lost.is_none() {
            let mut next = self.clone();
            next.left.crashes -= 1;
            next.waiting = None;
            next.lost = Some(request.clone());
            out.push(("the worker crashes", next));
        }
    }

    fn begins(&self, rules: &Rules) -> Self {
        let mut next = self.clone();
        let policies = Policies::default();
        let attempt = AttemptId(1 + u64::from(self.left.crashes) * 10 + self.drive.version);
        if self.record.is_creating() && !self.record.creation_taken_back() {
            let claim = self.record.claim_creation(attempt, context(&policies));
            next.record = claim.transition.record;
            let seen = self.book.seen;
            next.waiting = claim.patch.map(|patch| Request {
                patch,
                against: 0,
                seen,
            });
            return next;
        }
        if !self.drive.there || self.record.is_creating() {
            next.record = (rules.apply_lookup)(&self.record, &self.lookup());
            next.takes_in();
            return next;
        }
        let (record, patch) = (rules.claim)(&self.record, &self.current(), attempt);
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

    /// Executes a request in Drive.
    fn lands(&mut self, request: &Request, rules: &Rules) -> Answer {
        if request.patch.creates() {
            if self.drive.made > 0 && rules.given_id {
                return Answer::Already;
            }
            self.drive.made += 1;
            self.drive.there = true;
            self.drive.version += 2;
            self.drive.name = "a";
            return Answer::Made(Box::new(self.current()));
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
        Answer::Made(Box::new(self.current()))
    }

    fn settles(&mut self, request: &Request, answer: Answer, rules: &Rules) {
        let policies = Policies::default();
        let now = context(&policies);
        let patch = &request.patch;
        self.record = match answer {
            Answer::Made(current) => self.record.confirmed(patch, &current, now).record,
            Answer::Already => (rules.apply_lookup)(&self.record, &self.lookup()),
            Answer::NotThere => {
                (rules.apply_lookup)(&self.record, &Observation::Gone(Gone::Removed))
            }
            Answer::Stale => {
                let refused = self.record.refused(patch, &Refusal::Stale, now, FULL);
                refused.record
            }
        };
        self.takes_in();
    }

    fn at_rest(&self) -> bool {
        let quiet = self.waiting.is_none() && self.lost.is_none();
        let in_sync = self.record.is_present() == self.drive.there
            && (!self.drive.there || self.record.version.0 == self.drive.version);
        quiet && in_sync && self.record.due().is_none()
    }

    /// Returns whether nothing needs to happen any more. Accepted: after a deletion that was
    /// cancelled while its request was lost, the file is read until its version moves, as after any
    /// edit.
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
            return Some("the deletion was dropped");
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

/// Returns the number of states, the number at rest, and the first violation with its trace.
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
        for (transition, next) in nexts {
            if let std::collections::hash_map::Entry::Vacant(entry) = index.entry(next.key()) {
                entry.insert(worlds.len());
                worlds.push(Rc::new(next));
                reached.push((at, transition));
            }
        }
        at += 1;
    }
    (worlds.len(), rests, None)
}

const fn budget(people: u8, version_only: u8, deletions: u8, crashes: u8, decisions: u8) -> Budget {
    Budget {
        people,
        version_only,
        deletions,
        crashes,
        decisions,
    }
}

#[track_caller]
fn assert_holds(start: World, states_at_least: usize) {
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
fn a_deletion_never_deletes_an_unseen_change() {
    assert_holds(World::deleting(budget(2, 1, 2, 1, 1)), 4_000);
}

#[test]
fn a_file_is_created_once_and_its_outcome_is_known() {
    assert_holds(World::making(budget(2, 1, 1, 2, 1)), 1_000);
}

#[test]
fn a_deletion_that_ignores_changes_is_caught() {
    let blind = Rules {
        claim: |record, read, attempt| {
            // As if the deletion had been requested after the read.
            let deleting = record.deletion_owed();
            let kept = record.cancel(context(&Policies::default())).record;
            let record = if deleting { &kept } else { record };
            let seen = Observation::Present(read.clone());
            let seen = record.observe(&seen, context(&Policies::default())).record;
            let again = match seen.delete("ann", context(&Policies::default())) {
                Ok(transition) if deleting => transition.record,
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
fn a_single_404_that_is_believed_is_caught() {
    let rules = Rules {
        missed: |record| (OURS.apply_lookup)(record, &Observation::Gone(Gone::Removed)),
        ..OURS
    };
    caught(
        World::deleting(budget(0, 0, 1, 1, 0)),
        &rules,
        "the deletion was dropped",
    );
}

#[test]
fn an_unconditional_deletion_is_caught() {
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
fn a_deletion_that_is_dropped_on_an_edit_is_caught() {
    let rules = Rules {
        observe: |record, seen| {
            let next = (OURS.observe)(record, seen);
            match next.open_conflict(&Field::Existence) {
                Some(id) => next
                    .resolve(
                        &id,
                        None,
                        &Choice::Drive,
                        "x",
                        context(&Policies::default()),
                    )
                    .map_or(next, |transition| transition.record),
                None => next,
            }
        },
        ..OURS
    };
    caught(
        World::deleting(budget(1, 0, 1, 0, 0)),
        &rules,
        "the deletion was dropped",
    );
}

#[test]
fn creation_without_a_generated_id_is_caught() {
    let rules = Rules {
        given_id: false,
        ..OURS
    };
    caught(World::making(budget(0, 0, 0, 1, 0)), &rules, "made twice");
}
