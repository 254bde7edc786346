//! The second listing of a log's files, in another order, of their ids alone.
//!
//! Drive may omit files from a listing without saying so, and hardly the same ones on another way
//! through its index. An id without a record is a candidate like every other difference: Drive is
//! asked about it before anything is done. A file that is stored costs one read of its record.

use std::collections::BTreeSet;

use domain::operation::ListedPage;
use domain::rate_limit::CallKind;
use domain::{DriveVersion, FileId, Operation};
use drive::{Kind, ListedId, Scope};
use store::{CandidateReason, Connection, DriftEntry, LogPosition, Written};
use throttle::CallError;
use worker::WorkError;

use crate::list_page::{drives_with_own_log, log_stop, record};
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
    let page = match drive.call(CallKind::List, list).await {
        Ok(page) => page,
        // A page token expires within hours: "if rejected, restart from the first page".
        Err(CallError::Drive(error)) if *error.kind() == Kind::CursorLost && token.is_some() => {
            let jitter = deps.entropy.jitter();
            let restarted = operation.on_token_lost(deps.clock.now(), jitter);
            log_stop(&restarted);
            return Ok(deps.store.advance_operation(operation, &restarted).await?);
        }
        Err(error) => return Err(error.into()),
    };
    let ids: Vec<FileId> = page.files.iter().map(|entry| entry.file.clone()).collect();
    let others = drives_with_own_log(operation, logs);
    let own = page
        .files
        .iter()
        .filter(|entry| !others.contains(&entry.log))
        .collect::<Vec<_>>();
    let own_ids: Vec<FileId> = own.iter().map(|entry| entry.file.clone()).collect();
    let arrival = deps.store.check_arrival(&operation.key, &own_ids).await?;
    let missing: BTreeSet<FileId> = arrival.missing.into_iter().chain(arrival.gone).collect();
    let unknown = own.iter().filter(|entry| missing.contains(&entry.file));
    let unknown: Vec<DriftEntry> = unknown.map(|entry| not_stored(entry)).collect();
    candidates::record(operation, unknown.into_iter(), deps).await?;
    let listed = ListedPage {
        files: u64::try_from(ids.len()).unwrap_or(u64::MAX),
        entries: page.entries_hash(),
        next: page.next.as_deref(),
        incomplete: page.incomplete,
    };
    record(operation, &listed, &ids, deps).await
}

fn not_stored(entry: &ListedId) -> DriftEntry {
    DriftEntry {
        file: entry.file.clone(),
        name: entry.name.clone(),
        // Any version that is stored by the time of the lookup has arrived since.
        reason: CandidateReason::Newer(DriveVersion(0)),
        finding: None,
    }
}
