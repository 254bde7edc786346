//! A parked input's item.

use domain::{ConnectionKey, FileId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::item::{decode, encode};
use crate::key::{Item, Key};
use crate::value_item::at;
use crate::{Parked, ParkedEvent, ParkedStatus, ParkedStep, StoreError};

/// A letter that was sent again or dropped is shown for 30 days more, as a tombstone is.
const CLOSED_KEPT_MILLIS: i64 = 30 * 86_400_000;

pub(crate) fn parked_key(key: &ConnectionKey, id: &str) -> Key {
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
    revision: u64,
    redrives: u32,
    history: Vec<EventBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
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

/// The item of a parked input, as this revision.
pub(crate) fn encode_parked(parked: &Parked, revision: u64) -> Result<Item, StoreError> {
    let closed_at = parked
        .history
        .last()
        .map_or(parked.parked_at, |last| last.at);
    let (status, expires) = match parked.status {
        ParkedStatus::Parked => (StatusText::Parked, None),
        ParkedStatus::Redriven => (StatusText::Redriven, Some(closed_at)),
        ParkedStatus::Dropped => (StatusText::Dropped, Some(closed_at)),
    };
    let body = Body {
        queue: parked.queue.clone(),
        reason: parked.reason.clone(),
        body: parked.body.clone(),
        first_seen_at: parked.first_seen_at.as_millis(),
        parked_at: parked.parked_at.as_millis(),
        receives: parked.receives,
        file: parked.file.as_ref().map(|file| file.as_str().to_owned()),
        status,
        revision,
        redrives: parked.redrives,
        history: parked.history.iter().map(event_body).collect(),
        expires: expires.map(|at| at.plus_millis(CLOSED_KEPT_MILLIS).as_seconds()),
    };
    encode(&parked_key(&parked.key, &parked.id), &body)
}

pub(crate) fn decode_parked(key: &ConnectionKey, item: Item) -> Result<Parked, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let file = body.file.map(|file| FileId::parse(&file)).transpose();
    let (Some(id), Ok(file)) = (place.sk.strip_prefix("PARKED#"), file) else {
        return Err(place.corrupt("its key or its file can't be read"));
    };
    Ok(Parked {
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
            StatusText::Parked => ParkedStatus::Parked,
            StatusText::Redriven => ParkedStatus::Redriven,
            StatusText::Dropped => ParkedStatus::Dropped,
        },
        revision: body.revision,
        redrives: body.redrives,
        history: body.history.into_iter().map(event_from).collect(),
    })
}

fn event_body(event: &ParkedEvent) -> EventBody {
    let millis = |at: Timestamp| at.as_millis();
    EventBody {
        at: millis(event.at),
        step: match &event.step {
            ParkedStep::Parked {
                reason,
                receives,
                sent_at,
            } => StepBody::Parked {
                reason: reason.clone(),
                receives: *receives,
                sent_at: millis(*sent_at),
            },
            ParkedStep::Redriven { by } => StepBody::Redriven { by: by.clone() },
            ParkedStep::Dropped { by, reason } => StepBody::Dropped {
                by: by.clone(),
                reason: reason.clone(),
            },
        },
    }
}

fn event_from(event: EventBody) -> ParkedEvent {
    ParkedEvent {
        at: at(event.at),
        step: match event.step {
            StepBody::Parked {
                reason,
                receives,
                sent_at,
            } => ParkedStep::Parked {
                reason,
                receives,
                sent_at: at(sent_at),
            },
            StepBody::Redriven { by } => ParkedStep::Redriven { by },
            StepBody::Dropped { by, reason } => ParkedStep::Dropped { by, reason },
        },
    }
}
