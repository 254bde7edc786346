//! Records that handlers load by their path, and the 404 if there is none.

use domain::{ConflictId, ConflictRecord, ConnectionKey, FileId, FileRecord, Operation};
use store::{Connection, DeadLetter, PageRequest};

use crate::Deps;
use crate::http::{Caller, FilePath, OperationPath, Problem};

/// Loads a connection of the caller that was not deleted.
pub(crate) async fn connection(deps: &Deps, key: &ConnectionKey) -> Result<Connection, Problem> {
    let found = deps.store.load_connection(key).await?;
    found.ok_or_else(|| Problem::not_found("the connection"))
}

/// Loads a connection of the caller, even if it was deleted.
pub(crate) async fn any_connection(
    deps: &Deps,
    key: &ConnectionKey,
) -> Result<Connection, Problem> {
    let found = deps.store.load_any_connection(key).await?;
    found.ok_or_else(|| Problem::not_found("the connection"))
}

/// Loads the connections of the tenant at which the caller may do what the route is for, in the
/// order of their ids.
pub(crate) async fn reachable_connections(
    deps: &Deps,
    caller: &Caller,
) -> Result<Vec<Connection>, Problem> {
    let reaches = |connection: &Connection| caller.reaches(connection);
    let mut found = Vec::new();
    let mut request = PageRequest::first(PageRequest::LIMIT_MAX);
    loop {
        let store = &deps.store;
        let page = store.list_connections(&caller.tenant, &request, reaches);
        let page = page.await?;
        found.extend(page.items);
        request.cursor = page.next_cursor;
        if request.cursor.is_none() {
            return Ok(found);
        }
    }
}

pub(crate) async fn file(
    deps: &Deps,
    key: &ConnectionKey,
    file: &FileId,
) -> Result<FileRecord, Problem> {
    let found = deps.store.load_file(key, file).await?;
    found.ok_or_else(|| Problem::not_found("the file"))
}

/// Loads a file's connection and record.
pub(crate) async fn connection_and_file(
    deps: &Deps,
    at: &FilePath,
) -> Result<(Connection, FileRecord), Problem> {
    tokio::try_join!(connection(deps, &at.key), file(deps, &at.key, &at.file))
}

pub(crate) async fn conflict(
    deps: &Deps,
    key: &ConnectionKey,
    id: &ConflictId,
) -> Result<ConflictRecord, Problem> {
    let found = deps.store.load_conflict(key, id).await?;
    found.ok_or_else(|| Problem::not_found("the conflict"))
}

/// Loads an operation of an existing connection, or the erasure of one that was deleted.
pub(crate) async fn operation(deps: &Deps, at: &OperationPath) -> Result<Operation, Problem> {
    let connection = any_connection(deps, &at.key).await?;
    let erasure = connection.deletion.as_ref();
    if !connection.exists() && erasure.is_none_or(|deletion| deletion.operation != at.id) {
        return Err(Problem::not_found("the connection"));
    }
    let found = deps.store.load_operation(&at.key, &at.id).await?;
    found.ok_or_else(|| Problem::not_found("the operation"))
}

/// Loads a dead letter of an existing connection that the caller reaches.
pub(crate) async fn dead_letter(
    deps: &Deps,
    caller: &Caller,
    key: &ConnectionKey,
    id: &str,
) -> Result<DeadLetter, Problem> {
    const WHAT: &str = "the dead letter";
    let not_found = || Problem::not_found(WHAT);
    let connection = deps.store.load_connection(key).await?;
    caller.admitted(&connection.ok_or_else(not_found)?, WHAT)?;
    let found = deps.store.load_dead_letter(key, id).await?;
    found.ok_or_else(not_found)
}
