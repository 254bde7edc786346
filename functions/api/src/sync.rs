//! Asking for a sync by hand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::PageToken;
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;
use store::{
    Connection, ConnectionState, Created, Log, Operation, OperationKind, OperationState, Position,
    Written,
};
use utoipa::ToSchema;

use crate::connection_view::OperationView;
use crate::extract::{ConnectionPath, JsonBody, typed};
use crate::problem::{Kind, Problem, ProblemBody};
use crate::{Deps, mirroring, record};

/// A sync to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncBody {
    mode: Mode,
    /// Only with `audit`: report what differs, and change nothing.
    #[serde(default)]
    dry_run: bool,
    /// Only this log; every log of the connection where left out.
    #[serde(default)]
    log: Option<String>,
}

/// `delta`: what changed. `full`: every file, listed anew, and what is not listed is asked about. `audit`: every
/// file is compared with our record beside the normal work, and our own items with one another; what differs, and what
/// is wrong, is reported and, unless it is a dry run, put right. `mirror`: the content of every file is looked at, and
/// mirrored where it is not; only where the connection's content is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SyncMode)]
enum Mode {
    Delta,
    Full,
    Audit,
    Mirror,
}

/// A sync that was started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SyncStarted {
    mode: Mode,
    /// What to watch; null for `delta`, which is done when the log's `listed_from` has passed. Of several, the
    /// first.
    operation: Option<OperationView>,
    /// One for each log.
    operations: Vec<OperationView>,
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
    if body.dry_run && body.mode != Mode::Audit {
        let detail = "only an audit can be a dry run: delta and full take what they find";
        return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/dry_run"));
    }
    let connection = record::connection(&deps, &at.key).await?;
    if connection.state != ConnectionState::Active {
        let detail = "the connection is not active; resume it first";
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    let by = &at.caller.subject;
    if body.mode == Mode::Mirror {
        if body.log.is_some() {
            let detail = "content is mirrored for all logs of a connection";
            return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/log"));
        }
        if !connection.content.enabled {
            let detail = "the connection's content is not mirrored; turn it on first";
            return Err(Problem::new(Kind::StateNotAllowed, detail));
        }
        let walk = mirroring::start(&deps, &connection, by).await?;
        return Ok(started(body.mode, &[walk]));
    }
    let mut operations = Vec::new();
    for log in wanted(&deps, &at, body.log.as_deref()).await? {
        match body.mode {
            Mode::Delta | Mode::Mirror => {}
            Mode::Full => operations.push(list_all(&deps, &connection, &log, by).await?),
            Mode::Audit => operations.push(audit(&deps, &log, body.dry_run, by).await?),
        }
        match body.mode {
            Mode::Delta | Mode::Full => {
                deps.wakes.log(&at.key, &log.log, deps.clock.now()).await?;
            }
            // It begins with how the log is: one that nobody reads is a finding.
            Mode::Audit | Mode::Mirror => {}
        }
    }
    Ok(started(body.mode, &operations))
}

fn started(mode: Mode, operations: &[Operation]) -> (StatusCode, Json<SyncStarted>) {
    let started = SyncStarted {
        mode,
        operation: operations.first().map(OperationView::new),
        operations: operations.iter().map(OperationView::new).collect(),
    };
    (StatusCode::ACCEPTED, Json(started))
}

/// The logs that are meant: the one that is named, or all that the connection follows.
async fn wanted(
    deps: &Deps,
    at: &ConnectionPath,
    named: Option<&str>,
) -> Result<Vec<Log>, Problem> {
    let logs = deps.store.list_logs(&at.key).await?;
    let wanted = logs
        .into_iter()
        .filter(|log| named.is_none_or(|id| log.log.as_str() == id));
    let left = |log: &Log| matches!(log.position, Position::Left { .. });
    let wanted: Vec<Log> = wanted.filter(|log| !left(log)).collect();
    match (wanted.is_empty(), named) {
        (false, _) => Ok(wanted),
        (true, Some(_)) => {
            let detail = "the connection follows no such log; its status lists them";
            Err(Problem::new(Kind::ValueNotAllowed, detail).at("/log"))
        }
        (true, None) => {
            let detail = "the connection has no log; resume it first";
            Err(Problem::new(Kind::StateNotAllowed, detail))
        }
    }
}

/// Begins an audit. The sweep takes it from there; the log and its cursor are left alone.
async fn audit(deps: &Deps, log: &Log, dry_run: bool, by: &str) -> Result<Operation, Problem> {
    if log.position != Position::Following {
        let detail = format!(
            "the files of log {} are being listed; audit it afterwards",
            log.log
        );
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    let begun = new_operation(deps, log, OperationKind::Audit, by);
    let operation = Operation {
        state: OperationState::Examining,
        dry_run,
        due_at: Some(begun.started_at),
        ..begun
    };
    match deps.store.create_operation(&operation).await? {
        Created::Created => Ok(operation),
        Created::Exists(_) => Err(Problem::busy("an id was taken already; try again", 1)),
    }
}

/// An operation that begins now.
fn new_operation(deps: &Deps, log: &Log, kind: OperationKind, by: &str) -> Operation {
    let now = deps.clock.now();
    let id = deps.entropy.operation(now);
    Operation::new(log.key.clone(), id, log.log.clone(), kind, by, now)
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
    let operation = new_operation(deps, log, kind, by);
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
