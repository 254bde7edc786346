//! Schedules content scans.

use domain::content::{CONTENT_RULES, ContentRetries};
use domain::{ConnectionKey, LogId, Operation, Run};
use runtime::{Clock, Entropy};
use store::{Connection, Nonce, Store, StoreError, Written};

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

/// Returns whether a connection's files were last scanned by older rules about content: what those
/// left out or gave up is reported by nothing else.
///
/// # Errors
/// [`StoreError`]
pub async fn needs_scan_by_current_rules(
    connection: &Connection,
    store: &Store,
) -> Result<bool, StoreError> {
    if !connection.content.enabled {
        return Ok(false);
    }
    let retries = store.load_content_retries(&connection.key).await?;
    Ok(retries.scanned < CONTENT_RULES)
}

/// Records that a connection's files are scanned by the current rules: a scan is scheduled, or no
/// older build has seen them. If another worker is faster, they may be scanned once more.
///
/// # Errors
/// [`StoreError`]
pub async fn record_scan_by_current_rules(
    key: &ConnectionKey,
    store: &Store,
    entropy: &Entropy,
) -> Result<(), StoreError> {
    let retries = store.load_content_retries(key).await?;
    if retries.scanned >= CONTENT_RULES {
        return Ok(());
    }
    let scanned = ContentRetries {
        scanned: CONTENT_RULES,
        ..retries
    };
    let nonce = Nonce(entropy.next());
    match store.save_content_retries(key, &scanned, nonce).await? {
        Written::Done(_) | Written::Stale(_) => Ok(()),
    }
}
