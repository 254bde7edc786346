//! The health check for load balancers and operators.

use axum::Json;
use domain::{ConnectionId, ConnectionKey, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::http::problem::{JsonResult, Problem};

/// The service is healthy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`
    status: &'static str,
}

/// Checks that DynamoDB can be reached.
#[utoipa::path(
    get, path = "/health", tag = "service", security(()),
    responses((status = 200, description = "DynamoDB responds.", body = Health))
)]
pub(crate) async fn get_health(deps: App) -> JsonResult<Health> {
    let (Ok(tenant), Ok(connection)) = (TenantId::parse("-"), ConnectionId::parse("-")) else {
        return Ok(Json(Health { status: "ok" }));
    };
    // Reads an item that does not exist: the cheapest request to the table.
    let key = ConnectionKey { tenant, connection };
    match deps.store.load_connection(&key).await {
        Ok(_) => Ok(Json(Health { status: "ok" })),
        Err(error) => {
            let error = runtime::telemetry::chain(&error);
            tracing::error!(error, "DynamoDB can't be reached");
            Err(Problem::busy("DynamoDB can't be reached", 5))
        }
    }
}
