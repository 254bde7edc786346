//! Runs operations step by step: self-check of the stored items, arrival of listed files,
//! comparison with the listing, verification in Drive, confirmation by a person, repair.
//!
//! Each step records its progress in the operation's own item, so that interrupted work resumes
//! there, and repeating a step has the same effect.

use domain::{ConnectionKey, FileId, OperationId, Timestamp};
use runtime::Deadline;
use store::{
    Connection, ConnectionState, Operation, OperationKind, OperationState, Verified, Written,
};
use worker::{Origin, SnapshotMessage, queue};

use crate::verify::REMIND_MILLIS;
use crate::{
    Deps, WorkError, audit, compare, content_scan, leave_drive, repair, self_check, verify,
};

/// The delay before an incomplete arrival is checked again, in milliseconds.
const RETRY_MILLIS: i64 = 1_000;
/// The time limit of one operation per sweep, in milliseconds.
const SLICE_MILLIS: i64 = 10_000;
/// The delay before an operation of an inactive connection is checked again, in milliseconds.
pub(crate) const INACTIVE_MILLIS: i64 = 60_000;
/// The time that a person has to confirm, in milliseconds. Findings are retained for longer.
const CONFIRM_MILLIS: i64 = 60 * 24 * 3_600_000;

/// Runs a due operation as far as time allows.
pub(crate) async fn run(
    key: &ConnectionKey,
    id: &OperationId,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let found = deps.store.load_operation(key, id).await?;
    let due = |operation: &Operation| operation.due_at.is_some_and(|at| at <= now);
    let Some(mut operation) = found.filter(due) else {
        return Ok(());
    };
    let Some(connection) = deps.store.load_connection(key).await? else {
        return fail(&operation, "the connection was deleted", deps).await;
    };
    // One operation must not use up the whole sweep.
    let slice = Deadline(now.plus_millis(SLICE_MILLIS).min(deadline.0));
    while let Some(next) = step(&operation, &connection, slice, deps).await? {
        operation = next;
        if slice.passed(deps.clock.now()) {
            tracing::info!(
                %operation.id, metric = "operation_unfinished",
                "operation continues at the next sweep"
            );
            return Ok(());
        }
    }
    Ok(())
}

/// Runs the next step of an operation. Returns `None` if it has to wait, has ended, or is processed
/// by another sweep.
async fn step(
    operation: &Operation,
    connection: &Connection,
    slice: Deadline,
    deps: &Deps,
) -> Result<Option<Operation>, WorkError> {
    match operation.state {
        OperationState::Listed => match operation.kind {
            OperationKind::InitialSync | OperationKind::Delta | OperationKind::Resync => {
                check_arrival(operation, connection, slice, deps).await
            }
            OperationKind::Audit => {
                let comparing = Operation {
                    state: OperationState::Comparing,
                    ..operation.clone()
                };
                record_progress(operation, &comparing, deps).await
            }
            OperationKind::Leave => {
                leave_drive::mark_files(operation, slice, deps).await?;
                Ok(None)
            }
            OperationKind::ContentScan => {
                content_scan::scan_page(operation, connection, deps).await
            }
        },
        OperationState::Comparing => compare::compare_chunk(operation, slice, deps).await,
        OperationState::AwaitingConfirmation { since } => remind(operation, since, deps).await,
        OperationState::Examining
        | OperationState::Listing
        | OperationState::Verifying
        | OperationState::Repairing
            if connection.state != ConnectionState::Active =>
        {
            let until = deps.clock.now().plus_millis(INACTIVE_MILLIS);
            postpone(operation, until, deps).await
        }
        // Boxed, like its parts, to limit the caller's stack.
        OperationState::Examining => {
            Box::pin(self_check::check_page(operation, connection, deps)).await
        }
        OperationState::Listing if operation.kind == OperationKind::Audit => {
            audit::list_page(operation, connection, deps).await
        }
        OperationState::Verifying => verify::verify_page(operation, connection, deps).await,
        OperationState::Repairing => repair::repair_page(operation, connection, deps).await,
        // `fetch-changes` runs all other listings.
        OperationState::Listing
        | OperationState::Done
        | OperationState::Cancelled
        | OperationState::Failed { .. } => Ok(None),
    }
}

/// Stores an operation's next state unless another sweep changed it, in which case `None` is
/// returned.
pub(crate) async fn record_progress(
    before: &Operation,
    after: &Operation,
    deps: &Deps,
) -> Result<Option<Operation>, WorkError> {
    match deps.store.move_operation(before, after).await? {
        Written::Done(after) => Ok(Some(after)),
        Written::Stale(_) => Ok(None),
    }
}

/// Postpones an operation.
pub(crate) async fn postpone(
    operation: &Operation,
    to: Timestamp,
    deps: &Deps,
) -> Result<Option<Operation>, WorkError> {
    let later = Operation {
        due_at: Some(to),
        ..operation.clone()
    };
    record_progress(operation, &later, deps).await?;
    Ok(None)
}

async fn fail(operation: &Operation, reason: &str, deps: &Deps) -> Result<(), WorkError> {
    let reason = reason.to_owned();
    let end = OperationState::Failed { reason };
    let now = deps.clock.now();
    deps.store.finish_operation(operation, end, now).await?;
    Ok(())
}

/// Logs again, for the alarm, that a person must confirm. After 60 days the operation fails, and
/// nothing has been changed.
async fn remind(
    operation: &Operation,
    since: Timestamp,
    deps: &Deps,
) -> Result<Option<Operation>, WorkError> {
    let now = deps.clock.now();
    if now.millis_since(since) > CONFIRM_MILLIS {
        fail(operation, "not confirmed in time", deps).await?;
        return Ok(None);
    }
    tracing::error!(
        connection = %operation.key, operation = %operation.id,
        would_remove = operation.drift.missing_there, metric = "awaiting_confirmation",
        "operation awaits confirmation or cancellation"
    );
    postpone(operation, now.plus_millis(REMIND_MILLIS), deps).await
}

/// Checks that everything listed has arrived, from where the last check stopped: every id of each
/// page must have a record or a dead letter.
async fn check_arrival(
    operation: &Operation,
    connection: &Connection,
    slice: Deadline,
    deps: &Deps,
) -> Result<Option<Operation>, WorkError> {
    let (key, id) = (&operation.key, &operation.id);
    let mut progress = Verified {
        pages_verified: operation.pages_verified,
        verified: operation.verified,
        errors: operation.errors,
        progressed_at: operation.progressed_at,
        due_at: deps.clock.now().plus_millis(RETRY_MILLIS),
    };
    while progress.pages_verified < operation.pages && !slice.passed(deps.clock.now()) {
        let Some(ids) = deps
            .store
            .load_page(key, id, progress.pages_verified)
            .await?
        else {
            break;
        };
        let arrival = deps.store.check_arrival(key, &ids).await?;
        if !arrival.missing.is_empty() {
            break;
        }
        request_lookups(operation, arrival.gone, deps).await?;
        progress.pages_verified += 1;
        progress.progressed_at = Some(deps.clock.now());
        progress.verified += u64::try_from(ids.len()).unwrap_or(u64::MAX);
    }
    let recorded = deps.store.record_verified(operation, progress).await?;
    let Written::Done(operation) = recorded else {
        return Ok(None);
    };
    if operation.pages_verified < operation.pages {
        return Ok(None);
    }
    tracing::info!(
        connection = %key, operation = %id, files = operation.verified, metric = "synced",
        "all listed files have arrived"
    );
    if operation.ends_in_a_scan(connection) {
        content_scan::schedule(connection, &operation.log, deps).await?;
    }
    match operation.kind {
        OperationKind::Resync | OperationKind::Audit => {
            let comparing = Operation {
                state: OperationState::Comparing,
                due_at: Some(deps.clock.now()),
                ..operation.clone()
            };
            record_progress(&operation, &comparing, deps).await
        }
        OperationKind::InitialSync
        | OperationKind::Delta
        | OperationKind::Leave
        | OperationKind::ContentScan => {
            let now = deps.clock.now();
            deps.store
                .finish_operation(&operation, OperationState::Done, now)
                .await?;
            Ok(None)
        }
    }
}

/// Requests a lookup of listed files whose records say that they are gone. They may have
/// disappeared since, or a mark that they were inaccessible may have been in flight when their
/// drive came back.
async fn request_lookups(
    operation: &Operation,
    gone: Vec<FileId>,
    deps: &Deps,
) -> Result<(), WorkError> {
    let lookup = |file| SnapshotMessage {
        key: operation.key.clone(),
        origin: Origin::Operation(operation.id.to_string()),
        file,
        at: operation.started_at,
        snapshot: None,
    };
    let lookups: Vec<SnapshotMessage> = gone.into_iter().map(lookup).collect();
    Ok(queue::send_snapshots(&deps.snapshots_bulk, &lookups).await?)
}
