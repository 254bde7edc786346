//! Syncs that are requested by a caller.

use axum::Json;
use axum::http::StatusCode;
use domain::operation::SyncKind;
use domain::rate_limit::SlotKind;
use domain::{Operation, OperationId, PageToken, Run};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Admission, Answer, Connection, ConnectionState, Log, LogPosition, Store, Written};
use utoipa::ToSchema;

use crate::content::content_retries;
use crate::described::texts::IdText;
use crate::fairness::admission::{self, Wanted};
use crate::http::{ConnectionPath, JsonBody, Keyed, Kind, Problem};
use crate::operations::content_scan;
use crate::operations::new_operation::create;
use crate::operations::operation_view::OperationView;
use crate::{App, Deps, lookups, wakes};

/// A sync to start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncBody {
    mode: Mode,
    /// Only with `audit`: report the differences without changing anything.
    #[serde(default)]
    dry_run: bool,
    /// Only this log; the default is every log of the connection.
    #[serde(default)]
    #[schema(value_type = Option<IdText>)]
    log: Option<String>,
}

/// `delta`: reads the changes. `full`: lists every file again, and reads stored files that are not
/// listed from Drive. `audit`: compares every file with its stored record, and the stored items
/// with one another, beside the normal work; differences and inconsistencies are reported and,
/// unless it is a dry run, repaired. `mirror`: checks the content of every file, and mirrors it
/// where it is missing; only if the connection mirrors content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SyncMode)]
enum Mode {
    Delta,
    Full,
    Audit,
    Mirror,
}

/// A sync that has been started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SyncStarted {
    mode: Mode,
    /// The first operation; null for `delta`, which is done when the log's `listed_from` has passed
    /// the request.
    operation: Option<OperationView>,
    /// One operation for each log.
    operations: Vec<OperationView>,
}

/// Starts a sync of an active connection.
///
/// Content that could not be had is asked for at once, in every mode.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/sync", tag = "operations",
    params(ConnectionPath),
    request_body(content = SyncBody),
    responses(
        (status = 202, description = "The sync has been started.", body = SyncStarted),
        (status = 409,
            description = "The connection is not active, or its files are being listed, or the \
                log is being audited (`current` is the operation)."),
    )
)]
pub(crate) async fn start_sync(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
    body: JsonBody,
) -> Result<(StatusCode, Json<SyncStarted>), Problem> {
    let body: SyncBody = body.read()?;
    if body.dry_run && body.mode != Mode::Audit {
        let detail = "only an audit can be a dry run: the other modes apply what they find";
        return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/dry_run"));
    }
    let connection = lookups::connection(&deps, &at.key).await?;
    if let Some(first) = keyed.first_answer() {
        return repeated(&deps, &at, body.mode, first).await;
    }
    if connection.state != ConnectionState::Active {
        let detail = "the connection is not active; resume it first";
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    if !body.dry_run {
        wakes::hasten_failed(&deps, &at.key).await;
    }
    let by = &at.caller.subject;
    keyed.tell("mode", json!(body.mode));
    if body.dry_run {
        keyed.tell("dry_run", true);
    }
    content_retries::ask_for_all(&deps, &connection).await?;
    if body.mode == Mode::Mirror {
        if body.log.is_some() {
            let detail = "content is mirrored for all logs of a connection together";
            return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/log"));
        }
        if !connection.content.enabled {
            let detail = "the connection does not mirror content; enable it first";
            return Err(Problem::new(Kind::StateNotAllowed, detail));
        }
        let scan = content_scan::start(&deps, &connection, by, &keyed).await?;
        return Ok(started(body.mode, &[scan]));
    }
    let logs = requested_logs(&deps, &at, body.log.as_deref()).await?;
    let now = deps.clock.now();
    let logs: Vec<_> = logs
        .into_iter()
        .map(|log| (log, deps.entropy.operation(now)))
        .collect();
    let request = Request {
        deps: &deps,
        at: &at,
        connection: &connection,
        keyed: &keyed,
        body: &body,
    };
    // Boxed, to limit the depth of nested futures.
    let operations = match body.mode {
        Mode::Delta | Mode::Mirror => Box::pin(request.start(&logs, None)).await?,
        Mode::Full | Mode::Audit => {
            let wanted = Wanted::Slots(&at.key, request.slots(&logs));
            let start = |admission| Box::pin(request.start(&logs, Some(admission)));
            admission::begin(&deps, wanted, start).await?
        }
    };
    Ok(started(body.mode, &operations))
}

/// A request to sync logs.
struct Request<'a> {
    deps: &'a Deps,
    at: &'a ConnectionPath,
    connection: &'a Connection,
    keyed: &'a Keyed,
    body: &'a SyncBody,
}

impl Request<'_> {
    /// Returns what the operations count as.
    fn slots(&self, logs: &[(Log, OperationId)]) -> Vec<SlotKind> {
        let slot = |(log, id): &(Log, OperationId)| SlotKind::Operation {
            id: id.clone(),
            audits: (self.body.mode == Mode::Audit).then(|| log.log.clone()),
        };
        logs.iter().map(slot).collect()
    }

    /// Starts the sync of each log, with an operation of this id if it takes one. All are admitted
    /// with the first.
    async fn start(
        &self,
        logs: &[(Log, OperationId)],
        admission: Option<Admission>,
    ) -> Result<Vec<Operation>, Problem> {
        let Self { deps, at, .. } = self;
        let mut operations = Vec::new();
        for (number, (log, id)) in logs.iter().enumerate() {
            let now = deps.clock.now();
            let started = operations
                .iter()
                .map(|operation: &Operation| operation.id.to_string());
            let started = started.chain([id.to_string()]).collect();
            self.keyed.shows(started, None);
            // The answer is stored with the last operation: before that, the request is not done.
            let store = match number + 1 < logs.len() {
                true => self.keyed.act_only().store(deps),
                false => self.keyed.store(deps),
            };
            self.keyed.tell("operation", id.as_str());
            let store = match &admission {
                Some(admission) => store.admitting(admission),
                None => store,
            };
            let new = |run| {
                let (key, log, by) = (log.key.clone(), log.log.clone(), &at.caller.subject);
                Operation {
                    cause: deps.store.cause(),
                    ..Operation::new(key, id.clone(), log, by, now, run)
                }
            };
            match self.body.mode {
                Mode::Delta | Mode::Mirror => {
                    self.keyed.record(deps).await?;
                    if log.stop.is_some() {
                        deps.store.end_stop(log).await?;
                    }
                    self.keyed.shows(Vec::new(), None);
                }
                Mode::Full => {
                    operations.push(list_all(deps, &store, self.connection, log, new).await?);
                }
                // An audit does not wake the log: a log that is not being read is a finding.
                Mode::Audit => {
                    let run = Run::audit(self.body.dry_run);
                    operations.push(audit(&store, log, new(run)).await?);
                    continue;
                }
            }
            deps.wakes.log(&at.key, &log.log, deps.clock.now()).await?;
        }
        Ok(operations)
    }
}

/// Shows again what a request has started, as it is now.
async fn repeated(
    deps: &Deps,
    at: &ConnectionPath,
    mode: Mode,
    first: &Answer,
) -> Result<(StatusCode, Json<SyncStarted>), Problem> {
    let mut operations = Vec::new();
    for id in first
        .parts
        .iter()
        .filter_map(|id| OperationId::parse(id).ok())
    {
        operations.extend(deps.store.load_operation(&at.key, &id).await?);
    }
    Ok(started(mode, &operations))
}

fn started(mode: Mode, operations: &[Operation]) -> (StatusCode, Json<SyncStarted>) {
    let started = SyncStarted {
        mode,
        operation: operations.first().map(OperationView::new),
        operations: operations.iter().map(OperationView::new).collect(),
    };
    (StatusCode::ACCEPTED, Json(started))
}

/// Returns the logs to sync: the one that is named, or all that the connection follows.
async fn requested_logs(
    deps: &Deps,
    at: &ConnectionPath,
    named: Option<&str>,
) -> Result<Vec<Log>, Problem> {
    let logs = deps.store.list_logs(&at.key).await?;
    let requested: Vec<Log> = logs
        .into_iter()
        .filter(|log| named.is_none_or(|id| log.log.as_str() == id))
        .filter(|log| !matches!(log.position, LogPosition::Left { .. }))
        .collect();
    match (requested.is_empty(), named) {
        (false, _) => Ok(requested),
        (true, Some(_)) => {
            let detail = "the connection does not follow this log; its status lists the logs";
            Err(Problem::new(Kind::ValueNotAllowed, detail).at("/log"))
        }
        (true, None) => {
            let detail = "the connection has no log; resume it first";
            Err(Problem::new(Kind::StateNotAllowed, detail))
        }
    }
}

/// Begins an audit, which `run-operations` continues. The log and its cursor are not changed.
async fn audit(store: &Store, log: &Log, operation: Operation) -> Result<Operation, Problem> {
    if log.position != LogPosition::Following {
        let detail = format!(
            "the files of log {} are being listed; audit it afterwards",
            log.log
        );
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    create(store, &operation).await?;
    Ok(operation)
}

/// Begins a listing of every file. The log continues from its cursor, if there is one: only the log
/// reports a removal between the cursor and now, and a newer token would skip it.
async fn list_all(
    deps: &Deps,
    store: &Store,
    connection: &Connection,
    log: &Log,
    new: impl FnOnce(Run) -> Operation,
) -> Result<Operation, Problem> {
    if let LogPosition::Listing(operation) = &log.position {
        let detail = format!("operation {operation} is already listing the files");
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    let (from, kind) = match &log.cursor {
        Some(cursor) => (cursor.clone(), SyncKind::Resync),
        None => (start_token(deps, connection, log).await?, SyncKind::Initial),
    };
    let operation = new(Run::sync(kind));
    match store.begin_listing(log, &from, &operation).await? {
        Written::Done(_) => Ok(operation),
        Written::Stale(_) => Err(Problem::busy("the log is being read", 2)),
    }
}

async fn start_token(
    deps: &Deps,
    connection: &Connection,
    log: &Log,
) -> Result<PageToken, Problem> {
    let token = async {
        let drive = deps.drives.unthrottled(connection).await?;
        drive.start_page_token(&log.log).await
    };
    token
        .await
        .map_err(|error| Problem::credentials(&error, ""))
}
