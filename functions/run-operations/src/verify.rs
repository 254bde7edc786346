//! Verifies each drift candidate in Drive before anything is changed: is the file gone, does it
//! really differ?
//!
//! A page of candidates is looked up at once. The findings are recorded one by one and counted page
//! by page, so that an interrupted operation repeats at most one page and its counts are exact.
//! Only then is it decided whether a person must confirm.

use std::collections::BTreeMap;

use domain::operation::LogRead;
use domain::{Drift, DriftCounts, FileId, FileRecord, Operation, drift};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use store::{CandidateReason, Connection, DriftEntry, Finding, LogPosition};
use throttle::{Lookup, ThrottledDrive};
use worker::WorkError;

use crate::candidates::{self, WRITES_AT_ONCE, is_refusal, log_unverified};
use crate::{Deps, inconsistencies, wait_budget};

/// Verifies the page of candidates at a position.
pub(crate) async fn verify_page(
    position: Option<String>,
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let page = candidates::page(position, operation, deps).await?;
    let drive = deps.drives.throttled(connection, wait_budget(deps)).await?;
    let findings = verify_candidates(page.items, operation, connection, &drive, deps).await?;
    let is_last = page.next_cursor.is_none();
    let (found, facts) = (count(&findings), connection.facts(&operation.id));
    let after = operation.on_verified(&found, page.next_cursor, &facts, deps.clock.now());
    if !is_last {
        return Ok(after);
    }
    log_outcome(&after, connection);
    inconsistencies::with_final_counts(after, false, deps).await
}

fn log_outcome(operation: &Operation, connection: &Connection) {
    let found = operation.form().comparison.counts;
    if operation.audit().is_some() {
        tracing::info!(
            connection = %operation.key, operation = %operation.id,
            dry_run = operation.is_dry_run(), drifted = found.drifted(),
            missing_here = found.missing_here, missing_there = found.missing_there,
            stale = found.stale, differing = found.differing, metric = "drift",
            "comparison finished"
        );
    }
    if operation.awaits_confirmation().is_some() {
        let limit = connection
            .removals_of(&operation.id)
            .limit_for(found.present);
        tracing::error!(
            connection = %operation.key, operation = %operation.id,
            would_remove = found.missing_there, held = found.present, limit,
            metric = "awaiting_confirmation",
            "operation exceeds the removal limit; awaiting confirmation or cancellation"
        );
    }
}

/// Returns whether the log was read to its end since the comparison and its snapshots have had time
/// to arrive, so that a remaining difference is not merely late. Otherwise wakes the log.
pub(crate) async fn is_log_read(operation: &Operation, deps: &Deps) -> Result<bool, WorkError> {
    let now = deps.clock.now();
    let (key, log) = (&operation.key, &operation.log);
    let read_at = deps.store.load_log(key, log).await?.and_then(|log| {
        let following = log.position == LogPosition::Following;
        log.listed_from.filter(|_| following)
    });
    match operation.log_was_read(read_at, now) {
        LogRead::Yes => Ok(true),
        LogRead::Arriving => Ok(false),
        LogRead::No => {
            deps.wakes.log(key, log, now).await?;
            Ok(false)
        }
    }
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

fn count(findings: &[Option<Finding>]) -> DriftCounts {
    let mut counts = DriftCounts::default();
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
