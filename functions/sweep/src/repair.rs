//! What a comparison found is put right, through the same queue and the same merge as everything else.
//!
//! A file that was found gone is queued as a question: `apply-snapshots` asks Drive once more before it
//! writes a tombstone, since hours may have passed until a person confirmed.

use domain::Drift;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gate::Pass;
use runtime::{Cause, SnapshotMessage, queue};
use store::{Connection, DriftEntry, Finding, Operation, OperationState};

use crate::operations::moved;
use crate::verify::{QUESTIONS_AT_ONCE, look_again, next_page};
use crate::{Deps, Stopped, patience};

/// Queues the next page of what was found. `None` once all is, or where another sweep is at it.
pub(crate) async fn go_on(
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    let page = next_page(operation, deps).await?;
    let drive = deps.gate.pass(connection, patience(deps)).await?;
    let messages: Vec<Option<SnapshotMessage>> = stream::iter(page.items)
        .map(async |entry| message(entry, operation, connection, &drive).await)
        .buffer_unordered(QUESTIONS_AT_ONCE)
        .try_collect()
        .await?;
    let messages: Vec<SnapshotMessage> = messages.into_iter().flatten().collect();
    queue::send_snapshots(&deps.snapshots_bulk, &messages).await?;
    let now = deps.clock.now();
    let ended = page.next_cursor.is_none();
    let after = Operation {
        state: if ended {
            OperationState::Done
        } else {
            OperationState::Repairing
        },
        position: page.next_cursor,
        finished_at: ended.then_some(now),
        due_at: (!ended).then_some(now),
        ..operation.clone()
    };
    let after = moved(operation, &after, deps).await?;
    Ok(after.filter(|after| !after.has_ended()))
}

async fn message(
    entry: DriftEntry,
    operation: &Operation,
    connection: &Connection,
    drive: &Pass,
) -> Result<Option<SnapshotMessage>, Stopped> {
    let Some(Finding::Drifted { drift, .. }) = &entry.finding else {
        return Ok(None);
    };
    let message = |cause, snapshot| SnapshotMessage {
        key: operation.key.clone(),
        cause,
        file: entry.file.clone(),
        at: operation.started_at,
        snapshot,
    };
    let id = operation.id.to_string();
    Ok(match drift {
        Drift::MissingThere(_) => Some(message(Cause::Run(id), None)),
        Drift::MissingHere | Drift::Stale(_) | Drift::Differing(_) => {
            let snapshot = look_again(&entry, connection, drive).await?;
            snapshot.map(|snapshot| message(Cause::Correction(id), Some(snapshot)))
        }
    })
}
