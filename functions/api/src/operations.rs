//! Operations: tracked runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::connection_view::OperationView;
use crate::extract::{ConnectionPath, OperationPath, Params, page};
use crate::files::PageQuery;
use crate::problem::Problem;
use crate::{Deps, record};

/// A page of operations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationList {
    /// Newest first.
    items: Vec<OperationView>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// The operations of a connection.
#[utoipa::path(
    get, operation_id = "list_operations", path = "/v1/connections/{connection}/operations", tag = "operations",
    params(("connection" = String, Path), PageQuery),
    responses((status = 200, description = "A page.", body = OperationList))
)]
pub(crate) async fn list(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
    Params(query): Params<PageQuery>,
) -> Result<Json<OperationList>, Problem> {
    let request = page(query.limit, query.cursor)?;
    record::connection(&deps, &at.key).await?;
    let page = deps.store.list_operations(&at.key, &request).await?;
    Ok(Json(OperationList {
        items: page.items.iter().map(OperationView::new).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// One operation.
#[utoipa::path(
    get, operation_id = "get_operation", path = "/v1/connections/{connection}/operations/{operation}", tag = "operations",
    params(("connection" = String, Path), ("operation" = String, Path)),
    responses((status = 200, description = "The operation.", body = OperationView))
)]
pub(crate) async fn get(
    State(deps): State<Arc<Deps>>,
    at: OperationPath,
) -> Result<Json<OperationView>, Problem> {
    record::connection(&deps, &at.key).await?;
    let found = deps.store.load_operation(&at.key, &at.id).await?;
    let operation = found.ok_or_else(|| Problem::not_found("the operation"))?;
    Ok(Json(OperationView::new(&operation)))
}
