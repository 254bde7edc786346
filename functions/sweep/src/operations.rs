//! Operations, step by step: do our own items fit together, has everything arrived that was listed, what of ours was not listed, what does
//! Drive say of it, must a person be asked, and what is to be put right?
//!
//! Each step records how far it came in the operation's own item, so that whatever is interrupted goes on
//! from there, and a step that is done twice does the same.

use domain::{ConnectionKey, FileId, OperationId, Timestamp};
use runtime::{Cause, Deadline, SnapshotMessage, queue};
use store::{
    Connection, ConnectionState, Operation, OperationKind, OperationState, Verified, Written,
};

use crate::verify::REMIND_MILLIS;
use crate::{Deps, Stopped, audit, compare, examine, leaving, mirroring, repair, verify};

/// A listing that has not arrived whole is looked at again after this, in milliseconds.
const AGAIN_MILLIS: i64 = 1_000;
/// What one operation may take of one sweep, in milliseconds.
const SLICE_MILLIS: i64 = 10_000;
/// An operation of a connection that is not active is looked at again after this, in milliseconds.
pub(crate) const INACTIVE_MILLIS: i64 = 60_000;
/// How long a person may take to confirm, in milliseconds: what was found is kept for longer.
const CONFIRM_MILLIS: i64 = 60 * 24 * 3_600_000;

/// Takes an operation as far as it goes now.
pub(crate) async fn look_at(
    key: &ConnectionKey,
    id: &OperationId,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), Stopped> {
    let now = deps.clock.now();
    let found = deps.store.load_operation(key, id).await?;
    let due = |operation: &Operation| operation.due_at.is_some_and(|at| at <= now);
    let Some(mut operation) = found.filter(due) else {
        return Ok(());
    };
    let Some(connection) = deps.store.load_connection(key).await? else {
        return fail(&operation, "the connection was deleted", deps).await;
    };
    // One operation must not take the whole sweep.
    let slice = Deadline(now.plus_millis(SLICE_MILLIS).min(deadline.0));
    while let Some(next) = step(&operation, &connection, slice, deps).await? {
        operation = next;
        if slice.passed(deps.clock.now()) {
            tracing::info!(%operation.id, metric = "operation_unfinished", "goes on at the next sweep");
            return Ok(());
        }
    }
    Ok(())
}

/// The next step of an operation. `None` where it has to wait, has ended, or another sweep is at it.
async fn step(
    operation: &Operation,
    connection: &Connection,
    slice: Deadline,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    match operation.state {
        OperationState::Listed => match operation.kind {
            OperationKind::InitialSync | OperationKind::Delta | OperationKind::Resync => {
                arrival(operation, connection, slice, deps).await
            }
            OperationKind::Audit => {
                let comparing = Operation {
                    state: OperationState::Comparing,
                    ..operation.clone()
                };
                moved(operation, &comparing, deps).await
            }
            OperationKind::Leave => {
                leaving::look_at(operation, slice, deps).await?;
                Ok(None)
            }
            OperationKind::Mirror => mirroring::go_on(operation, connection, deps).await,
        },
        OperationState::Comparing => compare::go_on(operation, slice, deps).await,
        OperationState::AwaitingConfirmation { since } => remind(operation, since, deps).await,
        OperationState::Examining
        | OperationState::Listing
        | OperationState::Verifying
        | OperationState::Repairing
            if connection.state != ConnectionState::Active =>
        {
            let again = deps.clock.now().plus_millis(INACTIVE_MILLIS);
            postpone(operation, again, deps).await
        }
        // On the heap, like its parts: the stack of whoever sweeps bears only so much.
        OperationState::Examining => Box::pin(examine::go_on(operation, connection, deps)).await,
        OperationState::Listing if operation.kind == OperationKind::Audit => {
            audit::list_page(operation, connection, deps).await
        }
        OperationState::Verifying => verify::go_on(operation, connection, deps).await,
        OperationState::Repairing => repair::go_on(operation, connection, deps).await,
        // All other listings are driven by what reads the log.
        OperationState::Listing
        | OperationState::Done
        | OperationState::Cancelled
        | OperationState::Failed { .. } => Ok(None),
    }
}

/// Writes an operation's next state, if nobody else moved it: `None` where another sweep is at it.
pub(crate) async fn moved(
    before: &Operation,
    after: &Operation,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    match deps.store.move_operation(before, after).await? {
        Written::Done(after) => Ok(Some(after)),
        Written::Stale(_) => Ok(None),
    }
}

/// Leaves an operation until then.
pub(crate) async fn postpone(
    operation: &Operation,
    to: Timestamp,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    let later = Operation {
        due_at: Some(to),
        ..operation.clone()
    };
    moved(operation, &later, deps).await?;
    Ok(None)
}

async fn fail(operation: &Operation, reason: &str, deps: &Deps) -> Result<(), Stopped> {
    let reason = reason.to_owned();
    let end = OperationState::Failed { reason };
    let now = deps.clock.now();
    deps.store.finish_operation(operation, end, now).await?;
    Ok(())
}

/// Says again that a person must confirm, for the alarm; after weeks nobody will, and nothing was changed.
async fn remind(
    operation: &Operation,
    since: Timestamp,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    let now = deps.clock.now();
    if now.millis_since(since) > CONFIRM_MILLIS {
        fail(operation, "nobody confirmed it", deps).await?;
        return Ok(None);
    }
    tracing::error!(
        connection = %operation.key, operation = %operation.id, would_remove = operation.drift.missing_there,
        metric = "awaiting_confirmation", "a person must confirm it, or cancel"
    );
    postpone(operation, now.plus_millis(REMIND_MILLIS), deps).await
}

/// Has everything arrived that was listed, from where the last check got to: every id of each page has a
/// record, or is parked with a reason.
async fn arrival(
    operation: &Operation,
    connection: &Connection,
    slice: Deadline,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    let (key, id) = (&operation.key, &operation.id);
    let mut progress = Verified {
        pages_verified: operation.pages_verified,
        verified: operation.verified,
        errors: operation.errors,
        progressed_at: operation.progressed_at,
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
        ask_again(operation, arrival.gone, deps).await?;
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
    tracing::info!(connection = %key, operation = %id, files = operation.verified, metric = "synced", "all that was listed has arrived");
    if operation.ends_in_a_walk(connection) {
        mirroring::ensure(connection, &operation.log, deps).await?;
    }
    match operation.kind {
        OperationKind::Resync | OperationKind::Audit => {
            let comparing = Operation {
                state: OperationState::Comparing,
                due_at: Some(deps.clock.now()),
                ..operation.clone()
            };
            moved(&operation, &comparing, deps).await
        }
        OperationKind::InitialSync
        | OperationKind::Delta
        | OperationKind::Leave
        | OperationKind::Mirror => {
            let now = deps.clock.now();
            deps.store
                .finish_operation(&operation, OperationState::Done, now)
                .await?;
            Ok(None)
        }
    }
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
