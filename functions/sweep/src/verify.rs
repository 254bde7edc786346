//! Drive's word on each suspicion, before anything is written: is the file gone, does it really differ?
//!
//! A page of suspicions is asked about at once. The answers are written down one by one and counted page by
//! page, so that an operation that was cut off asks about no more than a page again, and its counts are exact.
//! Only then is it decided whether a person must be asked.

use std::collections::BTreeMap;

use domain::{Disposition, Drift, FileId, FileRecord, drift};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gate::{GateError, Pass, Question};
use runtime::telemetry;
use store::{
    Connection, DriftCounts, DriftEntry, Finding, Operation, OperationKind, OperationState, Page,
    PageRequest, Position, Suspicion,
};

use crate::operations::{moved, postpone};
use crate::{Deps, Stopped, examine, patience};

/// Entries that are dealt with before the progress is recorded.
const PAGE: u32 = 100;
/// Findings that are written down at a time.
const WRITES_AT_ONCE: usize = 16;
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
    let findings = examine(page.items, operation, connection, &drive, deps).await?;
    let counted = Operation {
        drift: count(operation.drift, &findings),
        position: page.next_cursor.clone(),
        due_at: Some(deps.clock.now()),
        ..operation.clone()
    };
    let after = if page.next_cursor.is_some() {
        counted
    } else {
        noted(decided(counted, connection, deps), false, deps).await?
    };
    let after = moved(operation, &after, deps).await?;
    Ok(after.filter(|after| !after.has_ended()))
}

/// With its flaws counted once more: that of its log's cursor is known only now.
pub(crate) async fn noted(
    operation: Operation,
    repaired: bool,
    deps: &Deps,
) -> Result<Operation, Stopped> {
    examine::note_cursor(&operation, repaired, deps).await?;
    let flaws = examine::counted(&operation, deps).await?;
    Ok(Operation { flaws, ..operation })
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

/// Settles the suspicions of a page that nobody has settled yet. Where an answer is still to come, those that
/// came are settled before it is said why.
async fn examine(
    page: Vec<DriftEntry>,
    operation: &Operation,
    connection: &Connection,
    drive: &Pass,
    deps: &Deps,
) -> Result<Vec<Option<Finding>>, Stopped> {
    let (settled, open): (Vec<_>, Vec<_>) =
        page.into_iter().partition(|entry| entry.finding.is_some());
    let mut findings: Vec<Option<Finding>> =
        settled.into_iter().map(|entry| entry.finding).collect();
    let records = load(&open, operation, deps).await?;
    let (arrived, suspected): (Vec<_>, Vec<_>) = open
        .into_iter()
        .partition(|entry| has_arrived(entry, records.get(&entry.file)));
    let looked = drive.look_at(&questions(&suspected, &records)).await;
    // Read after Drive was: a record that is older than its answer has missed something.
    let records = load(&suspected, operation, deps).await?;
    let arrived = arrived.into_iter().map(|entry| (entry, Finding::Cleared));
    let mut found: Vec<(DriftEntry, Finding)> = arrived.collect();
    let mut unanswered = None;
    for (entry, looked) in suspected.into_iter().zip(looked) {
        match looked {
            Ok(seen) => {
                let drift = drift(records.get(&entry.file), &connection.scope.seen(seen));
                found.push((entry, Finding::of(drift)));
            }
            // A refusal that says nothing of the file must not pass for a file that is gone, nor hold up
            // the others: the suspicion stays one, and the next comparison asks again.
            Err(error) if is_refusal(&error) => {
                not_verified(&entry, operation, &error);
                findings.push(None);
            }
            Err(error) => unanswered = unanswered.or(Some(error)),
        }
    }
    findings.extend(settle_all(found, operation, deps).await?);
    match unanswered {
        Some(error) => Err(error.into()),
        None => Ok(findings),
    }
}

/// The records of suspected files as they are now.
async fn load(
    entries: &[DriftEntry],
    operation: &Operation,
    deps: &Deps,
) -> Result<BTreeMap<FileId, FileRecord>, Stopped> {
    let files: Vec<FileId> = entries.iter().map(|entry| entry.file.clone()).collect();
    Ok(deps.store.load_files_now(&operation.key, &files).await?)
}

fn questions<'a>(
    entries: &'a [DriftEntry],
    records: &'a BTreeMap<FileId, FileRecord>,
) -> Vec<Question<'a>> {
    let question = |entry: &'a DriftEntry| Question {
        file: &entry.file,
        last_seen: records.get(&entry.file).map(|record| &record.mirror),
    };
    entries.iter().map(question).collect()
}

/// Whether Drive will not say more of the file however often it is asked.
pub(crate) fn is_refusal(error: &GateError) -> bool {
    match error {
        GateError::Drive(error) => matches!(error.disposition(), Disposition::Park { .. }),
        GateError::Held(_) | GateError::Store(_) => false,
    }
}

pub(crate) fn not_verified(entry: &DriftEntry, operation: &Operation, error: &GateError) {
    let error = telemetry::chain(error);
    tracing::warn!(operation = %operation.id, file = %entry.file, error, metric = "not_verified", "Drive does not say");
}

async fn settle_all(
    found: Vec<(DriftEntry, Finding)>,
    operation: &Operation,
    deps: &Deps,
) -> Result<Vec<Option<Finding>>, Stopped> {
    stream::iter(found)
        .map(async |(entry, finding)| settle(entry, finding, operation, deps).await)
        .buffer_unordered(WRITES_AT_ONCE)
        .try_collect()
        .await
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
fn has_arrived(entry: &DriftEntry, record: Option<&FileRecord>) -> bool {
    let present = record.filter(|record| record.is_present());
    match entry.suspicion {
        Suspicion::NotListed => present.is_none(),
        Suspicion::Newer(version) => present.is_some_and(|record| record.version >= version),
        Suspicion::Differs => false,
    }
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
