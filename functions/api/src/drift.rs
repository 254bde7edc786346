//! What an operation found to differ, and a person's word on it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::{Difference, Drift, Gone};
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;
use store::{Decision, DriftEntry, Finding, Operation, OperationKind, OperationState, Written};
use utoipa::{IntoParams, ToSchema};

use crate::connection_view::OperationView;
use crate::extract::{OperationPath, Params, page};
use crate::problem::{Kind, Problem, ProblemBody};
use crate::value::ValueBody;
use crate::{Deps, record, value};

/// Rounds against the sweep, which takes the same operation further.
const ROUNDS_MAX: usize = 8;

/// Which findings are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DriftQuery {
    /// Only findings of this kind.
    #[param(inline)]
    kind: Option<DriftKind>,
    /// 1 to 1,000; 100 where left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// How a file differs. `missing_here`: in Drive, and not here. `missing_there`: here, and not in Drive any more.
/// `stale`: here at an older version. `differing`: here at the same version, with other values. `not_verified`:
/// it seems to differ, and Drive has not said yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DriftKind {
    MissingHere,
    MissingThere,
    Stale,
    Differing,
    NotVerified,
}

/// Why a file is not in Drive for us any more.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Gone)]
enum GoneView {
    Removed,
    AccessLost,
    MovedAway,
}

/// A page of findings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftList {
    /// By file id. May be fewer than `limit`, even none, before the end.
    items: Vec<DriftItem>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// One file that differs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftItem {
    file_id: String,
    /// Its name here, else in Drive; at most 200 characters of it.
    name: String,
    kind: DriftKind,
    /// Only of what is missing there.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<GoneView>,
    /// The fields that differ, at most 20, with at most 200 characters of each value.
    fields: Vec<DriftField>,
    /// How many more fields differ.
    fields_left_out: u32,
}

/// One field that differs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftField {
    field: String,
    /// Drive's value as we have it.
    #[schema(value_type = Option<ValueBody>)]
    ours: JsonValue,
    /// Drive's value.
    #[schema(value_type = Option<ValueBody>)]
    drive: JsonValue,
}

impl DriftItem {
    /// `None` where nothing was wrong after all.
    fn new(entry: &DriftEntry) -> Option<Self> {
        let (drift, fields_left_out) = match &entry.finding {
            Some(Finding::Cleared) => return None,
            Some(Finding::Drifted {
                drift,
                fields_left_out,
            }) => (Some(drift), *fields_left_out),
            None => (None, 0),
        };
        let (kind, gone, fields) = match drift {
            None => (DriftKind::NotVerified, None, &[][..]),
            Some(Drift::MissingHere) => (DriftKind::MissingHere, None, &[][..]),
            Some(Drift::MissingThere(gone)) => {
                let gone = match gone {
                    Gone::Removed => GoneView::Removed,
                    Gone::AccessLost => GoneView::AccessLost,
                    Gone::MovedAway => GoneView::MovedAway,
                };
                (DriftKind::MissingThere, Some(gone), &[][..])
            }
            Some(Drift::Stale(fields)) => (DriftKind::Stale, None, fields.as_slice()),
            Some(Drift::Differing(fields)) => (DriftKind::Differing, None, fields.as_slice()),
        };
        let field = |difference: &Difference| DriftField {
            field: difference.label.clone(),
            ours: value::to_json(&difference.ours),
            drive: value::to_json(&difference.drive),
        };
        Some(Self {
            file_id: entry.file.to_string(),
            name: entry.name.clone(),
            kind,
            gone,
            fields: fields.iter().map(field).collect(),
            fields_left_out,
        })
    }
}

/// What an audit or a resync found to differ between Drive and our records. Kept for 90 days.
#[utoipa::path(
    get, operation_id = "list_drift", path = "/v1/connections/{connection}/operations/{operation}/drift",
    tag = "operations", params(("connection" = String, Path), ("operation" = String, Path), DriftQuery),
    responses((status = 200, description = "A page.", body = DriftList))
)]
pub(crate) async fn list(
    State(deps): State<Arc<Deps>>,
    at: OperationPath,
    Params(query): Params<DriftQuery>,
) -> Result<Json<DriftList>, Problem> {
    let request = page(query.limit, query.cursor)?;
    record::connection(&deps, &at.key).await?;
    load(&deps, &at).await?;
    let page = deps.store.list_drift(&at.key, &at.id, &request).await?;
    let items = page.items.iter().filter_map(DriftItem::new);
    Ok(Json(DriftList {
        items: items
            .filter(|item| query.kind.is_none_or(|kind| kind == item.kind))
            .collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Lets an operation go on that would remove more than it may. Each file is asked about once more before it is
/// removed. Doing it twice is doing it once.
#[utoipa::path(
    post, operation_id = "confirm_operation", path = "/v1/connections/{connection}/operations/{operation}/confirm",
    tag = "operations", params(("connection" = String, Path), ("operation" = String, Path)),
    responses(
        (status = 200, description = "The operation.", body = OperationView),
        (status = 409, description = "It does not wait for that.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn confirm(
    State(deps): State<Arc<Deps>>,
    at: OperationPath,
) -> Result<Json<OperationView>, Problem> {
    decide(&deps, &at, true).await
}

/// Ends an operation that waits for confirmation, or an audit or resync that still compares: nothing of what it
/// found to differ from Drive is changed here. (What an audit finds wrong among our own items is put right as it is
/// found.) Doing it twice is doing it once.
#[utoipa::path(
    post, operation_id = "cancel_operation", path = "/v1/connections/{connection}/operations/{operation}/cancel",
    tag = "operations", params(("connection" = String, Path), ("operation" = String, Path)),
    responses(
        (status = 200, description = "The operation.", body = OperationView),
        (status = 409, description = "It can't be cancelled any more.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(deps): State<Arc<Deps>>,
    at: OperationPath,
) -> Result<Json<OperationView>, Problem> {
    decide(&deps, &at, false).await
}

pub(crate) async fn load(deps: &Deps, at: &OperationPath) -> Result<Operation, Problem> {
    let found = deps.store.load_operation(&at.key, &at.id).await?;
    found.ok_or_else(|| Problem::not_found("the operation"))
}

async fn decide(
    deps: &Deps,
    at: &OperationPath,
    confirmed: bool,
) -> Result<Json<OperationView>, Problem> {
    record::connection(deps, &at.key).await?;
    let mut operation = load(deps, at).await?;
    for _ in 0..ROUNDS_MAX {
        if let Some(decision) = &operation.decision {
            if decision.confirmed == confirmed {
                return Ok(Json(OperationView::new(&operation)));
            }
            let what = if decision.confirmed {
                "confirmed"
            } else {
                "cancelled"
            };
            let detail = format!("it was {what} at {}", decision.at);
            return Err(Problem::new(Kind::StateNotAllowed, detail)
                .current(&OperationView::new(&operation)));
        }
        let possible = if confirmed {
            waits(&operation)
        } else {
            has_changed_nothing(&operation)
        };
        if !possible {
            let detail = if confirmed {
                "it does not wait for a confirmation"
            } else {
                "it can't be cancelled, or not any more"
            };
            return Err(Problem::new(Kind::StateNotAllowed, detail)
                .current(&OperationView::new(&operation)));
        }
        let after = decided(&operation, confirmed, &at.caller.subject, deps);
        match deps.store.move_operation(&operation, &after).await? {
            Written::Done(after) => {
                tracing::info!(operation = %after.id, confirmed, metric = "operation_decided", "a person decided");
                return Ok(Json(OperationView::new(&after)));
            }
            Written::Stale(Some(current)) => operation = current,
            Written::Stale(None) => return Err(Problem::not_found("the operation")),
        }
    }
    Err(Problem::busy("the operation is being worked on", 1))
}

fn waits(operation: &Operation) -> bool {
    matches!(operation.state, OperationState::AwaitingConfirmation { .. })
}

/// Whether it can end here with nothing changed and nobody waiting for it.
fn has_changed_nothing(operation: &Operation) -> bool {
    match operation.state {
        OperationState::AwaitingConfirmation { .. }
        | OperationState::Comparing
        | OperationState::Verifying => true,
        OperationState::Examining | OperationState::Listing | OperationState::Listed => {
            operation.kind == OperationKind::Audit
        }
        OperationState::Repairing
        | OperationState::Done
        | OperationState::Cancelled
        | OperationState::Failed { .. } => false,
    }
}

fn decided(operation: &Operation, confirmed: bool, by: &str, deps: &Deps) -> Operation {
    let at = deps.clock.now();
    let decision = Some(Decision {
        confirmed,
        by: by.to_owned(),
        at,
    });
    let (state, due_at, finished_at) = if confirmed {
        (OperationState::Repairing, Some(at), None)
    } else {
        (OperationState::Cancelled, None, Some(at))
    };
    Operation {
        state,
        due_at,
        finished_at,
        decision,
        position: None,
        ..operation.clone()
    }
}
