//! The decision of a person to continue or cancel an operation.

use axum::Json;
use domain::operation::DecisionRefused;
use domain::{Operation, Role};
use store::Attempt;

use crate::http::{JsonResult, Keyed, Kind, OperationPath, Problem};
use crate::operations::operation_view::OperationView;
use crate::swap::{attempt, swap};
use crate::{App, Deps, lookups};

/// The name of the item in problems.
const WHAT: &str = "the operation";

/// Continues an operation that would remove, or set back, more files than allowed.
///
/// Each file is read from Drive once more before it is removed; one that was changed since it was
/// listed is not set back. Idempotent.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/operations/{operation}/confirm", tag = "operations",
    params(OperationPath),
    responses(
        (status = 200, description = "The operation.", body = OperationView),
        (status = 409, description = "The operation does not wait for a confirmation."),
    )
)]
pub(crate) async fn confirm_operation(
    deps: App,
    at: OperationPath,
    keyed: Keyed,
) -> JsonResult<OperationView> {
    decide_at(&deps, &at, &keyed, true).await
}

/// Cancels an operation that waits for confirmation, or an audit or resync that is still comparing,
/// or a restore.
///
/// None of the differences from Drive that it has found are applied. (Inconsistencies that an audit
/// finds among the stored items are repaired as they are found.) What a restore has set back stays
/// so. Idempotent.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/operations/{operation}/cancel", tag = "operations",
    params(OperationPath),
    responses(
        (status = 200, description = "The operation.", body = OperationView),
        (status = 409, description = "The operation can't be cancelled any more."),
    )
)]
pub(crate) async fn cancel_operation(
    deps: App,
    at: OperationPath,
    keyed: Keyed,
) -> JsonResult<OperationView> {
    decide_at(&deps, &at, &keyed, false).await
}

async fn decide_at(
    deps: &Deps,
    at: &OperationPath,
    keyed: &Keyed,
    confirmed: bool,
) -> JsonResult<OperationView> {
    let operation = lookups::operation(deps, at).await?;
    if operation.erasure().is_some() {
        at.caller.needs(Role::Admin, "the end of an erasure")?;
    }
    let operation = decide(deps, operation, &at.caller.subject, keyed, confirmed).await?;
    Ok(Json(OperationView::new(&operation)))
}

/// Records the decision of a person about an operation, and returns the operation after it.
pub(crate) async fn decide(
    deps: &Deps,
    operation: Operation,
    by: &str,
    keyed: &Keyed,
    confirmed: bool,
) -> Result<Operation, Problem> {
    let operation = swap(WHAT, operation, |operation| async move {
        let decided = operation.decide(confirmed, by, deps.clock.now());
        let after = decided.map_err(|refused| {
            let problem = Problem::new(Kind::StateNotAllowed, explain(&refused));
            problem.current(&OperationView::new(&operation))
        })?;
        if after == operation {
            return Ok(Attempt::Done(operation));
        }
        let advanced = keyed
            .store(deps)
            .advance_operation(&operation, &after)
            .await?;
        let advanced = attempt(WHAT, advanced)?;
        if let Attempt::Done(after) = &advanced {
            let metric = "operation_decided";
            tracing::info!(operation = %after.id, confirmed, metric, "operation decided");
        }
        Ok::<_, Problem>(advanced)
    });
    operation.await
}

fn explain(refused: &DecisionRefused) -> String {
    match refused {
        DecisionRefused::Decided(decision) if decision.confirmed => {
            format!("it was confirmed at {}", decision.at)
        }
        DecisionRefused::Decided(decision) => format!("it was cancelled at {}", decision.at),
        DecisionRefused::NotAwaited => "it does not wait for a confirmation".to_owned(),
        DecisionRefused::NotCancellable => "it can't be cancelled, or not any more".to_owned(),
    }
}
