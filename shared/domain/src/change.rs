//! A record on its way to the next, and the book that is kept about its conflicts.

use std::collections::{BTreeMap, BTreeSet};

use crate::existence::{here, removed};
use crate::merge::Sides;
use crate::permission::most_restrictive;
use crate::policy::decide;
use crate::record::{OpenConflict, Presence};
use crate::step::chosen;
use crate::{
    Choice, ConflictId, ConflictRecord, ConflictStatus, Decider, Field, FieldMask, FileRecord,
    Gone, Mirror, Moment, PROPERTIES_MAX, Policy, Resolution, Snapshot, Step, Timestamp, Value,
};

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

    /// Merges a snapshot into every field but those in `settled`, if it is later than what was seen,
    /// or of the same version with fields, or permissions, that the record was made without.
    pub(crate) fn observe(&mut self, snapshot: &Snapshot, settled: &BTreeSet<Field>) {
        let learns_permissions =
            snapshot.mirror.permissions_known && !self.record.permissions_are_current();
        let same_with_more_fields = snapshot.version == self.record.version
            && (snapshot.mask > self.record.mask || learns_permissions);
        if snapshot.version <= self.record.version && !same_with_more_fields {
            return;
        }
        self.take(snapshot, settled);
    }

    /// Merges a snapshot into every field but those in `settled`, whatever its version.
    pub(crate) fn take(&mut self, snapshot: &Snapshot, settled: &BTreeSet<Field>) {
        let touched = self.touches_deletion(snapshot, settled);
        // First, since a policy that decides a conflict below has seen this version.
        self.record.version = snapshot.version;
        let known_before = self.record.mask;
        let mut mirror = snapshot.mirror.clone();
        mirror.keep_permissions_of(&self.record.mirror);
        self.record.permissions_at = self.record.permissions_seen(snapshot);
        // Before the fields: the content's sides are kept only where they are more than the mirror tells.
        self.record.mirror = mirror;
        let known = self.record.fields.keys().chain(snapshot.fields.keys());
        let fields: BTreeSet<Field> = known
            .filter(|field| **field != Field::Existence && !settled.contains(field))
            .filter(|field| !unknown_to(snapshot, known_before, field))
            .cloned()
            .collect();
        for field in fields {
            let drive = snapshot.value(&field);
            let first = known_before < snapshot.mask && !self.record.fields.contains_key(&field);
            let sides = if first {
                Sides::agreed(drive)
            } else {
                self.record.sides(&field).observe(drive, snapshot.version)
            };
            self.set(&field, sides, None);
        }
        // Lower where an older build made the snapshot: the fields that it does not know are then
        // taken from a snapshot of this very version by a newer one.
        self.record.mask = snapshot.mask;
        self.follow_deletion(touched);
    }

    /// The file is there.
    pub(crate) fn present(&mut self, snapshot: &Snapshot) {
        match self.record.presence {
            Presence::Present => return,
            Presence::Creating => return self.arrive(snapshot),
            Presence::Gone(..) => self.record.presence = Presence::Present,
        }
        let id = self.record.open_conflict(&Field::Existence);
        if let (Some(id), Some(open)) = (id, self.record.open.remove(&Field::Existence)) {
            let status = ConflictStatus::Closed {
                at: self.moment.now,
            };
            let owed = never_sent(&self.record);
            self.write_existence(id, &open, owed, Value::text("present"), status);
        }
    }

    /// The file is not there. Edits that Drive never got are a conflict, not a loss, unless the application
    /// itself let them go with the file.
    pub(crate) fn gone(&mut self, gone: Gone) {
        if let Presence::Gone(_, since) = self.record.presence {
            self.record.presence = Presence::Gone(gone, since);
            return;
        }
        if self.record.is_creating() && !self.unmade(gone) {
            return;
        }
        let deleted_by = self.deleted_by();
        self.record.presence = Presence::Gone(gone, self.moment.now);
        let agreed = Sides::agreed(existence(self.record.presence));
        self.set(&Field::Existence, agreed, None);
        if let Some(by) = deleted_by {
            self.let_go(&by);
            return;
        }
        if never_sent(&self.record).is_empty() {
            return;
        }
        let latest = self.record.edits.values().map(|edit| edit.at).max();
        let policy = self.moment.policies.of(&Field::Existence);
        let open = self.next_conflict();
        let id = self.record.conflict_id(&Field::Existence, open.number);
        self.record.open.insert(Field::Existence, open.clone());
        let drive = existence(self.record.presence);
        let owed = never_sent(&self.record);
        self.write_existence(id, &open, owed, drive, ConflictStatus::Open);
        if decide(policy, latest, self.moment.drive_at) == Some(Choice::Drive) {
            self.let_go(&Decider::Policy);
        }
    }

    /// Gives in to the file being gone: the application's values stay in the records only.
    pub(crate) fn let_go(&mut self, by: &Decider) {
        let id = self.record.open_conflict(&Field::Existence);
        if let (Some(id), Some(open)) = (id, self.record.open.remove(&Field::Existence)) {
            let value = existence(self.record.presence);
            let resolution = Resolution {
                choice: Choice::Drive,
                value: value.clone(),
                by: by.clone(),
                at: self.moment.now,
            };
            let owed = never_sent(&self.record);
            let status = ConflictStatus::Resolved(resolution);
            self.write_existence(id, &open, owed, value, status);
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

    /// An open conflict on `existence` follows what is owed and why the file is gone; with nothing
    /// owed any more, as the edits were taken back or did reach Drive, it closes.
    fn follow_existence(&mut self) {
        let was_open = self.before.open.contains_key(&Field::Existence);
        if !was_open || !self.before.is_gone() || !self.record.is_gone() {
            return;
        }
        let Some(mut open) = self.record.open.get(&Field::Existence).cloned() else {
            return;
        };
        let owed = never_sent(&self.record);
        let was_owed = never_sent(self.before);
        let drive = existence(self.record.presence);
        let id = self.record.conflict_id(&Field::Existence, open.number);
        if owed.is_empty() {
            self.record.open.remove(&Field::Existence);
            let at = self.moment.now;
            self.write_existence(id, &open, was_owed, drive, ConflictStatus::Closed { at });
        } else if owed != was_owed || self.record.presence != self.before.presence {
            open.moves += 1;
            self.write_existence(id, &open, owed, drive, ConflictStatus::Open);
            self.record.open.insert(Field::Existence, open);
        }
    }

    pub(crate) fn write_existence(
        &mut self,
        id: ConflictId,
        open: &OpenConflict,
        owed: BTreeMap<Field, Value>,
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
            owed,
            opened_at: open.opened_at,
            status,
        };
        self.conflicts.insert(id, record);
    }

    pub(crate) fn next_conflict(&mut self) -> OpenConflict {
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
                let decided = match policy {
                    Policy::MostRestrictive => most_restrictive(field, &after.app, after.drive()),
                    Policy::Manual
                    | Policy::KeepBoth
                    | Policy::DriveWins
                    | Policy::AppWins
                    | Policy::LastWriterWins { .. } => decide(policy, app_at, self.moment.drive_at),
                };
                match decided {
                    None => {
                        self.write(field, &open, &after, ConflictStatus::Open);
                        self.record.open.insert(field.clone(), open);
                    }
                    Some(choice) => {
                        let value = chosen(&after, &choice);
                        let status = self.resolved(choice, value.clone(), Decider::Policy);
                        self.write(field, &open, &after, status);
                        after = after.resolved(value, self.record.version);
                        if after.owed() {
                            self.due_now();
                        }
                    }
                }
            }
            (Some(_), Some(_)) => {
                if (&before.base, &before.app, before.drive())
                    != (&after.base, &after.app, after.drive())
                {
                    self.moved(field, &after);
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
                    if after.owed() {
                        self.due_now();
                    }
                }
            }
        }
        // Where a write of ours may still land, going back to the base is an edit that will be owed.
        if after.app == after.base && after.sent.is_empty() {
            self.record.edits.remove(field);
        }
        if !after.owed() {
            self.record.push.failed.remove(field);
        }
        // These are kept only while they say something.
        let unset = field.is_one_of_many() && after == Sides::agreed(Value::Null);
        let agreed = *field == Field::Existence && after == Sides::agreed(after.base.clone());

        if unset || agreed {
            self.record.fields.remove(field);
        } else {
            self.record.fields.insert(field.clone(), after);
        }
    }

    /// The sides of an open conflict have moved: a decision that looked before has seen others.
    pub(crate) fn moved(&mut self, field: &Field, sides: &Sides<Value>) {
        if let Some(mut open) = self.record.open.get(field).cloned() {
            open.moves += 1;
            self.write(field, &open, sides, ConflictStatus::Open);
            self.record.open.insert(field.clone(), open);
        }
    }

    /// Who deleted the file in the application, if anybody did.
    fn deleted_by(&self) -> Option<Decider> {
        let by = |edit: &crate::Edit| Decider::Person(edit.by.clone());
        (self.record.app(&Field::Existence) == removed())
            .then(|| self.record.edits.get(&Field::Existence).map(by))
            .flatten()
    }

    fn resolved(&self, choice: Choice, value: Value, by: Decider) -> ConflictStatus {
        ConflictStatus::Resolved(Resolution {
            choice,
            value,
            by,
            at: self.moment.now,
        })
    }

    pub(crate) fn write(
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

    /// Whether a conflict was opened, and left to a person, only because nobody knows when Drive's side moved.
    pub(crate) fn lacks_a_time(&self) -> bool {
        let by_time = |field: &Field| {
            let policy = self.moment.policies.of(field);
            matches!(policy, Policy::LastWriterWins { .. })
        };
        let opened = |field: &&Field| !self.before.open.contains_key(*field);
        self.moment.drive_at.is_none() && self.record.open.keys().filter(opened).any(by_time)
    }

    /// The next push starts afresh, at once.
    pub(crate) fn due_now(&mut self) {
        self.record.push.attempts = 0;
        self.record.push.failures = 0;
        self.record.push.held = false;
        self.record.push.not_before = self.moment.now;
    }

    /// A property of `fields` that takes the file over Drive's number of them. Taking one away from
    /// a file that is over it already (each side added some) is always possible.
    pub(crate) fn property_too_many<'f>(
        &self,
        mut fields: impl Iterator<Item = &'f Field>,
    ) -> Option<Field> {
        let count = |record: &FileRecord| {
            let set = |(field, sides): &(&Field, &Sides<Value>)| {
                matches!(field, Field::Property(_)) && sides.app != Value::Null
            };
            record.fields.iter().filter(set).count()
        };
        let after = count(&self.record);
        if after <= PROPERTIES_MAX || after <= count(self.before) {
            return None;
        }
        let added = |field: &&Field| {
            matches!(field, Field::Property(_)) && self.before.app(field) == Value::Null
        };
        fields.find(added).cloned()
    }

    /// Closes the book: revision, visibility, and a clean slate where nothing is due any more.
    pub(crate) fn finish(mut self) -> Step {
        self.follow_existence();
        let content = self.record.fields.get(&Field::Content);
        if content == Some(&Sides::agreed(self.record.mirror.content())) {
            self.record.fields.remove(&Field::Content);
        }
        if self.record.app(&Field::Content) != self.before.app(&Field::Content) {
            let version = self.before.content_version;
            self.record.content_version = version.saturating_add(1);
        }
        if self.record.due().is_none() {
            self.record.push.attempts = 0;
            self.record.push.failures = 0;
            self.record.push.one_at_a_time = false;
            self.record.push.not_before = Timestamp::default();
        } else if self.before.due().is_none() {
            self.record.push.not_before = self.record.push.not_before.max(self.moment.now);
        }
        if self
            .record
            .fields
            .values()
            .all(|sides| sides.sent.is_empty())
        {
            self.record.push.sent_at = Timestamp::default();
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

/// Whether a field's absence from a snapshot says nothing: an older build made it than made the
/// record, and only properties are left out when they are not set; or it does not know the permissions.
pub(crate) fn unknown_to(snapshot: &Snapshot, mask: FieldMask, field: &Field) -> bool {
    if let Field::Permission(_) = field {
        return !snapshot.mirror.permissions_known;
    }
    snapshot.mask < mask && !field.is_one_of_many() && !snapshot.fields.contains_key(field)
}

/// The application's values that differ from what both last agreed on.
pub(crate) fn never_sent(record: &FileRecord) -> BTreeMap<Field, Value> {
    let moved = |(field, sides): &(&Field, &Sides<Value>)| {
        **field != Field::Existence && sides.app != sides.base
    };
    let own = |(field, sides): (&Field, &Sides<Value>)| (field.clone(), sides.app.clone());
    record.fields.iter().filter(moved).map(own).collect()
}

pub(crate) fn existence(presence: Presence) -> Value {
    match presence {
        Presence::Present => here(),
        Presence::Creating => Value::Null,
        Presence::Gone(Gone::Removed, _) => removed(),
        Presence::Gone(Gone::AccessLost, _) => Value::text("access_lost"),
        Presence::Gone(Gone::MovedAway, _) => Value::text("moved_away"),
    }
}

/// What a reader of the file sees: the ETag moves with it, and not with versions, attempts or claims.
fn visible(record: &FileRecord) -> impl PartialEq {
    // A field that nobody has set is no different from one that was never heard of.
    let set = |(field, sides): &(&Field, &Sides<Value>)| {
        sides.app != field.unset() || *sides.drive() != field.unset() || sides.owed()
    };
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
        record
            .fields
            .iter()
            .filter(set)
            .map(side)
            .collect::<Vec<_>>(),
        record.open.clone(),
        record.push.failed.clone(),
        // Stands for the permissions, which are compared themselves.
        Mirror {
            permission_ids: None,
            ..record.mirror.clone()
        },
    )
}
