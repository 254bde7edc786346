//! Repairs drift through the same queue and the same merge as every other change.
//!
//! A missing file is queued as a lookup request: `apply-snapshots` asks Drive once more before it
//! writes a tombstone, since hours may have passed until a person confirmed.

use domain::{Drift, Observation, Snapshot};
use store::{Connection, DriftEntry, Finding, Operation, OperationState};
use throttle::{Lookup, ThrottledDrive};
use worker::{Origin, SnapshotMessage, queue};

use crate::operations::record_progress;
use crate::verify::{is_refusal, log_unverified, next_page, with_inconsistency_counts};
use crate::{Deps, WorkError, wait_budget};

/// Queues the next page of findings. Returns `None` when all are queued, or if another sweep is
/// processing the operation.
pub(crate) async fn repair_page(
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<Operation>, WorkError> {
    let page = next_page(operation, deps).await?;
    let drive = deps.drives.throttled(connection, wait_budget(deps)).await?;
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
        with_inconsistency_counts(after, true, deps).await?
    } else {
        after
    };
    let after = record_progress(operation, &after, deps).await?;
    Ok(after.filter(|after| !after.has_ended()))
}

/// Returns the messages for a page of findings: a lookup request for each missing file, and the
/// current snapshot from Drive for the others. A file that has disappeared meanwhile is reported by
/// the log; one that Drive refuses is found again by the next comparison.
async fn messages(
    page: &[DriftEntry],
    operation: &Operation,
    connection: &Connection,
    drive: &ThrottledDrive,
) -> Result<Vec<SnapshotMessage>, WorkError> {
    let id = operation.id.to_string();
    let message =
        |entry: &DriftEntry, origin: Origin, snapshot: Option<Snapshot>| SnapshotMessage {
            key: operation.key.clone(),
            origin,
            file: entry.file.clone(),
            at: operation.started_at,
            snapshot,
        };
    let (mut messages, mut differing) = (Vec::with_capacity(page.len()), Vec::new());
    for entry in page {
        match &entry.finding {
            None | Some(Finding::NoDrift) => {}
            Some(Finding::Drifted { drift, .. }) => match drift {
                Drift::MissingThere(_) => {
                    messages.push(message(entry, Origin::Operation(id.clone()), None))
                }
                Drift::MissingHere | Drift::Stale(_) | Drift::Differing(_) => differing.push(entry),
            },
        }
    }
    let lookups = differing.iter().map(|entry| Lookup {
        file: &entry.file,
        last_seen: None,
    });
    let lookups: Vec<Lookup<'_>> = lookups.collect();
    for (entry, result) in differing.iter().zip(drive.lookup_many(&lookups).await) {
        match result.map(|seen| connection.scope.restrict(seen)) {
            Ok(Observation::Present(snapshot)) => {
                messages.push(message(
                    entry,
                    Origin::Correction(id.clone()),
                    Some(snapshot),
                ));
            }
            Ok(Observation::Gone(_)) => {}
            Err(error) if is_refusal(&error) => log_unverified(entry, operation, &error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(messages)
}
