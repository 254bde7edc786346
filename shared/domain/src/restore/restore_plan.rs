//! What a file is edited to, so that it is as it was.

use std::collections::{BTreeMap, BTreeSet};

use super::LeftReason;
use crate::content::ContentHash;
use crate::{
    Choice, Context, EditRefused, Field, FileRecord, Gone, OWNER, Presence, Snapshot, Timestamp,
    Transition, Value, ValueRefused, most_restrictive,
};

/// The state of a file at a time, as far as its history tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateAt {
    /// Drive had this state.
    Known(Box<Snapshot>),
    /// The file was made later.
    MadeSince,
    /// It is not known.
    NotKnown,
}

/// The content of the time that a file is restored to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentAt {
    /// It is stored.
    Held(ContentHash),
    /// It is not stored.
    NotHeld,
    /// The connection does not mirror content.
    NotMirrored,
}

/// What a plan depends on beside the file's record and its state at the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreFacts {
    /// The connection's rules leave the file out.
    pub out_of_scope: bool,
    /// The folder that the file was in is gone.
    pub folder_gone: bool,
    /// The content of the time. Only counts if [`content_to_restore`] asks for one.
    pub content: ContentAt,
}

/// A field that differs from the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreField {
    /// The field.
    pub field: Field,
    /// The application's value now.
    pub from: Value,
    /// The value at the time.
    pub to: Value,
    /// The reason why it is left as it is; `None` if it is set back.
    pub left: Option<LeftReason>,
}

/// What a restore does to one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestorePlan {
    /// The reason why the whole file is left as it is.
    pub left: Option<LeftReason>,
    /// The fields that differ.
    pub fields: Vec<RestoreField>,
}

impl StateAt {
    /// Returns the state of a file whose history has none of this time or before.
    #[must_use]
    pub fn without_history(record: &FileRecord, at: Timestamp) -> Self {
        let made_since = match record.presence {
            Presence::Creating => true,
            Presence::Present | Presence::Gone(..) => {
                record.metadata.created_at.is_some_and(|made| made > at)
            }
        };
        match made_since {
            true => Self::MadeSince,
            false => Self::NotKnown,
        }
    }
}

/// Returns the content of a time that a file must get back: the value of its field `content` then.
/// `None` if it has that content, or had none.
#[must_use]
pub fn content_to_restore(record: &FileRecord, then: &Snapshot, at: Timestamp) -> Option<Value> {
    if !record.can_hold_content() || stays_owed(record, &Field::Content, at) {
        return None;
    }
    // Drive may have stated no SHA-256 of what is known to be the same bytes by now.
    let mut metadata = then.metadata.clone();
    metadata.inherit_sha256(&record.metadata);
    let (now, wanted) = (record.app(&Field::Content), metadata.content());
    let is_drives = now == record.metadata.content();
    let same = now == wanted || is_drives && metadata.has_content_of(&record.metadata);
    (wanted != Value::Null && !same).then_some(wanted)
}

/// Returns whether the application's value was asked for by then, and is still owed to Drive.
fn stays_owed(record: &FileRecord, field: &Field, at: Timestamp) -> bool {
    let edited = record.edits.get(field);
    record.sides(field).owed() && edited.is_some_and(|edit| edit.at <= at)
}

impl RestorePlan {
    /// Returns what makes a file as it was at a time. Only differences are in it.
    #[must_use]
    pub fn of(record: &FileRecord, then: &StateAt, at: Timestamp, facts: &RestoreFacts) -> Self {
        match (record.presence, then) {
            (Presence::Gone(_, since), _) if since <= at => Self::default(),
            (Presence::Gone(..), StateAt::MadeSince) => Self::default(),
            (Presence::Gone(gone, _), StateAt::Known(_) | StateAt::NotKnown) => {
                Self::left(match gone {
                    Gone::Removed => LeftReason::Purged,
                    Gone::AccessLost => LeftReason::AccessLost,
                    Gone::MovedAway => LeftReason::MovedAway,
                })
            }
            (Presence::Creating, _) | (Presence::Present, StateAt::MadeSince) => {
                Self::left(LeftReason::MadeSince)
            }
            (Presence::Present, StateAt::NotKnown) => Self::left(LeftReason::StateNotKnown),
            (Presence::Present, StateAt::Known(then)) => Self::of_present(record, then, at, facts),
        }
    }

    fn of_present(
        record: &FileRecord,
        then: &Snapshot,
        at: Timestamp,
        facts: &RestoreFacts,
    ) -> Self {
        let mut fields = fields_of(record, then, at, facts);
        fields.extend(content_of(record, then, at, facts));
        let whole = if fields.is_empty() {
            None
        } else if record.open_conflict(&Field::Existence).is_some() {
            Some(LeftReason::Conflict)
        } else if record.deletion_owed() {
            Some(LeftReason::Deleting)
        } else if facts.out_of_scope {
            Some(LeftReason::OutOfScope)
        } else {
            None
        };
        let mut plan = Self { left: None, fields };
        if let Some(reason) = whole {
            plan.leave_all(reason);
        }
        plan
    }

    /// A file that is left as it is.
    fn left(reason: LeftReason) -> Self {
        Self {
            left: Some(reason),
            fields: Vec::new(),
        }
    }

    /// Returns whether there is nothing to do and nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_none() && self.fields.is_empty()
    }

    /// Returns the values that the file is edited to.
    #[must_use]
    pub fn values(&self) -> BTreeMap<Field, Value> {
        let set_back = self.fields.iter().filter(|field| field.left.is_none());
        set_back
            .map(|field| (field.field.clone(), field.to.clone()))
            .collect()
    }

    /// Returns whether something of the file is set back.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.fields.iter().any(|field| field.left.is_none())
    }

    /// Returns why something of the file is left as it is, each reason once.
    #[must_use]
    pub fn reasons(&self) -> BTreeSet<LeftReason> {
        let fields = self.fields.iter().filter_map(|field| field.left);
        self.left.into_iter().chain(fields).collect()
    }

    /// Returns the plan with nothing that is set back.
    #[must_use]
    pub fn leaving_all(mut self, reason: LeftReason) -> Self {
        self.leave_all(reason);
        self
    }

    /// Returns the plan without the content, which is not stored any more.
    #[must_use]
    pub fn leaving_content(mut self) -> Self {
        self.leave(&Field::Content, LeftReason::ContentNotHeld);
        self
    }

    fn leave_all(&mut self, reason: LeftReason) {
        for field in self.fields.iter_mut().filter(|field| field.left.is_none()) {
            field.left = Some(reason);
        }
    }

    fn leave(&mut self, refused: &Field, reason: LeftReason) {
        let mut fields = self.fields.iter_mut();
        match fields.find(|field| field.field == *refused && field.left.is_none()) {
            Some(field) => field.left = Some(reason),
            // Named otherwise by the record: nothing is edited rather than something unintended.
            None => self.leave_all(reason),
        }
    }

    /// Leaves the fields that still differ from the time, according to `present`, the plan of the
    /// record as it is now: it was changed after this plan was made. What does not differ any more
    /// has been set back.
    #[must_use]
    pub fn overtaken_by(mut self, present: &Self) -> Self {
        let differs = |field: &Field| present.fields.iter().any(|now| now.field == *field);
        for field in self.fields.iter_mut().filter(|field| field.left.is_none()) {
            if present.left.is_some() || differs(&field.field) {
                field.left = Some(LeftReason::ChangedMeanwhile);
            }
        }
        self
    }

    /// Edits the record in the name of `by`. What is refused is left, with its reason, and the rest
    /// is edited. Returns the plan as it was carried out, and the transition if there is one.
    #[must_use]
    pub fn apply(
        mut self,
        record: &FileRecord,
        by: &str,
        context: Context<'_>,
    ) -> (Self, Option<Transition>) {
        // Each refusal leaves a field more.
        while self.changes() {
            match record.edit(&self.values(), by, context) {
                Ok(transition) => return (self, Some(transition)),
                Err(EditRefused::Gone) => self.leave_all(LeftReason::ChangedMeanwhile),
                Err(EditRefused::Deleting) => self.leave_all(LeftReason::Deleting),
                Err(EditRefused::InConflict(open)) => {
                    for conflict in open {
                        self.leave(&conflict.field, LeftReason::Conflict);
                    }
                }
                Err(EditRefused::Value(field, why)) => {
                    let unknown = why == ValueRefused::PermissionsUnknown;
                    self.leave(
                        &field,
                        match unknown {
                            true => LeftReason::PermissionsNotKnown,
                            false => LeftReason::NotWritable,
                        },
                    );
                }
            }
        }
        (self, None)
    }
}

/// Returns the fields that differ from the time, except the content.
fn fields_of(
    record: &FileRecord,
    then: &Snapshot,
    at: Timestamp,
    facts: &RestoreFacts,
) -> Vec<RestoreField> {
    let then_fields = with_present_names(record, then);
    let all: BTreeSet<&Field> = record.fields.keys().chain(then_fields.keys()).collect();
    let mut fields = Vec::new();
    for field in all {
        let known = match field {
            Field::Existence | Field::Content => false,
            Field::Permission(_) => then.metadata.permissions_known,
            // A state without a property says that the file had none of this key. It lacks other
            // fields only if they were not known.
            Field::Property(_) => true,
            Field::Name | Field::Description | Field::Starred | Field::Trashed | Field::Parent => {
                then_fields.contains_key(field)
            }
        };
        let (from, to) = (
            record.app(field),
            then_fields.get(field).cloned().unwrap_or(field.unset()),
        );
        let held = record.open_conflict(field).is_some();
        if !known || stays_owed(record, field, at) || (from == to && !held) {
            continue;
        }
        let is_parent = *field == Field::Parent;
        if is_parent && record.metadata.parents.len() > 1 && is_a_parent(record, &to) {
            continue;
        }
        let left = if held {
            Some(LeftReason::Conflict)
        } else if field.principal().is_some() {
            permission_left(record, field, &from, &to)
        } else if is_parent && facts.folder_gone {
            Some(LeftReason::FolderGone)
        } else {
            field.check(&to).err().map(|_| LeftReason::NotWritable)
        };
        fields.push(RestoreField {
            field: field.clone(),
            from,
            to,
            left,
        });
    }
    fields
}

/// Returns whether a folder is one of several that the file is in: the file was not moved.
fn is_a_parent(record: &FileRecord, folder: &Value) -> bool {
    match folder {
        Value::Text(id) => record.metadata.parents.contains(id),
        Value::Null | Value::Flag(_) => false,
    }
}

/// Returns the fields of a state, with the principals that its permissions have now: an address
/// that was changed since is no other permission.
fn with_present_names(record: &FileRecord, then: &Snapshot) -> BTreeMap<Field, Value> {
    let present = |field: &Field| {
        let shown = then.metadata.permission(field.principal()?)?;
        let mut now = record.metadata.permissions.iter();
        let now = now.find(|now| now.id == shown.id)?;
        Some(Field::Permission(now.principal.clone()))
    };
    let fields = then.fields.iter();
    fields
        .map(|(field, value)| {
            let field = present(field).unwrap_or_else(|| field.clone());
            (field, value.clone())
        })
        .collect()
}

/// Returns why a role is left. Nobody gets more access by a restore.
fn permission_left(
    record: &FileRecord,
    field: &Field,
    from: &Value,
    to: &Value,
) -> Option<LeftReason> {
    let owner = Value::text(OWNER);
    if !record.metadata.permissions_known {
        Some(LeftReason::PermissionsNotKnown)
    } else if *from == owner || *to == owner {
        Some(LeftReason::NotWritable)
    } else if most_restrictive(field, to, from) == Some(Choice::App) {
        None
    } else {
        Some(LeftReason::WidensSharing)
    }
}

/// Returns the content, if it differs from the time.
fn content_of(
    record: &FileRecord,
    then: &Snapshot,
    at: Timestamp,
    facts: &RestoreFacts,
) -> Option<RestoreField> {
    let content = |to: Value, left| RestoreField {
        field: Field::Content,
        from: record.app(&Field::Content),
        to,
        left,
    };
    if record.metadata.is_document() {
        let moved = record.content_moved_at > then.version;
        return moved.then(|| content(Value::Null, Some(LeftReason::Document)));
    }
    if record.open_conflict(&Field::Content).is_some() {
        return Some(content(then.metadata.content(), Some(LeftReason::Conflict)));
    }
    let wanted = content_to_restore(record, then, at)?;
    Some(match facts.content {
        ContentAt::Held(hash) => content(Value::Text(hash.to_string()), None),
        ContentAt::NotHeld => content(wanted, Some(LeftReason::ContentNotHeld)),
        ContentAt::NotMirrored => content(wanted, Some(LeftReason::ContentNotMirrored)),
    })
}
