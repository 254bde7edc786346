//! The item of a dead letter.

use domain::{ConnectionKey, FileId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::table::item::{CauseItem, Encoded, decode, encode};
use crate::table::key::{Item, Key};
use crate::{DeadLetter, DeadLetterAction, DeadLetterEvent, DeadLetterStatus, StoreError};

/// A dead letter that was redriven or dropped is kept for another 30 days, like a tombstone.
const CLOSED_TTL_MILLIS: i64 = 30 * 86_400_000;

pub(crate) fn dead_letter_key(key: &ConnectionKey, id: &str) -> Key {
    Key::of_connection(key, "PARKED", id)
}

#[derive(Serialize, Deserialize)]
struct Body {
    queue: String,
    reason: String,
    body: String,
    first_seen_at: i64,
    parked_at: i64,
    receives: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    status: StatusText,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    passes: bool,
    revision: u64,
    redrives: u32,
    history: Vec<EventBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<CauseItem>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StatusText {
    Parked,
    Redriven,
    Dropped,
}

#[derive(Serialize, Deserialize)]
struct EventBody {
    at: i64,
    step: StepBody,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StepBody {
    Parked {
        reason: String,
        receives: u32,
        sent_at: i64,
    },
    Redriven {
        by: String,
    },
    Dropped {
        by: String,
        reason: String,
    },
}

/// Encodes a dead letter under this revision.
pub(crate) fn encode_dead_letter(
    letter: &DeadLetter,
    revision: u64,
) -> Result<Encoded, StoreError> {
    let closed_at = letter
        .history
        .last()
        .map_or(letter.parked_at, |last| last.at);
    let (status, expires) = match letter.status {
        DeadLetterStatus::Parked => (StatusText::Parked, None),
        DeadLetterStatus::Redriven => (StatusText::Redriven, Some(closed_at)),
        DeadLetterStatus::Dropped => (StatusText::Dropped, Some(closed_at)),
    };
    let body = Body {
        queue: letter.queue.clone(),
        reason: letter.reason.clone(),
        body: letter.body.clone(),
        first_seen_at: letter.first_seen_at.as_millis(),
        parked_at: letter.parked_at.as_millis(),
        receives: letter.receives,
        file: letter.file.as_ref().map(|file| file.as_str().to_owned()),
        status,
        passes: letter.passes,
        revision,
        redrives: letter.redrives,
        history: letter.history.iter().map(event_body).collect(),
        expires: expires.map(|at| at.plus_millis(CLOSED_TTL_MILLIS).as_seconds()),
        cause: letter.cause.map(CauseItem),
    };
    encode(&dead_letter_key(&letter.key, &letter.id), &body)
}

pub(crate) fn decode_dead_letter(
    key: &ConnectionKey,
    item: Item,
) -> Result<DeadLetter, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let file = body.file.map(|file| FileId::parse(&file)).transpose();
    let (Some(id), Ok(file)) = (place.sk.strip_prefix("PARKED#"), file) else {
        return Err(place.corrupt("its key or its file is invalid"));
    };
    Ok(DeadLetter {
        id: id.to_owned(),
        key: key.clone(),
        queue: body.queue,
        reason: body.reason,
        body: body.body,
        first_seen_at: at(body.first_seen_at),
        parked_at: at(body.parked_at),
        receives: body.receives,
        file,
        status: match body.status {
            StatusText::Parked => DeadLetterStatus::Parked,
            StatusText::Redriven => DeadLetterStatus::Redriven,
            StatusText::Dropped => DeadLetterStatus::Dropped,
        },
        passes: body.passes,
        revision: body.revision,
        redrives: body.redrives,
        history: body.history.into_iter().map(event_of).collect(),
        cause: body.cause.map(|item| item.0),
    })
}

fn event_body(event: &DeadLetterEvent) -> EventBody {
    let millis = |at: Timestamp| at.as_millis();
    EventBody {
        at: millis(event.at),
        step: match &event.action {
            DeadLetterAction::Parked {
                reason,
                receives,
                sent_at,
            } => StepBody::Parked {
                reason: reason.clone(),
                receives: *receives,
                sent_at: millis(*sent_at),
            },
            DeadLetterAction::Redriven { by } => StepBody::Redriven { by: by.clone() },
            DeadLetterAction::Dropped { by, reason } => StepBody::Dropped {
                by: by.clone(),
                reason: reason.clone(),
            },
        },
    }
}

fn event_of(event: EventBody) -> DeadLetterEvent {
    DeadLetterEvent {
        at: at(event.at),
        action: match event.step {
            StepBody::Parked {
                reason,
                receives,
                sent_at,
            } => DeadLetterAction::Parked {
                reason,
                receives,
                sent_at: at(sent_at),
            },
            StepBody::Redriven { by } => DeadLetterAction::Redriven { by },
            StepBody::Dropped { by, reason } => DeadLetterAction::Dropped { by, reason },
        },
    }
}
