//! Verifies each drift candidate in Drive before anything is changed: is the file gone, does it
//! really differ?
//!
//! A page of candidates is looked up at once. The findings are recorded one by one and counted page
//! by page, so that an interrupted operation repeats at most one page and its counts are exact.
//! Only then is it decided whether a person must confirm.

use std::collections::BTreeMap;

use domain::{Disposition, Drift, FileId, FileRecord, drift};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use runtime::telemetry;
use store::{
    CandidateReason, Connection, DriftCounts, DriftEntry, Finding, LogPosition, Operation,
    OperationKind, OperationState, Page, PageRequest,
};
use throttle::{CallError, Lookup, ThrottledDrive};

use crate::operations::{postpone, record_progress};
use crate::{Deps, WorkError, self_check, wait_budget};

/// The number of candidates between two records of the progress.
const PAGE: u32 = 100;
/// The number of findings that are recorded concurrently.
const WRITES_AT_ONCE: usize = 16;
/// The time that snapshots may need to arrive after the log was read to its end, in milliseconds.
const ARRIVAL_MILLIS: i64 = 2_000;
/// The delay before an audit checks its log again, in milliseconds.
const LOG_RETRY_MILLIS: i64 = 1_000;
/// The interval of reminders that a person must confirm, in milliseconds. The alarm watches the log
/// line.
pub(crate) const REMIND_MILLIS: i64 = 5 * 60_000;

/// Verifies the next page of candidates. Returns `None` if it has to wait, or if another sweep is
/// processing the operation.
pub(crate) async fn verify_page(
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<Operation>, WorkError> {
    if operation.kind == OperationKind::Audit && !log_is_read(operation, deps).await? {
        let until = deps.clock.now().plus_millis(LOG_RETRY_MILLIS);
        return postpone(operation, until, deps).await;
    }
    let page = next_page(operation, deps).await?;
    let drive = deps.drives.throttled(connection, wait_budget(deps)).await?;
    let findings = verify_candidates(page.items, operation, connection, &drive, deps).await?;
    let counted = Operation {
        drift: count(operation.drift, &findings),
        position: page.next_cursor.clone(),
        due_at: Some(deps.clock.now()),
        ..operation.clone()
    };
    let after = if page.next_cursor.is_some() {
        counted
    } else {
        with_inconsistency_counts(next_state(counted, connection, deps), false, deps).await?
    };
    let after = record_progress(operation, &after, deps).await?;
    Ok(after.filter(|after| !after.has_ended()))
}

/// Adds the final counts of inconsistencies: that of the log's cursor is known only now.
pub(crate) async fn with_inconsistency_counts(
    operation: Operation,
    repaired: bool,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    self_check::record_cursor_ahead(&operation, repaired, deps).await?;
    let inconsistencies = self_check::count_inconsistencies(&operation, deps).await?;
    Ok(Operation {
        inconsistencies,
        ..operation
    })
}

/// Returns the next page of what the comparison found.
pub(crate) async fn next_page(
    operation: &Operation,
    deps: &Deps,
) -> Result<Page<DriftEntry>, WorkError> {
    let page = PageRequest {
        limit: PAGE,
        cursor: operation.position.clone(),
    };
    let (key, id) = (&operation.key, &operation.id);
    Ok(deps.store.list_drift(key, id, &page).await?)
}

/// Returns whether the log was read to its end since the comparison and its snapshots have had time
/// to arrive, so that a remaining difference is not merely late. Otherwise wakes the log.
async fn log_is_read(operation: &Operation, deps: &Deps) -> Result<bool, WorkError> {
    let now = deps.clock.now();
    let (key, log) = (&operation.key, &operation.log);
    let read = deps.store.load_log(key, log).await?.and_then(|log| {
        let following = log.position == LogPosition::Following;
        log.listed_from.filter(|_| following)
    });
    let read = read.filter(|read| operation.compared_at.is_none_or(|at| *read > at));
    if read.is_none() {
        deps.wakes.log(key, log, now).await?;
    }
    Ok(read.is_some_and(|read| read.plus_millis(ARRIVAL_MILLIS) <= now))
}

/// Verifies the candidates of a page that have no finding yet. If some lookups fail, the findings
/// of the others are recorded before the error is returned.
async fn verify_candidates(
    page: Vec<DriftEntry>,
    operation: &Operation,
    connection: &Connection,
    drive: &ThrottledDrive,
    deps: &Deps,
) -> Result<Vec<Option<Finding>>, WorkError> {
    let (verified, open): (Vec<_>, Vec<_>) =
        page.into_iter().partition(|entry| entry.finding.is_some());
    let mut findings: Vec<Option<Finding>> =
        verified.into_iter().map(|entry| entry.finding).collect();
    let records = load(&open, operation, deps).await?;
    let (arrived, candidates): (Vec<_>, Vec<_>) = open
        .into_iter()
        .partition(|entry| has_arrived(entry, records.get(&entry.file)));
    let results = drive.lookup_many(&lookups(&candidates, &records)).await;
    // Read after Drive: a record older than Drive's answer has missed something.
    let records = load(&candidates, operation, deps).await?;
    let arrived = arrived.into_iter().map(|entry| (entry, Finding::NoDrift));
    let mut found: Vec<(DriftEntry, Finding)> = arrived.collect();
    let mut unanswered = None;
    for (entry, result) in candidates.into_iter().zip(results) {
        match result {
            Ok(seen) => {
                let drift = drift(records.get(&entry.file), &connection.scope.restrict(seen));
                found.push((entry, Finding::of(drift)));
            }
            // A refusal unrelated to the file's existence must not count as a missing file nor
            // block the others: the candidate remains, and the next comparison checks it again.
            Err(error) if is_refusal(&error) => {
                log_unverified(&entry, operation, &error);
                findings.push(None);
            }
            Err(error) => unanswered = unanswered.or(Some(error)),
        }
    }
    findings.extend(record_findings(found, operation, deps).await?);
    match unanswered {
        Some(error) => Err(error.into()),
        None => Ok(findings),
    }
}

/// Loads the current records of candidates.
async fn load(
    entries: &[DriftEntry],
    operation: &Operation,
    deps: &Deps,
) -> Result<BTreeMap<FileId, FileRecord>, WorkError> {
    let files: Vec<FileId> = entries.iter().map(|entry| entry.file.clone()).collect();
    Ok(deps
        .store
        .load_files_consistent(&operation.key, &files)
        .await?)
}

fn lookups<'a>(
    entries: &'a [DriftEntry],
    records: &'a BTreeMap<FileId, FileRecord>,
) -> Vec<Lookup<'a>> {
    let lookup = |entry: &'a DriftEntry| Lookup {
        file: &entry.file,
        last_seen: records.get(&entry.file).map(|record| &record.metadata),
    };
    entries.iter().map(lookup).collect()
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

async fn record_findings(
    found: Vec<(DriftEntry, Finding)>,
    operation: &Operation,
    deps: &Deps,
) -> Result<Vec<Option<Finding>>, WorkError> {
    stream::iter(found)
        .map(async |(entry, finding)| record_finding(entry, finding, operation, deps).await)
        .buffer_unordered(WRITES_AT_ONCE)
        .try_collect()
        .await
}

async fn record_finding(
    entry: DriftEntry,
    finding: Finding,
    operation: &Operation,
    deps: &Deps,
) -> Result<Option<Finding>, WorkError> {
    let verified = DriftEntry {
        finding: Some(finding),
        ..entry
    };
    Ok(deps.store.record_finding(operation, &verified).await?)
}

/// Returns whether the record has caught up since the comparison, so that no lookup is needed.
fn has_arrived(entry: &DriftEntry, record: Option<&FileRecord>) -> bool {
    let present = record.filter(|record| record.is_present());
    match entry.reason {
        CandidateReason::NotListed => present.is_none(),
        CandidateReason::Newer(version) => present.is_some_and(|record| record.version >= version),
        CandidateReason::Differs => false,
    }
}

fn count(before: DriftCounts, findings: &[Option<Finding>]) -> DriftCounts {
    let mut counts = before;
    for finding in findings.iter().flatten() {
        match finding {
            Finding::NoDrift => {}
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

/// Returns the next state of a fully verified operation.
fn next_state(operation: Operation, connection: &Connection, deps: &Deps) -> Operation {
    let now = deps.clock.now();
    let found = operation.drift;
    let limit = connection.removals.limit_for(found.present);
    let drifted = found.missing_here + found.missing_there + found.stale + found.differing;
    if operation.kind == OperationKind::Audit {
        tracing::info!(
            connection = %operation.key, operation = %operation.id, dry_run = operation.dry_run,
            drifted, missing_here = found.missing_here, missing_there = found.missing_there,
            stale = found.stale, differing = found.differing, metric = "drift",
            "comparison finished"
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
            connection = %operation.key, operation = %operation.id,
            would_remove = found.missing_there, held = found.present, limit,
            metric = "awaiting_confirmation",
            "operation exceeds the removal limit; awaiting confirmation or cancellation"
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
