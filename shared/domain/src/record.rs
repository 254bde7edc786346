//! Our record of one Drive item: the sides of each of its fields, and what we owe Drive for it.

use std::collections::BTreeMap;

use crate::merge::Sides;
use crate::{
    DriveVersion, Field, FieldMask, FileId, Gone, Mirror, Revision, Snapshot, Timestamp, Value,
};

/// One Drive item (folders and shortcuts included), as a value. Every operation takes a record and
/// gives the next one; whoever stores it does so on condition of [`FileRecord::revision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// The file.
    pub file: FileId,
    /// Ours: the condition of the next write. The first that is stored is 1.
    pub revision: Revision,
    /// The revision at which something that a reader sees last moved: the ETag of our API.
    pub visible: Revision,
    /// Drive's: the latest that was observed, whole.
    pub version: DriveVersion,
    /// The latest version that a change log or a listing has brought. The record is ahead of it where
    /// Drive was read since, by a push or by a question: what was read so is not in the history yet.
    pub reported: DriveVersion,
    /// The set of fields that the record was made with.
    pub mask: FieldMask,
    /// Whether the file is there for us.
    pub presence: Presence,
    /// The sides of every field that is set on one of them; of [`Field::Content`] only while it is more than
    /// agreed to be what the mirror tells.
    pub fields: BTreeMap<Field, Sides<Value>>,
    /// Who last moved the application's side, and when: while it differs from the base, or a write of
    /// ours may still land.
    pub edits: BTreeMap<Field, Edit>,
    /// The open conflicts.
    pub open: BTreeMap<Field, OpenConflict>,
    /// How many conflicts the file has had: the next one's number is one more.
    pub conflicts_opened: u32,
    /// How often the application's view of the content has changed: the number of its present version, and 0
    /// while there never was any.
    pub content_version: u32,
    /// How the pushing of what is owed stands.
    pub push: Push,
    /// What Drive alone decides.
    pub mirror: Mirror,
    /// The version whose permissions are held: an earlier one than [`FileRecord::version`] where Drive
    /// did not show them since, and nothing spoke for asking.
    pub permissions_at: DriveVersion,
    /// The last write request that carried an idempotency key: a repeat is answered, not done again.
    pub last_request: Option<Request>,
}

/// Whether the file is there for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// Not yet: the application made it, and Drive has yet to.
    Creating,
    /// It is not, since then and for that reason; its record stays as a tombstone.
    Gone(Gone, Timestamp),
}

/// An edit of the application that Drive does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Who made it: the subject of their token.
    pub by: String,
    /// When it was accepted.
    pub at: Timestamp,
}

/// An open conflict, as far as the sides of its field don't tell already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenConflict {
    /// Its number within the file.
    pub number: u32,
    /// How often its sides have moved since it was opened.
    pub moves: u32,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// How the pushing of a file's owed fields stands. What is owed is derived from the sides, never stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Push {
    /// Attempts since the last success: drives the backoff.
    pub attempts: u32,
    /// Those of them that count towards giving up: an attempt counts from its claim, so that a worker
    /// that dies counts too, until Drive says for certain that it did or did not happen.
    pub failures: u32,
    /// Not before this time. Meaningful while something is due.
    pub not_before: Timestamp,
    /// When the latest attempt was claimed. Meaningful while something is sent and not settled.
    pub sent_at: Timestamp,
    /// Send one field at a time: Drive refused several at once, and did not say which was at fault.
    pub one_at_a_time: bool,
    /// The last look found the file out of scope: that ends with a rule or a folder, and not with time.
    pub held: bool,
    /// The fields that were given up, each with its reason, until someone edits or retries them.
    pub failed: BTreeMap<Field, String>,
}

/// A write request that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The caller's `Idempotency-Key`.
    pub key: String,
    /// A digest of what was asked: the same key with another request is a mistake.
    pub digest: String,
}

/// What is owed to Drive for one file, for readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent<'a> {
    /// The fields whose application value Drive must still get.
    pub fields: Vec<&'a Field>,
    /// Whether all of them were given up.
    pub failed: bool,
    /// The reason of one that was given up.
    pub reason: Option<&'a str>,
}

impl FileRecord {
    /// The record of a file that is seen for the first time, to be stored on condition that none is.
    #[must_use]
    pub fn first_sight(snapshot: &Snapshot) -> Self {
        let agreed =
            |(field, value): (&Field, &Value)| (field.clone(), Sides::agreed(value.clone()));
        let unknown = Self::unknown(snapshot.file.clone());
        Self {
            version: snapshot.version,
            reported: snapshot.version,
            mask: snapshot.mask,
            presence: Presence::Present,
            fields: snapshot.fields.iter().map(agreed).collect(),
            content_version: u32::from(snapshot.mirror.content() != Value::Null),
            mirror: snapshot.mirror.clone(),
            permissions_at: unknown.permissions_seen(snapshot),
            ..unknown
        }
    }

    /// The tombstone of a file that was gone before we ever saw it: a snapshot of it that comes late
    /// must not bring it back unasked.
    #[must_use]
    pub fn never_seen(file: FileId, gone: Gone, now: Timestamp) -> Self {
        Self {
            presence: Presence::Gone(gone, now),
            ..Self::unknown(file)
        }
    }

    /// What the application begins with that makes a file: nothing is set, and Drive has nothing.
    pub(crate) fn unmade(file: FileId, mirror: Mirror) -> Self {
        Self {
            presence: Presence::Creating,
            mirror,
            ..Self::unknown(file)
        }
    }

    fn unknown(file: FileId) -> Self {
        Self {
            file,
            revision: Revision(1),
            visible: Revision(1),
            version: DriveVersion(0),
            reported: DriveVersion(0),
            mask: FieldMask(0),
            presence: Presence::Present,
            fields: BTreeMap::new(),
            edits: BTreeMap::new(),
            open: BTreeMap::new(),
            conflicts_opened: 0,
            content_version: 0,
            push: Push::default(),
            mirror: Mirror::default(),
            permissions_at: DriveVersion(0),
            last_request: None,
        }
    }

    /// The sides of a field; a field that no side has set is agreed to be unset.
    #[must_use]
    pub fn sides(&self, field: &Field) -> Sides<Value> {
        let kept = self.fields.get(field).cloned();
        kept.unwrap_or_else(|| Sides::agreed(self.untold(field)))
    }

    /// The application's value of a field.
    #[must_use]
    pub fn app(&self, field: &Field) -> Value {
        self.fields
            .get(field)
            .map_or_else(|| self.untold(field), |sides| sides.app.clone())
    }

    /// What both sides hold of a field that is not among [`FileRecord::fields`].
    fn untold(&self, field: &Field) -> Value {
        match field {
            Field::Content => self.mirror.content(),
            Field::Existence
            | Field::Name
            | Field::Description
            | Field::Starred
            | Field::Trashed
            | Field::Parent
            | Field::Property(_)
            | Field::Permission(_) => field.unset(),
        }
    }

    /// Whether the file can hold bytes of its own: Google's own types have none.
    #[must_use]
    pub fn can_hold_content(&self) -> bool {
        let own = "application/vnd.google-apps";
        !self.mirror.mime_type.starts_with(own)
    }

    /// Whether the application's content must still reach Drive.
    #[must_use]
    pub fn content_owed(&self) -> bool {
        let failed = self.push.failed.contains_key(&Field::Content);
        self.is_present() && !failed && self.sides(&Field::Content).owed()
    }

    /// Whether the file is there for us, in Drive.
    #[must_use]
    pub fn is_present(&self) -> bool {
        match self.presence {
            Presence::Present => true,
            Presence::Creating | Presence::Gone(..) => false,
        }
    }

    /// Whether the file is not there for us, and not about to be.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self.presence {
            Presence::Gone(..) => true,
            Presence::Present | Presence::Creating => false,
        }
    }

    /// When Drive must be looked at next for what we owe it or sent it; `None` while there is nothing
    /// to do: nothing pending, all of it given up, or the file is not there.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let pushable = |(field, sides): (&Field, &Sides<Value>)| {
            // Nothing can be done with a file that is not made, but make it.
            let possible = self.is_present() || *field == Field::Existence;
            possible && sides.pending() && !self.push.failed.contains_key(field)
        };
        (!self.is_gone() && self.fields.iter().any(pushable)).then_some(self.push.not_before)
    }

    /// What is owed to Drive, if anything is.
    #[must_use]
    pub fn intent(&self) -> Option<Intent<'_>> {
        let owed = self
            .fields
            .iter()
            .filter(|(_, sides)| sides.owed())
            .map(|(field, _)| field);
        let fields: Vec<&Field> = owed.collect();
        if fields.is_empty() || self.is_gone() || self.creation_taken_back() {
            return None;
        }
        let given_up = |field: &&Field| self.push.failed.contains_key(*field);
        Some(Intent {
            failed: if self.is_creating() {
                given_up(&&Field::Existence)
            } else {
                fields.iter().all(given_up)
            },
            reason: self.push.failed.values().next().map(String::as_str),
            fields,
        })
    }

    /// Whether an observation may only be taken as Drive's answer to a direct question: it would make
    /// a present file absent or an absent one present, and what comes through a queue has no order there.
    #[must_use]
    pub fn must_ask(&self, observation: &crate::Observation) -> bool {
        match observation {
            crate::Observation::Present(_) => !self.is_present(),
            // Of a file whose making was sent, it says that the file was made, and is gone again.
            crate::Observation::Gone(_) => {
                let sent = !self.sides(&Field::Existence).sent.is_empty();
                self.is_present() || self.is_creating() && sent
            }
        }
    }
}
