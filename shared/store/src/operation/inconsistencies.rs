//! The inconsistencies that an audit found in the stored items: one item for each.

use domain::{
    ConflictId, ConnectionKey, Field, FileId, InconsistencyKind, LogId, Operation, OperationId,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::operation::drift_entries::{TTL_MILLIS, shorten};
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key, connection_pk};
use crate::table::range::Range;
use crate::table::store::{Applied, ROUNDS_MAX, pause};
use crate::table::update::Replaces;
use crate::{Page, PageRequest, Store, StoreError};

/// An invariant of the stored items that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inconsistency {
    /// The invariant.
    pub kind: InconsistencyKind,
    /// The thing that it was found on.
    pub subject: Subject,
    /// Whether it was repaired: never in a dry run.
    pub repaired: bool,
    /// A description for people, without names and values of files.
    pub detail: String,
    /// The time at which it was found.
    pub found_at: Timestamp,
}

/// The thing that an inconsistency was found on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A file.
    File(FileId),
    /// A conflict.
    Conflict(ConflictId),
    /// A log, or its channel.
    Log(LogId),
    /// An operation.
    Operation(OperationId),
}

impl Store {
    /// Records an inconsistency. An operation keeps one of each kind for a subject: the one that
    /// was found last.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_inconsistency(
        &self,
        operation: &Operation,
        found: &Inconsistency,
    ) -> Result<(), StoreError> {
        let (mut revision, mut replaces) = (1, Replaces::Nothing);
        for round in 0..ROUNDS_MAX {
            let item = encode_inconsistency(operation, found, revision)?;
            let stored = match self.put(item, replaces).await? {
                Applied::Done(_) => return Ok(()),
                Applied::Refused(stored) => stored.map(decode_inconsistency).transpose()?,
            };
            (revision, replaces) = match stored {
                Some((stored, _)) if stored == *found || stored.found_at > found.found_at => {
                    return Ok(());
                }
                Some((_, revision)) => (revision + 1, Replaces::Revision(revision)),
                None => (1, Replaces::Nothing),
            };
            pause(round).await;
        }
        Err(StoreError::busy("concurrent writes of the inconsistency"))
    }

    /// Lists the inconsistencies that an operation found, by kind.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_inconsistencies(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
        kind: Option<InconsistencyKind>,
        page: &PageRequest,
    ) -> Result<Page<Inconsistency>, StoreError> {
        let prefix = match kind {
            Some(kind) => format!("{PREFIX}#{id}#{}#", kind.label()),
            None => format!("{PREFIX}#{id}#"),
        };
        let all = Range::prefix(None, connection_pk(key), &prefix);
        let decode = |item| decode_inconsistency(item).map(|(found, _)| found);
        self.list_range("flaws", all, page, decode).await
    }
}

/// Inconsistencies have a prefix of their own, so that a list of operations does not read through
/// them.
const PREFIX: &str = "FLAW";

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    kind: String,
    subject: SubjectItem,
    repaired: bool,
    detail: String,
    found_at: i64,
    expires: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SubjectItem {
    File(String),
    Conflict {
        file: String,
        field: String,
        number: u32,
    },
    Log(String),
    Operation(String),
}

impl From<&Subject> for SubjectItem {
    fn from(subject: &Subject) -> Self {
        match subject {
            Subject::File(file) => Self::File(file.to_string()),
            Subject::Conflict(id) => Self::Conflict {
                file: id.file.to_string(),
                field: id.field.label(),
                number: id.number,
            },
            Subject::Log(log) => Self::Log(log.to_string()),
            Subject::Operation(id) => Self::Operation(id.to_string()),
        }
    }
}

impl SubjectItem {
    /// Returns the last part of the sort key.
    fn text(&self) -> String {
        match self {
            Self::File(id) | Self::Log(id) | Self::Operation(id) => id.clone(),
            Self::Conflict {
                file,
                field,
                number,
            } => format!("{file}#{field}#{number}"),
        }
    }

    fn into_subject(self) -> Option<Subject> {
        Some(match self {
            Self::File(file) => Subject::File(FileId::parse(&file).ok()?),
            Self::Conflict {
                file,
                field,
                number,
            } => Subject::Conflict(ConflictId {
                file: FileId::parse(&file).ok()?,
                field: Field::from_label(&field)?,
                number,
            }),
            Self::Log(log) => Subject::Log(LogId::parse(&log).ok()?),
            Self::Operation(id) => Subject::Operation(OperationId::parse(&id).ok()?),
        })
    }
}

pub(crate) fn encode_inconsistency(
    operation: &Operation,
    found: &Inconsistency,
    revision: u64,
) -> Result<Encoded, StoreError> {
    let subject = SubjectItem::from(&found.subject);
    let kind = found.kind.label();
    let id = format!("{}#{kind}#{}", operation.id, subject.text());
    let body = Body {
        revision,
        kind: kind.to_owned(),
        subject,
        repaired: found.repaired,
        detail: shorten(&found.detail),
        found_at: found.found_at.as_millis(),
        expires: operation.started_at.plus_millis(TTL_MILLIS).as_seconds(),
    };
    encode(&Key::of_connection(&operation.key, PREFIX, &id), &body)
}

/// Decodes an inconsistency, and the revision of its item.
pub(crate) fn decode_inconsistency(item: Item) -> Result<(Inconsistency, u64), StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let parts = (
        InconsistencyKind::from_label(&body.kind),
        body.subject.into_subject(),
    );
    let (Some(kind), Some(subject)) = parts else {
        return Err(place.corrupt("its kind or its subject is invalid"));
    };
    let found = Inconsistency {
        kind,
        subject,
        repaired: body.repaired,
        detail: body.detail,
        found_at: at(body.found_at),
    };
    Ok((found, body.revision))
}
