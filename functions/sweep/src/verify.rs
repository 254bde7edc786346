//! Drive's word on each suspicion, before anything is written: is the file gone, does it really differ?
//!
//! The answers are written down one by one and counted page by page, so that an operation that was cut off
//! asks nobody twice, and its counts are exact. Only then is it decided whether a person must be asked.

use domain::pace::CallKind;
use domain::{Disposition, Drift, Observation, drift};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gate::{GateError, Pass};
use store::{
    Connection, DriftCounts, DriftEntry, Finding, Operation, OperationKind, OperationState, Page,
    PageRequest, Position, Suspicion,
};

use crate::operations::{moved, postpone};
use crate::{Deps, Stopped, patience};

/// Entries that are dealt with before the progress is recorded.
const PAGE: u32 = 100;
/// Questions to Drive on their way at a time.
pub(crate) const QUESTIONS_AT_ONCE: usize = 8;
/// After the log was read to its end, what it told may still be on its way for so long, in milliseconds.
const ON_ITS_WAY_MILLIS: i64 = 2_000;
/// An audit that waits for its log looks again after this, in milliseconds.
const LOG_AGAIN_MILLIS: i64 = 1_000;
/// A person is reminded this often, in milliseconds: the alarm watches what is logged then.
pub(crate) const REMIND_MILLIS: i64 = 5 * 60_000;

/// Looks at the next page of suspicions. `None` where it has to wait, or another sweep is at it.
pub(crate) async fn go_on(
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    if operation.kind == OperationKind::Audit && !log_is_read(operation, deps).await? {
        let again = deps.clock.now().plus_millis(LOG_AGAIN_MILLIS);
        return postpone(operation, again, deps).await;
    }
    let page = next_page(operation, deps).await?;
    let drive = deps.gate.pass(connection, patience(deps)).await?;
    let findings: Vec<Option<Finding>> = stream::iter(page.items)
        .map(async |entry| examine(entry, operation, connection, &drive, deps).await)
        .buffer_unordered(QUESTIONS_AT_ONCE)
        .try_collect()
        .await?;
    let counted = Operation {
        drift: count(operation.drift, &findings),
        position: page.next_cursor.clone(),
        due_at: Some(deps.clock.now()),
        ..operation.clone()
    };
    let after = if page.next_cursor.is_some() {
        counted
    } else {
        decided(counted, connection, deps)
    };
    let after = moved(operation, &after, deps).await?;
    Ok(after.filter(|after| !after.has_ended()))
}

/// What the comparison found, from where the operation has got to.
pub(crate) async fn next_page(
    operation: &Operation,
    deps: &Deps,
) -> Result<Page<DriftEntry>, Stopped> {
    let page = PageRequest {
        limit: PAGE,
        cursor: operation.position.clone(),
    };
    let (key, id) = (&operation.key, &operation.id);
    Ok(deps.store.list_drift(key, id, &page).await?)
}

/// Whether the log was read to its end since everything was compared, and what it told has had time to
/// arrive: what differs now is not merely late. Wakes the log otherwise.
async fn log_is_read(operation: &Operation, deps: &Deps) -> Result<bool, Stopped> {
    let now = deps.clock.now();
    let (key, log) = (&operation.key, &operation.log);
    let read = deps.store.load_log(key, log).await?.and_then(|log| {
        let following = log.position == Position::Following;
        log.listed_from.filter(|_| following)
    });
    let read = read.filter(|read| operation.compared_at.is_none_or(|at| *read > at));
    if read.is_none() {
        deps.wakes.log(key, log, now).await?;
    }
    Ok(read.is_some_and(|read| read.plus_millis(ON_ITS_WAY_MILLIS) <= now))
}

/// Settles one suspicion, if nobody has.
async fn examine(
    entry: DriftEntry,
    operation: &Operation,
    connection: &Connection,
    drive: &Pass,
    deps: &Deps,
) -> Result<Option<Finding>, Stopped> {
    if entry.finding.is_some() {
        return Ok(entry.finding);
    }
    let finding = if has_arrived(&entry, operation, deps).await? {
        Finding::Cleared
    } else {
        let seen = match drive
            .call(CallKind::Read, drive.drive().look(&entry.file))
            .await
        {
            Ok(seen) => {
                told_apart(connection.scope.seen(seen), &entry, operation, drive, deps).await?
            }
            // A refusal that says nothing of the file must not pass for a file that is gone, nor hold up
            // the others: the suspicion stays one, and the next comparison asks again.
            Err(GateError::Drive(error))
                if matches!(error.disposition(), Disposition::Park { .. }) =>
            {
                tracing::warn!(operation = %operation.id, file = %entry.file, %error, metric = "not_verified", "Drive does not say");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        // Read after Drive was: a record that is older than this answer has missed something.
        let record = deps.store.load_file(&operation.key, &entry.file).await?;
        Finding::of(drift(record.as_ref(), &seen))
    };
    settle(entry, finding, operation, deps).await
}

/// A file that was deleted, told from one in a shared drive that is out of reach: Drive answers 404 to both.
async fn told_apart(
    seen: Observation,
    entry: &DriftEntry,
    operation: &Operation,
    drive: &Pass,
    deps: &Deps,
) -> Result<Observation, Stopped> {
    let Observation::Gone(gone) = seen else {
        return Ok(seen);
    };
    let key = &operation.key;
    let Some(record) = deps.store.load_file(key, &entry.file).await? else {
        return Ok(seen);
    };
    let told = gate::told_apart::<Stopped>(gone, &record.mirror, key, drive, &deps.store);
    Ok(Observation::Gone(told.await?))
}

async fn settle(
    entry: DriftEntry,
    finding: Finding,
    operation: &Operation,
    deps: &Deps,
) -> Result<Option<Finding>, Stopped> {
    let settled = DriftEntry {
        finding: Some(finding),
        ..entry
    };
    Ok(deps.store.settle(operation, &settled).await?)
}

/// Whether our record has caught up by itself since it was suspected, so that Drive need not be asked.
async fn has_arrived(
    entry: &DriftEntry,
    operation: &Operation,
    deps: &Deps,
) -> Result<bool, Stopped> {
    let record = deps.store.load_file(&operation.key, &entry.file).await?;
    let present = record.filter(|record| record.is_present());
    Ok(match entry.suspicion {
        Suspicion::NotListed => present.is_none(),
        Suspicion::Newer(version) => present.is_some_and(|record| record.version >= version),
        Suspicion::Differs => false,
    })
}

fn count(before: DriftCounts, findings: &[Option<Finding>]) -> DriftCounts {
    let mut counts = before;
    for finding in findings.iter().flatten() {
        match finding {
            Finding::Cleared => {}
            Finding::Drifted { drift, .. } => match drift {
                Drift::MissingHere => counts.missing_here += 1,
                Drift::MissingThere(_) => counts.missing_there += 1,
                Drift::Stale(_) => counts.stale += 1,
                Drift::Differing(_) => counts.differing += 1,
            },
        }
    }
    counts
}

/// What becomes of an operation of which everything is known.
fn decided(operation: Operation, connection: &Connection, deps: &Deps) -> Operation {
    let now = deps.clock.now();
    let found = operation.drift;
    let limit = connection.removals.of(found.held);
    let drifted = found.missing_here + found.missing_there + found.stale + found.differing;
    if operation.kind == OperationKind::Audit {
        tracing::info!(
            connection = %operation.key, operation = %operation.id, dry_run = operation.dry_run, drifted,
            missing_here = found.missing_here, missing_there = found.missing_there, stale = found.stale,
            differing = found.differing, metric = "drift", "compared"
        );
    }
    if operation.dry_run || drifted == 0 {
        return Operation {
            state: OperationState::Done,
            finished_at: Some(now),
            due_at: None,
            ..operation
        };
    }
    if operation.must_be_confirmed(connection) {
        tracing::error!(
            connection = %operation.key, operation = %operation.id, would_remove = found.missing_there, held = found.held,
            limit, metric = "awaiting_confirmation", "would remove more than it may: a person must confirm it, or cancel"
        );
        return Operation {
            state: OperationState::AwaitingConfirmation { since: now },
            due_at: Some(now.plus_millis(REMIND_MILLIS)),
            ..operation
        };
    }
    Operation {
        state: OperationState::Repairing,
        ..operation
    }
}

/// What a repair tells of a file, once more from Drive: `None` where nothing is there any more, which the
/// log tells too.
pub(crate) async fn look_again(
    entry: &DriftEntry,
    connection: &Connection,
    drive: &Pass,
) -> Result<Option<domain::Snapshot>, Stopped> {
    match connection.scope.seen(
        drive
            .call(CallKind::Read, drive.drive().look(&entry.file))
            .await?,
    ) {
        Observation::Present(snapshot) => Ok(Some(snapshot)),
        Observation::Gone(_) => Ok(None),
    }
}
