//! Asking for a sync by hand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::{OperationId, PageToken};
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;
use store::{Connection, ConnectionState, Log, Operation, OperationKind, Position, Written};
use utoipa::ToSchema;

use crate::connection_view::OperationView;
use crate::connections::{log_of, wake_others};
use crate::extract::{ConnectionPath, JsonBody, typed};
use crate::problem::{Kind, Problem, ProblemBody};
use crate::{Deps, record};

/// A sync to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncBody {
    mode: Mode,
    /// Not available yet.
    #[serde(default)]
    dry_run: bool,
}

/// `delta`: what changed. `full`: every file, listed anew. `audit` is not available yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SyncMode)]
enum Mode {
    Delta,
    Full,
    Audit,
}

/// A sync that was started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SyncStarted {
    mode: Mode,
    /// What to watch; null for `delta`, which is done when the log's `listed_from` has passed.
    operation: Option<OperationView>,
}

/// Starts a sync of a connection that is active.
#[utoipa::path(
    post, operation_id = "start_sync", path = "/v1/connections/{connection}/sync", tag = "operations",
    params(("connection" = String, Path)),
    request_body(content = SyncBody),
    responses(
        (status = 202, description = "It was started.", body = SyncStarted),
        (status = 409, description = "The connection is not active, or its files are being listed already.",
            body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn start(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
    body: JsonBody,
) -> Result<(StatusCode, Json<SyncStarted>), Problem> {
    let body: SyncBody = typed(JsonValue::Object(body.members), "")?;
    if body.mode == Mode::Audit {
        let detail = "audit is not available yet; full lists every file";
        return Err(Problem::new(Kind::NotAvailable, detail).at("/mode"));
    }
    if body.dry_run {
        let detail = "dry_run is not available yet";
        return Err(Problem::new(Kind::NotAvailable, detail).at("/dry_run"));
    }
    let connection = record::connection(&deps, &at.key).await?;
    if connection.state != ConnectionState::Active {
        let detail = "the connection is not active; resume it first";
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    let log = deps.store.load_log(&at.key, &log_of(&connection)?).await?;
    let log = log.ok_or_else(|| {
        Problem::new(
            Kind::StateNotAllowed,
            "the connection has no log; resume it first",
        )
    })?;
    let operation = match body.mode {
        Mode::Delta | Mode::Audit => {
            wake_others(&deps, &at.key, &log.log).await?;
            None
        }
        Mode::Full => Some(list_all(&deps, &connection, &log, &at.caller.subject).await?),
    };
    deps.wakes.log(&at.key, &log.log, deps.clock.now()).await?;
    let started = SyncStarted {
        mode: body.mode,
        operation: operation.as_ref().map(OperationView::new),
    };
    Ok((StatusCode::ACCEPTED, Json(started)))
}

/// Begins a listing of every file. It goes on from the cursor where there is one: a removal between
/// the cursor and now is told by the log alone, and a listing that skipped to a newer token would lose it.
async fn list_all(
    deps: &Deps,
    connection: &Connection,
    log: &Log,
    by: &str,
) -> Result<Operation, Problem> {
    if let Position::Listing(operation) = &log.position {
        let detail = format!("operation {operation} is listing the files already");
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    let (from, kind) = match &log.cursor {
        Some(cursor) => (cursor.clone(), OperationKind::Resync),
        None => (
            fresh_token(deps, connection, log).await?,
            OperationKind::InitialSync,
        ),
    };
    let now = deps.clock.now();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "32 of the 64 random bits are enough"
    )]
    let id = OperationId::at(now, deps.entropy.next() as u32);
    let operation = Operation::new(log.key.clone(), id, log.log.clone(), kind, by, now);
    match deps.store.begin_listing(log, &from, &operation).await? {
        Written::Done(_) => Ok(operation),
        Written::Stale(_) => Err(Problem::busy("the log is being read right now", 2)),
    }
}

async fn fresh_token(
    deps: &Deps,
    connection: &Connection,
    log: &Log,
) -> Result<PageToken, Problem> {
    let token = async {
        deps.gate
            .open(connection)
            .await?
            .start_page_token(&log.log)
            .await
    };
    token.await.map_err(|error| Problem::of_drive(&error, ""))
}
