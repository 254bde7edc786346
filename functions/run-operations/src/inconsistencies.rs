//! The inconsistencies that an audit records, and their counts.

use std::collections::BTreeMap;

use domain::{InconsistencyCount, InconsistencyKind, Operation};
use store::{Inconsistency, PageRequest, Subject};
use worker::WorkError;

use crate::Deps;

/// Adds the final counts of inconsistencies: that of the log's cursor is known only now.
pub(crate) async fn with_final_counts(
    operation: Operation,
    repaired: bool,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    record_cursor_ahead(&operation, repaired, deps).await?;
    let counts = count(&operation, deps).await?;
    Ok(operation.with_inconsistencies(counts))
}

/// Counts the recorded inconsistencies by kind.
pub(crate) async fn count(
    operation: &Operation,
    deps: &Deps,
) -> Result<BTreeMap<InconsistencyKind, InconsistencyCount>, WorkError> {
    let (key, id) = (&operation.key, &operation.id);
    let mut counts: BTreeMap<InconsistencyKind, InconsistencyCount> = BTreeMap::new();
    let mut page = PageRequest::first(PageRequest::LIMIT_MAX);
    loop {
        let found = deps
            .store
            .list_inconsistencies(key, id, None, &page)
            .await?;
        for inconsistency in found.items {
            let count = counts.entry(inconsistency.kind).or_default();
            count.found += 1;
            count.repaired += u64::from(inconsistency.repaired);
        }
        match found.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(counts),
        }
    }
}

/// Records that the cursor of an audit's log has passed changes that were not applied: Drive has
/// newer files than the records, or files without a record, although the log was read to its end.
async fn record_cursor_ahead(
    operation: &Operation,
    repaired: bool,
    deps: &Deps,
) -> Result<(), WorkError> {
    let behind = operation.files_behind_cursor();
    if behind == 0 {
        return Ok(());
    }
    let inconsistency = Inconsistency {
        kind: InconsistencyKind::CursorAhead,
        subject: Subject::Log(operation.log.clone()),
        repaired,
        detail: format!("{behind} files, listed in the operation's drift"),
        found_at: deps.clock.now(),
    };
    record(operation, &inconsistency, deps).await
}

pub(crate) async fn record(
    operation: &Operation,
    inconsistency: &Inconsistency,
    deps: &Deps,
) -> Result<(), WorkError> {
    let (kind, repaired) = (inconsistency.kind.label(), inconsistency.repaired);
    tracing::warn!(
        connection = %operation.key, operation = %operation.id, kind, repaired,
        dry_run = operation.is_dry_run(), metric = "flaw",
        "stored items are inconsistent"
    );
    Ok(deps
        .store
        .record_inconsistency(operation, inconsistency)
        .await?)
}
