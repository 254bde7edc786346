//! Has everything arrived that was listed? An operation is done when every id of each of its pages has
//! a record, or is parked with a reason.

use domain::{ConnectionKey, FileId, OperationId};
use runtime::{Cause, Deadline, SnapshotMessage, queue};
use store::{Operation, OperationKind, OperationState, Verified, Written};

use crate::{Deps, Stopped, absent, leaving};

/// A listing that has not arrived whole is looked at again after this, in milliseconds.
const AGAIN_MILLIS: i64 = 1_000;
/// What one operation may take of one sweep, in milliseconds.
const SLICE_MILLIS: i64 = 10_000;

/// Checks a listed operation, page by page, from where the last check got to.
pub(crate) async fn look_at(
    key: &ConnectionKey,
    id: &OperationId,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), Stopped> {
    let Some(operation) = deps.store.load_operation(key, id).await? else {
        return Ok(());
    };
    if operation.state != OperationState::Listed {
        return Ok(());
    }
    if deps.store.load_connection(key).await?.is_none() {
        let reason = "the connection was deleted".to_owned();
        let end = OperationState::Failed { reason };
        deps.store
            .finish_operation(&operation, end, deps.clock.now())
            .await?;
        return Ok(());
    }
    // One operation must not take the whole sweep.
    let slice = Deadline(deps.clock.now().plus_millis(SLICE_MILLIS).min(deadline.0));
    if operation.kind == OperationKind::Leave {
        return leaving::look_at(&operation, slice, deps).await;
    }
    let mut progress = Verified {
        pages_verified: operation.pages_verified,
        verified: operation.verified,
        errors: operation.errors,
        due_at: deps.clock.now().plus_millis(AGAIN_MILLIS),
    };
    while progress.pages_verified < operation.pages && !slice.passed(deps.clock.now()) {
        let Some(ids) = deps
            .store
            .load_page(key, id, progress.pages_verified)
            .await?
        else {
            break;
        };
        let arrival = deps.store.arrival(key, &ids).await?;
        if !arrival.missing.is_empty() {
            break;
        }
        ask_again(&operation, arrival.gone, deps).await?;
        progress.pages_verified += 1;
        progress.verified += u64::try_from(ids.len()).unwrap_or(u64::MAX);
    }
    let recorded = deps.store.record_verified(&operation, progress).await?;
    if let Written::Done(operation) = recorded
        && operation.pages_verified == operation.pages
    {
        let whole = match operation.kind {
            OperationKind::Resync => absent::ask_about(&operation, slice, deps).await?,
            OperationKind::InitialSync
            | OperationKind::Delta
            | OperationKind::Audit
            | OperationKind::Leave => true,
        };
        if !whole {
            return Ok(());
        }
        deps.store
            .finish_operation(&operation, OperationState::Done, deps.clock.now())
            .await?;
        tracing::info!(connection = %key, operation = %id, files = operation.verified, metric = "synced", "all that was listed has arrived");
    }
    Ok(())
}

/// Files that were listed and whose records say that they are gone: perhaps they went since, or perhaps a
/// mark that they were out of reach was on its way when their drive came back. Drive is asked once more.
async fn ask_again(operation: &Operation, gone: Vec<FileId>, deps: &Deps) -> Result<(), Stopped> {
    let question = |file| SnapshotMessage {
        key: operation.key.clone(),
        cause: Cause::Run(operation.id.to_string()),
        file,
        at: operation.started_at,
        snapshot: None,
    };
    let questions: Vec<SnapshotMessage> = gone.into_iter().map(question).collect();
    Ok(queue::send_snapshots(&deps.snapshots_bulk, &questions).await?)
}
