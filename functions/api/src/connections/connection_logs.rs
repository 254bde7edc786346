//! The change logs of a connection.

use domain::{ConnectionKey, LogId};
use store::{Connection, Created, Log, StoreError};

use crate::Deps;
use crate::http::{Kind, Problem};
use crate::wakes::wake_log;

/// Returns the log that a connection always has: its user's, or its shared drive's.
pub(crate) fn own_log(connection: &Connection) -> Result<LogId, Problem> {
    let log = connection.scope.own_log();
    log.ok_or_else(|| Problem::new(Kind::Internal, "the connection's shared drive has no id"))
}

/// Returns a connection's own log, of which nothing was read yet.
pub(crate) fn new_own_log(
    deps: &Deps,
    key: &ConnectionKey,
    log: &LogId,
    drive_name: Option<String>,
) -> Log {
    Log {
        drive_name,
        ..Log::new(key.clone(), log.clone(), deps.clock.now())
    }
}

/// Creates the connection's own log unless it exists, and wakes its reader.
pub(crate) async fn ensure_own_log(
    deps: &Deps,
    key: &ConnectionKey,
    log: &LogId,
) -> Result<(), Problem> {
    let new = new_own_log(deps, key, log, None);
    match deps.store.create_log(&new).await? {
        Created::Created | Created::Exists(_) => {}
    }
    wake_log(deps, key, log).await;
    Ok(())
}

/// Wakes the readers of all logs of a connection but its own.
pub(crate) async fn wake_other_logs(
    deps: &Deps,
    key: &ConnectionKey,
    own: &LogId,
) -> Result<(), Problem> {
    for log in deps.store.list_logs(key).await? {
        if log.log != *own {
            wake_log(deps, key, &log.log).await;
        }
    }
    Ok(())
}

/// Deletes a connection's logs with their channels.
pub(crate) async fn delete_logs(deps: &Deps, connection: &Connection) -> Result<(), StoreError> {
    for log in deps.store.list_logs(&connection.key).await? {
        stop_channel(deps, connection, &log).await?;
        deps.store.delete_log(&connection.key, &log.log).await?;
    }
    Ok(())
}

/// Stops and deletes a log's channel. If Drive can't be reached, the channel expires by itself.
async fn stop_channel(deps: &Deps, connection: &Connection, log: &Log) -> Result<(), StoreError> {
    let Some(id) = &log.channel else {
        return Ok(());
    };
    let channel = deps.store.load_channel(id).await?;
    if let Some(resource_id) = channel.and_then(|channel| channel.resource_id) {
        let stopped = async {
            let drive = deps.drives.unthrottled(connection).await?;
            drive.stop_channel(id, &resource_id).await
        };
        if let Err(error) = stopped.await {
            let error = runtime::telemetry::chain(&error);
            tracing::info!(connection = %connection.key, error, "could not stop the channel");
        }
    }
    deps.store.delete_channel(id).await
}
