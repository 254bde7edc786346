//! From one record to the next: observations, edits, decisions.
//!
//! Every operation is total and pure. It gives a [`Step`]: the next record, and the conflict records
//! that must be written with it or not at all.

use std::collections::{BTreeMap, BTreeSet};

use crate::change::Change;
use crate::merge::Sides;
use crate::policy::{Choice, Policies};
use crate::record::{Edit, FileRecord};
use crate::{
    ConflictId, ConflictRecord, Decider, Field, FileId, Observation, Timestamp, Value, ValueRefused,
};

/// What an operation made of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The next record.
    pub record: FileRecord,
    /// The conflicts that opened, moved or ended, in their latest state: to be written in one
    /// transaction with the record.
    pub conflicts: BTreeMap<ConflictId, ConflictRecord>,
}

impl Step {
    /// A step that changes nothing.
    #[must_use]
    pub fn stay(record: FileRecord) -> Self {
        Self {
            record,
            conflicts: BTreeMap::new(),
        }
    }

    /// Continues with another operation; of a conflict that both touch, the later state stands.
    #[must_use]
    pub fn then(mut self, next: impl FnOnce(&FileRecord) -> Self) -> Self {
        let next = next(&self.record);
        self.conflicts.extend(next.conflicts);
        Self {
            record: next.record,
            conflicts: self.conflicts,
        }
    }
}

/// The circumstances of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Now: when edits are accepted, conflicts opened, pushes due.
    pub now: Timestamp,
    /// When Drive's state came about, as its change log says; `None` where it was merely read or listed.
    /// Only `last_writer_wins` looks at it.
    pub drive_at: Option<Timestamp>,
    /// The connection's policies.
    pub policies: &'a Policies,
}

/// Why an edit was not taken. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditRefused {
    /// The file is not there for us.
    Gone,
    /// The application deletes it: that must be taken back first.
    Deleting,
    /// Open conflicts hold these fields: they must be settled first.
    Held(Vec<ConflictId>),
    /// A value can't be stored.
    Value(Field, ValueRefused),
}

/// Why a decision was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveRefused {
    /// That conflict is not open: it was never, or it has ended.
    NotOpen,
    /// The conflict stands, but its sides have moved since the decision looked at them.
    Moved,
    /// The file is gone, so the application's side can't be chosen until it is back.
    StillGone,
    /// The chosen value can't be stored.
    Value(ValueRefused),
}

impl FileRecord {
    /// Takes one observation as far as a queue may deliver it: older versions change nothing, and what
    /// would change the file's presence must be asked of Drive first ([`FileRecord::must_ask`]).
    #[must_use]
    pub fn observe(&self, observation: &Observation, moment: Moment<'_>) -> Step {
        match observation {
            Observation::Present(snapshot) if self.is_present() => {
                let mut step = self.answered(&Observation::Present(snapshot.clone()), moment);
                if snapshot.version > self.version {
                    step.record.reported = snapshot.version;
                }
                step
            }
            Observation::Present(_) | Observation::Gone(_) => Step::stay(self.clone()),
        }
    }

    /// Takes Drive's answer to a direct question about this record: presence follows it.
    #[must_use]
    pub fn answered(&self, answer: &Observation, moment: Moment<'_>) -> Step {
        let mut change = Change::of(self, moment);
        match answer {
            Observation::Present(snapshot) => {
                change.present(snapshot);
                change.observe(snapshot, &BTreeSet::new());
            }
            Observation::Gone(gone) => change.gone(*gone),
        }
        change.finish()
    }

    /// Sets fields of the application's side, all or none.
    ///
    /// # Errors
    /// [`EditRefused`] where the file is gone or being deleted, an open conflict holds one of the fields, or a
    /// value is not allowed.
    pub fn edit(
        &self,
        values: &BTreeMap<Field, Value>,
        by: &str,
        moment: Moment<'_>,
    ) -> Result<Step, EditRefused> {
        if self.is_gone() {
            return Err(EditRefused::Gone);
        }
        if self.deletion_owed() || self.creation_taken_back() {
            return Err(EditRefused::Deleting);
        }
        // A file that may go is not edited before that is settled.
        let held: Vec<ConflictId> = std::iter::once(&Field::Existence)
            .chain(values.keys())
            .filter_map(|field| self.open_conflict(field))
            .collect();
        if !held.is_empty() {
            return Err(EditRefused::Held(held));
        }
        for (field, value) in values {
            field
                .check(value)
                .and_then(|()| match field {
                    Field::Permission(principal) => self.check_permission(principal, value),
                    Field::Existence
                    | Field::Name
                    | Field::Description
                    | Field::Starred
                    | Field::Trashed
                    | Field::Parent
                    | Field::Property(_) => Ok(()),
                    Field::Content if self.can_hold_content() => Ok(()),
                    Field::Content => Err(ValueRefused::NoContent),
                })
                .map_err(|why| EditRefused::Value(field.clone(), why))?;
        }
        let mut change = Change::of(self, moment);
        for (field, value) in values {
            let sides = change
                .record
                .sides(field)
                .edited(value.clone(), self.version);
            if sides.app != change.record.app(field) {
                let edit = Edit {
                    by: by.to_owned(),
                    at: moment.now,
                };
                change.record.edits.insert(field.clone(), edit);
                change.due_now();
            }
            change.record.push.failed.remove(field);
            change.set(field, sides, None);
        }
        if self.is_creating() {
            // Another value may be what it takes.
            change.record.push.failed.remove(&Field::Existence);
        }
        if let Some(field) = change.property_too_many(values.keys()) {
            return Err(EditRefused::Value(field, ValueRefused::TooManyProperties));
        }
        Ok(change.finish())
    }

    /// Settles an open conflict. `moves` names the sides that the decision looked at, if it says so.
    ///
    /// # Errors
    /// [`ResolveRefused`] where the conflict is not open, has moved, or the choice is not possible.
    pub fn resolve(
        &self,
        conflict: &ConflictId,
        moves: Option<u32>,
        choice: &Choice,
        by: &str,
        moment: Moment<'_>,
    ) -> Result<Step, ResolveRefused> {
        let decider = Decider::Person(by.to_owned());
        self.decided(conflict, moves, choice, decider, moment)
    }

    /// Settles an open conflict on content by the policy that keeps both: `copy` is the file that holds the
    /// application's, and must be on its way.
    ///
    /// # Errors
    /// [`ResolveRefused::NotOpen`] where the conflict is not open any more.
    pub fn kept_both(
        &self,
        conflict: &ConflictId,
        copy: FileId,
        moment: Moment<'_>,
    ) -> Result<Step, ResolveRefused> {
        let both = Choice::Both(copy);
        self.decided(conflict, None, &both, Decider::Policy, moment)
    }

    fn decided(
        &self,
        conflict: &ConflictId,
        moves: Option<u32>,
        choice: &Choice,
        decider: Decider,
        moment: Moment<'_>,
    ) -> Result<Step, ResolveRefused> {
        let open = self
            .open
            .get(&conflict.field)
            .filter(|open| open.number == conflict.number);
        let open = open.ok_or(ResolveRefused::NotOpen)?;
        if moves.is_some_and(|moves| moves != open.moves) {
            return Err(ResolveRefused::Moved);
        }
        if conflict.field == Field::Existence && self.is_present() {
            return self.resolve_deletion(choice, decider, moment);
        }
        let mut change = Change::of(self, moment);
        if conflict.field == Field::Existence {
            if *choice != Choice::Drive {
                return Err(ResolveRefused::StillGone);
            }
            change.let_go(&decider);
            return Ok(change.finish());
        }
        if matches!(choice, Choice::Both(_)) && conflict.field != Field::Content {
            return Err(ResolveRefused::Value(ValueRefused::ReadOnly));
        }
        let sides = self.sides(&conflict.field);
        let value = chosen(&sides, choice);
        if value != *sides.drive() {
            conflict
                .field
                .check(&value)
                .map_err(ResolveRefused::Value)?;
        }
        let by = decider.to_string();
        let edit = Edit { by, at: moment.now };
        change.record.edits.insert(conflict.field.clone(), edit);
        change.set(
            &conflict.field,
            sides.resolved(value, self.version),
            Some((choice.clone(), decider)),
        );
        if change
            .property_too_many([&conflict.field].into_iter())
            .is_some()
        {
            return Err(ResolveRefused::Value(ValueRefused::TooManyProperties));
        }
        Ok(change.finish())
    }

    /// The id of the open conflict on a field, if one stands.
    #[must_use]
    pub fn open_conflict(&self, field: &Field) -> Option<ConflictId> {
        self.open
            .get(field)
            .map(|open| self.conflict_id(field, open.number))
    }

    pub(crate) fn conflict_id(&self, field: &Field, number: u32) -> ConflictId {
        ConflictId {
            file: self.file.clone(),
            field: field.clone(),
            number,
        }
    }
}

pub(crate) fn chosen(sides: &Sides<Value>, choice: &Choice) -> Value {
    match choice {
        Choice::App => sides.app.clone(),
        Choice::Drive | Choice::Both(_) => sides.drive().clone(),
        Choice::Base => sides.base.clone(),
        Choice::Value(value) => value.clone(),
    }
}
