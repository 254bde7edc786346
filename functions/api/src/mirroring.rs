//! Beginning a walk that has the content of every file looked at.

use domain::Timestamp;
use store::{Connection, Created, Operation, Written};

use crate::problem::Problem;
use crate::{Deps, connections};

/// When a walk begins by itself that nobody has let go, in milliseconds: longer than a request may take, so that what it
/// is begun for is stored by then.
const BEGINS_MILLIS: i64 = 20_000;

/// Writes down a walk that is to begin once a connection is as it should be. It is written down first: whatever ends this
/// process, the walk comes. [`now`] lets it begin.
pub(crate) async fn soon(
    deps: &Deps,
    connection: &Connection,
    by: &str,
) -> Result<Operation, Problem> {
    let begins = deps.clock.now().plus_millis(BEGINS_MILLIS);
    begin(deps, connection, by, Some(begins)).await
}

/// Lets a walk begin that was written down. Where that can't be done, it begins by itself.
pub(crate) async fn now(deps: &Deps, walk: Operation) -> Operation {
    let due = Operation {
        due_at: Some(deps.clock.now()),
        ..walk.clone()
    };
    match deps.store.move_operation(&walk, &due).await {
        Ok(Written::Done(due)) => due,
        Ok(Written::Stale(_)) => walk,
        Err(error) => {
            let error = runtime::telemetry::chain(&error);
            tracing::warn!(connection = %walk.key, error, "the walk begins by itself");
            walk
        }
    }
}

/// Begins a walk at once.
pub(crate) async fn start(
    deps: &Deps,
    connection: &Connection,
    by: &str,
) -> Result<Operation, Problem> {
    begin(deps, connection, by, None).await
}

async fn begin(
    deps: &Deps,
    connection: &Connection,
    by: &str,
    at: Option<Timestamp>,
) -> Result<Operation, Problem> {
    let log = connections::log_of(connection)?;
    let now = deps.clock.now();
    let (whose, id) = ((connection.key.clone(), log), deps.entropy.operation(now));
    let walk = Operation::walk(whose, id, by, now, at.unwrap_or(now));
    match deps.store.create_operation(&walk).await? {
        Created::Created => Ok(walk),
        Created::Exists(_) => Err(Problem::busy("an id was taken already; try again", 1)),
    }
}
