//! Scans a connection's records and wakes the content of each. After content was enabled, or the
//! connection was inactive, nothing else reports older files.

use domain::{Operation, affects_content};
use store::{PageRequest, Tombstones};
use worker::{ContentWake, DedupKey, Priority, WorkError};

use crate::Deps;

/// Wakes the content of the page of records at a position.
///
/// The wakes are sent before the progress is recorded. An interrupted scan sends them again, and
/// SQS accepts those of one operation only once.
pub(crate) async fn scan_page(
    position: Option<String>,
    scan: &Operation,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let page = PageRequest {
        limit: PageRequest::LIMIT_MAX,
        cursor: position,
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
    let woken = u64::try_from(wakes.len()).unwrap_or(u64::MAX);
    let after = scan.on_scanned(woken, page.next_cursor, deps.clock.now());
    if after.has_ended() {
        tracing::info!(
            connection = %scan.key, operation = %scan.id, files = after.form().listed,
            metric = "mirror_walked",
            "content scan finished"
        );
    }
    Ok(after)
}
