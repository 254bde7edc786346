//! Exports: begun, listed, downloaded, cancelled.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use domain::operation::ExportScope;
use domain::{ConnectionKey, LogId, Operation, OperationId, Run};
use serde::Serialize;
use store::PageRequest;
use utoipa::ToSchema;

use crate::described::query::Params;
use crate::erasures::erase_tenants::refuse_while_erasing;
use crate::exports::export_view::{ExportBody, ExportView, links};
use crate::http::{
    Caller, JsonBody, JsonResult, Keyed, PageQuery, PathParams, Problem, accepted, describe_path,
    page_that_fits,
};
use crate::operations::confirmation::decide;
use crate::operations::new_operation;
use crate::{App, Deps};

/// An export of the caller's tenant. It may not exist.
pub(crate) struct ExportPath {
    caller: Caller,
    key: ConnectionKey,
    id: OperationId,
}

impl FromRequestParts<Arc<Deps>> for ExportPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, deps).await?;
        let params = PathParams::read(parts, deps).await?;
        let id = OperationId::parse(params.get("id")).map_err(|_| not_found())?;
        let key = ConnectionKey::of_exports(caller.tenant.clone());
        Ok(Self { caller, key, id })
    }
}

describe_path!(ExportPath, "id": String);

fn not_found() -> Problem {
    Problem::not_found("the export")
}

/// A page of exports.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExportList {
    /// Newest first.
    items: Vec<ExportView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// Begins an export of a connection, of the tenant, or of what names a person.
///
/// What is stored is written as JSON lines to files in the bucket, with a manifest of their hashes.
/// They stay for 7 days. Nothing is changed.
#[utoipa::path(
    post, path = "/v1/exports", tag = "exports",
    request_body(content = ExportBody),
    responses((status = 202, description = "The export has been begun.", body = ExportView,
        headers(("Location" = String))))
)]
pub(crate) async fn begin_export(
    deps: App,
    caller: Caller,
    keyed: Keyed,
    body: JsonBody,
) -> Result<Response, Problem> {
    let body: ExportBody = body.read()?;
    let scope = body.scope(&deps, &caller.tenant).await?;
    refuse_while_erasing(&deps, &caller.tenant).await?;
    match &scope {
        ExportScope::Tenant => keyed.tell("scope", "tenant"),
        ExportScope::Connection(id) => keyed.tell("connection", id.as_str()),
        ExportScope::Person(person) => keyed.tell("person", format!("user:{person}")),
    }
    let now = deps.clock.now();
    let id = deps.entropy.operation(now);
    keyed.tell("id", id.as_str());
    let key = ConnectionKey::of_exports(caller.tenant.clone());
    let run = Run::export(scope);
    let operation = Operation {
        cause: deps.store.cause(),
        ..Operation::new(key, id, LogId::user(), &caller.subject, now, run)
    };
    let location = format!("/v1/exports/{}", operation.id);
    keyed.accepts(&location);
    new_operation::begin(&deps, &keyed.store(&deps), &operation).await?;
    Ok(accepted(shown(&operation)?.into_response(), &location))
}

fn shown(operation: &Operation) -> JsonResult<ExportView> {
    ExportView::new(operation).map(Json).ok_or_else(not_found)
}

/// Lists the exports of the tenant, without links.
#[utoipa::path(
    get, path = "/v1/exports", tag = "exports", params(PageQuery),
    responses((status = 200, description = "A page.", body = ExportList))
)]
pub(crate) async fn list_exports(
    deps: App,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> JsonResult<ExportList> {
    let key = &ConnectionKey::of_exports(caller.tenant.clone());
    let deps = &deps;
    let read = |request: PageRequest| async move {
        let page = deps.store.list_operations(key, &request).await?;
        let items = page.items.iter().filter_map(ExportView::new);
        Ok((items.collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(query.page(), read).await?;
    Ok(Json(ExportList { items, next_cursor }))
}

/// Returns an export, with links to its files once it is complete.
///
/// The links are made anew by each request, and valid for fifteen minutes. That they were given is
/// an act of the audit trail.
#[utoipa::path(
    get, path = "/v1/exports/{id}", tag = "exports", params(ExportPath),
    responses((status = 200, description = "The export.", body = ExportView))
)]
pub(crate) async fn get_export(deps: App, at: ExportPath, keyed: Keyed) -> JsonResult<ExportView> {
    let operation = load(&deps, &at).await?;
    let export = operation.export().ok_or_else(not_found)?;
    let links = links(&deps, &operation, export).await?;
    if links.is_some() {
        keyed.record(&deps).await?;
    }
    let view = ExportView::new(&operation).ok_or_else(not_found)?;
    Ok(Json(view.with_links(links)))
}

/// Cancels an export, or deletes one that is complete before its time.
///
/// Its files are deleted within minutes. Idempotent.
#[utoipa::path(
    post, path = "/v1/exports/{id}/cancel", tag = "exports", params(ExportPath),
    responses(
        (status = 200, description = "The export.", body = ExportView),
        (status = 409, description = "Its files are deleted already."),
    )
)]
pub(crate) async fn cancel_export(
    deps: App,
    at: ExportPath,
    keyed: Keyed,
) -> JsonResult<ExportView> {
    let operation = load(&deps, &at).await?;
    let cancelled = decide(&deps, operation, &at.caller.subject, &keyed, false).await?;
    shown(&cancelled)
}

async fn load(deps: &Deps, at: &ExportPath) -> Result<Operation, Problem> {
    let found = deps.store.load_operation(&at.key, &at.id).await?;
    found.ok_or_else(not_found)
}
