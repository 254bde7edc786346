//! Connections that are suspended: tried again once in a while, so that one whose grant was mended goes on
//! without anyone having to say so.

use domain::pace::CallKind;
use gate::GateError;
use store::{Connection, ConnectionState, Log, Written};

use crate::{Deps, Stopped, mirroring, patience};

/// Asks Drive who we are, and where the connection's own log ends. Where both are answered the
/// connection is active again, and goes on from its cursors and with what it owes.
pub(crate) async fn try_again(
    connection: &Connection,
    log: &Log,
    deps: &Deps,
) -> Result<(), Stopped> {
    let key = &connection.key;
    if let Err(error) = reach(connection, log, deps).await {
        let error = runtime::telemetry::chain(&error);
        tracing::info!(connection = %key, error, metric = "still_suspended", "stays suspended");
        return Ok(());
    }
    // Wakes of content were let go while it was suspended. Before the rest: whatever ends this process, the walk comes.
    mirroring::ensure(connection, &log.log, deps).await?;
    let active = ConnectionState::Active;
    // Where someone was faster, they have decided.
    if let Written::Stale(_) = deps.store.set_connection_state(connection, active).await? {
        return Ok(());
    }
    tracing::info!(connection = %key, metric = "connection_resumed", "Drive lets us in again");
    let now = deps.clock.now();
    for log in deps.store.list_logs(key).await? {
        deps.wakes.log(key, &log.log, now).await?;
    }
    deps.wakes.push(key, now).await?;
    Ok(())
}

async fn reach(connection: &Connection, log: &Log, deps: &Deps) -> Result<(), GateError> {
    let pass = deps.gate.pass(connection, patience(deps)).await?;
    pass.call(CallKind::Other, pass.drive().about()).await?;
    let token = pass.drive().start_page_token(&log.log);
    match pass.call(CallKind::Other, token).await {
        Ok(_) => Ok(()),
        // A shared drive that is out of reach is no matter of the grant.
        Err(GateError::Drive(error)) if error.gone().is_some() => Ok(()),
        Err(error) => Err(error),
    }
}
