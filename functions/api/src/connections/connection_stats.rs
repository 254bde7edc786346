//! Statistics over a tenant's connections.

use axum::Json;
use serde::Serialize;
use store::{ConnectionState, LogPosition};
use utoipa::ToSchema;

use crate::connections::connection_view::{AttentionView, count_attention};
use crate::http::{Caller, JsonResult};
use crate::{App, lookups};

/// The most connections whose files and logs are counted.
const CONNECTIONS_MAX: usize = 100;
/// Connections that are read concurrently, with a few queries each.
const AT_ONCE: usize = 10;

/// The statistics of a tenant, over at most 100 of the connections that the caller can reach.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Stats {
    connections: ConnectionCounts,
    attention: AttentionView,
    logs: LogCounts,
    /// Whether some connections have been left out.
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
    /// The largest lag of a log at its last change.
    lag_millis_max: Option<i64>,
}

/// Returns statistics over the tenant's connections that the caller can reach.
#[utoipa::path(
    get, path = "/v1/stats", tag = "service",
    responses((status = 200, description = "The statistics.", body = Stats))
)]
pub(crate) async fn get_stats(deps: App, caller: Caller) -> JsonResult<Stats> {
    let connections = lookups::reachable_connections(&deps, &caller).await?;
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
    for chunk in counted.chunks(AT_ONCE) {
        let reads = chunk.iter().map(|connection| async {
            tokio::try_join!(count_attention(&deps, &connection.key), async {
                Ok(deps.store.list_logs(&connection.key).await?)
            })
        });
        for (attention, logs) in futures_util::future::try_join_all(reads).await? {
            stats.attention.add(attention);
            for log in logs {
                let counts = &mut stats.logs;
                match log.position {
                    LogPosition::New => counts.new += 1,
                    LogPosition::Listing(_) => counts.listing += 1,
                    LogPosition::Following => counts.following += 1,
                    LogPosition::Left { .. } => counts.left += 1,
                }
                counts.lag_millis_max = counts.lag_millis_max.max(log.lag_millis);
            }
        }
    }
    Ok(Json(stats))
}
