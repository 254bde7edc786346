//! The items of operations and of their pages.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    ConnectionKey, FileId, InconsistencyCount, InconsistencyKind, LogId, OperationId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at as time;
use crate::operation::operations::{
    Decision, DriftCounts, Operation, OperationKind, OperationState,
};
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Index, Item, Key, due_place};
use crate::{Connection, StoreError};

/// The time that the pages of a listing are kept, from its start.
const PAGE_MILLIS: i64 = 30 * 24 * 3_600 * 1_000;

pub(crate) fn operation_key(key: &ConnectionKey, id: &OperationId) -> Key {
    Key::of_connection(key, "OP", id.as_str())
}

/// Pages have a prefix of their own, so that a list of operations does not read through them.
pub(crate) fn page_key(key: &ConnectionKey, id: &OperationId, number: u32) -> Key {
    Key::of_connection(key, "PAGE", &format!("{id}#{number:08}"))
}

/// The prefix of the sort keys of a listing's pages.
pub(crate) fn pages_prefix(id: &OperationId) -> String {
    format!("PAGE#{id}#")
}

#[derive(Serialize, Deserialize)]
struct Body {
    log: String,
    kind: String,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    holds_log: bool,
    #[serde(default)]
    dry_run: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    pages: u32,
    listed: u64,
    pages_verified: u32,
    verified: u64,
    errors: u64,
    #[serde(default)]
    held: u64,
    #[serde(default)]
    missing_here: u64,
    #[serde(default)]
    missing_there: u64,
    #[serde(default)]
    stale: u64,
    #[serde(default)]
    differing: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    flaws: BTreeMap<String, (u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progressed_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compared_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided_at: Option<i64>,
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
) -> Result<Encoded, StoreError> {
    let body = PageBody {
        ids: ids.iter().map(|id| id.as_str().to_owned()).collect(),
        expires: operation.started_at.plus_millis(PAGE_MILLIS).as_seconds(),
    };
    encode(&place, &body)
}

pub(crate) fn encode_operation(operation: &Operation) -> Result<Encoded, StoreError> {
    let body = Body {
        log: operation.log.as_str().to_owned(),
        kind: operation.kind.text().to_owned(),
        state: operation.state.text().to_owned(),
        reason: operation.state.reason().map(str::to_owned),
        since: operation.state.since().map(Timestamp::as_millis),
        holds_log: operation.blocks_log,
        dry_run: operation.dry_run,
        page_token: operation.page_token.clone(),
        position: operation.position.clone(),
        pages: operation.pages,
        listed: operation.listed,
        pages_verified: operation.pages_verified,
        verified: operation.verified,
        errors: operation.errors,
        held: operation.drift.present,
        missing_here: operation.drift.missing_here,
        missing_there: operation.drift.missing_there,
        stale: operation.drift.stale,
        differing: operation.drift.differing,
        flaws: operation
            .inconsistencies
            .iter()
            .map(inconsistency_item)
            .collect(),
        progressed_at: operation.progressed_at.map(Timestamp::as_millis),
        compared_at: operation.compared_at.map(Timestamp::as_millis),
        confirmed: operation.decision.as_ref().map(|said| said.confirmed),
        decided_by: operation.decision.as_ref().map(|said| said.by.clone()),
        decided_at: operation.decision.as_ref().map(|said| said.at.as_millis()),
        started_at: operation.started_at.as_millis(),
        finished_at: operation.finished_at.map(Timestamp::as_millis),
        due_at: operation.due_at.map(Timestamp::as_millis),
        by: operation.by.clone(),
    };
    let place = operation_key(&operation.key, &operation.id);
    let mut item = encode(&place, &body)?;
    if let Some(due_at) = operation.due_at {
        item.place(Index::Due, due_place(&place, due_at));
    }
    Ok(item)
}

pub(crate) fn decode_operation(key: &ConnectionKey, item: Item) -> Result<Operation, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let state = match (body.state.as_str(), body.reason, body.since) {
        ("examining", None, _) => Some(OperationState::Examining),
        ("listing", None, _) => Some(OperationState::Listing),
        ("listed", None, _) => Some(OperationState::Listed),
        ("comparing", None, _) => Some(OperationState::Comparing),
        ("verifying", None, _) => Some(OperationState::Verifying),
        ("awaiting_confirmation", None, Some(since)) => {
            Some(OperationState::AwaitingConfirmation { since: time(since) })
        }
        ("repairing", None, _) => Some(OperationState::Repairing),
        ("done", None, _) => Some(OperationState::Done),
        ("cancelled", None, _) => Some(OperationState::Cancelled),
        ("failed", Some(reason), _) => Some(OperationState::Failed { reason }),
        _ => None,
    };
    let decision = match (body.confirmed, body.decided_by, body.decided_at) {
        (Some(confirmed), Some(by), Some(at)) => Some(Decision {
            confirmed,
            by,
            at: time(at),
        }),
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
        return Err(place.corrupt("an id, its kind or its state is invalid"));
    };
    Ok(Operation {
        key: key.clone(),
        id,
        log,
        kind,
        state,
        blocks_log: body.holds_log,
        dry_run: body.dry_run,
        page_token: body.page_token,
        position: body.position,
        drift: DriftCounts {
            present: body.held,
            missing_here: body.missing_here,
            missing_there: body.missing_there,
            stale: body.stale,
            differing: body.differing,
        },
        inconsistencies: body
            .flaws
            .into_iter()
            .filter_map(inconsistency_count)
            .collect(),
        progressed_at: body.progressed_at.map(time),
        compared_at: body.compared_at.map(time),
        decision,
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
    ids.map_err(|_| place.corrupt("one of its file ids is invalid"))
}

fn inconsistency_item(
    (kind, count): (&InconsistencyKind, &InconsistencyCount),
) -> (String, (u64, u64)) {
    (kind.label().to_owned(), (count.found, count.repaired))
}

/// Leaves out a kind that only newer code knows: it is in the inconsistencies' own items.
fn inconsistency_count(
    (label, (found, repaired)): (String, (u64, u64)),
) -> Option<(InconsistencyKind, InconsistencyCount)> {
    Some((
        InconsistencyKind::from_label(&label)?,
        InconsistencyCount { found, repaired },
    ))
}

/// Encodes the counts as an attribute of the operation's item.
pub(crate) fn inconsistencies_attribute(
    counts: &BTreeMap<InconsistencyKind, InconsistencyCount>,
) -> AttributeValue {
    let number = |number: u64| AttributeValue::N(number.to_string());
    let count = |(kind, count): (&InconsistencyKind, &InconsistencyCount)| {
        let pair = vec![number(count.found), number(count.repaired)];
        (kind.label().to_owned(), AttributeValue::L(pair))
    };
    AttributeValue::M(counts.iter().map(count).collect())
}

impl OperationKind {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::InitialSync => "initial_sync",
            Self::Delta => "delta",
            Self::Resync => "resync",
            Self::Audit => "audit",
            Self::Leave => "leave",
            Self::ContentScan => "mirror",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::InitialSync,
            Self::Delta,
            Self::Resync,
            Self::Audit,
            Self::Leave,
            Self::ContentScan,
        ];
        all.into_iter().find(|kind| kind.text() == text)
    }
}

impl OperationState {
    pub(crate) fn text(&self) -> &'static str {
        match self {
            Self::Examining => "examining",
            Self::Listing => "listing",
            Self::Listed => "listed",
            Self::Comparing => "comparing",
            Self::Verifying => "verifying",
            Self::AwaitingConfirmation { .. } => "awaiting_confirmation",
            Self::Repairing => "repairing",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed { .. } => "failed",
        }
    }

    /// Returns whether an operation in this state has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Examining
            | Self::Listing
            | Self::Listed
            | Self::Comparing
            | Self::Verifying
            | Self::AwaitingConfirmation { .. }
            | Self::Repairing => false,
            Self::Done | Self::Cancelled | Self::Failed { .. } => true,
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { reason } => Some(reason),
            Self::Examining
            | Self::Listing
            | Self::Listed
            | Self::Comparing
            | Self::Verifying
            | Self::AwaitingConfirmation { .. }
            | Self::Repairing
            | Self::Done
            | Self::Cancelled => None,
        }
    }

    pub(crate) fn since(&self) -> Option<Timestamp> {
        match self {
            Self::AwaitingConfirmation { since } => Some(*since),
            Self::Examining
            | Self::Listing
            | Self::Listed
            | Self::Comparing
            | Self::Verifying
            | Self::Repairing
            | Self::Done
            | Self::Cancelled
            | Self::Failed { .. } => None,
        }
    }
}

impl Operation {
    /// Returns whether the operation compares the listing with the stored records.
    #[must_use]
    pub fn compares(&self) -> bool {
        match self.kind {
            OperationKind::Resync | OperationKind::Audit => true,
            OperationKind::InitialSync
            | OperationKind::Delta
            | OperationKind::Leave
            | OperationKind::ContentScan => false,
        }
    }

    /// Returns whether the operation brings every file of its log as a snapshot.
    #[must_use]
    pub fn lists_all(&self) -> bool {
        match self.kind {
            OperationKind::InitialSync | OperationKind::Resync => true,
            OperationKind::Delta
            | OperationKind::Audit
            | OperationKind::Leave
            | OperationKind::ContentScan => false,
        }
    }

    /// Returns whether a content scan follows once all listed files have arrived: a file may be
    /// listed before the folder that brings it into scope.
    #[must_use]
    pub fn ends_in_a_scan(&self, connection: &Connection) -> bool {
        let under_way = match self.state {
            OperationState::Listing | OperationState::Listed => true,
            OperationState::Examining
            | OperationState::Comparing
            | OperationState::Verifying
            | OperationState::AwaitingConfirmation { .. }
            | OperationState::Repairing
            | OperationState::Done
            | OperationState::Cancelled
            | OperationState::Failed { .. } => false,
        };
        self.lists_all() && under_way && connection.content.enabled && !connection.rules.is_empty()
    }

    /// Returns whether the operation has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.has_ended()
    }
}
