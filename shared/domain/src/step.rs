//! From one record to the next: observations, edits, decisions.
//!
//! Every operation is total and pure. It gives a [`Step`]: the next record, and the conflict records
//! that must be written with it or not at all.

use std::collections::{BTreeMap, BTreeSet};

use crate::merge::Sides;
use crate::policy::{Choice, Policies, decide};
use crate::record::{Edit, FileRecord, OpenConflict, Presence};
use crate::{
    ConflictId, ConflictRecord, ConflictStatus, Decider, Field, Gone, Observation, PROPERTIES_MAX,
    Resolution, Snapshot, Timestamp, Value, ValueRefused,
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
    /// When Drive's state came about, as Drive says: only `last_writer_wins` looks at it.
    pub drive_at: Timestamp,
    /// The connection's policies.
    pub policies: &'a Policies,
}

/// Why an edit was not taken. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditRefused {
    /// The file is not there for us.
    Gone,
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
                self.answered(&Observation::Present(snapshot.clone()), moment)
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
                change.present();
                change.observe(snapshot, &BTreeMap::new());
            }
            Observation::Gone(gone) => change.gone(*gone),
        }
        change.finish()
    }

    /// Sets fields of the application's side, all or none.
    ///
    /// # Errors
    /// [`EditRefused`] where the file is gone, an open conflict holds one of the fields, or a value
    /// is not allowed.
    pub fn edit(
        &self,
        values: &BTreeMap<Field, Value>,
        by: &str,
        moment: Moment<'_>,
    ) -> Result<Step, EditRefused> {
        if !self.is_present() {
            return Err(EditRefused::Gone);
        }
        let held: Vec<ConflictId> = values
            .keys()
            .filter_map(|field| self.open_conflict(field))
            .collect();
        if !held.is_empty() {
            return Err(EditRefused::Held(held));
        }
        for (field, value) in values {
            field
                .check(value)
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
        if let Some(field) = change.property_too_many(values) {
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
        let open = self
            .open
            .get(&conflict.field)
            .filter(|open| open.number == conflict.number);
        let open = open.ok_or(ResolveRefused::NotOpen)?;
        if moves.is_some_and(|moves| moves != open.moves) {
            return Err(ResolveRefused::Moved);
        }
        let by = Decider::Person(by.to_owned());
        let mut change = Change::of(self, moment);
        if conflict.field == Field::Existence {
            if *choice != Choice::Drive {
                return Err(ResolveRefused::StillGone);
            }
            change.let_go(&by);
            return Ok(change.finish());
        }
        let sides = self.sides(&conflict.field);
        let value = chosen(&sides, choice);
        if value != *sides.drive() {
            conflict
                .field
                .check(&value)
                .map_err(ResolveRefused::Value)?;
        }
        if let Decider::Person(subject) = &by {
            let edit = Edit {
                by: subject.clone(),
                at: moment.now,
            };
            change.record.edits.insert(conflict.field.clone(), edit);
        }
        change.set(
            &conflict.field,
            sides.resolved(value, self.version),
            Some((choice.clone(), by)),
        );
        change.due_now();
        Ok(change.finish())
    }

    /// The id of the open conflict on a field, if one stands.
    #[must_use]
    pub fn open_conflict(&self, field: &Field) -> Option<ConflictId> {
        self.open
            .get(field)
            .map(|open| self.conflict_id(field, open.number))
    }

    fn conflict_id(&self, field: &Field, number: u32) -> ConflictId {
        ConflictId {
            file: self.file.clone(),
            field: field.clone(),
            number,
        }
    }
}

fn chosen(sides: &Sides<Value>, choice: &Choice) -> Value {
    match choice {
        Choice::App => sides.app.clone(),
        Choice::Drive => sides.drive().clone(),
        Choice::Base => sides.base.clone(),
        Choice::Value(value) => value.clone(),
    }
}

/// A record on its way to the next, with the book that is kept about it.
pub(crate) struct Change<'a> {
    before: &'a FileRecord,
    pub(crate) record: FileRecord,
    conflicts: BTreeMap<ConflictId, ConflictRecord>,
    pub(crate) moment: Moment<'a>,
}

impl<'a> Change<'a> {
    pub(crate) fn of(before: &'a FileRecord, moment: Moment<'a>) -> Self {
        Self {
            before,
            record: before.clone(),
            conflicts: BTreeMap::new(),
            moment,
        }
    }

    /// Merges a snapshot into every field, if it is later than what was seen, or of the same version
    /// with fields that the record was made without. Fields in `settled` are left as they are.
    pub(crate) fn observe(&mut self, snapshot: &Snapshot, settled: &BTreeMap<Field, Value>) {
        let same_with_more_fields =
            snapshot.version == self.record.version && snapshot.mask > self.record.mask;
        if snapshot.version <= self.record.version && !same_with_more_fields {
            return;
        }
        let known = self.record.fields.keys().chain(snapshot.fields.keys());
        let fields: BTreeSet<Field> = known
            .filter(|f| !settled.contains_key(f))
            .cloned()
            .collect();
        for field in fields {
            let drive = snapshot
                .fields
                .get(&field)
                .cloned()
                .unwrap_or_else(|| field.unset());
            let first =
                self.record.mask < snapshot.mask && !self.record.fields.contains_key(&field);
            let sides = if first {
                Sides::agreed(drive)
            } else {
                self.record.sides(&field).observe(drive, snapshot.version)
            };
            self.set(&field, sides, None);
        }
        self.record.mirror = snapshot.mirror.clone();
        self.record.version = snapshot.version;
        self.record.mask = self.record.mask.max(snapshot.mask);
    }

    /// The file is there.
    fn present(&mut self) {
        self.record.presence = Presence::Present;
        let id = self.record.open_conflict(&Field::Existence);
        if let (Some(id), Some(open)) = (id, self.record.open.remove(&Field::Existence)) {
            let status = ConflictStatus::Closed {
                at: self.moment.now,
            };
            self.write_existence(id, &open, Value::text("present"), status);
        }
    }

    /// The file is not there. Edits that Drive never got are a conflict, not a loss.
    fn gone(&mut self, gone: Gone) {
        if !self.record.is_present() {
            return;
        }
        self.record.presence = Presence::Gone(gone, self.moment.now);
        if self.never_sent().is_empty() {
            return;
        }
        let latest = self.record.edits.values().map(|edit| edit.at).max();
        let policy = self.moment.policies.of(&Field::Existence);
        let open = self.next_conflict();
        let id = self.record.conflict_id(&Field::Existence, open.number);
        self.record.open.insert(Field::Existence, open.clone());
        let drive = existence(self.record.presence);
        self.write_existence(id, &open, drive, ConflictStatus::Open);
        if decide(policy, latest, self.moment.drive_at) == Some(Choice::Drive) {
            self.let_go(&Decider::Policy);
        }
    }

    /// Gives in to the file being gone: the application's values stay in the records only.
    fn let_go(&mut self, by: &Decider) {
        let id = self.record.open_conflict(&Field::Existence);
        if let (Some(id), Some(open)) = (id, self.record.open.remove(&Field::Existence)) {
            let value = existence(self.record.presence);
            let resolution = Resolution {
                choice: Choice::Drive,
                value: value.clone(),
                by: by.clone(),
                at: self.moment.now,
            };
            self.write_existence(id, &open, value, ConflictStatus::Resolved(resolution));
        }
        let fields: Vec<Field> = self.record.fields.keys().cloned().collect();
        for field in fields {
            let drive = self.record.sides(&field).drive().clone();
            self.set(
                &field,
                Sides::agreed(drive),
                Some((Choice::Drive, by.clone())),
            );
        }
    }

    /// The application's values that differ from what both last agreed on.
    fn never_sent(&self) -> BTreeMap<Field, Value> {
        let moved = |(_, sides): &(&Field, &Sides<Value>)| sides.app != sides.base;
        let own = |(field, sides): (&Field, &Sides<Value>)| (field.clone(), sides.app.clone());
        self.record.fields.iter().filter(moved).map(own).collect()
    }

    fn write_existence(
        &mut self,
        id: ConflictId,
        open: &OpenConflict,
        drive: Value,
        status: ConflictStatus,
    ) {
        let record = ConflictRecord {
            id: id.clone(),
            moves: open.moves,
            base: Value::text("present"),
            app: Value::text("present"),
            drive,
            unsure: false,
            owed: self.never_sent(),
            opened_at: open.opened_at,
            status,
        };
        self.conflicts.insert(id, record);
    }

    fn next_conflict(&mut self) -> OpenConflict {
        self.record.conflicts_opened += 1;
        let number = self.record.conflicts_opened;
        OpenConflict {
            number,
            moves: 0,
            opened_at: self.moment.now,
        }
    }

    /// Puts the sides of a field in place, and keeps the book of its conflict: opened (and perhaps
    /// decided at once by the policy), moved, or ended, by `decision` where there is one.
    pub(crate) fn set(
        &mut self,
        field: &Field,
        sides: Sides<Value>,
        decision: Option<(Choice, Decider)>,
    ) {
        let before = self.record.sides(field);
        let mut after = sides;
        match (&before.clash, &after.clash) {
            (None, None) => {}
            (None, Some(_)) => {
                let open = self.next_conflict();
                let app_at = self.record.edits.get(field).map(|edit| edit.at);
                let policy = self.moment.policies.of(field);
                match decide(policy, app_at, self.moment.drive_at) {
                    None => {
                        self.write(field, &open, &after, ConflictStatus::Open);
                        self.record.open.insert(field.clone(), open);
                    }
                    Some(choice) => {
                        let value = chosen(&after, &choice);
                        let status = self.resolved(choice, value.clone(), Decider::Policy);
                        self.write(field, &open, &after, status);
                        after = after.resolved(value, self.record.version);
                        self.due_now();
                    }
                }
            }
            (Some(_), Some(_)) => {
                if (&before.base, &before.app, before.drive())
                    != (&after.base, &after.app, after.drive())
                    && let Some(mut open) = self.record.open.get(field).cloned()
                {
                    open.moves += 1;
                    self.write(field, &open, &after, ConflictStatus::Open);
                    self.record.open.insert(field.clone(), open);
                }
            }
            (Some(_), None) => {
                if let Some(open) = self.record.open.remove(field) {
                    // The record keeps the sides as the decision saw them, or as they came together.
                    let (seen, status) = match decision {
                        Some((choice, by)) => {
                            (&before, self.resolved(choice, after.app.clone(), by))
                        }
                        None => (
                            &after,
                            ConflictStatus::Closed {
                                at: self.moment.now,
                            },
                        ),
                    };
                    self.write(field, &open, seen, status);
                    self.due_now();
                }
            }
        }
        if after.app == after.base {
            self.record.edits.remove(field);
        }
        if !after.owed() {
            self.record.push.failed.remove(field);
        }
        let property_unset =
            matches!(field, Field::Property(_)) && after == Sides::agreed(Value::Null);
        if property_unset {
            self.record.fields.remove(field);
        } else {
            self.record.fields.insert(field.clone(), after);
        }
    }

    fn resolved(&self, choice: Choice, value: Value, by: Decider) -> ConflictStatus {
        ConflictStatus::Resolved(Resolution {
            choice,
            value,
            by,
            at: self.moment.now,
        })
    }

    fn write(
        &mut self,
        field: &Field,
        open: &OpenConflict,
        sides: &Sides<Value>,
        status: ConflictStatus,
    ) {
        let id = self.record.conflict_id(field, open.number);
        let record = ConflictRecord {
            id: id.clone(),
            moves: open.moves,
            base: sides.base.clone(),
            app: sides.app.clone(),
            drive: sides.drive().clone(),
            unsure: sides.clash.as_ref().is_some_and(|clash| clash.unsure),
            owed: BTreeMap::new(),
            opened_at: open.opened_at,
            status,
        };
        self.conflicts.insert(id, record);
    }

    /// The next push starts afresh, at once.
    pub(crate) fn due_now(&mut self) {
        self.record.push.attempts = 0;
        self.record.push.failures = 0;
        self.record.push.not_before = self.moment.now;
    }

    fn property_too_many(&self, values: &BTreeMap<Field, Value>) -> Option<Field> {
        let is_property = |field: &&Field| matches!(field, Field::Property(_));
        let set = self.record.fields.iter().filter(|(field, sides)| {
            matches!(field, Field::Property(_)) && sides.app != Value::Null
        });
        if set.count() <= PROPERTIES_MAX {
            return None;
        }
        values.keys().find(is_property).cloned()
    }

    /// Closes the book: revision, visibility, and a clean slate where nothing is due any more.
    pub(crate) fn finish(mut self) -> Step {
        if self.record.due().is_none() {
            self.record.push.attempts = 0;
            self.record.push.failures = 0;
            self.record.push.one_at_a_time = false;
            self.record.push.not_before = Timestamp::default();
        } else if self.before.due().is_none() {
            self.record.push.not_before = self.record.push.not_before.max(self.moment.now);
        }
        if self.record != *self.before {
            self.record.revision = self.before.revision.next();
            if visible(&self.record) != visible(self.before) {
                self.record.visible = self.record.revision;
            }
        }
        Step {
            record: self.record,
            conflicts: self.conflicts,
        }
    }
}

fn existence(presence: Presence) -> Value {
    match presence {
        Presence::Present => Value::text("present"),
        Presence::Gone(Gone::Removed, _) => Value::text("removed"),
        Presence::Gone(Gone::AccessLost, _) => Value::text("access_lost"),
    }
}

/// What a reader of the file sees: the ETag moves with it, and not with versions, attempts or claims.
fn visible(record: &FileRecord) -> impl PartialEq {
    let side = |(field, sides): (&Field, &Sides<Value>)| {
        (
            field.clone(),
            sides.app.clone(),
            sides.drive().clone(),
            sides.owed(),
        )
    };
    (
        record.presence,
        record.fields.iter().map(side).collect::<Vec<_>>(),
        record.open.clone(),
        record.push.failed.clone(),
        record.mirror.clone(),
    )
}
