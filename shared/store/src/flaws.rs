//! The flaws that an audit found in our own items: one item for each.

use domain::{ConflictId, ConnectionKey, Field, FileId, FlawKind, LogId, OperationId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::drift::{KEPT_MILLIS, short};
use crate::item::{decode, encode};
use crate::key::{Item, Key, connection_pk};
use crate::range::Range;
use crate::store::{Applied, ROUNDS_MAX, pause};
use crate::update::Replaces;
use crate::value_item::at;
use crate::{Operation, Page, PageRequest, Store, StoreError};

/// A promise about our own items that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Which.
    pub kind: FlawKind,
    /// What it was found on.
    pub subject: Subject,
    /// Whether something was done about it: never in a dry run.
    pub repaired: bool,
    /// For people: what was seen. Without names and values of files.
    pub detail: String,
    /// When it was found.
    pub found_at: Timestamp,
}

/// What a flaw was found on.
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
    /// Writes down a flaw. Of one thing an operation keeps one flaw of a kind: the one that was found last.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn note_flaw(&self, operation: &Operation, flaw: &Flaw) -> Result<(), StoreError> {
        let (mut revision, mut replaces) = (1, Replaces::Nothing);
        for round in 0..ROUNDS_MAX {
            let item = encode_flaw(operation, flaw, revision)?;
            let held = match self.put(item, replaces).await? {
                Applied::Done(_) => return Ok(()),
                Applied::Refused(held) => held.map(decode_flaw).transpose()?,
            };
            (revision, replaces) = match held {
                Some((held, _)) if held == *flaw || held.found_at > flaw.found_at => return Ok(()),
                Some((_, revision)) => (revision + 1, Replaces::Revision(revision)),
                None => (1, Replaces::Nothing),
            };
            pause(round).await;
        }
        Err(StoreError::busy("others kept writing the flaw"))
    }

    /// The flaws that an operation found, by kind.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_flaws(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
        kind: Option<FlawKind>,
        page: &PageRequest,
    ) -> Result<Page<Flaw>, StoreError> {
        let prefix = match kind {
            Some(kind) => format!("{PREFIX}#{id}#{}#", kind.label()),
            None => format!("{PREFIX}#{id}#"),
        };
        let all = Range::prefix(None, connection_pk(key), &prefix);
        let decode = |item| decode_flaw(item).map(|(flaw, _)| flaw);
        self.list_range("flaws", all, page, decode).await
    }
}

/// Flaws have a prefix of their own, so that a list of operations does not read through them.
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
    /// The last part of the sort key.
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

fn encode_flaw(operation: &Operation, flaw: &Flaw, revision: u64) -> Result<Item, StoreError> {
    let subject = SubjectItem::from(&flaw.subject);
    let kind = flaw.kind.label();
    let id = format!("{}#{kind}#{}", operation.id, subject.text());
    let body = Body {
        revision,
        kind: kind.to_owned(),
        subject,
        repaired: flaw.repaired,
        detail: short(&flaw.detail),
        found_at: flaw.found_at.as_millis(),
        expires: operation.started_at.plus_millis(KEPT_MILLIS).as_seconds(),
    };
    encode(&Key::of_connection(&operation.key, PREFIX, &id), &body)
}

/// A flaw, and the revision of its item.
fn decode_flaw(item: Item) -> Result<(Flaw, u64), StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let parts = (
        FlawKind::from_label(&body.kind),
        body.subject.into_subject(),
    );
    let (Some(kind), Some(subject)) = parts else {
        return Err(place.corrupt("its kind or what it is about can't be read"));
    };
    let flaw = Flaw {
        kind,
        subject,
        repaired: body.repaired,
        detail: body.detail,
        found_at: at(body.found_at),
    };
    Ok((flaw, body.revision))
}
