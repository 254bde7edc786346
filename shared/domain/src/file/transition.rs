//! Transitions of a file's record: observations, edits, decisions.
//!
//! Every operation is total and pure. It returns a [`Transition`]: the next record, and the
//! conflict records that must be stored in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use crate::content::{ContentHash, ContentIdentity};
use crate::file::transition_builder::TransitionBuilder;
use crate::merge::Sides;
use crate::{Ancestry, Choice, Policies};
use crate::{
    ConflictId, ConflictRecord, Decider, Field, FileId, Observation, Timestamp, Value, ValueRefused,
};
use crate::{Edit, FileRecord, Keeping};

/// The result of an operation on a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The next record.
    pub record: FileRecord,
    /// The conflicts that opened, moved or ended, in their latest state. They must be stored in one
    /// transaction with the record.
    pub conflicts: BTreeMap<ConflictId, ConflictRecord>,
}

impl Transition {
    /// Returns whether a conflict was opened, be it decided since or not.
    #[must_use]
    pub fn opens_conflict(&self, before: &FileRecord) -> bool {
        self.record.conflicts_opened > before.conflicts_opened
    }

    /// Returns a transition that changes nothing.
    #[must_use]
    pub fn unchanged(record: FileRecord) -> Self {
        Self {
            record,
            conflicts: BTreeMap::new(),
        }
    }

    /// Applies another operation. If both change the same conflict, the later state counts.
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

/// The context of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The current time: edits are accepted, conflicts opened and pushes due at this time.
    pub now: Timestamp,
    /// The time of the change in Drive according to its change log; `None` if the state was read or
    /// listed. Only `last_writer_wins` uses it.
    pub drive_at: Option<Timestamp>,
    /// The connection's policies.
    pub policies: &'a Policies,
    /// The folders that the file is in, and those above them; `None` if they were not read. Without
    /// them a policy of a folder decides nothing, and leaves the decision to a person.
    pub above: Option<&'a Ancestry>,
}

/// The reason why an edit was refused. A refused edit changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditRefused {
    /// The file is gone.
    Gone,
    /// The application is deleting the file. The deletion must be cancelled first.
    Deleting,
    /// Open conflicts hold these fields. They must be resolved first.
    InConflict(Vec<ConflictId>),
    /// The value is not allowed.
    Value(Field, ValueRefused),
}

/// The reason why a decision was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveRefused {
    /// The conflict is not open: it never was, or it has ended.
    NotOpen,
    /// The conflict is open, but its sides have moved since the decision read them.
    Moved,
    /// The file is gone, so the application's side can't be chosen until it is back.
    StillGone,
    /// The chosen value is not allowed.
    Value(ValueRefused),
}

impl FileRecord {
    /// Applies an observation from a queue. Older versions change nothing, and an observation that
    /// would change the file's presence needs a lookup first ([`FileRecord::needs_lookup`]).
    #[must_use]
    pub fn observe(&self, observation: &Observation, context: Context<'_>) -> Transition {
        match observation {
            Observation::Present(snapshot) if self.is_present() => {
                let mut transition =
                    self.apply_lookup(&Observation::Present(snapshot.clone()), context);
                if snapshot.version > self.version {
                    transition.record.reported = snapshot.version;
                }
                transition
            }
            Observation::Present(_) | Observation::Gone(_) => Transition::unchanged(self.clone()),
        }
    }

    /// Applies the result of a lookup. The record's presence follows it.
    #[must_use]
    pub fn apply_lookup(&self, answer: &Observation, context: Context<'_>) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        match answer {
            Observation::Present(snapshot) => {
                builder.mark_present(snapshot);
                builder.observe(snapshot, &BTreeSet::new());
            }
            Observation::Gone(gone) => builder.mark_gone(*gone),
        }
        builder.finish()
    }

    /// Sets fields of the application's side, all or none.
    ///
    /// # Errors
    /// [`EditRefused`] if the file is gone or being deleted, an open conflict holds one of the
    /// fields, or a value is not allowed.
    pub fn edit(
        &self,
        values: &BTreeMap<Field, Value>,
        by: &str,
        context: Context<'_>,
    ) -> Result<Transition, EditRefused> {
        if self.is_gone() {
            return Err(EditRefused::Gone);
        }
        if self.deletion_owed() || self.creation_taken_back() {
            return Err(EditRefused::Deleting);
        }
        let values = &*self.with_present_principals(values);
        // A file whose deletion is in question can't be edited until that is resolved.
        let conflicts: Vec<ConflictId> = std::iter::once(&Field::Existence)
            .chain(values.keys())
            .filter_map(|field| self.open_conflict(field))
            .collect();
        if !conflicts.is_empty() {
            return Err(EditRefused::InConflict(conflicts));
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
        let mut builder = TransitionBuilder::of(self, context);
        for (field, value) in values {
            let sides = builder
                .record
                .sides(field)
                .edited(value.clone(), self.version);
            if sides.app != builder.record.app(field) {
                let edit = Edit {
                    by: by.to_owned(),
                    at: context.now,
                    cause: None,
                };
                builder.record.edits.insert(field.clone(), edit);
                builder.schedule_now();
            }
            builder.record.push.failed.remove(field);
            builder.record.push.again.remove(field);
            builder.set(field, sides, None);
        }
        if self.is_creating() {
            // The creation may succeed with the new values.
            builder.record.push.failed.remove(&Field::Existence);
            builder.record.push.again.remove(&Field::Existence);
        }
        if let Some((field, why)) = builder.excess(values.keys()) {
            return Err(EditRefused::Value(field, why));
        }
        Ok(builder.finish())
    }

    /// Resolves an open conflict. `moves`, if given, identifies the sides that the decision read.
    ///
    /// # Errors
    /// [`ResolveRefused`] if the conflict is not open or has moved, or the choice is not possible.
    pub fn resolve(
        &self,
        conflict: &ConflictId,
        moves: Option<u32>,
        choice: &Choice,
        by: &str,
        context: Context<'_>,
    ) -> Result<Transition, ResolveRefused> {
        let decider = Decider::Person(by.to_owned());
        self.decided(conflict, moves, choice, decider, context)
    }

    /// Decides an open conflict on content by the `keep_both` policy. `copy` is the file that
    /// receives the application's content; its creation must already be pending. The conflict is
    /// open until [`FileRecord::settle_kept`].
    ///
    /// # Errors
    /// [`ResolveRefused::NotOpen`] if the conflict is no longer open.
    pub fn resolve_keeping_both(
        &self,
        conflict: &ConflictId,
        copy: FileId,
        context: Context<'_>,
    ) -> Result<Transition, ResolveRefused> {
        let both = Choice::Both(copy);
        self.decided(conflict, None, &both, Decider::Policy, context)
    }

    /// Resolves the conflict on content whose two contents are kept: the application's is in this
    /// file in Drive. Changes nothing if that was not decided.
    #[must_use]
    pub fn settle_kept(&self, copy: &FileId, context: Context<'_>) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        let open = self.open.get(&Field::Content);
        let keeping = open.and_then(|open| open.keeping.clone());
        if let Some(keeping) = keeping.filter(|keeping| keeping.copy == *copy) {
            let sides = self.sides(&Field::Content);
            let drive = sides.drive().clone();
            builder.set(
                &Field::Content,
                sides.resolved(drive, self.version),
                Some((Choice::Both(keeping.copy), keeping.by)),
            );
        }
        builder.finish()
    }

    /// Records why Drive has not accepted the file that is to receive the application's content, or
    /// another file that is to receive it.
    #[must_use]
    pub fn update_keeping(
        &self,
        copy: FileId,
        reason: Option<String>,
        context: Context<'_>,
    ) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        let open = self.open.get(&Field::Content);
        if let Some(keeping) = open.and_then(|open| open.keeping.clone()) {
            let updated = Keeping {
                copy,
                reason,
                ..keeping.clone()
            };
            if updated != keeping {
                builder.save_keeping(updated);
            }
        }
        builder.finish()
    }

    pub(crate) fn decided(
        &self,
        conflict: &ConflictId,
        moves: Option<u32>,
        choice: &Choice,
        decider: Decider,
        context: Context<'_>,
    ) -> Result<Transition, ResolveRefused> {
        let open = self
            .open
            .get(&conflict.field)
            .filter(|open| open.number == conflict.number);
        let open = open.ok_or(ResolveRefused::NotOpen)?;
        if moves.is_some_and(|moves| moves != open.moves) {
            return Err(ResolveRefused::Moved);
        }
        if conflict.field == Field::Existence && self.is_present() {
            return self.resolve_deletion(choice, decider, context);
        }
        let mut builder = TransitionBuilder::of(self, context);
        if conflict.field == Field::Existence {
            if *choice != Choice::Drive {
                return Err(ResolveRefused::StillGone);
            }
            builder.abandon_edits(&decider);
            return Ok(builder.finish());
        }
        if let Choice::Both(copy) = choice {
            if conflict.field != Field::Content {
                return Err(ResolveRefused::Value(ValueRefused::ReadOnly));
            }
            let known = open.keeping.as_ref().is_some_and(|kept| kept.copy == *copy);
            if !known {
                builder.save_keeping(Keeping {
                    copy: copy.clone(),
                    by: decider,
                    at: context.now,
                    reason: None,
                });
            }
            return Ok(builder.finish());
        }
        let sides = self.sides(&conflict.field);
        let value = chosen_value(&sides, choice);
        if value != *sides.drive() {
            conflict
                .field
                .check(&value)
                .map_err(ResolveRefused::Value)?;
        }
        let by = decider.to_string();
        let edit = Edit {
            by,
            at: context.now,
            cause: None,
        };
        builder.record.edits.insert(conflict.field.clone(), edit);
        builder.set(
            &conflict.field,
            sides.resolved(value, self.version),
            Some((choice.clone(), decider)),
        );
        if let Some((_, why)) = builder.excess([&conflict.field].into_iter()) {
            return Err(ResolveRefused::Value(why));
        }
        Ok(builder.finish())
    }

    /// Records the SHA-256 of Drive's content, of which Drive states another identity: its bytes
    /// have been here. Changes nothing if Drive has another content by now. If both sides of a
    /// conflict turn out to be equal, it closes.
    #[must_use]
    pub fn learn_content(
        &self,
        of: &ContentIdentity,
        sha256: &ContentHash,
        context: Context<'_>,
    ) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        if self.is_present() && self.metadata.content() == of.value() {
            builder.learn_sha256(sha256.to_string());
        }
        builder.finish()
    }

    /// Returns the id of the open conflict on a field, if there is one.
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

pub(crate) fn chosen_value(sides: &Sides<Value>, choice: &Choice) -> Value {
    match choice {
        Choice::App => sides.app.clone(),
        Choice::Drive | Choice::Both(_) => sides.drive().clone(),
        Choice::Base => sides.base.clone(),
        Choice::Value(value) => value.clone(),
    }
}
