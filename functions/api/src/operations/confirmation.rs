//! The decision of a person to continue or cancel an operation.

use axum::Json;
use store::{Decision, Operation, OperationKind, OperationState, Written};

use crate::http::{JsonResult, Kind, OperationPath, Problem};
use crate::operations::operation_view::OperationView;
use crate::{App, Deps, lookups};

/// Attempts against the sweep, which advances the same operation.
const ATTEMPTS_MAX: usize = 8;

/// Continues an operation that would remove more files than allowed.
///
/// Each file is read from Drive once more before it is removed. Idempotent.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/operations/{operation}/confirm", tag = "operations",
    params(OperationPath),
    responses(
        (status = 200, description = "The operation.", body = OperationView),
        (status = 409, description = "The operation does not wait for a confirmation."),
    )
)]
pub(crate) async fn confirm_operation(deps: App, at: OperationPath) -> JsonResult<OperationView> {
    decide(&deps, &at, true).await
}

/// Cancels an operation that waits for confirmation, or an audit or resync that is still comparing.
///
/// None of the differences from Drive that it has found are applied. (Inconsistencies that an audit
/// finds among the stored items are repaired as they are found.) Idempotent.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/operations/{operation}/cancel", tag = "operations",
    params(OperationPath),
    responses(
        (status = 200, description = "The operation.", body = OperationView),
        (status = 409, description = "The operation can't be cancelled any more."),
    )
)]
pub(crate) async fn cancel_operation(deps: App, at: OperationPath) -> JsonResult<OperationView> {
    decide(&deps, &at, false).await
}

async fn decide(deps: &Deps, at: &OperationPath, confirmed: bool) -> JsonResult<OperationView> {
    let mut operation = lookups::operation(deps, at).await?;
    for _ in 0..ATTEMPTS_MAX {
        let refused = |detail: &str| {
            let problem = Problem::new(Kind::StateNotAllowed, detail);
            Err(problem.current(&OperationView::new(&operation)))
        };
        match &operation.decision {
            Some(decision) if decision.confirmed == confirmed => {
                return Ok(Json(OperationView::new(&operation)));
            }
            Some(decision) if decision.confirmed => {
                return refused(&format!("it was confirmed at {}", decision.at));
            }
            Some(decision) => return refused(&format!("it was cancelled at {}", decision.at)),
            None if confirmed && !awaits_confirmation(&operation) => {
                return refused("it does not wait for a confirmation");
            }
            None if !confirmed && !is_cancellable(&operation) => {
                return refused("it can't be cancelled, or not any more");
            }
            None => {}
        }
        let after = decided(&operation, confirmed, &at.caller.subject, deps);
        match deps.store.move_operation(&operation, &after).await? {
            Written::Done(after) => {
                let metric = "operation_decided";
                tracing::info!(operation = %after.id, confirmed, metric, "operation decided");
                return Ok(Json(OperationView::new(&after)));
            }
            Written::Stale(Some(current)) => operation = current,
            Written::Stale(None) => return Err(Problem::not_found("the operation")),
        }
    }
    Err(Problem::busy("the operation keeps advancing", 1))
}

fn awaits_confirmation(operation: &Operation) -> bool {
    matches!(operation.state, OperationState::AwaitingConfirmation { .. })
}

/// Returns whether the operation can end here: it has changed nothing, and no log waits for it.
fn is_cancellable(operation: &Operation) -> bool {
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
