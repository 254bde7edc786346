//! The items of operations and of their pages.

use domain::{ConnectionKey, FileId, LogId, OperationId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::item::{decode, encode};
use crate::key::{Index, Item, Key, due_place};
use crate::operations::{Operation, OperationKind, OperationState};
use crate::value_item::at as time;

/// How long the pages of a listing are kept, from its beginning.
const PAGE_MILLIS: i64 = 30 * 24 * 3_600 * 1_000;

pub(crate) fn operation_key(key: &ConnectionKey, id: &OperationId) -> Key {
    Key::of_connection(key, "OP", id.as_str())
}

/// Pages have a prefix of their own, so that a list of operations does not read through them.
pub(crate) fn page_key(key: &ConnectionKey, id: &OperationId, number: u32) -> Key {
    Key::of_connection(key, "PAGE", &format!("{id}#{number:08}"))
}

#[derive(Serialize, Deserialize)]
struct Body {
    log: String,
    kind: String,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    holds_log: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page_token: Option<String>,
    pages: u32,
    listed: u64,
    pages_verified: u32,
    verified: u64,
    errors: u64,
    started_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<i64>,
    by: String,
}

#[derive(Serialize, Deserialize)]
struct PageBody {
    ids: Vec<String>,
    expires: i64,
}

pub(crate) fn encode_page(
    operation: &Operation,
    place: Key,
    ids: &[FileId],
) -> Result<Item, StoreError> {
    let body = PageBody {
        ids: ids.iter().map(|id| id.as_str().to_owned()).collect(),
        expires: operation.started_at.plus_millis(PAGE_MILLIS).as_seconds(),
    };
    encode(&place, &body)
}

pub(crate) fn encode_operation(operation: &Operation) -> Result<Item, StoreError> {
    let body = Body {
        log: operation.log.as_str().to_owned(),
        kind: operation.kind.text().to_owned(),
        state: operation.state.text().to_owned(),
        reason: operation.state.reason().map(str::to_owned),
        holds_log: operation.holds_log,
        page_token: operation.page_token.clone(),
        pages: operation.pages,
        listed: operation.listed,
        pages_verified: operation.pages_verified,
        verified: operation.verified,
        errors: operation.errors,
        started_at: operation.started_at.as_millis(),
        finished_at: operation.finished_at.map(Timestamp::as_millis),
        due_at: operation.due_at.map(Timestamp::as_millis),
        by: operation.by.clone(),
    };
    let place = operation_key(&operation.key, &operation.id);
    let mut item = encode(&place, &body)?;
    if let Some(due_at) = operation.due_at {
        let (pk, sk) = due_place(&place, due_at);
        Index::Due.place(&mut item, pk, sk);
    }
    Ok(item)
}

pub(crate) fn decode_operation(key: &ConnectionKey, item: Item) -> Result<Operation, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let state = match (body.state.as_str(), body.reason) {
        ("listing", None) => Some(OperationState::Listing),
        ("listed", None) => Some(OperationState::Listed),
        ("done", None) => Some(OperationState::Done),
        ("failed", Some(reason)) => Some(OperationState::Failed { reason }),
        _ => None,
    };
    let id = place
        .sk
        .strip_prefix("OP#")
        .and_then(|id| OperationId::parse(id).ok());
    let log = LogId::parse(&body.log).ok();
    let (Some(id), Some(log), Some(kind), Some(state)) =
        (id, log, OperationKind::parse(&body.kind), state)
    else {
        return Err(place.corrupt("an id, its kind or its state can't be read"));
    };
    Ok(Operation {
        key: key.clone(),
        id,
        log,
        kind,
        state,
        holds_log: body.holds_log,
        page_token: body.page_token,
        pages: body.pages,
        listed: body.listed,
        pages_verified: body.pages_verified,
        verified: body.verified,
        errors: body.errors,
        started_at: time(body.started_at),
        finished_at: body.finished_at.map(time),
        due_at: body.due_at.map(time),
        by: body.by,
    })
}

pub(crate) fn decode_page(item: Item) -> Result<Vec<FileId>, StoreError> {
    let (place, page) = decode::<PageBody>(item)?;
    let ids = page.ids.iter().map(|id| FileId::parse(id));
    let ids: Result<_, _> = ids.collect();
    ids.map_err(|_| place.corrupt("it holds what is no file id"))
}
