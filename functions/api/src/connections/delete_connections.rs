//! Connections: deleted, restored, erased.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use domain::operation::RESTORE_MILLIS;
use domain::{AccountCheck, Operation, OperationId, Run, Timestamp};
use serde::{Deserialize, Serialize};
use store::{Attempt, Connection, ConnectionState, Store, Written};
use utoipa::{IntoParams, ToSchema};

use crate::connections::connection_logs::{delete_logs, new_own_log, own_log};
use crate::connections::erasure_view::{ErasureView, erasure_of, load};
use crate::connections::manage_connections::{WHAT, respond};
use crate::described::query::Params;
use crate::erasures::erase_tenants::refuse_while_erasing;
use crate::fairness::admission::{self, Wanted};
use crate::http::{ConnectionPath, Keyed, Kind, Problem, ShownConnection, accepted};
use crate::operations::content_scan;
use crate::operations::new_operation::{begin, new_operation};
use crate::operations::operation_view::OperationView;
use crate::swap::{attempt, swap};
use crate::{App, Deps, lookups, wakes};

/// How a connection is deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Erase everything that is stored of it, beginning now. It can't be restored.
    erase: Option<bool>,
    /// Only with `erase`: count what would be erased, and change nothing.
    dry_run: Option<bool>,
}

/// What a deletion has begun.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = DeletionBegun)]
pub(crate) enum DeletionBegun {
    /// The erasure.
    Erasure(Box<ErasureView>),
    /// The operation that counts, with `dry_run`.
    Count(Box<OperationView>),
}

/// Deletes a connection.
///
/// Nothing works on it from then on. Everything that is stored of it is kept for 30 days, in which
/// it can be restored, and then erased. With `erase=true` the erasure begins at once, also of a
/// connection that was deleted before; `GET /v1/erasures/{connection}` shows how far it is, and its
/// certificate. A repeat changes nothing.
#[utoipa::path(
    delete, path = "/v1/connections/{connection}", tag = "connections",
    params(ConnectionPath, DeleteQuery),
    responses(
        (status = 204, description = "The connection has been deleted."),
        (status = 202, description = "Its erasure has been requested. With `dry_run`, the \
            operation that counts.", body = DeletionBegun, headers(("Location" = String))),
        (status = 200, description = "It was erased before.", body = ErasureView),
        (status = 409, description = "A connection that was deleted can't be counted."),
    )
)]
pub(crate) async fn delete_connection(
    deps: App,
    at: ConnectionPath,
    Params(query): Params<DeleteQuery>,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let connection = lookups::any_connection(&deps, &at.key).await?;
    let by = &at.caller.subject;
    match (query.erase == Some(true), query.dry_run == Some(true)) {
        (false, true) => {
            let detail = "`dry_run` is possible with `erase` only";
            Err(Problem::new(Kind::MalformedRequest, detail).parameter("dry_run"))
        }
        (true, true) => count_erasable(&deps, &connection, by, &keyed).await,
        (false, false) => {
            if !connection.exists() {
                return Err(Problem::not_found(WHAT));
            }
            keyed.deletes();
            let kept = deps.clock.now().plus_millis(RESTORE_MILLIS);
            let (id, store) = (erasure_id(&deps), keyed.store(&deps));
            mark_deleted(&deps, connection, by, (id, kept), &store).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        (true, false) => erase(&deps, connection, by, &keyed).await,
    }
}

/// Starts the count of what an erasure would erase.
async fn count_erasable(
    deps: &Deps,
    connection: &Connection,
    by: &str,
    keyed: &Keyed,
) -> Result<Response, Problem> {
    if !connection.exists() {
        let detail = "it was deleted; what its erasure erased, or will, is not counted beforehand";
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    let run = Run::count_erasable(connection.generation, deps.clock.now());
    let operation = Operation {
        cause: deps.store.cause(),
        ..new_operation(deps, connection, by, run)?
    };
    let key = &connection.key;
    let location = format!(
        "/v1/connections/{}/operations/{}",
        key.connection, operation.id
    );
    keyed.accepts(&location);
    begin(deps, &keyed.store(deps), &operation).await?;
    let shown = DeletionBegun::Count(Box::new(OperationView::new(&operation)));
    Ok(accepted(Json(shown).into_response(), &location))
}

fn erasure_id(deps: &Deps) -> OperationId {
    deps.entropy.operation(deps.clock.now())
}

/// Deletes a connection whose erasure has this id and begins at this time, or replaces the lost
/// erasure of one that was deleted.
async fn mark_deleted(
    deps: &Deps,
    connection: Connection,
    by: &str,
    (id, begins_at): (OperationId, Timestamp),
    store: &Store,
) -> Result<(Connection, Operation), Problem> {
    let now = deps.clock.now();
    let id = &id;
    let deleted = swap(WHAT, connection, |before| async move {
        let deleted = before.deleted(by, id.clone(), now);
        let deleted_at = deleted
            .deletion
            .as_ref()
            .map_or(now, |deletion| deletion.at);
        let run = Run::erase(deleted.generation, deleted_at, begins_at);
        let erasure = Operation {
            id: id.clone(),
            ..new_operation(deps, &before, by, run)?.due(begins_at)
        };
        let written = store.delete_connection(&deleted, &erasure).await?;
        Ok::<_, Problem>(match attempt(WHAT, written)? {
            Attempt::Done(after) => Attempt::Done((before, after, erasure)),
            Attempt::Stale(current) => Attempt::Stale(current),
        })
    });
    let (before, after, erasure) = deleted.await?;
    tracing::info!(
        connection = %after.key, generation = after.generation, metric = "connection_deleted",
        "connection deleted"
    );
    // The sweep deletes a log that is left, and its channel ends by itself.
    if let Err(error) = delete_logs(deps, &before).await {
        let error = runtime::telemetry::chain(&error);
        tracing::warn!(connection = %before.key, error, "could not delete the logs");
    }
    Ok((after, erasure))
}

fn unrecorded() -> Problem {
    Problem::new(Kind::Internal, "the deletion is not recorded")
}

/// Erases a connection: deletes it, or hastens the erasure of one that was deleted.
async fn erase(
    deps: &Deps,
    connection: Connection,
    by: &str,
    keyed: &Keyed,
) -> Result<Response, Problem> {
    let location = format!("/v1/erasures/{}", connection.key.connection);
    if connection.is_erased() {
        let shown = load(deps, &connection).await?.ok_or_else(unrecorded)?;
        return Ok(Json(shown).into_response());
    }
    keyed.accepts(&location);
    let (now, store) = (deps.clock.now(), &keyed.store(deps));
    let stored = erasure_of(deps, &connection).await?;
    let (connection, erasure) = match stored.filter(|erasure| !erasure.has_ended()) {
        Some(erasure) => {
            let wanted = Wanted::operation(&connection.key, &erasure.id);
            let hastened = admission::begin(deps, wanted, |admission| {
                let (erasure, store) = (erasure.clone(), store.admitting(&admission));
                async move { hasten(erasure, now, &store).await }
            });
            let hastened = hastened.await?;
            (connection, hastened)
        }
        None => {
            let id = erasure_id(deps);
            let wanted = Wanted::operation(&connection.key, &id);
            let deleted = admission::begin(deps, wanted, |admission| {
                let (connection, id) = (connection.clone(), id.clone());
                let store = store.admitting(&admission);
                async move { mark_deleted(deps, connection, by, (id, now), &store).await }
            });
            deleted.await?
        }
    };
    let shown = ErasureView::new(&connection, Some(&erasure)).ok_or_else(unrecorded)?;
    Ok(accepted(
        Json(DeletionBegun::Erasure(Box::new(shown))).into_response(),
        &location,
    ))
}

async fn hasten(erasure: Operation, now: Timestamp, store: &Store) -> Result<Operation, Problem> {
    const ERASURE: &str = "the erasure";
    let hastened = swap(ERASURE, erasure, |erasure| async move {
        let after = erasure.hastened(now);
        if after == erasure {
            return Ok::<_, Problem>(Attempt::Done(erasure));
        }
        attempt(ERASURE, store.advance_operation(&erasure, &after).await?)
    });
    hastened.await
}

/// Restores a connection that was deleted, before its erasure has begun.
///
/// It is active again, and all of its files are listed and compared. What it owes to Drive is held
/// back until `POST .../restore/confirm`: the edits are old by now, and `GET .../intents` lists
/// them. Not with the credentials of another Google account.
#[utoipa::path(
    post,
    path = "/v1/connections/{connection}/restore",
    tag = "connections",
    params(ConnectionPath),
    responses(
        ShownConnection,
        (status = 409, description = "Its erasure has begun, it was not deleted, or the \
            credentials are those of another account."),
    )
)]
pub(crate) async fn restore_connection(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let connection = lookups::any_connection(&deps, &at.key).await?;
    refuse_while_erasing(&deps, &at.key.tenant).await?;
    let not_kept = |detail: &str| Problem::new(Kind::StateNotAllowed, detail);
    if connection.exists() {
        if connection.owed_held {
            return Ok(respond(&deps, &at.caller, &connection, None));
        }
        return Err(not_kept("the connection was not deleted"));
    }
    let begun = || not_kept("its erasure has begun; connect the account anew");
    let erasure = erasure_of(&deps, &connection).await?;
    let erasure = erasure.ok_or_else(begun)?;
    let now = deps.clock.now();
    let cancelled = erasure.restored(now).ok_or_else(begun)?;
    let account = deps.drives.identify(&connection).await;
    let account = account.map_err(|error| Problem::credentials(&error, ""))?;
    match connection.check_account(account.id.as_ref()) {
        AccountCheck::Another => return Err(Problem::another_account().at("")),
        AccountCheck::Accepted => {}
    }
    // Left by a deletion that was interrupted.
    delete_logs(&deps, &connection).await?;
    let log = new_own_log(&deps, &at.key, &own_log(&connection)?, None);
    let restored = Connection {
        state: ConnectionState::Active,
        deletion: None,
        owed_held: true,
        ..connection
    };
    let store = &keyed.store(&deps);
    let (restored, log, erasure, cancelled) = (&restored, &log, &erasure, &cancelled);
    let wanted = Wanted::Connection(&at.key.tenant);
    let written = admission::begin(&deps, wanted, |admission| async move {
        let store = store.admitting(&admission);
        Ok(store
            .restore_connection(restored, log, erasure, cancelled)
            .await?)
    });
    let Written::Done(restored) = written.await? else {
        return Err(Problem::busy("the connection is being changed", 1));
    };
    let metric = "connection_restored";
    tracing::info!(connection = %restored.key, metric, "connection restored");
    if restored.content.enabled {
        content_scan::start_after_change(&deps, &restored, &at.caller.subject).await?;
    }
    wakes::wake_log(&deps, &at.key, &log.log).await;
    Ok(respond(&deps, &at.caller, &restored, None))
}

/// Confirms that what a restored connection owes is to be written to Drive.
///
/// What is not to be written is withdrawn before, by `POST .../intents/cancel`. A repeat changes
/// nothing.
#[utoipa::path(
    post,
    path = "/v1/connections/{connection}/restore/confirm",
    tag = "connections",
    params(ConnectionPath),
    responses(ShownConnection)
)]
pub(crate) async fn confirm_restored(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let connection = lookups::connection(&deps, &at.key).await?;
    if !connection.owed_held {
        return Ok(respond(&deps, &at.caller, &connection, None));
    }
    // Content that is owed was not written meanwhile.
    let scan = match connection.content.enabled {
        true => Some(content_scan::schedule(&deps, &connection, &at.caller.subject).await?),
        false => None,
    };
    let store = &keyed.store(&deps);
    let confirmed = swap(WHAT, connection, |connection| async move {
        let confirmed = Connection {
            owed_held: false,
            ..connection
        };
        attempt(WHAT, store.save_connection(&confirmed).await?)
    });
    let confirmed = confirmed.await?;
    if let Some(scan) = scan {
        content_scan::start_scheduled(&deps, scan).await;
    }
    wakes::hasten_failed(&deps, &at.key).await;
    wakes::wake_push(&deps, &at.key).await;
    Ok(respond(&deps, &at.caller, &confirmed, None))
}
