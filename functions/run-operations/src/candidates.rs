//! The drift candidates of a comparison: recorded first, then verified, then repaired, page by
//! page.

use domain::{Disposition, Operation};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use runtime::telemetry;
use store::{DriftEntry, Page, PageRequest};
use throttle::CallError;
use worker::WorkError;

use crate::Deps;

/// The number of candidates between two records of the progress.
const PAGE: u32 = 100;
/// The number of candidates or findings that are recorded concurrently.
pub(crate) const WRITES_AT_ONCE: usize = 16;

/// Records candidates; existing ones are unchanged.
pub(crate) async fn record(
    operation: &Operation,
    entries: impl Iterator<Item = DriftEntry>,
    deps: &Deps,
) -> Result<(), WorkError> {
    stream::iter(entries)
        .map(async |entry| deps.store.record_candidate(operation, &entry).await)
        .buffer_unordered(WRITES_AT_ONCE)
        .try_for_each(async |()| Ok(()))
        .await?;
    Ok(())
}

/// Returns the page of candidates at a position.
pub(crate) async fn page(
    position: Option<String>,
    operation: &Operation,
    deps: &Deps,
) -> Result<Page<DriftEntry>, WorkError> {
    let page = PageRequest {
        limit: PAGE,
        cursor: position,
    };
    let (key, id) = (&operation.key, &operation.id);
    Ok(deps.store.list_drift(key, id, &page).await?)
}

/// Returns whether Drive refuses the lookup permanently.
pub(crate) fn is_refusal(error: &CallError) -> bool {
    match error {
        CallError::Drive(error) => matches!(error.disposition(), Disposition::Park { .. }),
        CallError::Throttled(_) | CallError::Store(_) => false,
    }
}

pub(crate) fn log_unverified(entry: &DriftEntry, operation: &Operation, error: &CallError) {
    let error = telemetry::chain(error);
    tracing::warn!(
        operation = %operation.id, file = %entry.file, error, metric = "not_verified",
        "could not verify file in Drive"
    );
}
