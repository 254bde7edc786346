//! Whether the API works, for load balancers and people.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::{ConnectionId, ConnectionKey, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Deps;
use crate::problem::Problem;

/// All is well.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`
    status: &'static str,
}

/// Whether the table can be reached.
#[utoipa::path(
    get, operation_id = "get_health", path = "/health", tag = "service", security(()),
    responses((status = 200, description = "The table answers.", body = Health))
)]
pub(crate) async fn get(State(deps): State<Arc<Deps>>) -> Result<Json<Health>, Problem> {
    let (Ok(tenant), Ok(connection)) = (TenantId::parse("-"), ConnectionId::parse("-")) else {
        return Ok(Json(Health { status: "ok" }));
    };
    // Reads an item that nobody has: the cheapest thing that the table can be asked.
    let key = ConnectionKey { tenant, connection };
    match deps.store.load_connection(&key).await {
        Ok(_) => Ok(Json(Health { status: "ok" })),
        Err(error) => {
            tracing::error!(
                error = runtime::telemetry::chain(&error),
                "the table is out of reach"
            );
            Err(Problem::busy("the table can't be reached", 5))
        }
    }
}
