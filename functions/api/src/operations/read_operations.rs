//! The list of a connection's operations, and one operation.

use axum::Json;
use serde::Serialize;
use store::PageRequest;
use utoipa::ToSchema;

use crate::described::query::Params;
use crate::http::{ConnectionPath, JsonResult, OperationPath, PageQuery, page_that_fits};
use crate::operations::operation_view::OperationView;
use crate::{App, lookups};

/// A page of operations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationList {
    /// Newest first.
    items: Vec<OperationView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// Lists the operations of a connection.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/operations", tag = "operations",
    params(ConnectionPath, PageQuery),
    responses((status = 200, description = "A page.", body = OperationList))
)]
pub(crate) async fn list_operations(
    deps: App,
    at: ConnectionPath,
    Params(query): Params<PageQuery>,
) -> JsonResult<OperationList> {
    let request = query.page();
    lookups::connection(&deps, &at.key).await?;
    let (deps, key) = (&deps, &at.key);
    let read = |request: PageRequest| async move {
        let page = deps.store.list_operations(key, &request).await?;
        let items = page.items.iter().map(OperationView::new);
        Ok((items.collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(OperationList { items, next_cursor }))
}

/// Returns one operation.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/operations/{operation}", tag = "operations",
    params(OperationPath),
    responses((status = 200, description = "The operation.", body = OperationView))
)]
pub(crate) async fn get_operation(deps: App, at: OperationPath) -> JsonResult<OperationView> {
    let operation = lookups::operation(&deps, &at).await?;
    Ok(Json(OperationView::new(&operation)))
}
