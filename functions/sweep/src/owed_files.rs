//! Files that owe something to Drive.

use domain::{ConnectionKey, FileId};
use worker::WorkError;

use crate::Deps;

/// Wakes the pusher of an active connection, once for all of its files. The files of a connection
/// that was deleted are removed from the index: nothing is pushed for them any more.
pub(crate) async fn process(
    key: &ConnectionKey,
    files: &[FileId],
    first: bool,
    deps: &Deps,
) -> Result<(), WorkError> {
    let Some(connection) = deps.store.load_connection(key).await? else {
        for file in files {
            deps.store.remove_due_place(key, file).await?;
        }
        return Ok(());
    };
    if first && connection.state == store::ConnectionState::Active {
        deps.wakes.push(key, deps.clock.now()).await?;
    }
    Ok(())
}
