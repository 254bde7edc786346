//! A tenant's numbers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use store::{ConnectionState, Position};
use utoipa::ToSchema;

use crate::Deps;
use crate::auth::Caller;
use crate::dead_letters::all_connections;
use crate::problem::Problem;
use crate::status::{AttentionView, attention};

/// Connections that are counted into.
const CONNECTIONS_MAX: usize = 100;
/// Of them at a time: each is a handful of queries.
const AT_ONCE: usize = 10;

/// The numbers of a tenant, over at most 100 of its connections.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Stats {
    connections: ConnectionCounts,
    attention: AttentionView,
    logs: LogCounts,
    /// Some connections were left out.
    partial: bool,
}

/// Connections by state.
#[derive(Debug, Default, Serialize, ToSchema)]
struct ConnectionCounts {
    active: u64,
    paused: u64,
    suspended: u64,
    deleting: u64,
}

/// Change logs by position.
#[derive(Debug, Default, Serialize, ToSchema)]
struct LogCounts {
    new: u64,
    listing: u64,
    following: u64,
    left: u64,
    /// The largest lag that a log had at its last change.
    lag_millis_max: Option<i64>,
}

/// The numbers of the tenant.
#[utoipa::path(
    get, operation_id = "get_stats", path = "/v1/stats", tag = "service",
    responses((status = 200, description = "The numbers.", body = Stats))
)]
pub(crate) async fn get(
    State(deps): State<Arc<Deps>>,
    caller: Caller,
) -> Result<Json<Stats>, Problem> {
    let connections = all_connections(&deps, &caller.tenant).await?;
    let mut stats = Stats {
        partial: connections.len() > CONNECTIONS_MAX,
        ..Stats::default()
    };
    for connection in &connections {
        let counts = &mut stats.connections;
        match connection.state {
            ConnectionState::Active => counts.active += 1,
            ConnectionState::Paused => counts.paused += 1,
            ConnectionState::Suspended { .. } => counts.suspended += 1,
            ConnectionState::Deleting => counts.deleting += 1,
        }
    }
    let counted: Vec<_> = connections.iter().take(CONNECTIONS_MAX).collect();
    for some in counted.chunks(AT_ONCE) {
        let looks = some.iter().map(|connection| async {
            tokio::try_join!(attention(&deps, &connection.key), async {
                Ok(deps.store.list_logs(&connection.key).await?)
            })
        });
        for (attention, logs) in futures_util::future::try_join_all(looks).await? {
            stats.attention.add(attention);
            for log in logs {
                let counts = &mut stats.logs;
                match log.position {
                    Position::New => counts.new += 1,
                    Position::Listing(_) => counts.listing += 1,
                    Position::Following => counts.following += 1,
                    Position::Left { .. } => counts.left += 1,
                }
                counts.lag_millis_max = counts.lag_millis_max.max(log.lag_millis);
            }
        }
    }
    Ok(Json(stats))
}
