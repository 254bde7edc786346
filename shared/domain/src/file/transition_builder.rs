//! Builds the next version of a record together with its conflict records.

use std::collections::{BTreeMap, BTreeSet};

use super::existence::{present_value, removed_value};
use super::transition::chosen_value;
use crate::conflict::{Asked, Question};
use crate::merge::Sides;
use crate::{
    Choice, ConflictId, ConflictRecord, ConflictStatus, Context, Decider, DriveMetadata, Field,
    FieldSetVersion, FileId, FileRecord, Gone, OpenConflict, PERMISSIONS_MAX, PROPERTIES_MAX,
    Policy, Presence, Resolution, Snapshot, Timestamp, Transition, Value, ValueRefused, decide,
    most_restrictive,
};

/// The next version of a record under construction, together with its conflict records.
pub(crate) struct TransitionBuilder<'a> {
    before: &'a FileRecord,
    pub(crate) record: FileRecord,
    conflicts: BTreeMap<ConflictId, ConflictRecord>,
    /// The identity of Drive's content before and after it became known in a better form.
    pub(super) renamed: Option<(Value, Value)>,
    pub(crate) context: Context<'a>,
    /// The folders that a snapshot shows the file in, which its fields may not have yet.
    shown_in: BTreeSet<Option<FileId>>,
}

impl<'a> TransitionBuilder<'a> {
    pub(crate) fn of(before: &'a FileRecord, context: Context<'a>) -> Self {
        Self {
            before,
            record: before.clone(),
            conflicts: BTreeMap::new(),
            renamed: None,
            context,
            shown_in: BTreeSet::new(),
        }
    }

    /// Merges a snapshot into every field except those in `merged`, if the snapshot is newer than
    /// the record, or has the record's version and carries fields or permissions that the record
    /// lacks.
    pub(crate) fn observe(&mut self, snapshot: &Snapshot, merged: &BTreeSet<Field>) {
        if snapshot.version >= self.record.version {
            self.record.missing = None;
        }
        let learns_permissions =
            snapshot.metadata.permissions_known && !self.record.permissions_are_current();
        let same_with_more_fields = snapshot.version == self.record.version
            && (snapshot.field_set > self.record.field_set || learns_permissions);
        if snapshot.version <= self.record.version && !same_with_more_fields {
            return;
        }
        self.merge(snapshot, merged);
    }

    /// Merges a snapshot into every field except those in `merged`, regardless of its version.
    pub(crate) fn merge(&mut self, snapshot: &Snapshot, merged: &BTreeSet<Field>) {
        let snapshot = &self.record.recognise(snapshot).into_owned();
        if !self.context.policies.folders.is_empty() {
            self.shown_in = FileRecord::from_snapshot(snapshot).places();
        }
        let touched = self.contradicts_deletion(snapshot, merged);
        let known_before = self.record.field_set;
        let mut metadata = snapshot.metadata.clone();
        metadata.inherit_permissions(&self.record.metadata);
        metadata.inherit_sha256(&self.record.metadata);
        if metadata.capabilities != self.record.metadata.capabilities {
            // What was refused may be allowed now.
            self.hasten();
        }
        self.record.permissions_at = self.record.permissions_seen(snapshot);
        if snapshot.metadata.permissions_known {
            self.record.unlisted = None;
        }
        if self.record.document_may_have_changed(snapshot) {
            self.record.content_moved_at = snapshot.version;
        }
        // Set before the fields: the sides of the content are stored only where they differ from
        // what the metadata says.
        let before = self.set_metadata(metadata);
        self.record.remember_principals(&before.permissions);
        // Set before the fields: a policy that decides a conflict below has seen this version.
        self.record.version = snapshot.version;
        let known = self.record.fields.keys().chain(snapshot.fields.keys());
        let fields: BTreeSet<Field> = known
            .filter(|field| **field != Field::Existence && !merged.contains(field))
            .filter(|field| !is_unknown_to(snapshot, known_before, field))
            .cloned()
            .collect();
        for field in fields {
            let drive = if field == Field::Content {
                // With what is known of it from elsewhere.
                self.record.metadata.content()
            } else {
                snapshot.value(&field)
            };
            let first =
                known_before < snapshot.field_set && !self.record.fields.contains_key(&field);
            let sides = if first {
                Sides::agreed(drive)
            } else {
                self.record.sides(&field).observe(drive, snapshot.version)
            };
            self.set(&field, sides, None);
        }
        // Lower if an older build made the snapshot. A newer build's snapshot of the same version
        // then fills in the fields that the older build does not know.
        self.record.field_set = snapshot.field_set;
        self.update_deletion(touched);
    }

    /// Marks the file as present in Drive. An open conflict on `existence` closes.
    pub(crate) fn mark_present(&mut self, snapshot: &Snapshot) {
        match self.record.presence {
            Presence::Present => return,
            Presence::Creating => return self.complete_creation(snapshot),
            Presence::Gone(..) => self.record.presence = Presence::Present,
        }
        let id = self.record.open_conflict(&Field::Existence);
        if let (Some(id), Some(open)) = (id, self.record.open.remove(&Field::Existence)) {
            let status = ConflictStatus::Closed {
                at: self.context.now,
            };
            let owed = unsynced_values(&self.record);
            self.save_existence_conflict(id, &open, owed, Value::text("present"), status);
        }
    }

    /// Marks the file as gone. Edits that Drive never received become a conflict, not a loss,
    /// unless the application itself deleted the file and its edits with it.
    pub(crate) fn mark_gone(&mut self, gone: Gone) {
        self.record.missing = None;
        if let Presence::Gone(_, since) = self.record.presence {
            self.record.presence = Presence::Gone(gone, since);
            return;
        }
        if self.record.is_creating() && !self.end_creation(gone) {
            return;
        }
        let deleted_by = self.deleted_by();
        self.record.presence = Presence::Gone(gone, self.context.now);
        let agreed = Sides::agreed(existence_value(self.record.presence));
        self.set(&Field::Existence, agreed, None);
        if let Some(by) = deleted_by {
            self.abandon_edits(&by);
            return;
        }
        if unsynced_values(&self.record).is_empty() {
            return;
        }
        let latest = self.record.edits.values().map(|edit| edit.at).max();
        let policy = self.policy(&Field::Existence);
        let open = self.next_conflict(&policy);
        let id = self.record.conflict_id(&Field::Existence, open.number);
        self.record.open.insert(Field::Existence, open.clone());
        let drive = existence_value(self.record.presence);
        let owed = unsynced_values(&self.record);
        self.save_existence_conflict(id, &open, owed, drive, ConflictStatus::Open);
        if decide(&policy, latest, self.context.drive_at) == Some(Choice::Drive) {
            self.abandon_edits(&Decider::Policy);
        }
    }

    /// Accepts that the file is gone: the application's values remain in the conflict records only.
    pub(crate) fn abandon_edits(&mut self, by: &Decider) {
        let id = self.record.open_conflict(&Field::Existence);
        if let (Some(id), Some(open)) = (id, self.record.open.remove(&Field::Existence)) {
            let value = existence_value(self.record.presence);
            let resolution = Resolution {
                choice: Choice::Drive,
                value: value.clone(),
                by: by.clone(),
                at: self.context.now,
            };
            let owed = unsynced_values(&self.record);
            let status = ConflictStatus::Resolved(resolution);
            self.save_existence_conflict(id, &open, owed, value, status);
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

    /// Updates an open conflict on `existence` with what is owed and why the file is gone. Closes
    /// the conflict if nothing is owed any more: the edits were withdrawn, or they did reach Drive.
    fn update_existence_conflict(&mut self) {
        let was_open = self.before.open.contains_key(&Field::Existence);
        if !was_open || !self.before.is_gone() || !self.record.is_gone() {
            return;
        }
        let Some(mut open) = self.record.open.get(&Field::Existence).cloned() else {
            return;
        };
        let owed = unsynced_values(&self.record);
        let was_owed = unsynced_values(self.before);
        let drive = existence_value(self.record.presence);
        let id = self.record.conflict_id(&Field::Existence, open.number);
        if owed.is_empty() {
            self.record.open.remove(&Field::Existence);
            let at = self.context.now;
            self.save_existence_conflict(id, &open, was_owed, drive, ConflictStatus::Closed { at });
        } else if owed != was_owed || self.record.presence != self.before.presence {
            open.moved(self.context.now);
            self.save_existence_conflict(id, &open, owed, drive, ConflictStatus::Open);
            self.record.open.insert(Field::Existence, open);
        }
    }

    pub(crate) fn save_existence_conflict(
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
            keeping: None,
            asked: Asked::of(open, &status),
            status,
            cause: None,
        };
        self.conflicts.insert(id, record);
    }

    /// Returns the policy of a field, by all places of the file that are known.
    fn policy(&self, field: &Field) -> Policy {
        let (policies, file) = (self.context.policies, &self.record.file);
        if policies.folders.is_empty() {
            return policies.of(field);
        }
        let mut places = self.before.places();
        places.extend(self.record.places());
        places.extend(self.shown_in.iter().cloned());
        let places = places.iter().map(Option::as_ref);
        policies.of_file(field, file, places, self.context.above)
    }

    /// Numbers a conflict under this policy, which may ask a resolver.
    pub(crate) fn next_conflict(&mut self, policy: &Policy) -> OpenConflict {
        self.record.conflicts_opened += 1;
        let number = self.record.conflicts_opened;
        OpenConflict {
            number,
            moves: 0,
            opened_at: self.context.now,
            keeping: None,
            question: Question::of(policy, self.context.now),
        }
    }

    /// Stores the sides of a field and updates its conflict record: opened (and decided at once if
    /// the policy says so), moved, or ended, by `decision` if there is one.
    pub(crate) fn set(
        &mut self,
        field: &Field,
        sides: Sides<Value>,
        decision: Option<(Choice, Decider)>,
    ) {
        let before = self.record.sides(field);
        let mut after = sides;
        match (&before.conflict, &after.conflict) {
            (None, None) => {}
            (None, Some(_)) => {
                let app_at = self.record.edits.get(field).map(|edit| edit.at);
                let policy = self.policy(field);
                let open = self.next_conflict(&policy);
                let decided = match policy {
                    Policy::MostRestrictive => most_restrictive(field, &after.app, after.drive()),
                    Policy::Manual
                    | Policy::KeepBoth
                    | Policy::DriveWins
                    | Policy::AppWins
                    | Policy::LastWriterWins { .. }
                    | Policy::Webhook(_) => decide(&policy, app_at, self.context.drive_at),
                };
                match decided {
                    None => {
                        self.save_conflict(field, &open, &after, ConflictStatus::Open);
                        self.record.open.insert(field.clone(), open);
                    }
                    Some(choice) => {
                        let value = chosen_value(&after, &choice);
                        let status = self.resolved(choice, value.clone(), Decider::Policy);
                        self.save_conflict(field, &open, &after, status);
                        after = after.resolved(value, self.record.version);
                        if after.owed() {
                            self.schedule_now();
                        }
                    }
                }
            }
            (Some(_), Some(_)) => {
                if (&before.base, &before.app, before.drive())
                    != (&after.base, &after.app, after.drive())
                {
                    self.record_move(field, &after);
                }
            }
            (Some(_), None) => {
                if let Some(open) = self.record.open.remove(field) {
                    // The record keeps the sides as the decision saw them, or as they agreed.
                    let (seen, status) = match decision {
                        Some((choice, by)) => {
                            (&before, self.resolved(choice, after.app.clone(), by))
                        }
                        None => (
                            &after,
                            ConflictStatus::Closed {
                                at: self.context.now,
                            },
                        ),
                    };
                    self.save_conflict(field, &open, seen, status);
                    if after.owed() {
                        self.schedule_now();
                    }
                }
            }
        }
        // While one of our writes may still land, returning to the base is an edit that will be
        // owed.
        if after.app == after.base && after.sent.is_empty() {
            self.record.edits.remove(field);
        }
        if !after.owed() {
            self.record.push.failed.remove(field);
            self.record.push.again.remove(field);
        }
        // These are stored only while they carry information.
        let unset = field.is_one_of_many() && after == Sides::agreed(Value::Null);
        let agreed = *field == Field::Existence && after == Sides::agreed(after.base.clone());

        if unset || agreed {
            self.record.fields.remove(field);
        } else {
            self.record.fields.insert(field.clone(), after);
        }
    }

    /// Counts a move of an open conflict's sides, which makes decisions on the earlier sides stale.
    pub(crate) fn record_move(&mut self, field: &Field, sides: &Sides<Value>) {
        if let Some(mut open) = self.record.open.get(field).cloned() {
            open.moved(self.context.now);
            self.save_conflict(field, &open, sides, ConflictStatus::Open);
            self.record.open.insert(field.clone(), open);
        }
    }

    /// Returns the user who deleted the file in the application, if one did.
    fn deleted_by(&self) -> Option<Decider> {
        let by = |edit: &crate::Edit| Decider::Person(edit.by.clone());
        (self.record.app(&Field::Existence) == removed_value())
            .then(|| self.record.edits.get(&Field::Existence).map(by))
            .flatten()
    }

    fn resolved(&self, choice: Choice, value: Value, by: Decider) -> ConflictStatus {
        ConflictStatus::Resolved(Resolution {
            choice,
            value,
            by,
            at: self.context.now,
        })
    }

    pub(crate) fn save_conflict(
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
            unsure: sides
                .conflict
                .as_ref()
                .is_some_and(|conflict| conflict.unsure),
            owed: BTreeMap::new(),
            opened_at: open.opened_at,
            keeping: match status {
                ConflictStatus::Open => open.keeping.clone(),
                ConflictStatus::Closed { .. } | ConflictStatus::Resolved(_) => None,
            },
            asked: Asked::of(open, &status),
            status,
            cause: None,
        };
        self.conflicts.insert(id, record);
    }

    /// Returns whether a conflict was opened and left to a person only because the time of Drive's
    /// change is unknown.
    pub(crate) fn awaits_change_time(&self) -> bool {
        let by_time = |field: &Field| {
            let policy = self.policy(field);
            matches!(policy, Policy::LastWriterWins { .. })
        };
        let opened = |field: &&Field| !self.before.open.contains_key(*field);
        self.context.drive_at.is_none() && self.record.open.keys().filter(opened).any(by_time)
    }

    /// Resets the backoff and makes the next push due immediately.
    pub(crate) fn schedule_now(&mut self) {
        self.record.push.trouble = None;
        self.record.push.attempts = 0;
        self.record.push.failures = 0;
        self.record.push.out_of_scope = false;
        self.record.push.not_before = self.context.now;
    }

    /// Returns a field of `fields` that takes the file above a limit on its properties or roles.
    /// Removing one from a file that is already above the limit (each side added some) is always
    /// possible.
    pub(crate) fn excess<'f>(
        &self,
        fields: impl Iterator<Item = &'f Field> + Clone,
    ) -> Option<(Field, ValueRefused)> {
        let added = |property: bool| {
            let mut fields = fields.clone();
            let added = move |field: &&Field| match field {
                Field::Property(_) => property && self.before.app(field) == Value::Null,
                Field::Permission(_) => !property && self.before.app(field) == Value::Null,
                Field::Existence
                | Field::Name
                | Field::Description
                | Field::Starred
                | Field::Trashed
                | Field::Parent
                | Field::Content => false,
            };
            fields.find(added).cloned()
        };
        let exceeds = |count: fn(&FileRecord) -> usize, max: usize| {
            let after = count(&self.record);
            after > max && after > count(self.before)
        };
        if exceeds(properties, PROPERTIES_MAX) {
            return added(true).map(|field| (field, ValueRefused::TooManyProperties));
        }
        if exceeds(principals, PERMISSIONS_MAX) {
            return added(false).map(|field| (field, ValueRefused::TooManyPermissions));
        }
        None
    }

    /// Completes the transition: updates revisions, and resets the push state if nothing is due.
    pub(crate) fn finish(mut self) -> Transition {
        self.update_existence_conflict();
        let content = self.record.fields.get(&Field::Content);
        if content == Some(&Sides::agreed(self.record.metadata.content())) {
            self.record.fields.remove(&Field::Content);
        }
        let mut content_before = self.before.app(&Field::Content);
        if let Some((old, new)) = &self.renamed
            && content_before == *old
        {
            content_before.clone_from(new);
        }
        if self.record.app(&Field::Content) != content_before {
            let version = self.before.content_version;
            self.record.content_version = version.saturating_add(1);
        }
        if self.record.push_due().is_none() {
            self.record.push.attempts = 0;
            self.record.push.failures = 0;
            self.record.push.one_at_a_time = false;
            self.record.push.not_before = Timestamp::default();
            self.record.push.trouble = None;
        } else if self.before.push_due().is_none() {
            self.record.push.not_before = self.record.push.not_before.max(self.context.now);
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
        Transition {
            record: self.record,
            conflicts: self.conflicts,
        }
    }
}

/// Returns the number of the application's properties of a file.
fn properties(record: &FileRecord) -> usize {
    let set = |(field, sides): &(&Field, &Sides<Value>)| {
        matches!(field, Field::Property(_)) && sides.app != Value::Null
    };
    record.fields.iter().filter(set).count()
}

/// Returns the number of principals that have a role on a file on either side, or that Drive shows:
/// roles are written one at a time, so that Drive may have all of them for a while.
fn principals(record: &FileRecord) -> usize {
    let held = record.fields.iter();
    let held = held.filter(|(_, s)| s.app != Value::Null || *s.drive() != Value::Null);
    let held = held.filter_map(|(field, _)| field.principal().map(str::to_owned));
    let shown = record.metadata.permissions.iter();
    let shown = shown.map(|shown| shown.principal.clone());
    held.chain(shown).collect::<BTreeSet<String>>().len()
}

/// Returns whether a field's absence from a snapshot carries no information: the snapshot comes
/// from an older build than the record (for which only an absent property means that it is unset),
/// or it does not know the permissions.
pub(crate) fn is_unknown_to(
    snapshot: &Snapshot,
    field_set: FieldSetVersion,
    field: &Field,
) -> bool {
    if let Field::Permission(_) = field {
        return !snapshot.metadata.permissions_known;
    }
    snapshot.field_set < field_set
        && !field.is_one_of_many()
        && !snapshot.fields.contains_key(field)
}

/// Returns the application's values that differ from the base.
pub(crate) fn unsynced_values(record: &FileRecord) -> BTreeMap<Field, Value> {
    let moved = |(field, sides): &(&Field, &Sides<Value>)| {
        **field != Field::Existence && sides.app != sides.base
    };
    let own = |(field, sides): (&Field, &Sides<Value>)| (field.clone(), sides.app.clone());
    record.fields.iter().filter(moved).map(own).collect()
}

pub(crate) fn existence_value(presence: Presence) -> Value {
    match presence {
        Presence::Present => present_value(),
        Presence::Creating => Value::Null,
        Presence::Gone(Gone::Removed, _) => removed_value(),
        Presence::Gone(Gone::AccessLost, _) => Value::text("access_lost"),
        Presence::Gone(Gone::MovedAway, _) => Value::text("moved_away"),
    }
}

/// The part of a record that a reader sees. The ETag changes with it, and not with versions,
/// attempts or claims.
fn visible(record: &FileRecord) -> impl PartialEq {
    // A field that is unset on both sides equals one that is absent.
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
        // A digest of the permissions, which are compared themselves.
        DriveMetadata {
            permission_ids: None,
            ..record.metadata.clone()
        },
    )
}
