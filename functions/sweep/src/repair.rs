//! What a comparison found is put right, through the same queue and the same merge as everything else.
//!
//! A file that was found gone is queued as a question: `apply-snapshots` asks Drive once more before it
//! writes a tombstone, since hours may have passed until a person confirmed.

use domain::{Drift, Observation, Snapshot};
use gate::{Pass, Question};
use runtime::{Cause, SnapshotMessage, queue};
use store::{Connection, DriftEntry, Finding, Operation, OperationState};

use crate::operations::moved;
use crate::verify::{is_refusal, next_page, not_verified, noted};
use crate::{Deps, Stopped, patience};

/// Queues the next page of what was found. `None` once all is, or where another sweep is at it.
pub(crate) async fn go_on(
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    let page = next_page(operation, deps).await?;
    let drive = deps.gate.pass(connection, patience(deps)).await?;
    let messages = messages(&page.items, operation, connection, &drive).await?;
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
    let after = if ended {
        noted(after, true, deps).await?
    } else {
        after
    };
    let after = moved(operation, &after, deps).await?;
    Ok(after.filter(|after| !after.has_ended()))
}

/// What is told of a page's files: a question of each that is gone, and of the others what Drive shows of them now.
/// Where it shows nothing any more, the log tells that too; where it refuses to, the next comparison finds it again.
async fn messages(
    page: &[DriftEntry],
    operation: &Operation,
    connection: &Connection,
    drive: &Pass,
) -> Result<Vec<SnapshotMessage>, Stopped> {
    let id = operation.id.to_string();
    let message = |entry: &DriftEntry, cause: Cause, snapshot: Option<Snapshot>| SnapshotMessage {
        key: operation.key.clone(),
        cause,
        file: entry.file.clone(),
        at: operation.started_at,
        snapshot,
    };
    let (mut messages, mut differing) = (Vec::with_capacity(page.len()), Vec::new());
    for entry in page {
        match &entry.finding {
            None | Some(Finding::Cleared) => {}
            Some(Finding::Drifted { drift, .. }) => match drift {
                Drift::MissingThere(_) => {
                    messages.push(message(entry, Cause::Run(id.clone()), None))
                }
                Drift::MissingHere | Drift::Stale(_) | Drift::Differing(_) => differing.push(entry),
            },
        }
    }
    let questions = differing.iter().map(|entry| Question {
        file: &entry.file,
        last_seen: None,
    });
    let questions: Vec<Question<'_>> = questions.collect();
    for (entry, looked) in differing.iter().zip(drive.look_at(&questions).await) {
        match looked.map(|seen| connection.scope.seen(seen)) {
            Ok(Observation::Present(snapshot)) => {
                messages.push(message(
                    entry,
                    Cause::Correction(id.clone()),
                    Some(snapshot),
                ));
            }
            Ok(Observation::Gone(_)) => {}
            Err(error) if is_refusal(&error) => not_verified(entry, operation, &error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(messages)
}
