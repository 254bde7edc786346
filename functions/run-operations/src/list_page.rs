//! Lists Drive for an audit: like a first sync, except that nothing is queued and the cursor is not
//! moved. Listed files are compared with the stored records at once; apparent differences are
//! verified later.

use std::collections::{BTreeMap, BTreeSet};

use domain::rate_limit::CallKind;
use domain::{
    Drift, Field, FileId, FileRecord, LogId, Observation, Operation, Snapshot, Value, drift,
};
use drive::{Kind, Listed, Scope};
use store::{CandidateReason, Connection, DriftEntry, Indexed, Log, LogPosition, Written};
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
    let page = match drive
        .call(CallKind::List, drive.client().list_files(&scope, token))
        .await
    {
        Ok(page) => page,
        // A page token expires within hours: "if rejected, restart from the first page".
        Err(CallError::Drive(error)) if *error.kind() == Kind::CursorLost && token.is_some() => {
            let restarted = operation.on_token_lost(deps.clock.now());
            return Ok(deps.store.advance_operation(operation, &restarted).await?);
        }
        Err(error) => return Err(error.into()),
    };
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
    let files = u64::try_from(ids.len()).unwrap_or(u64::MAX);
    let after = operation.on_page(files, page.next.as_deref(), deps.clock.now());
    Ok(deps.store.record_page(operation, &after, &ids).await?)
}

/// Returns the followed logs of shared drives, which report their files and are audited themselves:
/// the user's listing contains those files too. Files of a left drive are reported only by the
/// user's listing.
fn drives_with_own_log(operation: &Operation, logs: Vec<Indexed<Log>>) -> BTreeSet<LogId> {
    let logs = logs.into_iter().map(|indexed| indexed.value);
    let others = logs.filter(|log| match log.position {
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
