//! Files that owe something to Drive.

use domain::{ConnectionKey, FileId, Timestamp};
use runtime::metrics::MEASURED;
use worker::WorkError;

use crate::Deps;

/// Wakes the pusher of a connection that is written to, once for all of its files. Those of a
/// connection that was deleted stay due, since it may be restored; those of one that is not stored
/// any more are removed from the index.
pub(crate) async fn process(
    key: &ConnectionKey,
    files: &[(FileId, Timestamp)],
    first: bool,
    deps: &Deps,
) -> Result<(), WorkError> {
    let found = deps.store.load_any_connection(key).await?;
    let Some(connection) = found.filter(|connection| !connection.is_erased()) else {
        for (file, _) in files {
            deps.store.remove_due_place(key, file).await?;
        }
        return Ok(());
    };
    if first && connection.pushes() {
        let now = deps.clock.now();
        // Earliest first.
        if let Some((_, at)) = files.first() {
            let due_millis = now.millis_since(*at);
            tracing::trace!(target: MEASURED, metric = "oldest_owed", due_millis);
        }
        deps.wakes.push(key, now).await?;
    }
    Ok(())
}
