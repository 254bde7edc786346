//! Connections: listed, read, created, updated, paused, resumed.

use axum::Json;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use domain::operation::SyncKind;
use domain::{
    Account, AccountCheck, ConnectionId, ConnectionKey, Operation, Role, Run, check_account,
};
use drive::ANOTHER_ACCOUNT;
use serde::Serialize;
use store::{Attempt, Connection, ConnectionState, Created, PageRequest, Scope, Store, Written};
use utoipa::ToSchema;

use crate::connections::connection_body::{
    CheckedSettings, ConnectionPatch, NewConnection, SecretNames, new_connection, patched,
};
use crate::connections::connection_logs::{ensure_own_log, new_own_log, own_log, wake_other_logs};
use crate::connections::connection_view::ConnectionView;
use crate::connections::drive_access::check_access;
use crate::connections::limits_body::require_allowed;
use crate::described::query::Params;
use crate::endpoints::resolvers::require_resolvers;
use crate::erasures::erase_tenants::refuse_while_erasing;
use crate::fairness::admission::{self, Wanted};
use crate::http::acts;
use crate::http::{
    Caller, ConnectionPath, IfMatch, JsonBody, JsonResult, Keyed, Kind, PageQuery, Problem,
    ShownConnection, created, page_that_fits, tag, tagged,
};
use crate::operations::content_scan;
use crate::swap::{attempt, swap};
use crate::{App, Deps, lookups, wakes};

/// The name of the item in problems.
pub(crate) const WHAT: &str = "the connection";

/// A page of connections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionList {
    /// By id.
    items: Vec<ConnectionView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

fn secrets<'a>(deps: &'a Deps, caller: &'a Caller) -> SecretNames<'a> {
    SecretNames {
        prefix: &deps.secrets_prefix,
        tenant: &caller.tenant,
    }
}

/// Responds with a connection and its entity tag.
pub(crate) fn respond(
    deps: &Deps,
    caller: &Caller,
    connection: &Connection,
    operation: Option<&Operation>,
) -> Response {
    let view = ConnectionView::new(connection, secrets(deps, caller)).with_operation(operation);
    tagged(connection.revision, view)
}

/// Lists the tenant's connections that the caller can reach.
#[utoipa::path(
    get, path = "/v1/connections", tag = "connections", params(PageQuery),
    responses((status = 200, description = "A page.", body = ConnectionList))
)]
pub(crate) async fn list_connections(
    deps: App,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> JsonResult<ConnectionList> {
    let request = query.page();
    let (deps, caller) = (&deps, &caller);
    let read = |request: PageRequest| async move {
        let reaches = |connection: &Connection| caller.reaches(connection);
        let store = &deps.store;
        let page = store.list_connections(&caller.tenant, &request, reaches);
        let page = page.await?;
        let view = |connection| ConnectionView::new(connection, secrets(deps, caller));
        Ok((page.items.iter().map(view).collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(ConnectionList { items, next_cursor }))
}

/// Connects a Drive account or a shared drive, checks its credentials, and begins its first sync.
#[utoipa::path(
    post, path = "/v1/connections", tag = "connections",
    request_body(content = NewConnection,
        example = json!({"name": "Team", "scope": {"type": "user"}, "secret": "drive"})),
    responses(
        (status = 201, description = "The connection.", body = ConnectionView,
            headers(("Location" = String), ("ETag" = String))),
        (status = 200, description = "A repeat: the connection now.", body = ConnectionView,
            headers(("Idempotent-Replayed" = String), ("ETag" = String))),
    )
)]
pub(crate) async fn create_connection(
    deps: App,
    caller: Caller,
    keyed: Keyed,
    body: JsonBody,
) -> Result<Response, Problem> {
    let (settings, scope, log) = new_connection(body, secrets(&deps, &caller))?;
    refuse_while_erasing(&deps, &caller.tenant).await?;
    require_allowed(&settings.limits, None, deps.budgets.limits())?;
    let key = ConnectionKey {
        tenant: caller.tenant.clone(),
        // Drawn anew, never derived: the records of a deleted connection must not come back.
        connection: ConnectionId::fresh(deps.entropy.next()),
    };
    let named = &settings.policies;
    require_resolvers(&deps, &caller, &key.connection, named, None).await?;
    let access = check_access(&deps, &caller.tenant, &settings, &scope, &log).await?;
    let connection = Connection {
        key,
        revision: 0,
        name: settings.name,
        scope,
        secret_id: settings.secret_id,
        subject: settings.subject,
        quota_user: settings.quota_user,
        limits: settings.limits,
        policies: settings.policies,
        rules: settings.rules,
        content: settings.content,
        account: access.account,
        my_drive: access.my_drive,
        access: settings.access,
        own_domains: settings.own_domains,
        removals: settings.removals,
        comparison_interval: settings.comparison_interval,
        state: ConnectionState::Active,
        generation: 0,
        deletion: None,
        owed_held: false,
        created_at: deps.clock.now(),
        created_by: caller.subject.clone(),
        last_request: None,
    };
    let location = format!("/v1/connections/{}", connection.key.connection);
    keyed.creates(&location);
    keyed.tell("connection", connection.key.connection.as_str());
    let view = ConnectionView::new(&connection, secrets(&deps, &caller));
    keyed.tell("changes", acts::changes(None, &view));
    let log = new_own_log(&deps, &connection.key, &log, access.drive_name);
    let (wanted, connection) = (Wanted::Connection(&caller.tenant), &connection);
    let (deps, keyed, log) = (&deps, &keyed, &log);
    admission::begin(deps, wanted, |admission| async move {
        let store = keyed.store(deps).admitting(&admission);
        match store.create_connection(connection, Some(log)).await? {
            Created::Created => Ok(()),
            Created::Exists(_) => Err(Problem::busy("the generated id was in use; try again", 1)),
        }
    })
    .await?;
    if connection.content.enabled {
        let key = &connection.key;
        worker::record_scan_by_current_rules(key, &deps.store, &deps.entropy).await?;
    }
    wakes::wake_log(deps, &connection.key, &log.log).await;
    let connection = Connection {
        revision: 1,
        ..connection.clone()
    };
    let response = respond(deps, &caller, &connection, None);
    Ok(created(response, &location))
}

/// Returns one connection with its latest operation.
#[utoipa::path(
    get,
    path = "/v1/connections/{connection}",
    tag = "connections",
    params(ConnectionPath),
    responses(ShownConnection)
)]
pub(crate) async fn get_connection(deps: App, at: ConnectionPath) -> Result<Response, Problem> {
    let connection = lookups::connection(&deps, &at.key).await?;
    let latest = PageRequest::first(1);
    let latest = deps.store.list_operations(&at.key, &latest).await?;
    let operation = latest.items.first();
    Ok(respond(&deps, &at.caller, &connection, operation))
}

/// Changes settings of a connection. New credentials are checked first.
///
/// Credentials (`secret`, `subject`, `replace_account`) and `access` need the role `admin`.
///
/// Those of another Google account are refused, unless `replace_account` says that this is meant.
#[utoipa::path(
    patch, path = "/v1/connections/{connection}", tag = "connections",
    params(
        ConnectionPath,
        ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`."),
    ),
    request_body(content = ConnectionPatch, content_type = "application/merge-patch+json"),
    responses(
        ShownConnection,
        (status = 412,
            description = "The connection has changed; `current` is the connection now."),
        (status = 409, description = "The credentials are those of another account."),
        (status = 428, description = "`If-Match` is missing."),
    )
)]
pub(crate) async fn update_connection(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let if_match = IfMatch::required(&headers)?;
    let secrets = secrets(&deps, &at.caller);
    let members = body.members::<ConnectionPatch>()?;
    let connection = lookups::connection(&deps, &at.key).await?;
    let (deps, caller, if_match, members) = (&deps, &at.caller, &if_match, &members);
    let keyed = &keyed;
    swap(WHAT, connection, |connection| async move {
        if !if_match.allows(connection.revision) {
            let detail = "the connection has changed; `current` is the connection now";
            return Err(Problem::new(Kind::Stale, detail)
                .current(&ConnectionView::new(&connection, secrets))
                .header(header::ETAG, tag(connection.revision)));
        }
        let settings = patched(&connection, members.clone(), secrets)?;
        let limits = deps.budgets.limits();
        require_allowed(&settings.limits, Some(&connection.limits), limits)?;
        let (id, before) = (&connection.key.connection, &connection.policies);
        require_resolvers(deps, caller, id, &settings.policies, Some(before)).await?;
        let mut my_drive = connection.my_drive.clone();
        let mut account = connection.account.clone();
        let mut replaced = false;
        // Also if they are what they were: that binds a connection to what its secret allows.
        let names_credentials = ["secret", "subject"]
            .iter()
            .any(|name| members.contains_key(*name));
        if names_credentials || settings.replace_account {
            caller.needs(Role::Admin, "a change of credentials")?;
        }
        if settings.access != connection.access {
            caller.needs(Role::Admin, "a change of access")?;
        }
        if names_credentials || settings.replace_account {
            let log = own_log(&connection)?;
            let access =
                check_access(deps, &caller.tenant, &settings, &connection.scope, &log).await?;
            match compare_accounts(deps, &connection, &access.account).await {
                AccountCheck::Another if settings.replace_account => replaced = true,
                AccountCheck::Another => {
                    return Err(Problem::another_account()
                        .at(member_of_credentials(&connection, &settings)));
                }
                AccountCheck::Accepted => {}
            }
            my_drive = access.my_drive;
            let comparison = account.comparison.take();
            account = Account {
                comparison,
                ..access.account
            };
        }
        let next = Connection {
            name: settings.name,
            secret_id: settings.secret_id,
            subject: settings.subject,
            quota_user: settings.quota_user,
            limits: settings.limits,
            policies: settings.policies,
            rules: settings.rules,
            content: settings.content,
            account,
            my_drive,
            access: settings.access,
            own_domains: settings.own_domains,
            removals: settings.removals,
            comparison_interval: settings.comparison_interval,
            ..connection.clone()
        };
        if next == connection {
            return Ok(Attempt::Done(respond(deps, caller, &connection, None)));
        }
        // Content that is mirrored from now on existed before: only a content scan finds it.
        let other = next.content != connection.content || next.rules != connection.rules;
        let scan = match next.content.enabled && other {
            true => Some(content_scan::schedule(deps, &next, &caller.subject).await?),
            false => None,
        };
        let view = |connection| ConnectionView::new(connection, secrets);
        keyed.tell(
            "changes",
            acts::changes(Some(&view(&connection)), &view(&next)),
        );
        let written = if replaced {
            replace_account(deps, keyed, next, &caller.subject).await?
        } else {
            keyed.store(deps).save_connection(&next).await?
        };
        let saved = match attempt(WHAT, written)? {
            Attempt::Done(saved) => saved,
            Attempt::Stale(current) => return Ok(Attempt::Stale(current)),
        };
        if replaced {
            wakes::wake_log(deps, &saved.key, &own_log(&saved)?).await;
        }
        wakes::reschedule_out_of_scope(deps, &connection, &saved).await;
        let scan = match scan {
            Some(scan) => Some(content_scan::start_scheduled(deps, scan).await),
            None => None,
        };
        Ok(Attempt::Done(respond(deps, caller, &saved, scan.as_ref())))
    })
    .await
}

/// Compares the account of a connection with that of credentials that are to be its own. A
/// connection of a release that did not store its account is asked about with the credentials that
/// it has: if they tell nothing any more, a person must say that the account is meant.
async fn compare_accounts(deps: &Deps, connection: &Connection, shown: &Account) -> AccountCheck {
    if connection.account.id.is_some() || connection.scope != Scope::User {
        return connection.check_account(shown.id.as_ref());
    }
    match deps.drives.identify(connection).await {
        Ok(known) => check_account(false, known.id.as_ref(), shown.id.as_ref()),
        Err(error) => {
            let error = runtime::telemetry::chain(&error);
            tracing::info!(connection = %connection.key, error, "could not identify the account");
            AccountCheck::Another
        }
    }
}

/// Returns the member of a patch that brought other credentials.
fn member_of_credentials(connection: &Connection, settings: &CheckedSettings) -> &'static str {
    if settings.subject == connection.subject {
        "/secret"
    } else {
        "/subject"
    }
}

/// Saves a connection whose account is another one now. In the same write, a comparison with all of
/// the other account's files begins. The connection is active again if that was the open question.
async fn replace_account(
    deps: &Deps,
    keyed: &Keyed,
    connection: Connection,
    by: &str,
) -> Result<Written<Connection>, Problem> {
    let busy = || Problem::busy("the log is being changed", 2);
    let own = own_log(&connection)?;
    let log = deps.store.load_log(&connection.key, &own).await?;
    let log = log.ok_or_else(busy)?;
    let now = deps.clock.now();
    let id = deps.entropy.operation(now);
    let run = Run::sync(SyncKind::Resync);
    let operation = Operation::new(connection.key.clone(), id, own, by, now, run);
    let connection = Connection {
        account: Account {
            comparison: Some(operation.id.clone()),
            ..connection.account
        },
        state: match connection.state {
            ConnectionState::Suspended { reason, .. } if reason == ANOTHER_ACCOUNT => {
                ConnectionState::Active
            }
            state @ (ConnectionState::Active
            | ConnectionState::Paused
            | ConnectionState::Suspended { .. }
            | ConnectionState::Deleting) => state,
        },
        ..connection
    };
    let start = async {
        let drive = deps.drives.unthrottled(&connection).await?;
        drive.start_page_token(&log.log).await
    };
    let start = start
        .await
        .map_err(|error| Problem::credentials(&error, "/secret"))?;
    let store = keyed.store(deps);
    let saved = store
        .replace_account(&connection, &log, &start, &operation)
        .await?;
    if let Written::Stale(Some(current)) = &saved
        && current.revision == connection.revision
    {
        return Err(busy());
    }
    Ok(saved)
}

/// Changes a connection's state. `None` from `next` leaves it unchanged.
async fn transition_state(
    store: &Store,
    connection: Connection,
    next: impl Fn(&ConnectionState) -> Option<ConnectionState>,
) -> Result<Connection, Problem> {
    let next = &next;
    swap(WHAT, connection, |connection| async move {
        let Some(state) = next(&connection.state) else {
            return Ok(Attempt::Done(connection));
        };
        attempt(WHAT, store.set_connection_state(&connection, state).await?)
    })
    .await
}

/// Pauses the sync of a connection. Edits are still accepted, and owed.
#[utoipa::path(
    post,
    path = "/v1/connections/{connection}/pause",
    tag = "connections",
    params(ConnectionPath),
    responses(ShownConnection)
)]
pub(crate) async fn pause_connection(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let connection = lookups::connection(&deps, &at.key).await?;
    let store = keyed.store(&deps);
    let paused = transition_state(&store, connection, |state| match state {
        ConnectionState::Active | ConnectionState::Suspended { .. } => {
            Some(ConnectionState::Paused)
        }
        ConnectionState::Paused | ConnectionState::Deleting => None,
    });
    Ok(respond(&deps, &at.caller, &paused.await?, None))
}

/// Resumes the sync of a connection from where it stopped: no change is lost.
///
/// Not with the credentials of another Google account.
#[utoipa::path(
    post,
    path = "/v1/connections/{connection}/resume",
    tag = "connections",
    params(ConnectionPath),
    responses(
        ShownConnection,
        (status = 409, description = "The credentials are those of another account."),
    )
)]
pub(crate) async fn resume_connection(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let connection = lookups::connection(&deps, &at.key).await?;
    let log = own_log(&connection)?;
    if connection.state != ConnectionState::Active {
        refuse_another_account(&deps, &connection).await?;
    }
    // Content wakes were dropped while it was not active.
    let scan = match connection.content.enabled && connection.state != ConnectionState::Active {
        true => Some(content_scan::schedule(&deps, &connection, &at.caller.subject).await?),
        false => None,
    };
    let store = keyed.store(&deps);
    let resumed = transition_state(&store, connection, |state| match state {
        ConnectionState::Paused | ConnectionState::Suspended { .. } => {
            Some(ConnectionState::Active)
        }
        ConnectionState::Active | ConnectionState::Deleting => None,
    })
    .await?;
    if resumed.state == ConnectionState::Active {
        if let Some(scan) = scan {
            content_scan::start_scheduled(&deps, scan).await;
        }
        ensure_own_log(&deps, &at.key, &log).await?;
        wake_other_logs(&deps, &at.key, &log).await?;
        wakes::hasten_failed(&deps, &at.key).await;
        wakes::wake_push(&deps, &at.key).await;
    }
    Ok(respond(&deps, &at.caller, &resumed, None))
}

/// Refuses credentials that have become another account's while the connection was not active. An
/// account that can't be asked about now is checked before it is used.
async fn refuse_another_account(deps: &Deps, connection: &Connection) -> Result<(), Problem> {
    match deps.drives.identify(connection).await {
        Ok(account) => match connection.check_account(account.id.as_ref()) {
            AccountCheck::Another => Err(Problem::another_account().at("")),
            AccountCheck::Accepted => Ok(()),
        },
        Err(error) => {
            let error = runtime::telemetry::chain(&error);
            tracing::info!(connection = %connection.key, error, "could not identify the account");
            Ok(())
        }
    }
}
