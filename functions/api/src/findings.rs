//! What an audit found wrong among our own items.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::FlawKind;
use serde::{Deserialize, Serialize};
use store::{Flaw, Operation, Subject};
use utoipa::{IntoParams, ToSchema};

use crate::extract::{OperationPath, Params, page};
use crate::problem::Problem;
use crate::{Deps, conflict_id, drift, record};

/// Which findings are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FindingsQuery {
    /// Only findings of this kind.
    #[param(inline)]
    kind: Option<FindingKind>,
    /// 1 to 1,000; 100 where left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What is wrong. `intent_not_due`: a file owes Drive something, and nothing would find it. `intent_overdue`: it is due
/// for long, and nobody works on it. `file_misplaced`: a list has a file wrong. `conflict_unrecorded`: a file is in
/// conflict, and no record says so. `conflict_stray`: a record says that a conflict is open in which its file is not.
/// `conflict_of_nobody`: the same, and there is no record of the file. `log_not_due`: nothing would find a log when it is
/// to be polled. `log_not_read`: a log was not read to its end for too long. `cursor_ahead`: Drive shows files later than
/// we have them, though the log's cursor has passed. `channel_lapsed`, `channel_missing`: Drive does not tell of a log.
/// `operation_stalled`: an operation does not get on. `operation_abandoned`: a listing that no log waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FindingKind {
    IntentNotDue,
    IntentOverdue,
    FileMisplaced,
    ConflictUnrecorded,
    ConflictStray,
    ConflictOfNobody,
    LogNotDue,
    LogNotRead,
    CursorAhead,
    ChannelLapsed,
    ChannelMissing,
    OperationStalled,
    OperationAbandoned,
}

/// How many findings there are of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingCount {
    found: u64,
    /// Of those, how many were put right. The others are for a person; in a dry run all are.
    repaired: u64,
}

/// A page of findings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingList {
    /// By kind.
    items: Vec<FindingItem>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// Something that was wrong. One of the ids says with what.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
pub(crate) struct FindingItem {
    kind: FindingKind,
    /// Whether it was put right: what it takes was written or sent.
    repaired: bool,
    /// What was seen, for people.
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict_id: Option<String>,
    /// The log, or that of the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_id: Option<String>,
    found_at: String,
}

impl From<FlawKind> for FindingKind {
    fn from(kind: FlawKind) -> Self {
        match kind {
            FlawKind::IntentNotDue => Self::IntentNotDue,
            FlawKind::IntentOverdue => Self::IntentOverdue,
            FlawKind::FileMisplaced => Self::FileMisplaced,
            FlawKind::ConflictUnrecorded => Self::ConflictUnrecorded,
            FlawKind::ConflictStray => Self::ConflictStray,
            FlawKind::ConflictOfNobody => Self::ConflictOfNobody,
            FlawKind::LogNotDue => Self::LogNotDue,
            FlawKind::LogNotRead => Self::LogNotRead,
            FlawKind::CursorAhead => Self::CursorAhead,
            FlawKind::ChannelLapsed => Self::ChannelLapsed,
            FlawKind::ChannelMissing => Self::ChannelMissing,
            FlawKind::OperationStalled => Self::OperationStalled,
            FlawKind::OperationAbandoned => Self::OperationAbandoned,
        }
    }
}

impl From<FindingKind> for FlawKind {
    fn from(kind: FindingKind) -> Self {
        match kind {
            FindingKind::IntentNotDue => Self::IntentNotDue,
            FindingKind::IntentOverdue => Self::IntentOverdue,
            FindingKind::FileMisplaced => Self::FileMisplaced,
            FindingKind::ConflictUnrecorded => Self::ConflictUnrecorded,
            FindingKind::ConflictStray => Self::ConflictStray,
            FindingKind::ConflictOfNobody => Self::ConflictOfNobody,
            FindingKind::LogNotDue => Self::LogNotDue,
            FindingKind::LogNotRead => Self::LogNotRead,
            FindingKind::CursorAhead => Self::CursorAhead,
            FindingKind::ChannelLapsed => Self::ChannelLapsed,
            FindingKind::ChannelMissing => Self::ChannelMissing,
            FindingKind::OperationStalled => Self::OperationStalled,
            FindingKind::OperationAbandoned => Self::OperationAbandoned,
        }
    }
}

/// The counts of an operation, by kind.
pub(crate) fn counts(operation: &Operation) -> BTreeMap<String, FindingCount> {
    let count = |(kind, count): (&FlawKind, &domain::FlawCount)| {
        let of_kind = FindingCount {
            found: count.found,
            repaired: count.repaired,
        };
        (kind.label().to_owned(), of_kind)
    };
    operation.flaws.iter().map(count).collect()
}

impl FindingItem {
    fn new(flaw: Flaw) -> Self {
        let mut item = Self {
            kind: flaw.kind.into(),
            repaired: flaw.repaired,
            detail: flaw.detail,
            file_id: None,
            conflict_id: None,
            log: None,
            operation_id: None,
            found_at: flaw.found_at.to_string(),
        };
        match flaw.subject {
            Subject::File(file) => item.file_id = Some(file.to_string()),
            Subject::Conflict(id) => {
                item.conflict_id = Some(conflict_id::encode(&id));
                item.file_id = Some(id.file.to_string());
            }
            Subject::Log(log) => item.log = Some(log.to_string()),
            Subject::Operation(id) => item.operation_id = Some(id.to_string()),
        }
        item
    }
}

/// What an audit found wrong among our own items. Kept for 90 days.
#[utoipa::path(
    get, operation_id = "list_findings", path = "/v1/connections/{connection}/operations/{operation}/findings",
    tag = "operations", params(("connection" = String, Path), ("operation" = String, Path), FindingsQuery),
    responses((status = 200, description = "A page.", body = FindingList))
)]
pub(crate) async fn list(
    State(deps): State<Arc<Deps>>,
    at: OperationPath,
    Params(query): Params<FindingsQuery>,
) -> Result<Json<FindingList>, Problem> {
    let request = page(query.limit, query.cursor)?;
    record::connection(&deps, &at.key).await?;
    drift::load(&deps, &at).await?;
    let kind = query.kind.map(FlawKind::from);
    let page = deps.store.list_flaws(&at.key, &at.id, kind, &request);
    let page = page.await?;
    Ok(Json(FindingList {
        items: page.items.into_iter().map(FindingItem::new).collect(),
        next_cursor: page.next_cursor,
    }))
}
