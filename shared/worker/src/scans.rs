//! Schedules content scans.

use domain::{LogId, Operation, Run};
use runtime::{Clock, Entropy};
use store::{Connection, Store, StoreError};

/// The delay before a scan starts, in milliseconds, for the write that it belongs to. Whatever else
/// waits for that write can rely on the scan until then.
const START_DELAY_MILLIS: i64 = 5_000;

/// Schedules a content scan of the whole connection, unless one is already pending or the content
/// is not mirrored.
///
/// # Errors
/// [`StoreError`]
pub async fn schedule_scan(
    connection: &Connection,
    log: &LogId,
    store: &Store,
    clock: &Clock,
    entropy: &Entropy,
) -> Result<(), StoreError> {
    if !connection.content.enabled {
        return Ok(());
    }
    let now = clock.now();
    let (key, id) = (connection.key.clone(), entropy.operation(now));
    let scan = Operation::new(key, id, log.clone(), "drivesync", now, Run::content_scan())
        .due(now.plus_millis(START_DELAY_MILLIS));
    if store.schedule_scan(&scan).await? {
        tracing::info!(
            connection = %scan.key, operation = %scan.id, metric = "walk_begins",
            "scheduled content scan"
        );
    }
    Ok(())
}
