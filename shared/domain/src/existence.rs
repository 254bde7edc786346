//! Making and deleting files: edits of whether a file is there at all.
//!
//! They go the way of every edit. What the application wants stands in the sides of [`Field::Existence`],
//! and only while it differs from what Drive has: a file that is being made has the base "nothing" there,
//! one that is to be deleted the application's value `removed`. What was sent is remembered in them, as for
//! any field, and whatever is unclear about them is a question.

use std::collections::{BTreeMap, BTreeSet};

use crate::change::{Change, unknown_to};
use crate::merge::{Clash, Sides};
use crate::{
    AttemptId, Backoff, Choice, Claim, Decider, Edit, EditRefused, Field, FileId, FileRecord, Gone,
    Mirror, Moment, Patch, Presence, ResolveRefused, Snapshot, Step, Value, ValueRefused,
};

/// The value of [`Field::Existence`] of a file that is there.
pub(crate) fn here() -> Value {
    Value::text("present")
}

/// The value of [`Field::Existence`] of a file that is deleted.
pub(crate) fn removed() -> Value {
    Value::text("removed")
}

/// A file that the application makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// The id that Drive gave out for it beforehand: it makes the file once, however often it is asked.
    pub file: FileId,
    /// Its type, which can't be changed later.
    pub mime_type: String,
    /// What it points to, where it is a shortcut.
    pub shortcut_target: Option<FileId>,
    /// The writable fields that are set; the others are as Drive makes them.
    pub values: BTreeMap<Field, Value>,
}

impl Patch {
    /// Whether it makes the file.
    #[must_use]
    pub fn creates(&self) -> bool {
        self.values.get(&Field::Existence) == Some(&here())
    }

    /// Whether it deletes the file.
    #[must_use]
    pub fn deletes(&self) -> bool {
        self.values.get(&Field::Existence) == Some(&removed())
    }
}

impl FileRecord {
    /// The record of a file that Drive has yet to make, to be stored on condition that none is.
    ///
    /// # Errors
    /// [`EditRefused::Value`] where a value is not allowed.
    pub fn creating(new: &NewFile, by: &str, moment: Moment<'_>) -> Result<Step, EditRefused> {
        let mirror = Mirror {
            mime_type: new.mime_type.clone(),
            shortcut_target: new.shortcut_target.as_ref().map(ToString::to_string),
            ..Mirror::default()
        };
        let record = Self::unmade(new.file.clone(), mirror);
        let mut change = Change::of(&record, moment);
        let edit = Edit {
            by: by.to_owned(),
            at: moment.now,
        };
        change.record.edits.insert(Field::Existence, edit);
        let wanted = Sides {
            app: here(),
            ..Sides::agreed(Value::Null)
        };
        change.set(&Field::Existence, wanted, None);
        change.due_now();
        change.finish().record.edit(&new.values, by, moment)
    }

    /// Whether Drive has yet to make the file.
    #[must_use]
    pub fn is_creating(&self) -> bool {
        match self.presence {
            Presence::Creating => true,
            Presence::Present | Presence::Gone(..) => false,
        }
    }

    /// Whether the making of the file was taken back when it had been sent already: only a look at Drive
    /// tells whether there is something to delete.
    #[must_use]
    pub fn creation_taken_back(&self) -> bool {
        self.is_creating() && self.app(&Field::Existence) != here()
    }

    /// Whether the application wants the file deleted and nothing stands in the way of it.
    #[must_use]
    pub fn deletion_owed(&self) -> bool {
        let owed = |sides: &Sides<Value>| sides.owed() && sides.app == removed();
        self.is_present()
            && self.fields.get(&Field::Existence).is_some_and(owed)
            && !self.push.failed.contains_key(&Field::Existence)
    }

    /// The application deletes the file, having seen this record. A file that is still being made is not
    /// made, or deleted as soon as it is known to have been.
    ///
    /// # Errors
    /// [`EditRefused::Gone`] where it is gone, [`EditRefused::Held`] where it is in question already.
    pub fn delete(&self, by: &str, moment: Moment<'_>) -> Result<Step, EditRefused> {
        match self.presence {
            Presence::Gone(..) => return Err(EditRefused::Gone),
            Presence::Creating => return Ok(self.cancel(moment)),
            Presence::Present => {}
        }
        if let Some(id) = self.open_conflict(&Field::Existence) {
            return Err(EditRefused::Held(vec![id]));
        }
        let mut change = Change::of(self, moment);
        let before = self.sides(&Field::Existence);
        if before.app != removed() {
            let edit = Edit {
                by: by.to_owned(),
                at: moment.now,
            };
            change.record.edits.insert(Field::Existence, edit);
            change.due_now();
        }
        change.record.push.failed.remove(&Field::Existence);
        let sides = Sides {
            app: removed(),
            sent: before.sent,
            ..Sides::agreed(here())
        };
        change.set(&Field::Existence, sides, None);
        Ok(change.finish())
    }

    /// Claims the making of a file. Nothing is read before: its id sees to it that Drive makes it once.
    #[must_use]
    pub fn claim_creation(&self, attempt: AttemptId, moment: Moment<'_>) -> Claim {
        let mut change = Change::of(self, moment);
        if self.push.failures >= Backoff::PUSH.failures_max {
            let creation = BTreeMap::from([(Field::Existence, here())]);
            change.give_up(&creation, "no attempt was answered");
        }
        let record = &change.record;
        let given_up = record.push.failed.contains_key(&Field::Existence);
        if !self.is_creating() || self.creation_taken_back() || given_up {
            return Claim {
                step: change.finish(),
                patch: None,
            };
        }
        // Permissions and content are methods of their own, and wait until there is a file.
        let set = |(field, sides): &(&Field, &Sides<Value>)| {
            let later = matches!(
                field,
                Field::Permission(_) | Field::Trashed | Field::Content
            );
            sides.app != field.unset() && !later
        };
        let own = |(field, sides): (&Field, &Sides<Value>)| (field.clone(), sides.app.clone());
        let values: BTreeMap<Field, Value> = record.fields.iter().filter(set).map(own).collect();
        change.send(&values, self.version, attempt);
        Claim {
            step: change.finish(),
            patch: Some(Patch { attempt, values }),
        }
    }

    /// Settles the question whether a file that is there is to be deleted.
    pub(crate) fn resolve_deletion(
        &self,
        choice: &Choice,
        decider: Decider,
        moment: Moment<'_>,
    ) -> Result<Step, ResolveRefused> {
        let value = match choice {
            Choice::App => removed(),
            Choice::Drive | Choice::Base => here(),
            Choice::Value(value) if *value == here() || *value == removed() => value.clone(),
            Choice::Value(_) | Choice::Both(_) => {
                return Err(ResolveRefused::Value(ValueRefused::ReadOnly));
            }
        };
        let mut change = Change::of(self, moment);
        let by = decider.to_string();
        let edit = Edit { by, at: moment.now };
        change.record.edits.insert(Field::Existence, edit);
        let sides = self.sides(&Field::Existence).resolved(value, self.version);
        change.set(&Field::Existence, sides, Some((choice.clone(), decider)));
        Ok(change.finish())
    }
}

impl Change<'_> {
    /// Whether the application wants the file deleted, in question or not.
    fn deletion_stands(&self) -> bool {
        let removal = |sides: &Sides<Value>| sides.app == removed();
        self.record.is_present()
            && self
                .record
                .fields
                .get(&Field::Existence)
                .is_some_and(removal)
    }

    /// Whether a snapshot shows what somebody else changed since the deletion was asked for, as far as
    /// people see it. A new version alone is nothing.
    pub(crate) fn touches_deletion(&self, snapshot: &Snapshot, settled: &BTreeSet<Field>) -> bool {
        if !self.deletion_stands() {
            return false;
        }
        let record = &self.record;
        let changed = |field: &Field| {
            let drive = snapshot.value(field);
            let Some(sides) = record.fields.get(field) else {
                // What the record was made without is news to us, and not of anyone's doing.
                let permission = matches!(field, Field::Permission(_));
                let news = permission && !record.mirror.permissions_known;
                return !news && record.mask >= snapshot.mask && drive != field.unset();
            };
            let ours = sides.sent.iter().any(|sent| sent.value == drive);
            !unknown_to(snapshot, record.mask, field) && drive != *sides.drive() && !ours
        };
        let fields = record.fields.keys().chain(snapshot.fields.keys());
        let mut fields = fields.filter(|f| **f != Field::Existence && !settled.contains(*f));
        if fields.any(changed) {
            return true;
        }
        // The answer to a write of ours was conditional on what the record knows: only we were there.
        settled.is_empty() && content(&record.mirror) != content(&snapshot.mirror)
    }

    /// What the snapshot before said of the deletion: in question where it shows what its author had not
    /// seen. What was sent against an older state did not happen, and never will.
    pub(crate) fn follow_deletion(&mut self, touched: bool) {
        if !self.deletion_stands() {
            return;
        }
        let sides = self.record.sides(&Field::Existence);
        let sides = sides.without_settled(self.record.version);
        match (&sides.clash, touched) {
            (None, true) => {
                let clash = Some(Clash {
                    drive: here(),
                    unsure: false,
                });
                self.set(&Field::Existence, Sides { clash, ..sides }, None);
            }
            (Some(_), true) => self.moved(&Field::Existence, &sides),
            (_, false) => self.set(&Field::Existence, sides, None),
        }
    }

    /// A file that was being made is there: what was sent is what it was made of, and so the base of
    /// whatever came after. If its making was taken back, it is to be deleted.
    pub(crate) fn arrive(&mut self, snapshot: &Snapshot) {
        let wanted = !self.record.creation_taken_back();
        self.made_of_what_was_sent(Some(snapshot));
        self.made_empty(snapshot);
        self.record.presence = Presence::Present;
        if wanted {
            self.set(&Field::Existence, Sides::agreed(here()), None);
            return;
        }
        let sides = Sides {
            app: removed(),
            ..Sides::agreed(here())
        };
        self.set(&Field::Existence, sides, None);
        self.due_now();
        let as_made = |(field, sides): (&Field, &Sides<Value>)| {
            let drive = snapshot.value(field);
            *field == Field::Existence || drive == sides.base || drive == sides.app
        };
        let touched = !self.record.fields.iter().all(as_made);
        self.follow_deletion(touched);
    }

    /// A file is made without content, whatever checksum Drive has of nothing: what the application has given
    /// it is owed.
    fn made_empty(&mut self, snapshot: &Snapshot) {
        if let Some(sides) = self.record.fields.get(&Field::Content) {
            let base = snapshot.value(&Field::Content);
            let sides = Sides {
                base,
                ..sides.clone()
            };
            self.set(&Field::Content, sides, None);
        }
    }

    /// What a file that was being made turns into when Drive says that it is not there; whether it is to be
    /// treated as one that was there and went. A file of which nothing was sent is merely not made yet.
    pub(crate) fn unmade(&mut self, gone: Gone) -> bool {
        let taken_back = self.record.creation_taken_back();
        if !taken_back && self.record.sides(&Field::Existence).sent.is_empty() {
            return false;
        }
        self.made_of_what_was_sent(None);
        if taken_back {
            self.abandon(gone);
        }
        !taken_back
    }

    /// The end of a file that never was, or that nobody here knows to have been.
    pub(crate) fn abandon(&mut self, gone: Gone) {
        self.record.presence = Presence::Gone(gone, self.moment.now);
        let fields: Vec<Field> = self.record.fields.keys().cloned().collect();
        for field in fields {
            let app = self.record.app(&field);
            self.set(&field, Sides::agreed(app), None);
        }
    }

    /// Since the file came to be, what was sent has arrived: where that was one value, Drive had it first,
    /// and anything else there came later. (A field that Drive shows unset may never have been taken: that
    /// is left to the next push.)
    fn made_of_what_was_sent(&mut self, snapshot: Option<&Snapshot>) {
        let fields: Vec<Field> = self.record.fields.keys().cloned().collect();
        for field in fields.iter().filter(|field| **field != Field::Existence) {
            let sides = self.record.sides(field);
            let values: BTreeSet<&Value> = sides.sent.iter().map(|sent| &sent.value).collect();
            let shown = |snapshot: &Snapshot| {
                let drive = snapshot.fields.get(field);
                drive.is_some_and(|drive| *drive != field.unset())
            };
            let taken = snapshot.is_none_or(shown);
            if let (1, Some(value), true) = (values.len(), values.first(), taken) {
                let sides = Sides {
                    base: (*value).clone(),
                    app: sides.app.clone(),
                    clash: None,
                    sent: Vec::new(),
                };
                self.set(field, sides, None);
            }
        }
    }
}

/// What people see of a file besides its fields. Where there is no checksum to tell that the content has
/// moved (Docs editor files, folders), the time of the last change does.
fn content(mirror: &Mirror) -> impl PartialEq {
    (
        mirror.mime_type.clone(),
        mirror.size_bytes,
        mirror.md5.clone(),
        mirror.sha256.clone(),
        mirror.head_revision_id.clone(),
        mirror.drive_id.clone(),
        mirror.shortcut_target.clone(),
        mirror.md5.is_none().then_some(mirror.modified_at),
    )
}
