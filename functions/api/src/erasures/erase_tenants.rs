//! The erasure of a tenant: begun, followed, cancelled.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use domain::{ConnectionKey, LogId, Operation, OperationId, Run, TenantId};
use serde::{Deserialize, Serialize};
use store::PageRequest;
use utoipa::ToSchema;

use crate::described::query::Params;
use crate::http::{
    Caller, JsonBody, JsonResult, Keyed, Kind, PageQuery, PathParams, Problem, accepted,
    describe_path, page_that_fits,
};
use crate::operations::confirmation::decide;
use crate::operations::new_operation;
use crate::operations::operation_view::{OperationStateView, named};
use crate::{App, Deps};

/// What confirms the erasure of a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EraseTenantBody)]
pub(crate) struct EraseTenantBody {
    /// The caller's own tenant, named to confirm that all of it is to be erased.
    #[schema(min_length = 1, max_length = 255)]
    tenant: String,
    /// Count what would be erased, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// The erasure of a tenant; once `state` is `done`, its certificate.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantErasure)]
pub(crate) struct TenantErasureView {
    id: String,
    /// `erasing`: the items are being counted, or deleted, or the connections are. `draining`: all
    /// connections are erased, and work that began before may still run. `done`, `cancelled`.
    state: OperationStateView,
    /// Whether it only counts.
    dry_run: bool,
    /// The items that there were, and the objects that were deleted beside those of connections, by
    /// kind. What a connection had is in its own certificate too.
    counts: BTreeMap<String, u64>,
    started_at: String,
    finished_at: Option<String>,
    by: String,
    /// The cause of all that it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    cause: Option<String>,
}

impl TenantErasureView {
    fn new(operation: &Operation) -> Option<Self> {
        let erase = operation.tenant_erasure()?;
        Some(Self {
            id: operation.id.to_string(),
            state: operation.state().into(),
            dry_run: erase.dry_run,
            counts: named(&erase.counts),
            started_at: operation.started_at.to_string(),
            finished_at: operation.finished_at.map(|at| at.to_string()),
            by: operation.by.clone(),
            cause: operation.cause.map(|cause| cause.to_string()),
        })
    }
}

/// The erasure of the caller's tenant. It may not exist.
pub(crate) struct TenantErasurePath {
    caller: Caller,
    key: ConnectionKey,
    id: OperationId,
}

impl FromRequestParts<Arc<Deps>> for TenantErasurePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, deps).await?;
        let params = PathParams::read(parts, deps).await?;
        let id = OperationId::parse(params.get("id")).map_err(|_| not_found())?;
        let key = ConnectionKey::of_tenant(caller.tenant.clone());
        Ok(Self { caller, key, id })
    }
}

describe_path!(TenantErasurePath, "id": String);

fn not_found() -> Problem {
    Problem::not_found("the erasure")
}

/// A page of erasures of the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantErasureList {
    /// Newest first.
    items: Vec<TenantErasureView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// Returns the erasure of a tenant that is running.
async fn running(deps: &Deps, tenant: &TenantId) -> Result<Option<Operation>, Problem> {
    let key = ConnectionKey::of_tenant(tenant.clone());
    let recent = deps.store.recent_operations(&key).await?;
    Ok(recent.into_iter().find(Operation::is_erasing_tenant))
}

/// Refuses to begin what a tenant's erasure would have to erase as well.
///
/// # Errors
/// 409 while the tenant is being erased.
pub(crate) async fn refuse_while_erasing(deps: &Deps, tenant: &TenantId) -> Result<(), Problem> {
    match running(deps, tenant).await? {
        None => Ok(()),
        Some(erasure) => {
            let detail = "the tenant is being erased; wait for the certificate, or cancel it";
            let problem = Problem::new(Kind::StateNotAllowed, detail);
            Err(match TenantErasureView::new(&erasure) {
                Some(view) => problem.current(&view),
                None => problem,
            })
        }
    }
}

/// Erases the tenant: every connection, and everything else that is stored.
///
/// The body names the tenant, to confirm it. Each connection is deleted and erased at once, and
/// can't be restored. What stays are the certificates, what is left of the connections, and the
/// audit trail, in which no person can be found any more. Meanwhile no connection is made or
/// restored, and no export begun; afterwards the tenant may begin anew. The same request again
/// shows the erasure that is running.
#[utoipa::path(
    post, path = "/v1/tenant/erase", tag = "tenant",
    request_body(content = EraseTenantBody),
    responses((status = 202, description = "The erasure has been begun, or is running already.",
        body = TenantErasureView, headers(("Location" = String))))
)]
pub(crate) async fn erase_tenant(
    deps: App,
    caller: Caller,
    keyed: Keyed,
    body: JsonBody,
) -> Result<Response, Problem> {
    let body: EraseTenantBody = body.read()?;
    if body.tenant != caller.tenant.as_str() {
        let detail = "tenant must name the caller's own tenant, to confirm its erasure";
        return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/tenant"));
    }
    if !body.dry_run
        && let Some(running) = running(&deps, &caller.tenant).await?
    {
        return begun(&running);
    }
    let now = deps.clock.now();
    let id = deps.entropy.operation(now);
    keyed.tell("id", id.as_str());
    let key = ConnectionKey::of_tenant(caller.tenant.clone());
    let run = Run::erase_tenant(body.dry_run);
    let operation = Operation {
        cause: deps.store.cause(),
        ..Operation::new(key, id, LogId::user(), &caller.subject, now, run)
    };
    keyed.accepts(&location(&operation));
    new_operation::begin(&deps, &keyed.store(&deps), &operation).await?;
    begun(&operation)
}

fn location(operation: &Operation) -> String {
    format!("/v1/tenant/erasures/{}", operation.id)
}

fn begun(operation: &Operation) -> Result<Response, Problem> {
    let response = shown(operation)?.into_response();
    Ok(accepted(response, &location(operation)))
}

fn shown(operation: &Operation) -> JsonResult<TenantErasureView> {
    let view = TenantErasureView::new(operation);
    view.map(Json).ok_or_else(not_found)
}

/// Lists the erasures of the tenant, with their certificates.
#[utoipa::path(
    get, path = "/v1/tenant/erasures", tag = "tenant", params(PageQuery),
    responses((status = 200, description = "A page.", body = TenantErasureList))
)]
pub(crate) async fn list_tenant_erasures(
    deps: App,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> JsonResult<TenantErasureList> {
    let key = &ConnectionKey::of_tenant(caller.tenant.clone());
    let deps = &deps;
    let read = |request: PageRequest| async move {
        let page = deps.store.list_operations(key, &request).await?;
        let items = page.items.iter().filter_map(TenantErasureView::new);
        Ok((items.collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(query.page(), read).await?;
    Ok(Json(TenantErasureList { items, next_cursor }))
}

/// Returns the erasure of the tenant: how far it is, and once it is done, its certificate.
#[utoipa::path(
    get, path = "/v1/tenant/erasures/{id}", tag = "tenant", params(TenantErasurePath),
    responses((status = 200, description = "The erasure.", body = TenantErasureView))
)]
pub(crate) async fn get_tenant_erasure(
    deps: App,
    at: TenantErasurePath,
) -> JsonResult<TenantErasureView> {
    shown(&load(&deps, &at).await?)
}

/// Cancels the erasure of the tenant, before more than its connections is erased.
///
/// The erasures of connections that have begun go on: each is an operation of its own. Idempotent.
#[utoipa::path(
    post, path = "/v1/tenant/erasures/{id}/cancel", tag = "tenant", params(TenantErasurePath),
    responses(
        (status = 200, description = "The erasure.", body = TenantErasureView),
        (status = 409, description = "It is done, or more than the connections is being erased."),
    )
)]
pub(crate) async fn cancel_tenant_erasure(
    deps: App,
    at: TenantErasurePath,
    keyed: Keyed,
) -> JsonResult<TenantErasureView> {
    let operation = load(&deps, &at).await?;
    let cancelled = decide(&deps, operation, &at.caller.subject, &keyed, false).await?;
    shown(&cancelled)
}

async fn load(deps: &Deps, at: &TenantErasurePath) -> Result<Operation, Problem> {
    let found = deps.store.load_operation(&at.key, &at.id).await?;
    found.ok_or_else(not_found)
}
