//! Scans a connection's records and wakes the content of each. After content was enabled, or the
//! connection was inactive, nothing else reports older files.

use domain::{LogId, affects_content};
use store::{Connection, ConnectionState, Operation, OperationState, PageRequest, Tombstones};
use worker::{ContentWake, DedupKey, Priority};

use crate::operations::{INACTIVE_MILLIS, postpone, record_progress};
use crate::{Deps, WorkError};

/// The delay before a scan starts, in milliseconds, for the write that it belongs to. Whatever else
/// waits for that write can rely on the scan until then.
const START_DELAY_MILLIS: i64 = 5_000;

/// Schedules a content scan of the whole connection, unless one is already pending or the content
/// is not mirrored.
pub(crate) async fn schedule(
    connection: &Connection,
    log: &LogId,
    deps: &Deps,
) -> Result<(), WorkError> {
    if !connection.content.enabled {
        return Ok(());
    }
    let now = deps.clock.now();
    let (log_key, id) = (
        (connection.key.clone(), log.clone()),
        deps.entropy.operation(now),
    );
    let scan = Operation::content_scan(
        log_key,
        id,
        "drivesync",
        now,
        now.plus_millis(START_DELAY_MILLIS),
    );
    if deps.store.schedule_scan(&scan).await? {
        tracing::info!(
            connection = %scan.key, operation = %scan.id, metric = "walk_begins",
            "scheduled content scan"
        );
    }
    Ok(())
}

/// Wakes the content of the next page of records. Returns `None` if the scan has to wait, has
/// ended, or is processed by another sweep.
///
/// The wakes are sent before the progress is recorded. An interrupted scan sends them again, and
/// SQS accepts those of one operation only once.
pub(crate) async fn scan_page(
    scan: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<Operation>, WorkError> {
    let now = deps.clock.now();
    if connection.state != ConnectionState::Active {
        return postpone(scan, now.plus_millis(INACTIVE_MILLIS), deps).await;
    }
    if !connection.content.enabled {
        let reason = "content mirroring is disabled for the connection".to_owned();
        let end = OperationState::Failed { reason };
        deps.store.finish_operation(scan, end, now).await?;
        return Ok(None);
    }
    if scan.progressed_at.is_none() {
        // From here on, a caller that needs a full scan must start a new one.
        let begun = Operation {
            progressed_at: Some(now),
            due_at: Some(now),
            ..scan.clone()
        };
        return record_progress(scan, &begun, deps).await;
    }
    let page = PageRequest {
        limit: PageRequest::LIMIT_MAX,
        cursor: scan.position.clone(),
    };
    let page = deps
        .store
        .list_files(&scan.key, None, Tombstones::Include, &page)
        .await?;
    let affected = page.items.iter().filter(|record| {
        // A deleted file may still have stored versions to be released.
        affects_content(None, record) || record.is_gone() && record.content_version > 0
    });
    let wakes: Vec<(ContentWake, DedupKey)> = affected
        .map(|record| {
            let (key, file) = (scan.key.clone(), record.file.clone());
            let dedup_key = DedupKey::Operation(scan.id.clone());
            (ContentWake { key, file }, dedup_key)
        })
        .collect();
    deps.contents.send(Priority::Bulk, &wakes).await?;
    let listed = scan.listed + u64::try_from(wakes.len()).unwrap_or(u64::MAX);
    let pages = scan.pages + 1;
    let scanned = Operation {
        position: page.next_cursor,
        pages,
        pages_verified: pages,
        listed,
        verified: listed,
        progressed_at: Some(now),
        due_at: Some(now),
        ..scan.clone()
    };
    if scanned.position.is_some() {
        return record_progress(scan, &scanned, deps).await;
    }
    let ended = Operation {
        state: OperationState::Done,
        finished_at: Some(now),
        due_at: None,
        ..scanned
    };
    if record_progress(scan, &ended, deps).await?.is_some() {
        tracing::info!(
            connection = %scan.key, operation = %scan.id, files = listed, metric = "mirror_walked",
            "content scan finished"
        );
    }
    Ok(None)
}
