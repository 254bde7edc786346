//! The record of one Drive item: the sides of each field, and the state of its intent.

use std::collections::{BTreeMap, BTreeSet};

use crate::merge::Sides;
use crate::{
    Again, Cause, Decider, DriveMetadata, DriveVersion, Field, FieldSetVersion, FileId, Gone,
    Missing, Question, Revision, Snapshot, Timestamp, Trouble, Value,
};

/// The record of one Drive item (folders and shortcuts included), as a value. Every operation takes
/// a record and returns the next one, which must be stored on condition of
/// [`FileRecord::revision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// The file's id.
    pub file: FileId,
    /// This system's revision: the condition of the next write. The first stored revision is 1.
    pub revision: Revision,
    /// The revision at which something visible to readers last changed: the ETag of the API.
    pub visible: Revision,
    /// Drive's version: the latest one that was observed as a complete snapshot.
    pub version: DriveVersion,
    /// The latest version that a change log or a listing reported. The record is ahead of it if
    /// Drive was read directly since, by a push or a lookup; such a read is not in the history yet.
    pub reported: DriveVersion,
    /// The set of fields that the record was built from.
    pub field_set: FieldSetVersion,
    /// The presence of the file in Drive.
    pub presence: Presence,
    /// Set while a present file was not found when it was read, which is not believed yet.
    pub missing: Option<Missing>,
    /// The sides of every field that is set on one of them. [`Field::Content`] is present only
    /// while its sides differ from the agreed value of the metadata.
    pub fields: BTreeMap<Field, Sides<Value>>,
    /// The author and time of the application's last edit of each field, while it differs from the
    /// base or one of our writes may still land.
    pub edits: BTreeMap<Field, Edit>,
    /// The open conflicts.
    pub open: BTreeMap<Field, OpenConflict>,
    /// The number of conflicts that were ever opened on the file. The next one gets the next
    /// number.
    pub conflicts_opened: u32,
    /// The number of times that the application's view of the content has changed: the number of
    /// the current version, and 0 while there has never been any content.
    pub content_version: u32,
    /// The state of the push of owed fields.
    pub push: Push,
    /// The metadata that only Drive decides.
    pub metadata: DriveMetadata,
    /// For a Docs editor file: the version at which its content may last have changed.
    pub content_moved_at: DriveVersion,
    /// The version that the stored permissions belong to. Lower than [`FileRecord::version`] if
    /// Drive has not shown them since and nothing gave reason to list them.
    pub permissions_at: DriveVersion,
    /// The ids of permissions by the principals that they had before, as long as Drive shows the
    /// permission: an address that was changed, an alias that a role was given to.
    pub former_principals: BTreeMap<String, String>,
    /// The next attempt at listing the permissions, which Drive did not list.
    pub unlisted: Option<Again>,
    /// The last write request with an idempotency key, of a release that kept it here. It stays as
    /// it is.
    pub last_request: Option<Request>,
    /// The cause of the last write; `None` before the first one.
    pub cause: Option<Cause>,
}

/// The presence of the file in Drive, for the connection's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The file exists.
    Present,
    /// The application created the file, and Drive has not yet done so.
    Creating,
    /// The file is gone, for this reason, since this time. The record remains as a tombstone.
    Gone(Gone, Timestamp),
}

/// An edit of the application that Drive has not received yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The author: the subject of the access token.
    pub by: String,
    /// The time at which the edit was accepted.
    pub at: Timestamp,
    /// The cause of the write that stored it; `None` until then.
    pub cause: Option<Cause>,
}

/// The part of an open conflict that the sides of its field don't tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenConflict {
    /// The number of the conflict within the file.
    pub number: u32,
    /// The number of times that its sides have moved since it was opened.
    pub moves: u32,
    /// The time at which it was opened.
    pub opened_at: Timestamp,
    /// The decision to keep both contents, until the application's is in a file of its own.
    pub keeping: Option<Keeping>,
    /// What a resolver is asked about the sides as they are now, if it was opened under a policy
    /// that asks one.
    pub question: Option<Question>,
}

impl OpenConflict {
    /// Counts a move of its sides. A resolver is asked about the new ones.
    pub(crate) fn moved(&mut self, now: Timestamp) {
        self.moves += 1;
        if let Some(question) = &mut self.question {
            question.asked_at = now;
        }
    }
}

/// The decision to keep both contents of a conflict. The conflict is open until the application's
/// content is in Drive, in a file beside the one that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// The file that receives the application's content.
    pub copy: FileId,
    /// The person or policy that decided.
    pub by: Decider,
    /// The time of the decision.
    pub at: Timestamp,
    /// The reason why Drive has not accepted the file so far, if it gave one.
    pub reason: Option<String>,
}

/// The state of the push of a file's owed fields. What is owed is derived from the sides and never
/// stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Push {
    /// The number of attempts since the last success. Determines the backoff.
    pub attempts: u32,
    /// The number of those attempts that count towards giving up. An attempt counts from its claim,
    /// so that a worker that crashes counts too, until Drive says definitely that the write did or
    /// did not happen.
    pub failures: u32,
    /// The earliest time of the next attempt. Meaningful while something is due.
    pub not_before: Timestamp,
    /// The time of the latest claim. Meaningful while a sent write is not settled.
    pub sent_at: Timestamp,
    /// Send one field at a time: Drive refused several at once without saying which one was at
    /// fault.
    pub one_at_a_time: bool,
    /// The last check found the file out of scope. A change of a rule or a folder ends this; time
    /// does not.
    pub out_of_scope: bool,
    /// The fields that were given up, each with its reason, until they are edited or retried.
    pub failed: BTreeMap<Field, String>,
    /// The next attempt at each field that failed for a reason that can pass. Such a field remains
    /// here while it is tried again.
    pub again: BTreeMap<Field, Again>,
    /// What the latest attempts met.
    pub trouble: Option<Trouble>,
}

/// A request that something is recorded for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The client's `Idempotency-Key`.
    pub key: String,
    /// A digest of the request. The same key with another request is a client error.
    pub digest: String,
}

/// A reader's view of what is owed to Drive for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent<'a> {
    /// The fields whose application value Drive has not received.
    pub fields: Vec<&'a Field>,
    /// True if all of them were given up.
    pub failed: bool,
    /// The reason why one of them was given up.
    pub reason: Option<&'a str>,
}

impl FileRecord {
    /// Creates the record of a file from its first snapshot, to be stored on condition that no
    /// record exists.
    #[must_use]
    pub fn from_snapshot(snapshot: &Snapshot) -> Self {
        let agreed =
            |(field, value): (&Field, &Value)| (field.clone(), Sides::agreed(value.clone()));
        let unknown = Self::unknown(snapshot.file.clone());
        Self {
            version: snapshot.version,
            reported: snapshot.version,
            field_set: snapshot.field_set,
            presence: Presence::Present,
            fields: snapshot.fields.iter().map(agreed).collect(),
            content_version: u32::from(snapshot.metadata.content() != Value::Null),
            metadata: snapshot.metadata.clone(),
            content_moved_at: if snapshot.metadata.is_document() {
                snapshot.version
            } else {
                DriveVersion(0)
            },
            permissions_at: unknown.permissions_seen(snapshot),
            ..unknown
        }
    }

    /// Creates the tombstone of a file that was gone before any snapshot of it arrived. A late
    /// snapshot must not bring the file back without a lookup.
    #[must_use]
    pub fn tombstone(file: FileId, gone: Gone, now: Timestamp) -> Self {
        Self {
            presence: Presence::Gone(gone, now),
            ..Self::unknown(file)
        }
    }

    /// Creates the record of a file that the application is about to create: no field is set, and
    /// Drive has nothing.
    pub(crate) fn pending_creation(file: FileId, metadata: DriveMetadata) -> Self {
        Self {
            presence: Presence::Creating,
            metadata,
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
            field_set: FieldSetVersion(0),
            presence: Presence::Present,
            missing: None,
            fields: BTreeMap::new(),
            edits: BTreeMap::new(),
            open: BTreeMap::new(),
            conflicts_opened: 0,
            content_version: 0,
            push: Push::default(),
            metadata: DriveMetadata::default(),
            content_moved_at: DriveVersion(0),
            permissions_at: DriveVersion(0),
            former_principals: BTreeMap::new(),
            unlisted: None,
            last_request: None,
            cause: None,
        }
    }

    /// Returns the sides of a field. A field that no side has set is agreed to be unset.
    #[must_use]
    pub fn sides(&self, field: &Field) -> Sides<Value> {
        let kept = self.fields.get(field).cloned();
        kept.unwrap_or_else(|| Sides::agreed(self.default_value(field)))
    }

    /// Returns the application's value of a field.
    #[must_use]
    pub fn app(&self, field: &Field) -> Value {
        self.fields
            .get(field)
            .map_or_else(|| self.default_value(field), |sides| sides.app.clone())
    }

    /// Returns the value on both sides of a field that is not in [`FileRecord::fields`].
    fn default_value(&self, field: &Field) -> Value {
        match field {
            Field::Content => self.metadata.content(),
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

    /// Returns the folders that the file is in, on both sides (`None`: Drive shows none).
    #[must_use]
    pub fn places(&self) -> BTreeSet<Option<FileId>> {
        let sides = self.sides(&Field::Parent);
        let of = |value: &Value| match value {
            Value::Text(id) => FileId::parse(id).ok(),
            Value::Null | Value::Flag(_) => None,
        };
        let shown = self.metadata.parents.iter();
        let shown = shown.filter_map(|id| FileId::parse(id).ok()).map(Some);
        shown.chain([of(&sides.app), of(sides.drive())]).collect()
    }

    /// Returns whether the file can have bytes of its own. Google's own types have none.
    #[must_use]
    pub fn can_hold_content(&self) -> bool {
        let own = "application/vnd.google-apps";
        !self.metadata.mime_type.starts_with(own)
    }

    /// Returns whether the application's content must still reach Drive.
    #[must_use]
    pub fn content_owed(&self) -> bool {
        let failed = self.push.failed.contains_key(&Field::Content);
        self.is_present() && !failed && self.sides(&Field::Content).owed()
    }

    /// Returns whether the file exists in Drive.
    #[must_use]
    pub fn is_present(&self) -> bool {
        match self.presence {
            Presence::Present => true,
            Presence::Creating | Presence::Gone(..) => false,
        }
    }

    /// Returns whether the file is gone (as opposed to present or about to be created).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self.presence {
            Presence::Gone(..) => true,
            Presence::Present | Presence::Creating => false,
        }
    }

    /// Returns the time at which the file is next read from Drive: for a push, or to list its
    /// permissions. `None` if nothing is due.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.push_due().into_iter().chain(self.unlisted_due()).min()
    }

    /// Returns the time of the next push, or `None` if nothing is due: nothing is pending,
    /// everything pending was given up for good, or the file is gone. A file whose presence is in
    /// doubt is due too.
    #[must_use]
    pub fn push_due(&self) -> Option<Timestamp> {
        let next = self.owed_due().into_iter().chain(self.failed_due());
        next.min()
    }

    /// Returns the time of the next attempt at listing the permissions.
    #[must_use]
    pub fn unlisted_due(&self) -> Option<Timestamp> {
        let unlisted = self.unlisted.filter(|_| self.is_present());
        unlisted.map(|again| again.at)
    }

    /// Returns the part of [`FileRecord::due`] that is about neither fields that have failed nor
    /// permissions.
    #[must_use]
    pub fn owed_due(&self) -> Option<Timestamp> {
        let owed = self
            .pushable()
            .any(|field| !self.push.failed.contains_key(field));
        let doubted = self.is_present() && self.missing.is_some();
        (owed || doubted).then_some(self.push.not_before)
    }

    /// Returns the time of the next attempt at a field that failed for a reason that can pass.
    #[must_use]
    pub fn failed_due(&self) -> Option<Timestamp> {
        let failed = |field: &&Field| self.push.failed.contains_key(*field);
        let again = self.pushable().filter(failed);
        let again = again.filter_map(|field| self.push.again.get(field));
        let at = again.map(|again| again.at).min()?;
        Some(at.max(self.push.not_before))
    }

    /// Returns the fields that a push concerns.
    fn pushable(&self) -> impl Iterator<Item = &Field> {
        let pushable = |(field, sides): &(&Field, &Sides<Value>)| {
            // The only possible write to a file that does not exist is its creation.
            let possible = self.is_present() || **field == Field::Existence;
            possible && sides.pending()
        };
        let present = !self.is_gone();
        let fields = self.fields.iter().filter(move |_| present);
        fields.filter(pushable).map(|(field, _)| field)
    }

    /// Returns what is owed to Drive, if anything is.
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

    /// Returns whether an observation may only be applied as the result of a lookup. That is the
    /// case if it would turn a present file absent or an absent one present, because messages from
    /// a queue have no order in this respect.
    #[must_use]
    pub fn needs_lookup(&self, observation: &crate::Observation) -> bool {
        match observation {
            crate::Observation::Present(_) => !self.is_present(),
            // After a creation was sent, this says that the file was created and is gone again.
            crate::Observation::Gone(_) => {
                let sent = !self.sides(&Field::Existence).sent.is_empty();
                self.is_present() || self.is_creating() && sent
            }
        }
    }
}
