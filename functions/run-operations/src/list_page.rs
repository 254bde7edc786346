//! Lists Drive for an audit: like a first sync, except that nothing is queued and the cursor is not
//! moved. Listed files are compared with the stored records at once; apparent differences are
//! verified later.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use domain::operation::ListedPage;
use domain::rate_limit::CallKind;
use domain::{
    Drift, Field, FileId, FileRecord, LogId, Observation, Operation, Snapshot, Value, drift,
};
use drive::{Kind, Listed, Scope};
use store::{CandidateReason, Connection, DriftEntry, Log, LogPosition, Written};
use throttle::CallError;
use worker::WorkError;

use crate::compare::name;
use crate::self_check::SelfCheck;
use crate::{Deps, candidates, wait_budget};

/// Lists the page at a token, and records it.
pub(crate) async fn list_page(
    token: Option<&str>,
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Written<Operation>, WorkError> {
    let drive = deps.drives.throttled(connection, wait_budget(deps)).await?;
    let scope = Scope::from(&operation.log);
    let list = drive.client().list_files(&scope, token);
    let listed = drive.call(CallKind::List, list).await;
    let page = match or_restart(listed, token, operation, deps).await? {
        ControlFlow::Continue(page) => page,
        ControlFlow::Break(restarted) => return Ok(restarted),
    };
    let entries = page.entries_hash();
    let mut ids: Vec<FileId> = Vec::with_capacity(page.files.len());
    let mut seen: Vec<Snapshot> = Vec::with_capacity(page.files.len());
    for entry in page.files {
        match entry {
            Listed::Present(snapshot) => {
                ids.push(snapshot.file.clone());
                seen.push(snapshot);
            }
            // Reading the log stores dead letters for unreadable entries; here such a file is only
            // counted as present.
            Listed::Unreadable(unreadable) => ids.extend(unreadable.file),
        }
    }
    let indexed = deps
        .store
        .load_files_with_index_state(&operation.key, &ids)
        .await?;
    let logs = deps
        .store
        .list_logs_with_index_state(&operation.key)
        .await?;
    // A record that no index lists is found only when Drive lists its file.
    let self_check = SelfCheck::new(operation, connection, &logs, deps);
    Box::pin(self_check.check_listed_files(&indexed)).await?;
    let records = indexed
        .into_iter()
        .map(|indexed| (indexed.value.file.clone(), indexed.value));
    let records: BTreeMap<FileId, FileRecord> = records.collect();
    let logs = logs.into_iter().map(|indexed| indexed.value).collect();
    let others = drives_with_own_log(operation, logs);
    let own = seen.into_iter();
    let own = own.filter(|snapshot| !others.contains(&snapshot.metadata.log()));
    let candidates = own.filter_map(|snapshot| {
        let record = records.get(&snapshot.file);
        let (file, version) = (snapshot.file.clone(), snapshot.version);
        let known_as = record.map_or_else(|| listed_name(&snapshot), name);
        let reason = match drift(record, &Observation::Present(snapshot))? {
            Drift::MissingHere | Drift::Stale(_) => CandidateReason::Newer(version),
            Drift::Differing(_) => CandidateReason::Differs,
            Drift::MissingThere(_) => return None,
        };
        Some(DriftEntry {
            file,
            name: known_as,
            reason,
            finding: None,
        })
    });
    candidates::record(operation, candidates, deps).await?;
    let listed = ListedPage {
        files: u64::try_from(ids.len()).unwrap_or(u64::MAX),
        entries,
        next: page.next.as_deref(),
        incomplete: page.incomplete,
    };
    record(operation, &listed, &ids, deps).await
}

/// Returns the page that Drive listed. If Drive no longer knows the token, the listing begins anew:
/// breaks with the operation after that. A page token expires within hours: "if rejected, restart
/// from the first page".
pub(crate) async fn or_restart<T>(
    listed: Result<T, CallError>,
    token: Option<&str>,
    operation: &Operation,
    deps: &Deps,
) -> Result<ControlFlow<Written<Operation>, T>, WorkError> {
    match listed {
        Ok(page) => Ok(ControlFlow::Continue(page)),
        Err(CallError::Drive(error)) if *error.kind() == Kind::CursorLost && token.is_some() => {
            let restarted = operation.on_token_lost(deps.clock.now(), deps.entropy.jitter());
            log_stop(&restarted);
            let restarted = deps.store.advance_operation(operation, &restarted).await?;
            Ok(ControlFlow::Break(restarted))
        }
        Err(error) => Err(error.into()),
    }
}

/// Records a page of a listing, or that the listing stops at it.
pub(crate) async fn record(
    operation: &Operation,
    page: &ListedPage<'_>,
    ids: &[FileId],
    deps: &Deps,
) -> Result<Written<Operation>, WorkError> {
    let after = operation.on_page(page, deps.clock.now(), deps.entropy.jitter());
    if after.stop() != operation.stop() {
        log_stop(&after);
    }
    Ok(deps.store.record_page(operation, &after, ids).await?)
}

fn log_stop(operation: &Operation) {
    if let Some(stop) = operation.stop() {
        tracing::warn!(
            connection = %operation.key, operation = %operation.id,
            reason = stop.reason.label(), attempts = stop.attempts, since = %stop.since,
            until = %stop.until, metric = "pages_stopped",
            "Drive's pages do not lead to an end; will read them again later"
        );
    }
}

/// Returns the followed logs of shared drives, which report their files and are audited themselves:
/// the user's listing contains those files too. Files of a left drive are reported only by the
/// user's listing.
pub(crate) fn drives_with_own_log(operation: &Operation, logs: Vec<Log>) -> BTreeSet<LogId> {
    let others = logs.into_iter().filter(|log| match log.position {
        LogPosition::Left { .. } => false,
        LogPosition::New | LogPosition::Listing(_) | LogPosition::Following => {
            log.log != operation.log
        }
    });
    others.map(|log| log.log).collect()
}

fn listed_name(snapshot: &Snapshot) -> String {
    match snapshot.fields.get(&Field::Name) {
        Some(Value::Text(name)) => name.clone(),
        Some(Value::Null | Value::Flag(_)) | None => String::new(),
    }
}
