//! Drive, its log, the workers and one record, played through a history, with every step checked.

mod promises;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use self::promises::failed_for_good;
use super::history::{Event, History};
use super::{drive, field, value};
use crate::fixture::{FULL, NOW, all, record};
use crate::{
    AttemptId, Choice, ConflictId, ConflictRecord, ConflictStatus, Context, DriveVersion, Field,
    FileRecord, Gone, Observation, Patch, Policies, Refusal, Snapshot, Timestamp, Transition,
    Value,
};

type Checked = Result<(), TestCaseError>;

/// The reason with which Drive refuses a value for good.
const REFUSED: &str = "no";

/// A request in flight, or answered.
struct Request {
    patch: Patch,
    against: DriveVersion,
    answer: Answer,
    /// True if the worker that waits for the answer has crashed.
    orphan: bool,
}

enum Answer {
    None,
    Took(Box<Snapshot>),
    Stale,
}

struct World {
    record: FileRecord,
    /// Every conflict record, as a store would keep them.
    book: BTreeMap<ConflictId, ConflictRecord>,
    policies: Policies,
    /// Drive's states; the last one is current.
    log: Vec<Snapshot>,
    gone: Option<Gone>,
    requests: Vec<Request>,
    /// The values that Drive accepted from us.
    landed: BTreeSet<(Field, Value)>,
    now: Timestamp,
    attempts: u64,
}

pub(super) fn play(history: &History) -> Checked {
    let mut world = World {
        record: record(),
        book: BTreeMap::new(),
        policies: all(history.policy.clone()),
        log: vec![drive(1, &[0, 1, 0, 0, 0])],
        gone: None,
        requests: Vec::new(),
        landed: BTreeSet::new(),
        now: NOW,
        attempts: 0,
    };
    for event in &history.events {
        world.now = world.now.plus_millis(3);
        world.happens(*event)?;
    }
    world.comes_to_rest()
}

impl World {
    fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            drive_at: Some(self.now.plus_millis(-4)),
            above: None,
            policies: &self.policies,
        }
    }

    fn current(&self) -> &Snapshot {
        self.log.last().unwrap()
    }

    /// Returns the result of a lookup in Drive.
    fn answer(&self) -> Observation {
        self.gone.map_or_else(
            || Observation::Present(self.current().clone()),
            Observation::Gone,
        )
    }

    fn drive_moves(&mut self, change: impl FnOnce(&mut Snapshot)) -> Snapshot {
        let mut next = self.current().clone();
        // Drive's versions may skip numbers.
        next.version.0 += 1 + next.version.0 % 2;
        next.metadata.size_bytes = Some(next.version.0);
        change(&mut next);
        self.log.push(next.clone());
        next
    }

    fn happens(&mut self, event: Event) -> Checked {
        match event {
            Event::PersonSets {
                field: at,
                value: pick,
            } if self.gone.is_none() => {
                let field = field(at);
                let value = value(&field, pick);
                self.drive_moves(|file| write(file, field, value));
            }
            Event::PersonSets { .. } => {}
            Event::PersonEditsContent => {
                self.drive_moves(|_| {});
            }
            Event::PersonRemoves(gone) => self.gone = Some(gone),
            Event::PersonRestores => self.gone = None,
            Event::AppSets {
                field: at,
                value: pick,
            } => self.app_sets(field(at), pick)?,
            Event::Delivered { which } => {
                let snapshot = self.log[which % self.log.len()].clone();
                self.observe(Observation::Present(snapshot))?;
            }
            Event::Asked => self.ask()?,
            Event::Claimed => {
                self.claim()?;
            }
            Event::Arrives { which } => self.arrives(which),
            Event::Answered { which, permanent } => self.answered(which, permanent)?,
            Event::Unanswered { which } => self.unanswered(which)?,
            Event::Dies { which } => {
                if let Some(at) = self.waiting(which) {
                    self.requests[at].orphan = true;
                }
            }
            Event::Decided { which, choice } => self.decide(which, choice)?,
            Event::Cancelled => self.take("cancel", self.record.cancel(self.context()))?,
            Event::Retried => self.take("retry", self.record.retry(self.context()))?,
        }
        Ok(())
    }

    fn app_sets(&mut self, field: Field, pick: usize) -> Checked {
        let value = value(&field, pick);
        let edit = BTreeMap::from([(field.clone(), value.clone())]);
        let in_conflict = self.record.open_conflict(&field).is_some() || !self.record.is_present();
        match self.record.edit(&edit, "ann", self.context()) {
            Err(_) => prop_assert!(in_conflict, "an allowed edit was refused"),
            Ok(transition) => {
                prop_assert!(!in_conflict, "an edit of a held field was accepted");
                prop_assert_eq!(&transition.record.app(&field), &value);
                self.take("edit", transition)?;
            }
        }
        Ok(())
    }

    /// As a consumer of the queue does: what would change presence needs a lookup.
    fn observe(&mut self, observation: Observation) -> Checked {
        if self.record.needs_lookup(&observation) {
            return self.ask();
        }
        let before = self.record.clone();
        self.take("observe", self.record.observe(&observation, self.context()))?;
        let again = self.record.observe(&observation, self.context());
        prop_assert_eq!(
            again,
            Transition::unchanged(self.record.clone()),
            "a repetition changes nothing"
        );
        if let Observation::Present(snapshot) = &observation
            && snapshot.version <= before.version
        {
            prop_assert_eq!(&self.record, &before, "an old snapshot changes nothing");
        }
        Ok(())
    }

    fn ask(&mut self) -> Checked {
        let answer = self.answer();
        self.take("ask", self.record.apply_lookup(&answer, self.context()))?;
        prop_assert_eq!(self.record.is_present(), self.gone.is_none());
        let again = self.record.apply_lookup(&answer, self.context());
        prop_assert_eq!(
            again,
            Transition::unchanged(self.record.clone()),
            "a repetition changes nothing"
        );
        Ok(())
    }

    /// Returns whether something was sent.
    fn claim(&mut self) -> Result<bool, TestCaseError> {
        if self.gone.is_some() {
            self.ask()?;
            return Ok(false);
        }
        if self.record.due().is_none() {
            return Ok(false);
        }
        self.attempts += 1;
        let read = self.current().clone();
        let attempt = AttemptId(self.attempts);
        let claim = self.record.claim(&read, attempt, self.context(), FULL);
        self.take("claim", claim.transition)?;
        let Some(patch) = claim.patch else {
            return Ok(false);
        };
        for (field, value) in &patch.values {
            prop_assert!(self.record.sides(field).owed(), "only what is owed is sent");
            prop_assert_eq!(&self.record.app(field), value);
        }
        self.requests.push(Request {
            patch,
            against: read.version,
            answer: Answer::None,
            orphan: false,
        });
        Ok(true)
    }

    /// Returns one of the requests whose worker still waits.
    fn waiting(&self, which: usize) -> Option<usize> {
        let waiting = self
            .requests
            .iter()
            .enumerate()
            .filter(|(_, request)| !request.orphan);
        let waiting: Vec<usize> = waiting.map(|(at, _)| at).collect();
        waiting.get(which % waiting.len().max(1)).copied()
    }

    fn arrives(&mut self, which: usize) {
        if self.requests.is_empty() {
            return;
        }
        let at = which % self.requests.len();
        if !matches!(self.requests[at].answer, Answer::None) {
            return;
        }
        // Drive has no condition for a permission.
        let unconditional = self.requests[at].patch.permission().is_some();
        let same = self.requests[at].against == self.current().version;
        let fits = (same || unconditional) && self.gone.is_none();
        self.requests[at].answer = if fits {
            let values = self.requests[at].patch.values.clone();
            self.landed.extend(values.clone());
            let made = self.drive_moves(|file| {
                for (field, value) in values {
                    write(file, field, value);
                }
            });
            Answer::Took(Box::new(made))
        } else {
            Answer::Stale
        };
    }

    fn answered(&mut self, which: usize, permanent: bool) -> Checked {
        let Some(at) = self.waiting(which) else {
            return Ok(());
        };
        let request = self.requests.remove(at);
        let refusal = match request.answer {
            // Drive's answer shows the permission and not the file, which is read again.
            Answer::Took(_) if request.patch.permission().is_some() => {
                let read = self.current().clone();
                let transition = self.record.confirmed_by_reread(
                    &request.patch,
                    None,
                    &read,
                    self.context(),
                    FULL,
                );
                return self.take("reread", transition);
            }
            Answer::Took(answer) => {
                let transition = self
                    .record
                    .confirmed(&request.patch, &answer, self.context());
                return self.take("confirm", transition);
            }
            Answer::Stale => Refusal::Stale,
            Answer::None if permanent => Refusal::Permanent(REFUSED.to_owned()),
            Answer::None => Refusal::Busy,
        };
        let failures = self.record.push.failures;
        let transition = self
            .record
            .refused(&request.patch, &refusal, self.context(), FULL);
        prop_assert!(
            transition.record.push.failures <= failures,
            "a definite refusal does not count as a failure"
        );
        for sides in transition.record.fields.values() {
            let mine = sides
                .sent
                .iter()
                .any(|sent| sent.attempt == request.patch.attempt);
            prop_assert!(!mine, "a refused write is not recorded as sent");
        }
        self.gave_up_what_was_tried(&request.patch, &transition)?;
        self.take("refuse", transition)
    }

    fn unanswered(&mut self, which: usize) -> Checked {
        let Some(at) = self.waiting(which) else {
            return Ok(());
        };
        self.requests[at].orphan = true;
        let refusal = Refusal::Unknown("timeout".to_owned());
        let patch = &self.requests[at].patch;
        let transition = self.record.refused(patch, &refusal, self.context(), FULL);
        self.gave_up_what_was_tried(patch, &transition)?;
        self.take("no answer", transition)
    }

    fn gave_up_what_was_tried(&self, patch: &Patch, transition: &Transition) -> Checked {
        for field in transition.record.push.failed.keys() {
            let before = self.record.push.failed.contains_key(field);
            let tried = patch.values.get(field) == Some(&transition.record.app(field));
            prop_assert!(before || tried, "{field} failed without being tried");
        }
        Ok(())
    }

    fn decide(&mut self, which: usize, choice: usize) -> Checked {
        let open: Vec<Field> = self.record.open.keys().cloned().collect();
        let Some(field) = open.get(which % open.len().max(1)) else {
            return Ok(());
        };
        let id = self.record.open_conflict(field).unwrap();
        let sides = self.record.sides(field);
        let (choice, value) = match choice {
            0 => (Choice::App, sides.app.clone()),
            1 => (Choice::Drive, sides.drive().clone()),
            2 => (Choice::Base, sides.base.clone()),
            _ => (Choice::Value(value(field, which)), value(field, which)),
        };
        match self
            .record
            .resolve(&id, None, &choice, "ann", self.context())
        {
            Err(_) => prop_assert_eq!(field, &Field::Existence, "a decision was refused"),
            Ok(transition) => {
                if *field != Field::Existence {
                    prop_assert_eq!(
                        transition.record.sides(field).base.clone(),
                        sides.drive().clone()
                    );
                    prop_assert_eq!(&transition.record.app(field), &value);
                    prop_assert_eq!(
                        transition.record.sides(field).owed(),
                        value != *sides.drive()
                    );
                }
                let ended = &transition.conflicts[&id].status;
                prop_assert!(matches!(ended, ConflictStatus::Resolved(_)));
                self.take("decide", transition)?;
            }
        }
        Ok(())
    }

    /// Applies a transition as a store would, and checks the invariants of every transition.
    fn take(&mut self, what: &str, transition: Transition) -> Checked {
        let before = std::mem::replace(&mut self.record, transition.record);
        for (id, conflict) in &transition.conflicts {
            let known = self
                .book
                .get(id)
                .map_or(conflict.moves, |known| known.moves);
            prop_assert!(conflict.moves >= known, "a conflict's moves only grow");
            if let ConflictStatus::Resolved(resolution) = &conflict.status
                && id.field != Field::Existence
            {
                let chosen = match &resolution.choice {
                    Choice::App => &conflict.app,
                    Choice::Drive => &conflict.drive,
                    Choice::Base => &conflict.base,
                    Choice::Value(value) => value,
                    Choice::Both(_) => &conflict.drive,
                };
                prop_assert_eq!(&resolution.value, chosen);
                let sides = self.record.sides(&id.field);
                prop_assert_eq!((&sides.app, &sides.base), (chosen, &conflict.drive));
                let settled = |at| at < self.record.version;
                let settled = sides.sent.iter().any(|sent| settled(sent.against));
                prop_assert!(!settled, "{what}: a decision removes settled entries");
            }
        }
        self.book.extend(transition.conflicts.clone());
        self.revisions(what, &before, &transition.conflicts)?;
        self.completeness(what)?;
        self.given_up_for_good(what, &before)?;
        self.nothing_is_lost(what, &before)
    }

    /// Without further faults and edits, what is left is done when it is due, and both sides agree.
    fn comes_to_rest(mut self) -> Checked {
        self.requests.clear();
        for _ in 0..40 {
            self.ask()?;
            let Some(due) = self.record.due() else {
                break;
            };
            self.now = self.now.max(due);
            if self.claim()? {
                self.arrives(0);
                self.answered(0, false)?;
            }
        }
        prop_assert_eq!(self.record.due(), None, "something is due for ever");
        for field in self.record.fields.keys().filter(|_| self.gone.is_none()) {
            let sides = self.record.sides(field);
            let drive = self
                .current()
                .fields
                .get(field)
                .cloned()
                .unwrap_or_else(|| field.unset());
            prop_assert_eq!(sides.drive(), &drive, "{} differs from Drive", field);
            let done = sides.app == drive
                || sides.conflict.is_some()
                || failed_for_good(&self.record, field);
            prop_assert!(
                done,
                "{field} is neither agreed, nor in conflict, nor given up for good"
            );
        }
        Ok(())
    }
}

fn write(file: &mut Snapshot, field: Field, value: Value) {
    if value == Value::Null {
        file.fields.remove(&field);
    } else {
        file.fields.insert(field, value);
    }
}
