//! The second listing of a log's files, in another order, of their ids and versions alone.
//!
//! Drive may omit files from a listing without saying so, and hardly the same ones on another way
//! through its index. A file without a record, or whose record is of an earlier version, is a
//! candidate like every other difference: Drive is asked about it before anything is done. A file
//! that is stored costs one read of its record.

use std::ops::ControlFlow;

use domain::operation::ListedPage;
use domain::rate_limit::CallKind;
use domain::{FileId, Operation};
use drive::{ListedId, Scope};
use store::{CandidateReason, Connection, DriftEntry, LogPosition, Written};
use worker::WorkError;

use crate::list_page::{drives_with_own_log, or_restart, record};
use crate::{Deps, candidates, wait_budget};

/// Lists the page at a token, and records it.
pub(crate) async fn look_again(
    token: Option<&str>,
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Written<Operation>, WorkError> {
    let logs = deps.store.list_logs(&operation.key).await?;
    let own_log = logs.iter().find(|log| log.log == operation.log);
    if own_log.is_none_or(|log| matches!(log.position, LogPosition::Left { .. })) {
        let failed = operation.failed("the log is no longer followed", deps.clock.now());
        return Ok(deps.store.advance_operation(operation, &failed).await?);
    }
    let drive = deps.drives.throttled(connection, wait_budget(deps)).await?;
    let scope = Scope::from(&operation.log);
    let list = drive.client().list_file_ids(&scope, token);
    let listed = drive.call(CallKind::List, list).await;
    let page = match or_restart(listed, token, operation, deps).await? {
        ControlFlow::Continue(page) => page,
        ControlFlow::Break(restarted) => return Ok(restarted),
    };
    let ids: Vec<FileId> = page.files.iter().map(|entry| entry.file.clone()).collect();
    let others = drives_with_own_log(operation, logs);
    let own = page
        .files
        .iter()
        .filter(|entry| !others.contains(&entry.log));
    let newer = newer_than_stored(own.collect(), operation, deps).await?;
    candidates::record(operation, newer.into_iter(), deps).await?;
    let listed = ListedPage {
        files: u64::try_from(ids.len()).unwrap_or(u64::MAX),
        entries: page.entries_hash(),
        next: page.next.as_deref(),
        incomplete: page.incomplete,
    };
    record(operation, &listed, &ids, deps).await
}

/// Returns those of the listed files of which no record has this version, nor a dead letter is
/// waiting.
async fn newer_than_stored(
    listed: Vec<&ListedId>,
    operation: &Operation,
    deps: &Deps,
) -> Result<Vec<DriftEntry>, WorkError> {
    let files: Vec<FileId> = listed.iter().map(|entry| entry.file.clone()).collect();
    let key = &operation.key;
    let records = deps.store.load_files(key, &files).await?;
    let is_stored = |entry: &ListedId| {
        let record = records.get(&entry.file);
        record.is_some_and(|record| record.is_present() && record.version >= entry.version)
    };
    let newer: Vec<&ListedId> = listed.into_iter().filter(|id| !is_stored(id)).collect();
    let files: Vec<FileId> = newer.iter().map(|entry| entry.file.clone()).collect();
    let dead = deps.store.files_with_dead_letters(key, &files).await?;
    let newer = newer.into_iter().filter(|id| !dead.contains(&id.file));
    Ok(newer.map(candidate).collect())
}

fn candidate(entry: &ListedId) -> DriftEntry {
    DriftEntry {
        file: entry.file.clone(),
        name: entry.name.clone(),
        reason: CandidateReason::Newer(entry.version),
        finding: None,
    }
}
