//! Content scans: operations that check the content of every file, and mirror what is missing.

use domain::{Operation, Run, Timestamp};
use store::{Connection, Store, Written};

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
    create(deps, connection, by, due_at, |_| deps.store.clone()).await
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
    let store = |scan: &Operation| {
        keyed.shows(vec![scan.id.to_string()], None);
        keyed.store(deps)
    };
    create(deps, connection, by, deps.clock.now(), store).await
}

async fn create(
    deps: &Deps,
    connection: &Connection,
    by: &str,
    due_at: Timestamp,
    store: impl FnOnce(&Operation) -> Store,
) -> Result<Operation, Problem> {
    let scan = Operation {
        cause: deps.store.cause(),
        ..new_operation(deps, connection, by, Run::content_scan())?.due(due_at)
    };
    new_operation::create(&store(&scan), &scan).await?;
    worker::record_scan_by_current_rules(&connection.key, &deps.store, &deps.entropy).await?;
    Ok(scan)
}
