//! The item of a conflict. The conflict's id is in the item's key.

use std::collections::BTreeMap;

use domain::{
    Asked, Choice, ConflictId, ConflictRecord, ConflictStatus, ConnectionKey, Decider, Field,
    FileId, Keeping, OpenConflict, Resolution, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::file::asked_item::{AskedItem, QuestionItem};
use crate::file::lists::ConflictState;
use crate::file::value_item::{ByField, ItemDefect, ValueItem, at, by_field, from_fields};
use crate::table::item::{CauseItem, Encoded, decode, encode};
use crate::table::key::{Index, Item, Key, connection_pk, due_place, file_of, millis_13};

#[derive(Serialize, Deserialize)]
struct Conflict {
    moves: u32,
    base: ValueItem,
    app: ValueItem,
    drive: ValueItem,
    unsure: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    owed: ByField<ValueItem>,
    opened_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keeping: Option<KeepingItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<AskedItem>,
    status: StatusItem,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<CauseItem>,
}

/// The decision to keep both contents. Also part of a file's item.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeepingItem {
    copy: String,
    by: DeciderItem,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl KeepingItem {
    pub(crate) fn of(keeping: &Keeping) -> Self {
        Self {
            copy: keeping.copy.to_string(),
            by: DeciderItem::of(&keeping.by),
            at: keeping.at.as_millis(),
            reason: keeping.reason.clone(),
        }
    }

    pub(crate) fn into_keeping(self) -> Result<Keeping, ItemDefect> {
        Ok(Keeping {
            copy: FileId::parse(&self.copy).map_err(|_| INVALID_COPY)?,
            by: self.by.into_decider(),
            at: at(self.at),
            reason: self.reason,
        })
    }
}

/// An open conflict as part of a file's item.
#[derive(Serialize, Deserialize)]
pub(crate) struct OpenItem {
    #[serde(rename = "n")]
    number: u32,
    #[serde(rename = "m")]
    moves: u32,
    #[serde(rename = "o")]
    opened_at: i64,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    keeping: Option<KeepingItem>,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    question: Option<QuestionItem>,
}

impl OpenItem {
    pub(crate) fn of(open: &OpenConflict) -> Self {
        Self {
            number: open.number,
            moves: open.moves,
            opened_at: open.opened_at.as_millis(),
            keeping: open.keeping.as_ref().map(KeepingItem::of),
            question: open.question.as_ref().map(QuestionItem::of),
        }
    }

    pub(crate) fn into_open(self) -> Result<OpenConflict, ItemDefect> {
        Ok(OpenConflict {
            number: self.number,
            moves: self.moves,
            opened_at: at(self.opened_at),
            keeping: self.keeping.map(KeepingItem::into_keeping).transpose()?,
            question: self.question.map(QuestionItem::into_question).transpose()?,
        })
    }
}

const INVALID_COPY: ItemDefect = "the id of its copy is invalid";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StatusItem {
    Open,
    Closed {
        at: i64,
    },
    Resolved {
        choice: ChoiceItem,
        value: ValueItem,
        by: DeciderItem,
        at: i64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChoiceItem {
    App,
    Drive,
    Base,
    Value(ValueItem),
    Both(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DeciderItem {
    Policy,
    Person(String),
}

impl DeciderItem {
    fn of(decider: &Decider) -> Self {
        match decider {
            Decider::Policy => Self::Policy,
            Decider::Person(subject) => Self::Person(subject.clone()),
        }
    }

    fn into_decider(self) -> Decider {
        match self {
            Self::Policy => Decider::Policy,
            Self::Person(subject) => Decider::Person(subject),
        }
    }
}

/// Encodes a conflict, with its place in the index `attention`.
pub(crate) fn encode_conflict(
    key: &ConnectionKey,
    record: &ConflictRecord,
) -> Result<Encoded, StoreError> {
    let mut item = encode(&Key::conflict(key, &record.id), &Conflict::of(record))?;
    let sort_key = sort_key(record);
    item.place(Index::Attention, (connection_pk(key), sort_key));
    if let Some(due_at) = record.asked.as_ref().and_then(Asked::due_at) {
        item.place(
            Index::Due,
            due_place(&Key::conflict(key, &record.id), due_at),
        );
    }
    Ok(item)
}

/// Decodes a conflict of this connection.
pub(crate) fn decode_conflict(
    key: &ConnectionKey,
    item: Item,
) -> Result<ConflictRecord, StoreError> {
    let (place, conflict) = decode::<Conflict>(item)?;
    let id = id_of(key, &place)?;
    conflict.into_record(id).map_err(|what| place.corrupt(what))
}

/// Returns the id of the conflict with this key. The key of a property may hold any character, so
/// the field is everything between the prefix and the last `#`.
pub(crate) fn id_of(key: &ConnectionKey, place: &Key) -> Result<ConflictId, StoreError> {
    let file: FileId = file_of(key, place)?;
    let parts = place
        .sk
        .strip_prefix("CONFLICT#")
        .and_then(|rest| rest.rsplit_once('#'));
    let id = parts.and_then(|(label, number)| {
        let field = Field::from_label(label)?;
        let number = number.parse().ok()?;
        Some(ConflictId {
            file,
            field,
            number,
        })
    });
    id.ok_or_else(|| place.clone().corrupt("its key is not that of a conflict"))
}

/// The prefix of the sort key in the index `attention`, by the conflict's state.
pub(crate) fn prefix(state: ConflictState) -> &'static str {
    match state {
        ConflictState::Open => "open#",
        ConflictState::Ended => "ended#",
    }
}

pub(crate) fn state(status: &ConflictStatus) -> (ConflictState, Option<Timestamp>) {
    match status {
        ConflictStatus::Open => (ConflictState::Open, None),
        ConflictStatus::Closed { at } => (ConflictState::Ended, Some(*at)),
        ConflictStatus::Resolved(resolution) => (ConflictState::Ended, Some(resolution.at)),
    }
}

fn sort_key(record: &ConflictRecord) -> String {
    let (state, ended_at) = state(&record.status);
    let time = millis_13(ended_at.unwrap_or(record.opened_at));
    let ConflictId {
        file,
        field,
        number,
    } = &record.id;
    format!("{}{time}#{file}#{field}#{number}", prefix(state))
}

impl Conflict {
    fn of(record: &ConflictRecord) -> Self {
        Self {
            moves: record.moves,
            base: (&record.base).into(),
            app: (&record.app).into(),
            drive: (&record.drive).into(),
            unsure: record.unsure,
            owed: by_field(&record.owed, ValueItem::from),
            opened_at: record.opened_at.as_millis(),
            keeping: record.keeping.as_ref().map(KeepingItem::of),
            asked: record.asked.as_ref().map(AskedItem::of),
            status: StatusItem::of(&record.status),
            cause: record.cause.map(CauseItem),
        }
    }

    fn into_record(self, id: ConflictId) -> Result<ConflictRecord, ItemDefect> {
        Ok(ConflictRecord {
            id,
            moves: self.moves,
            base: self.base.into(),
            app: self.app.into(),
            drive: self.drive.into(),
            unsure: self.unsure,
            owed: from_fields(self.owed, Into::into)?,
            opened_at: at(self.opened_at),
            keeping: self.keeping.map(KeepingItem::into_keeping).transpose()?,
            asked: self.asked.map(AskedItem::into_asked).transpose()?,
            status: self.status.into_status()?,
            cause: self.cause.map(|item| item.0),
        })
    }
}

impl StatusItem {
    fn of(status: &ConflictStatus) -> Self {
        match status {
            ConflictStatus::Open => Self::Open,
            ConflictStatus::Closed { at } => Self::Closed { at: at.as_millis() },
            ConflictStatus::Resolved(resolution) => Self::Resolved {
                choice: match &resolution.choice {
                    Choice::App => ChoiceItem::App,
                    Choice::Drive => ChoiceItem::Drive,
                    Choice::Base => ChoiceItem::Base,
                    Choice::Value(value) => ChoiceItem::Value(value.into()),
                    Choice::Both(copy) => ChoiceItem::Both(copy.to_string()),
                },
                value: (&resolution.value).into(),
                by: DeciderItem::of(&resolution.by),
                at: resolution.at.as_millis(),
            },
        }
    }

    fn into_status(self) -> Result<ConflictStatus, ItemDefect> {
        Ok(match self {
            Self::Open => ConflictStatus::Open,
            Self::Closed { at: millis } => ConflictStatus::Closed { at: at(millis) },
            Self::Resolved {
                choice,
                value,
                by,
                at: millis,
            } => ConflictStatus::Resolved(Resolution {
                choice: match choice {
                    ChoiceItem::App => Choice::App,
                    ChoiceItem::Drive => Choice::Drive,
                    ChoiceItem::Base => Choice::Base,
                    ChoiceItem::Value(value) => Choice::Value(value.into()),
                    ChoiceItem::Both(copy) => {
                        let copy = FileId::parse(&copy);
                        Choice::Both(copy.map_err(|_| INVALID_COPY)?)
                    }
                },
                value: value.into(),
                by: by.into_decider(),
                at: at(millis),
            }),
        })
    }
}
