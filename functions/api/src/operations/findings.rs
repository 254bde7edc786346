//! What operations find: the inconsistencies among the stored items, and the files of a restore.

use axum::Json;
use domain::{ConnectionKey, InconsistencyKind};
use serde::{Deserialize, Serialize};
use store::{Inconsistency, PageRequest, RestoreEntry, Subject};
use utoipa::{IntoParams, ToSchema};

use crate::conflicts::conflict_id;
use crate::described::query::Params;
use crate::http::{JsonResult, OperationPath, page, page_that_fits};
use crate::operations::restore_view::{LeftReasonView, RestoreFieldView};
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

/// The kind of a finding. Of an audit: `intent_not_due`: an intent is missing from the due index,
/// so that it would never be pushed. `intent_overdue`: an intent has long been due and has not been
/// processed. `file_misplaced`: an index has wrong attributes for a file. `conflict_unrecorded`: a
/// file is in conflict without an open conflict record. `conflict_stray`: a conflict record is
/// open, but its file is not in this conflict. `conflict_of_nobody`: the same, and the file has no
/// record. `log_not_due`: a log is missing from the due index, so that it would never be polled.
/// `log_not_read`: a log has not been read to its end for too long. `cursor_ahead`: Drive has newer
/// versions of files than the stored ones, although the log's cursor is past them.
/// `channel_lapsed`, `channel_missing`: a log has no notification channel. `operation_stalled`: an
/// operation makes no progress. `operation_abandoned`: no log waits for a listing. Of a restore:
/// `to_restore`: something of a file is set back. `left`: nothing of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FindingKind {
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
    ToRestore,
    Left,
}

impl FindingKind {
    /// Returns the kind of inconsistency; `None` for a finding of a restore.
    fn inconsistency(self) -> Option<InconsistencyKind> {
        let mut all = InconsistencyKind::ALL.into_iter();
        all.find(|kind| Self::from(*kind) == self)
    }
}

impl From<InconsistencyKind> for FindingKind {
    fn from(kind: InconsistencyKind) -> Self {
        match kind {
            InconsistencyKind::IntentNotDue => Self::IntentNotDue,
            InconsistencyKind::IntentOverdue => Self::IntentOverdue,
            InconsistencyKind::FileMisplaced => Self::FileMisplaced,
            InconsistencyKind::ConflictUnrecorded => Self::ConflictUnrecorded,
            InconsistencyKind::ConflictStray => Self::ConflictStray,
            InconsistencyKind::ConflictOfUnknownFile => Self::ConflictOfUnknownFile,
            InconsistencyKind::LogNotDue => Self::LogNotDue,
            InconsistencyKind::LogNotRead => Self::LogNotRead,
            InconsistencyKind::CursorAhead => Self::CursorAhead,
            InconsistencyKind::ChannelLapsed => Self::ChannelLapsed,
            InconsistencyKind::ChannelMissing => Self::ChannelMissing,
            InconsistencyKind::OperationStalled => Self::OperationStalled,
            InconsistencyKind::OperationAbandoned => Self::OperationAbandoned,
        }
    }
}

/// A page of findings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingList {
    /// Those of an audit by kind, those of a restore by file id. A page before the last one may
    /// have fewer than `limit` items, or none.
    items: Vec<FindingItem>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// An inconsistency, or a file of a restore. One of the ids names the item that it concerns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
pub(crate) struct FindingItem {
    kind: FindingKind,
    /// Whether it has been repaired: the necessary writes were made or messages sent. Of a restore:
    /// whether the file has been edited.
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
    /// Of a restore: the name of the file when it was listed; at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Of a restore: the reason why the whole file is left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<LeftReasonView>,
    /// Of a restore: the fields that differ from the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<RestoreFieldView>>,
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
            name: None,
            left: None,
            fields: None,
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

    /// A file of a restore of the connection.
    fn of_restore(entry: &RestoreEntry, key: &ConnectionKey) -> Self {
        let plan = &entry.plan;
        let changes = plan.changes();
        let (done, count) = (entry.done_at.is_some(), plan.values().len());
        let set_back = match (changes, done) {
            (false, _) => None,
            (true, true) => Some(format!("Set back: {count} of its fields.")),
            (true, false) => Some(format!("To be set back: {count} of its fields.")),
        };
        let reasons = plan.reasons();
        let file = format!("/v1/connections/{}/files/{}", key.connection, entry.file);
        let left = reasons
            .iter()
            .map(|reason| reason.sentence().replace(".../files/{id}", &file));
        let detail: Vec<String> = set_back.into_iter().chain(left).collect();
        Self {
            kind: if changes {
                FindingKind::ToRestore
            } else {
                FindingKind::Left
            },
            repaired: changes && done,
            detail: detail.join(" "),
            file_id: Some(entry.file.to_string()),
            conflict_id: None,
            log: None,
            operation_id: None,
            name: Some(entry.name.clone()),
            left: plan.left.map(Into::into),
            fields: Some(plan.fields.iter().map(RestoreFieldView::new).collect()),
            found_at: entry.found_at.to_string(),
        }
    }
}

/// Lists what an operation has found: the inconsistencies among the stored items that an audit has
/// found, or the files that a restore sets back or leaves.
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
    let operation = lookups::operation(&deps, &at).await?;
    let (store, key, id, kind) = (&deps.store, &at.key, &at.id, query.kind);
    let restores = operation.restore().is_some();
    let read = |request: PageRequest| async move {
        if restores {
            let page = store.list_restore_entries(key, id, &request).await?;
            let items = page.items.iter();
            let items = items.map(|entry| FindingItem::of_restore(entry, key));
            let wanted = |item: &FindingItem| kind.is_none_or(|kind| kind == item.kind);
            return Ok((items.filter(wanted).collect(), page.next_cursor));
        }
        let wanted = kind.map(FindingKind::inconsistency);
        if wanted == Some(None) {
            return Ok((Vec::new(), None));
        }
        let page = store.list_inconsistencies(key, id, wanted.flatten(), &request);
        let page = page.await?;
        let items = page.items.into_iter().map(FindingItem::new);
        Ok((items.collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(FindingList { items, next_cursor }))
}
