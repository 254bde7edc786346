//! The operations that requests begin.

use domain::{Operation, Run};
use store::{Connection, Created, Store};

use crate::Deps;
use crate::connections::connection_logs::own_log;
use crate::fairness::admission::{self, Wanted};
use crate::http::Problem;

/// Returns a new operation on the own log of a connection.
pub(crate) fn new_operation(
    deps: &Deps,
    connection: &Connection,
    by: &str,
    run: Run,
) -> Result<Operation, Problem> {
    let (log, now) = (own_log(connection)?, deps.clock.now());
    let (key, id) = (connection.key.clone(), deps.entropy.operation(now));
    Ok(Operation::new(key, id, log, by, now, run))
}

/// Stores a new operation.
pub(crate) async fn create(store: &Store, operation: &Operation) -> Result<(), Problem> {
    match store.create_operation(operation).await? {
        Created::Created => Ok(()),
        Created::Exists(_) => Err(Problem::busy("the generated id was in use; try again", 1)),
    }
}

/// Stores a new operation, which counts as one that the tenant runs.
///
/// # Errors
/// 429 if the tenant runs as many as it may.
pub(crate) async fn begin(
    deps: &Deps,
    store: &Store,
    operation: &Operation,
) -> Result<(), Problem> {
    let wanted = Wanted::operation(&operation.key, &operation.id);
    admission::begin(deps, wanted, |admission| async move {
        create(&store.admitting(&admission), operation).await
    })
    .await
}
