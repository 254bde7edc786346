//! Retries suspended connections periodically, so that one whose grant was restored resumes without
//! intervention.

use domain::rate_limit::CallKind;
use drive::{ANOTHER_ACCOUNT, DriveError, Kind};
use store::{Connection, ConnectionState, Log, Nonce, Written};
use throttle::CallError;

use worker::WorkError;

use crate::{Deps, wait_budget};

/// Requests the account and the log's start token from Drive. If both succeed, the connection
/// becomes active and continues from its cursors and with its owed fields.
pub(crate) async fn retry(
    connection: &Connection,
    log: &Log,
    deps: &Deps,
) -> Result<(), WorkError> {
    let key = &connection.key;
    if let Err(error) = probe(connection, log, deps).await {
        let text = runtime::telemetry::chain(&error);
        tracing::info!(
            connection = %key, error = text, metric = "still_suspended",
            "connection stays suspended"
        );
        return match error {
            CallError::Drive(error) => suspended_for(connection, &error, deps).await,
            CallError::Throttled(_) | CallError::Store(_) => Ok(()),
        };
    }
    // Content wakes were dropped during the suspension. The scan is scheduled first, so that an
    // interruption cannot lose it.
    let Deps {
        store,
        clock,
        entropy,
        ..
    } = deps;
    worker::schedule_scan(connection, &log.log, store, clock, entropy).await?;
    let active = ConnectionState::Active;
    // A concurrent change of the state takes precedence.
    if let Written::Stale(_) = deps.store.set_connection_state(connection, active).await? {
        return Ok(());
    }
    tracing::info!(
        connection = %key, metric = "connection_resumed",
        "resumed connection: Drive accepts its credentials"
    );
    let now = deps.clock.now();
    let nonce = || Nonce(deps.entropy.next());
    deps.store.hasten_redrive(key, now).await?;
    deps.store.hasten_failed(key, now, nonce).await?;
    for log in deps.store.list_logs(key).await? {
        deps.wakes.log(key, &log.log, now).await?;
    }
    deps.wakes.push(key, now).await?;
    Ok(())
}

/// Shows that the credentials work again, but are another account's: another question to the person
/// than the one that the connection was suspended with.
async fn suspended_for(
    connection: &Connection,
    error: &DriveError,
    deps: &Deps,
) -> Result<(), WorkError> {
    let ConnectionState::Suspended { reason, at } = &connection.state else {
        return Ok(());
    };
    let Kind::AuthLost { reason: now } = error.kind() else {
        return Ok(());
    };
    if now == ANOTHER_ACCOUNT && reason != ANOTHER_ACCOUNT {
        let state = ConnectionState::Suspended {
            reason: now.clone(),
            at: *at,
        };
        // A concurrent change of the state takes precedence.
        let (Written::Done(_) | Written::Stale(_)) =
            deps.store.set_connection_state(connection, state).await?;
    }
    Ok(())
}

async fn probe(connection: &Connection, log: &Log, deps: &Deps) -> Result<(), CallError> {
    let drive = deps.drives.throttled(connection, wait_budget(deps)).await?;
    drive.call(CallKind::Other, drive.client().about()).await?;
    let token = drive.client().start_page_token(&log.log);
    match drive.call(CallKind::Other, token).await {
        Ok(_) => Ok(()),
        // An inaccessible shared drive does not concern the grant.
        Err(CallError::Drive(error)) if error.gone().is_some() => Ok(()),
        Err(error) => Err(error),
    }
}
