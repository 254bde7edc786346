//! Repairs drift through the same queue and the same merge as every other change.
//!
//! A missing file is queued as a lookup request: `apply-snapshots` asks Drive once more before it
//! writes a tombstone, since hours may have passed until a person confirmed.

use domain::{Drift, Observation, Operation, Snapshot};
use store::{Connection, DriftEntry, Finding};
use throttle::{Lookup, ThrottledDrive};
use worker::{Origin, SnapshotMessage, WorkError, queue};

use crate::candidates::{self, is_refusal, log_unverified};
use crate::{Deps, inconsistencies, wait_budget};

/// Queues the page of findings at a position.
pub(crate) async fn repair_page(
    position: Option<String>,
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let page = candidates::page(position, operation, deps).await?;
    let drive = deps.drives.throttled(connection, wait_budget(deps)).await?;
    let messages = messages(&page.items, operation, connection, &drive).await?;
    queue::send_snapshots(&deps.snapshots_bulk, &messages).await?;
    let after = operation.on_repaired(page.next_cursor, deps.clock.now());
    if after.has_ended() {
        return inconsistencies::with_final_counts(after, true, deps).await;
    }
    Ok(after)
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
