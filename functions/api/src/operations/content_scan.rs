//! Content scans: operations that check the content of every file, and mirror what is missing.

use domain::{Operation, Run, Timestamp};
use store::{Connection, Written};

use crate::Deps;
use crate::http::{Keyed, Problem};
use crate::operations::new_operation::{self, new_operation};

/// The delay of a scheduled scan that is never started explicitly, in milliseconds: longer than a
/// request may take, so that the change it is scheduled for is stored by then.
const SCHEDULED_MILLIS: i64 = 20_000;

/// Stores a scan to be started after a change of the connection. It is stored before the change, so
/// that it runs even if this process is interrupted. [`start_scheduled`] starts it.
pub(crate) async fn schedule(
    deps: &Deps,
    connection: &Connection,
    by: &str,
) -> Result<Operation, Problem> {
    let due_at = deps.clock.now().plus_millis(SCHEDULED_MILLIS);
    let scan = scan(deps, connection, by, due_at)?;
    new_operation::begin(deps, &deps.store, &scan).await?;
    record(deps, &scan).await?;
    Ok(scan)
}

/// Starts a scan after a change that is stored and can't be refused any more: it is begun whatever
/// else the tenant runs.
pub(crate) async fn start_after_change(
    deps: &Deps,
    connection: &Connection,
    by: &str,
) -> Result<(), Problem> {
    let scan = scan(deps, connection, by, deps.clock.now())?;
    new_operation::create(&deps.store, &scan).await?;
    record(deps, &scan).await
}

/// Starts a scheduled scan. If this fails, it starts by itself when it is due.
pub(crate) async fn start_scheduled(deps: &Deps, scan: Operation) -> Operation {
    let due = scan.postponed(deps.clock.now());
    match deps.store.advance_operation(&scan, &due).await {
        Ok(Written::Done(due)) => due,
        Ok(Written::Stale(_)) => scan,
        Err(error) => {
            let error = runtime::telemetry::chain(&error);
            tracing::warn!(connection = %scan.key, error, "could not start the content scan");
            scan
        }
    }
}

/// Starts a scan, which is what the request with this key asks for.
pub(crate) async fn start(
    deps: &Deps,
    connection: &Connection,
    by: &str,
    keyed: &Keyed,
) -> Result<Operation, Problem> {
    let scan = scan(deps, connection, by, deps.clock.now())?;
    keyed.shows(vec![scan.id.to_string()], None);
    new_operation::begin(deps, &keyed.store(deps), &scan).await?;
    record(deps, &scan).await?;
    Ok(scan)
}

fn scan(
    deps: &Deps,
    connection: &Connection,
    by: &str,
    due_at: Timestamp,
) -> Result<Operation, Problem> {
    Ok(Operation {
        cause: deps.store.cause(),
        ..new_operation(deps, connection, by, Run::content_scan())?.due(due_at)
    })
}

/// Records the rules that the scan is made for.
async fn record(deps: &Deps, scan: &Operation) -> Result<(), Problem> {
    worker::record_scan_by_current_rules(&scan.key, &deps.store, &deps.entropy).await?;
    Ok(())
}
