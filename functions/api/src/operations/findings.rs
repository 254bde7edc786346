//! The inconsistencies among the stored items that an audit has found.

use axum::Json;
use domain::InconsistencyKind;
use serde::{Deserialize, Serialize};
use store::{Inconsistency, PageRequest, Subject};
use utoipa::{IntoParams, ToSchema};

use crate::conflicts::conflict_id;
use crate::described::query::Params;
use crate::http::{JsonResult, OperationPath, page, page_that_fits, view_enum};
use crate::{App, lookups};

/// The filter and the page of a list of findings.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FindingsQuery {
    /// Only findings of this kind.
    #[param(inline)]
    kind: Option<FindingKind>,
    /// 1 to 1,000; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

view_enum! {
    /// The kind of an inconsistency. `intent_not_due`: an intent is missing from the due index, so
    /// that it would never be pushed. `intent_overdue`: an intent has long been due and has not
    /// been processed. `file_misplaced`: an index has wrong attributes for a file.
    /// `conflict_unrecorded`: a file is in conflict without an open conflict record.
    /// `conflict_stray`: a conflict record is open, but its file is not in this conflict.
    /// `conflict_of_nobody`: the same, and the file has no record. `log_not_due`: a log is missing
    /// from the due index, so that it would never be polled. `log_not_read`: a log has not been
    /// read to its end for too long. `cursor_ahead`: Drive has newer versions of files than the
    /// stored ones, although the log's cursor is past them. `channel_lapsed`, `channel_missing`: a
    /// log has no notification channel. `operation_stalled`: an operation makes no progress.
    /// `operation_abandoned`: no log waits for a listing.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    pub(crate) enum FindingKind = InconsistencyKind {
        IntentNotDue,
        IntentOverdue,
        FileMisplaced,
        ConflictUnrecorded,
        ConflictStray,
        #[serde(rename = "conflict_of_nobody")]
        ConflictOfUnknownFile,
        LogNotDue,
        LogNotRead,
        CursorAhead,
        ChannelLapsed,
        ChannelMissing,
        OperationStalled,
        OperationAbandoned,
    }
}

/// A page of findings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingList {
    /// By kind.
    items: Vec<FindingItem>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// An inconsistency. One of the ids names the item that it concerns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
pub(crate) struct FindingItem {
    kind: FindingKind,
    /// Whether it has been repaired: the necessary writes were made or messages sent.
    repaired: bool,
    /// A description for people.
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict_id: Option<String>,
    /// The log, or the channel's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_id: Option<String>,
    found_at: String,
}

impl FindingItem {
    fn new(inconsistency: Inconsistency) -> Self {
        let mut item = Self {
            kind: inconsistency.kind.into(),
            repaired: inconsistency.repaired,
            detail: inconsistency.detail,
            file_id: None,
            conflict_id: None,
            log: None,
            operation_id: None,
            found_at: inconsistency.found_at.to_string(),
        };
        match inconsistency.subject {
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

/// Lists the inconsistencies among the stored items that an audit has found.
///
/// They are stored for 90 days.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/operations/{operation}/findings", tag = "operations",
    params(OperationPath, FindingsQuery),
    responses((status = 200, description = "A page.", body = FindingList))
)]
pub(crate) async fn list_findings(
    deps: App,
    at: OperationPath,
    Params(query): Params<FindingsQuery>,
) -> JsonResult<FindingList> {
    let request = page(query.limit, query.cursor);
    lookups::operation(&deps, &at).await?;
    let kind = query.kind.map(InconsistencyKind::from);
    let (store, key, id) = (&deps.store, &at.key, &at.id);
    let read = |request: PageRequest| async move {
        let page = store.list_inconsistencies(key, id, kind, &request).await?;
        let items = page.items.into_iter().map(FindingItem::new);
        Ok((items.collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(FindingList { items, next_cursor }))
}
