//! Connections: make, list, change, pause, resume, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{ConnectionId, ConnectionKey, FileId, LogId};
use drive::{Access, DriveClient, DriveError, Kind as DriveKind};
use serde::Serialize;
use store::{Connection, ConnectionState, Created, Log, Operation, PageRequest, Scope, Written};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::connection_body::{Checked, NewConnection, Secrets, Settings, new_connection, patched};
use crate::connection_view::ConnectionView;
use crate::etag::{IfMatch, tag};
use crate::extract::{ConnectionPath, JsonBody, Params, Repeat, idempotency, page, repeat};
use crate::files::{PageQuery, REPLAYED};
use crate::problem::{Kind, Problem, ProblemBody};
use crate::{Deps, mirroring, record};

/// Rounds against other writers of the same connection.
const ROUNDS_MAX: usize = 8;

/// A page of connections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionList {
    /// By id.
    items: Vec<ConnectionView>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

fn secrets<'a>(deps: &'a Deps, caller: &'a Caller) -> Secrets<'a> {
    Secrets {
        prefix: &deps.secrets_prefix,
        tenant: &caller.tenant,
    }
}

/// A connection with its tag.
fn answer(
    deps: &Deps,
    caller: &Caller,
    connection: &Connection,
    operation: Option<&Operation>,
) -> Response {
    let view = ConnectionView::new(connection, secrets(deps, caller)).with_operation(operation);
    ([(header::ETAG, tag(connection.revision))], Json(view)).into_response()
}

/// The tenant's connections.
#[utoipa::path(
    get, operation_id = "list_connections", path = "/v1/connections", tag = "connections", params(PageQuery),
    responses((status = 200, description = "A page.", body = ConnectionList))
)]
pub(crate) async fn list(
    State(deps): State<Arc<Deps>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<ConnectionList>, Problem> {
    let request = page(query.limit, query.cursor)?;
    let page = deps
        .store
        .list_connections(&caller.tenant, &request)
        .await?;
    let view = |connection| ConnectionView::new(connection, secrets(&deps, &caller));
    Ok(Json(ConnectionList {
        items: page.items.iter().map(view).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Connects a Drive account or a shared drive, tries its credentials out, and begins its first sync.
#[utoipa::path(
    post, operation_id = "create_connection", path = "/v1/connections", tag = "connections",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat is answered, not done again.")),
    request_body(content = NewConnection,
        example = json!({"name": "Team", "scope": {"type": "user"}, "secret": "drive"})),
    responses(
        (status = 201, description = "The connection.", body = ConnectionView,
            headers(("Location" = String), ("ETag" = String))),
        (status = 200, description = "A repeat: the connection as it is now.", body = ConnectionView,
            headers(("Idempotent-Replayed" = String), ("ETag" = String))),
    )
)]
pub(crate) async fn create(
    State(deps): State<Arc<Deps>>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let request = idempotency(&headers, &caller, &["connect", &body.digest])?;
    let (checked, scope, log) = new_connection(body.members, secrets(&deps, &caller))?;
    let key = ConnectionKey {
        tenant: caller.tenant.clone(),
        connection: new_id(&deps, request.as_ref())?,
    };
    if request.is_some()
        && let Some(made) = deps.store.load_connection(&key).await?
    {
        return replay(&deps, &caller, &made, &log, request.as_ref()).await;
    }
    let found = try_out(&deps, &checked, &scope, &log).await?;
    let connection = Connection {
        key,
        revision: 0,
        name: checked.name,
        scope,
        secret_id: checked.secret_id,
        subject: checked.subject,
        quota_user: checked.quota_user,
        limits: checked.limits,
        policies: checked.policies,
        rules: checked.rules,
        content: checked.content,
        my_drive: found.my_drive,
        removals: checked.removals,
        state: ConnectionState::Active,
        created_at: deps.clock.now(),
        created_by: caller.subject.clone(),
        last_request: request.clone(),
    };
    if let Created::Exists(made) = deps.store.create_connection(&connection).await? {
        return replay(&deps, &caller, &made, &log, request.as_ref()).await;
    }
    if let Err(problem) = follow(&deps, &connection.key, &log, found.drive_name).await {
        // Without its log, a connection would never sync. A repeat with the same key would mend that,
        // but not every caller repeats.
        let undone = deps.store.delete_connection(&connection.key).await;
        tracing::warn!(connection = %connection.key, undone = undone.is_ok(), "could not begin its log");
        return Err(problem);
    }
    let connection = Connection {
        revision: 1,
        ..connection
    };
    let mut response = answer(&deps, &caller, &connection, None);
    *response.status_mut() = StatusCode::CREATED;
    let location = format!("/v1/connections/{}", connection.key.connection);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A request with an idempotency key always makes the same connection, so that a repeat finds it.
fn new_id(deps: &Deps, request: Option<&domain::Request>) -> Result<ConnectionId, Problem> {
    match request {
        None => Ok(ConnectionId::fresh(deps.entropy.next())),
        Some(request) => ConnectionId::parse(&format!("c_{}", request.key))
            .map_err(|_| Problem::new(Kind::Internal, "no id could be made")),
    }
}

/// Answers a repeat. The first one may have been cut off before the log was there.
async fn replay(
    deps: &Deps,
    caller: &Caller,
    made: &Connection,
    log: &LogId,
    request: Option<&domain::Request>,
) -> Result<Response, Problem> {
    match repeat(request, made.last_request.as_ref())? {
        Repeat::Replayed => {}
        Repeat::New => return Err(Problem::busy("an id was taken already; try again", 1)),
    }
    if made.state == ConnectionState::Active {
        follow(deps, &made.key, log, None).await?;
    }
    let mut response = answer(deps, caller, made, None);
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// What Drive said of a connection that was tried out.
#[derive(Default)]
struct Found {
    /// The name of the shared drive, where it is one.
    drive_name: Option<String>,
    /// Where the user's My Drive begins, where it is not.
    my_drive: Option<FileId>,
}

/// Asks Drive with the credentials, so that a mistake in them is told now, to whoever made it.
async fn try_out(
    deps: &Deps,
    checked: &Checked,
    scope: &Scope,
    log: &LogId,
) -> Result<Found, Problem> {
    let access = Access {
        secret_id: checked.secret_id.clone(),
        subject: checked.subject.clone(),
        quota_user: checked.quota_user.clone(),
    };
    let drive = match enter(deps, &access).await {
        Ok(drive) => drive,
        Err(error) => {
            let at = culprit(deps, &access, &error).await;
            return Err(Problem::of_drive(&error, at));
        }
    };
    match scope {
        Scope::User => match drive.my_drive().await {
            Ok(root) => Ok(Found {
                my_drive: Some(root),
                ..Found::default()
            }),
            // An account without a My Drive has what is shared with it.
            Err(error) if *error.kind() == DriveKind::NotFound => Ok(Found::default()),
            Err(error) => Err(Problem::of_drive(&error, "/secret")),
        },
        Scope::SharedDrive(_) => {
            let missing = |error| Problem::of_drive(&error, "/scope/drive_id");
            let found = drive.get_drive(log).await.map_err(missing)?;
            Ok(Found {
                drive_name: Some(found.name),
                ..Found::default()
            })
        }
    }
}

/// Drive, if it lets us in at all.
async fn enter(deps: &Deps, access: &Access) -> Result<DriveClient, DriveError> {
    let drive = deps.gate.try_out(access).await?;
    drive.about().await?;
    Ok(drive)
}

/// Which member is at fault where Drive does not let us in: the user to act as, if it is only with that
/// user; Google answers `invalid_grant` to a bad key and to a user that it does not know alike.
async fn culprit(deps: &Deps, access: &Access, error: &DriveError) -> &'static str {
    let itself = Access {
        subject: None,
        ..access.clone()
    };
    let lost = matches!(error.kind(), DriveKind::AuthLost { .. });
    if lost && access.subject.is_some() && enter(deps, &itself).await.is_ok() {
        "/subject"
    } else {
        "/secret"
    }
}

/// Makes sure that the connection's own log is kept, and wakes it.
async fn follow(
    deps: &Deps,
    key: &ConnectionKey,
    log: &LogId,
    drive_name: Option<String>,
) -> Result<(), Problem> {
    let now = deps.clock.now();
    let new = Log {
        drive_name,
        ..Log::new(key.clone(), log.clone(), now)
    };
    match deps.store.create_log(&new).await? {
        Created::Created | Created::Exists(_) => {}
    }
    wake(deps, key, log).await;
    Ok(())
}

/// Wakes a log. That it could not be is no error of the caller's: the sweep polls it.
async fn wake(deps: &Deps, key: &ConnectionKey, log: &LogId) {
    if let Err(error) = deps.wakes.log(key, log, deps.clock.now()).await {
        let error = runtime::telemetry::chain(&error);
        tracing::warn!(connection = %key, error, metric = "wake_failed", "the sweep will poll");
    }
}

/// Wakes every log of a connection but one.
pub(crate) async fn wake_others(
    deps: &Deps,
    key: &ConnectionKey,
    but: &LogId,
) -> Result<(), Problem> {
    for log in deps.store.list_logs(key).await? {
        if log.log != *but {
            wake(deps, key, &log.log).await;
        }
    }
    Ok(())
}

/// The log that a connection has from the start: its user's, or its one shared drive's.
pub(crate) fn log_of(connection: &Connection) -> Result<LogId, Problem> {
    let log = connection.scope.own_log();
    log.ok_or_else(|| Problem::new(Kind::Internal, "the connection's shared drive has no id"))
}

/// One connection, with its latest operation.
#[utoipa::path(
    get, operation_id = "get_connection", path = "/v1/connections/{connection}", tag = "connections",
    params(("connection" = String, Path)),
    responses((status = 200, description = "The connection.", body = ConnectionView, headers(("ETag" = String))))
)]
pub(crate) async fn get(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
) -> Result<Response, Problem> {
    let connection = load(&deps, &at.key).await?;
    let latest = deps
        .store
        .list_operations(&at.key, &PageRequest::first(1))
        .await?;
    Ok(answer(&deps, &at.caller, &connection, latest.items.first()))
}

/// A connection even while it is being deleted.
async fn load(deps: &Deps, key: &ConnectionKey) -> Result<Connection, Problem> {
    let found = deps.store.load_connection(key).await?;
    found.ok_or_else(|| Problem::not_found("the connection"))
}

/// Changes a connection's name, policies, or credentials; new credentials are tried out first.
#[utoipa::path(
    patch, operation_id = "update_connection", path = "/v1/connections/{connection}", tag = "connections",
    params(
        ("connection" = String, Path),
        ("If-Match" = String, Header, description = "The `ETag` of what was read, or `*`."),
    ),
    request_body(content = Settings, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "The connection.", body = ConnectionView, headers(("ETag" = String))),
        (status = 412, description = "It has changed; `current` is the connection now.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "No `If-Match`.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn update(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let if_match = IfMatch::required(&headers)?;
    let secrets = secrets(&deps, &at.caller);
    let mut connection = record::connection(&deps, &at.key).await?;
    for _ in 0..ROUNDS_MAX {
        if !if_match.allows(connection.revision) {
            let detail = "the connection has changed; `current` is what it is now";
            return Err(Problem::new(Kind::Stale, detail)
                .current(&ConnectionView::new(&connection, secrets))
                .header(header::ETAG, tag(connection.revision)));
        }
        let checked = patched(&connection, body.members.clone(), secrets)?;
        let mut my_drive = connection.my_drive.clone();
        if checked.secret_id != connection.secret_id || checked.subject != connection.subject {
            let log = log_of(&connection)?;
            let found = try_out(&deps, &checked, &connection.scope, &log).await?;
            my_drive = found.my_drive;
        }
        let next = Connection {
            name: checked.name,
            secret_id: checked.secret_id,
            subject: checked.subject,
            quota_user: checked.quota_user,
            limits: checked.limits,
            policies: checked.policies,
            rules: checked.rules,
            content: checked.content,
            my_drive,
            removals: checked.removals,
            ..connection.clone()
        };
        if next == connection {
            return Ok(answer(&deps, &at.caller, &connection, None));
        }
        // What is mirrored from now on was there before: nothing but a walk finds it.
        let other = next.content != connection.content || next.rules != connection.rules;
        let walk = match next.content.enabled && other {
            true => Some(mirroring::soon(&deps, &next, &at.caller.subject).await?),
            false => None,
        };
        match deps.store.save_connection(&next).await? {
            Written::Done(saved) => {
                record::release_held(&deps, &connection, &saved).await;
                let walk = match walk {
                    Some(walk) => Some(mirroring::now(&deps, walk).await),
                    None => None,
                };
                return Ok(answer(&deps, &at.caller, &saved, walk.as_ref()));
            }
            Written::Stale(Some(current)) => connection = current,
            Written::Stale(None) => return Err(Problem::not_found("the connection")),
        }
    }
    Err(Problem::busy("others keep writing the same connection", 1))
}

/// Brings a connection into a state, if it is not in it already. `None` from `next` leaves it.
async fn bring(
    deps: &Deps,
    mut connection: Connection,
    next: impl Fn(&ConnectionState) -> Option<ConnectionState>,
) -> Result<Connection, Problem> {
    for _ in 0..ROUNDS_MAX {
        let Some(state) = next(&connection.state) else {
            return Ok(connection);
        };
        match deps.store.set_connection_state(&connection, state).await? {
            Written::Done(saved) => return Ok(saved),
            Written::Stale(Some(current)) => connection = current,
            Written::Stale(None) => return Err(Problem::not_found("the connection")),
        }
    }
    Err(Problem::busy("others keep writing the same connection", 1))
}

/// Stops syncing until it is resumed. Edits are still taken, and owed.
#[utoipa::path(
    post, operation_id = "pause_connection", path = "/v1/connections/{connection}/pause", tag = "connections",
    params(("connection" = String, Path)),
    responses((status = 200, description = "The connection.", body = ConnectionView, headers(("ETag" = String))))
)]
pub(crate) async fn pause(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
) -> Result<Response, Problem> {
    let connection = record::connection(&deps, &at.key).await?;
    let paused = bring(&deps, connection, |state| match state {
        ConnectionState::Active | ConnectionState::Suspended { .. } => {
            Some(ConnectionState::Paused)
        }
        ConnectionState::Paused | ConnectionState::Deleting => None,
    })
    .await?;
    Ok(answer(&deps, &at.caller, &paused, None))
}

/// Syncs again, from where it stopped: nothing that happened meanwhile is lost.
#[utoipa::path(
    post, operation_id = "resume_connection", path = "/v1/connections/{connection}/resume", tag = "connections",
    params(("connection" = String, Path)),
    responses((status = 200, description = "The connection.", body = ConnectionView, headers(("ETag" = String))))
)]
pub(crate) async fn resume(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
) -> Result<Response, Problem> {
    let connection = record::connection(&deps, &at.key).await?;
    let log = log_of(&connection)?;
    // Wakes of content were let go while it was not active.
    let walk = match connection.content.enabled && connection.state != ConnectionState::Active {
        true => Some(mirroring::soon(&deps, &connection, &at.caller.subject).await?),
        false => None,
    };
    let resumed = bring(&deps, connection, |state| match state {
        ConnectionState::Paused | ConnectionState::Suspended { .. } => {
            Some(ConnectionState::Active)
        }
        ConnectionState::Active | ConnectionState::Deleting => None,
    })
    .await?;
    if resumed.state == ConnectionState::Active {
        if let Some(walk) = walk {
            mirroring::now(&deps, walk).await;
        }
        follow(&deps, &at.key, &log, None).await?;
        wake_others(&deps, &at.key, &log).await?;
        record::wake_pushes(&deps, &at.key).await;
    }
    Ok(answer(&deps, &at.caller, &resumed, None))
}

/// Forgets a connection: from then on nothing works on it. The records of its files stay behind, where
/// nobody can reach them: a new connection has a new id, unless it is a repeat, with its
/// `Idempotency-Key`, of the very request that made this one.
#[utoipa::path(
    delete, operation_id = "delete_connection", path = "/v1/connections/{connection}", tag = "connections",
    params(("connection" = String, Path)),
    responses((status = 204, description = "It is gone."))
)]
pub(crate) async fn delete(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
) -> Result<StatusCode, Problem> {
    let connection = load(&deps, &at.key).await?;
    let connection = bring(&deps, connection, |state| {
        (*state != ConnectionState::Deleting).then_some(ConnectionState::Deleting)
    })
    .await?;
    for log in deps.store.list_logs(&at.key).await? {
        close(&deps, &connection, &log).await?;
        deps.store.delete_log(&at.key, &log.log).await?;
    }
    // Last: as long as it is there, a deletion that was cut off can be asked for again.
    deps.store.delete_connection(&at.key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a log's channel. Drive may not be reachable any more, and lets it lapse by itself.
async fn close(deps: &Deps, connection: &Connection, log: &Log) -> Result<(), Problem> {
    let Some(id) = &log.channel else {
        return Ok(());
    };
    let channel = deps.store.load_channel(id).await?;
    if let Some(resource_id) = channel.and_then(|channel| channel.resource_id) {
        let stopped = async {
            deps.gate
                .open(connection)
                .await?
                .stop_channel(id, &resource_id)
                .await
        };
        if let Err(error) = stopped.await {
            let error = runtime::telemetry::chain(&error);
            tracing::info!(connection = %connection.key, error, "the channel is left to lapse");
        }
    }
    Ok(deps.store.delete_channel(id).await?)
}
