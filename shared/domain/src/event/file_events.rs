//! The events of one committed change of a file's record.

use std::collections::BTreeSet;

use super::{Author, Details, Event, EventType, Subject};
use crate::{Field, FileId, FileRecord, Gone, Presence, Timestamp, Value};

/// Returns the events of the change from one record of a file to the next, in the order in which
/// they are told: at most one of each type. A record that was removed from the table (expired,
/// erased) has none: nothing has changed in Drive.
///
/// They follow the application's view: a change of Drive is reported when the view takes it, an
/// edit of the application when it is accepted, and `intent:confirmed` when it has reached Drive.
/// Conflicts have records of their own ([`super::conflict_events`]).
#[must_use]
pub fn file_events(before: Option<&FileRecord>, after: &FileRecord, at: Timestamp) -> Vec<Event> {
    let change = Change { before, after };
    let mut events = Vec::new();
    let mut tell = |kind, details| events.push(change.event(kind, details, at));
    match change.of_presence() {
        Some((kind, reason)) => tell(kind, change.because(reason)),
        None => {
            for (kind, fields) in change.of_fields() {
                tell(kind, change.with_fields(fields));
            }
        }
    }
    let failed = change.failed();
    if let Some((_, reason)) = failed.first() {
        let fields = failed.iter().map(|(field, _)| name(field)).collect();
        let details = Details {
            reason: Some((*reason).to_owned()),
            ..change.with_fields(fields)
        };
        tell(EventType::IntentFailed, details);
    }
    let confirmed = change.confirmed();
    if !confirmed.is_empty() {
        tell(EventType::IntentConfirmed, change.with_fields(confirmed));
    }
    events
}

/// A change of a record.
struct Change<'a> {
    before: Option<&'a FileRecord>,
    after: &'a FileRecord,
}

/// The name of a field in events: a role stands without its principal.
pub(super) fn name(field: &Field) -> String {
    match field {
        Field::Permission(_) => "permissions".to_owned(),
        Field::Existence
        | Field::Name
        | Field::Description
        | Field::Starred
        | Field::Trashed
        | Field::Parent
        | Field::Content
        | Field::Property(_) => field.label(),
    }
}

/// The reason why a file is gone, in events.
fn reason(gone: Gone) -> &'static str {
    match gone {
        Gone::Removed => "removed",
        Gone::AccessLost => "access_lost",
        Gone::MovedAway => "moved_away",
    }
}

impl Change<'_> {
    /// Returns the type and reason, if the file has appeared or disappeared for the application:
    /// that tells more than its fields.
    fn of_presence(&self) -> Option<(EventType, Option<&'static str>)> {
        let trashed = |record: &FileRecord| record.app(&Field::Trashed) == Value::Flag(true);
        let Some(before) = self.before else {
            return match self.after.presence {
                Presence::Gone(..) => None,
                Presence::Present | Presence::Creating => Some((EventType::FileCreated, None)),
            };
        };
        match (before.presence, self.after.presence) {
            (Presence::Gone(before, _), Presence::Gone(after, _)) if before == after => None,
            (_, Presence::Gone(gone, _)) => {
                let kind = match gone {
                    Gone::Removed | Gone::MovedAway => EventType::FileDeleted,
                    Gone::AccessLost => EventType::FileAccessLost,
                };
                Some((kind, Some(reason(gone))))
            }
            (Presence::Gone(gone, _), Presence::Present | Presence::Creating) => {
                Some((EventType::FileRestored, Some(reason(gone))))
            }
            (Presence::Present | Presence::Creating, Presence::Present | Presence::Creating) => {
                match (trashed(before), trashed(self.after)) {
                    (false, true) => Some((EventType::FileDeleted, Some("trashed"))),
                    (true, false) => Some((EventType::FileRestored, Some("trashed"))),
                    (true, true) | (false, false) => None,
                }
            }
        }
    }

    /// Returns the fields whose application's value has changed, by the type of event.
    fn of_fields(&self) -> Vec<(EventType, Vec<String>)> {
        let Some(before) = self.before.filter(|_| !self.after.is_gone()) else {
            return Vec::new();
        };
        let changed: BTreeSet<&Field> = self.changed(before).collect();
        let select = |kind: EventType, of: &dyn Fn(&Field) -> bool| {
            let fields: BTreeSet<String> =
                changed.iter().filter(|f| of(f)).map(|f| name(f)).collect();
            (!fields.is_empty()).then(|| (kind, fields.into_iter().collect()))
        };
        let moved = select(EventType::FileMoved, &|field| *field == Field::Parent);
        let shared = select(EventType::FileShared, &|field| field.principal().is_some());
        let mut modified = select(EventType::FileModified, &|field| {
            *field != Field::Parent && field.principal().is_none()
        });
        if after_edit_of_document(before, self.after) {
            let (_, fields) = modified.get_or_insert((EventType::FileModified, Vec::new()));
            fields.push(name(&Field::Content));
        }
        let told: Vec<_> = [moved, shared, modified].into_iter().flatten().collect();
        // What only Drive decides: times, owners, links, inherited roles.
        if told.is_empty() && before.metadata != self.after.metadata && self.is_visible(before) {
            return vec![(EventType::FileModified, vec!["metadata".to_owned()])];
        }
        told
    }

    /// Returns whether readers see a change.
    fn is_visible(&self, before: &FileRecord) -> bool {
        self.after.visible != before.visible
    }

    /// Returns the fields whose application's value has changed.
    fn changed<'a>(&'a self, before: &'a FileRecord) -> impl Iterator<Item = &'a Field> {
        let fields = before.fields.keys().chain(self.after.fields.keys());
        let fields = fields.chain([&Field::Content]);
        fields.filter(|field| before.app(field) != self.after.app(field))
    }

    /// Returns the fields that were given up by this change, with the reasons.
    fn failed(&self) -> Vec<(&Field, &str)> {
        let failed = |record: &FileRecord, field: &Field| record.push.failed.contains_key(field);
        let now = self.after.push.failed.iter();
        let now = now.filter(|(field, _)| !self.before.is_some_and(|before| failed(before, field)));
        now.map(|(field, reason)| (field, reason.as_str()))
            .collect()
    }

    /// Returns the fields whose edit has reached Drive by this change: they were owed, and both
    /// sides agree on the application's value now.
    fn confirmed(&self) -> Vec<String> {
        let Some(before) = self.before.filter(|_| !self.after.is_gone()) else {
            return Vec::new();
        };
        let owed = before.fields.iter().filter(|(_, sides)| sides.owed());
        let agreed = owed.filter(|(field, sides)| {
            let now = self.after.sides(field);
            now.conflict.is_none() && now.base == now.app && now.app == sides.app
        });
        let fields: BTreeSet<String> = agreed.map(|(field, _)| name(field)).collect();
        fields.into_iter().collect()
    }

    /// Returns who made the change of the view: the author of an edit that this change accepted,
    /// else Drive.
    fn author(&self) -> Author {
        let edits = self.after.edits.iter();
        let mut fresh = edits.filter(|(field, edit)| {
            let before = self.before.and_then(|before| before.edits.get(*field));
            before != Some(*edit)
        });
        match fresh.next() {
            Some((_, edit)) => Author::User(edit.by.clone()),
            None if self.drive_moved() => Author::Drive,
            None => Author::App,
        }
    }

    /// Returns whether a later state of Drive was seen.
    fn drive_moved(&self) -> bool {
        self.before.is_none_or(|before| {
            (before.version, before.presence) != (self.after.version, self.after.presence)
        })
    }

    fn because(&self, reason: Option<&str>) -> Details {
        Details {
            reason: reason.map(str::to_owned),
            ..self.with_fields(Vec::new())
        }
    }

    fn with_fields(&self, fields: Vec<String>) -> Details {
        let folder = |record: &FileRecord| match record.app(&Field::Parent) {
            Value::Text(id) => FileId::parse(&id).ok(),
            Value::Null | Value::Flag(_) => None,
        };
        let now = folder(self.after);
        let before = self.before.and_then(folder);
        Details {
            revision: Some(self.after.revision.0),
            fields,
            folder_before: before.filter(|before| now.as_ref() != Some(before)),
            folder: now,
            ..Details::default()
        }
    }

    fn event(&self, kind: EventType, details: Details, at: Timestamp) -> Event {
        Event {
            kind,
            subject: Subject::File(self.after.file.clone()),
            state: self.after.revision.0.to_string(),
            at,
            by: if matches!(kind, EventType::IntentConfirmed | EventType::IntentFailed) {
                Author::App
            } else {
                self.author()
            },
            cause: self.after.cause,
            details,
        }
    }
}

/// Returns whether the content of a Docs editor file may have changed.
fn after_edit_of_document(before: &FileRecord, after: &FileRecord) -> bool {
    before.content_moved_at != after.content_moved_at && after.metadata.is_document()
}
