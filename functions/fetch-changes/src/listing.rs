//! Listing every file of a log's scope: the first sync, and after a lost cursor.
//!
//! The start token is taken **before** the listing, so what changes meanwhile is in the log. Each page is
//! queued, then recorded with its ids and the next page's token in one write: a crash repeats at most a
//! page, and the recorded ids are what proves later that every listed file has arrived.

use std::collections::BTreeMap;

use domain::pace::CallKind;
use domain::{Drift, FileId, FileRecord, Observation, OperationId, drift};
use drive::{Kind, Listed, Scope};
use gate::{GateError, Pass};
use runtime::{Cause, Deadline, SnapshotMessage, queue};
use store::{Log, Operation, OperationKind, OperationState, Position, Written};

use crate::{Deps, PAGE_MILLIS, Stopped, park_entry, root};

/// Starts a listing of the log's scope. `None` where another worker was faster.
pub(crate) async fn begin(
    log: &Log,
    kind: OperationKind,
    drive: &Pass,
    deps: &Deps,
) -> Result<Option<Log>, Stopped> {
    let start = drive
        .ask(CallKind::Other, || drive.drive().start_page_token(&log.log))
        .await?;
    let now = deps.clock.now();
    let id = deps.entropy.operation(now);
    let operation = Operation::new(log.key.clone(), id, log.log.clone(), kind, "drivesync", now);
    tracing::info!(connection = %log.key, log = %log.log, operation = %operation.id, ?kind, "listing begins");
    match deps.store.begin_listing(log, &start, &operation).await? {
        Written::Done(log) => Ok(Some(log)),
        Written::Stale(_) => Ok(None),
    }
}

/// Goes on with a listing from its last recorded page. Gives the log once all is queued; `None` where
/// time ran out or another worker is at it.
pub(crate) async fn go_on(
    log: &Log,
    operation: &OperationId,
    drive: &Pass,
    deadline: Deadline,
    deps: &Deps,
) -> Result<Option<Log>, Stopped> {
    let scope = Scope::from(&log.log);
    let Some(mut operation) = deps.store.load_operation(&log.key, operation).await? else {
        return Ok(None);
    };
    if operation.state == OperationState::Listing && operation.page_token.is_none() {
        let cause = Cause::Run(operation.id.to_string());
        root::queue(log, cause, &deps.snapshots.bulk, drive, deps).await?;
    }
    while operation.state == OperationState::Listing {
        if deadline.passed(deps.clock.now().plus_millis(PAGE_MILLIS)) {
            queue::wake_log(&deps.log_wakes, &log.key, &log.log, deps.clock.now()).await?;
            return Ok(None);
        }
        let token = operation.page_token.as_deref();
        let listed = || drive.drive().list_files(&scope, token);
        let page = match drive.ask(CallKind::List, listed).await {
            Ok(page) => page,
            // A listing's token lives for hours only: "if rejected, restart from the first page".
            Err(GateError::Drive(error))
                if *error.kind() == Kind::CursorLost && operation.page_token.is_some() =>
            {
                match deps.store.restart_listing(&operation).await? {
                    Written::Done(restarted) => operation = restarted,
                    Written::Stale(_) => return Ok(None),
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if page.incomplete {
            tracing::warn!(operation = %operation.id, metric = "listing_incomplete", "Drive did not search every corpus");
        }
        let ids = queue_page(log, &operation, page.files, deps).await?;
        let now = deps.clock.now();
        match deps
            .store
            .record_page(&operation, &ids, page.next.as_deref(), now)
            .await?
        {
            Written::Done(recorded) => operation = recorded,
            Written::Stale(_) => return Ok(None),
        }
    }
    let log = deps.store.load_log(&log.key, &log.log).await?;
    Ok(log.filter(|log| log.position == Position::Following))
}

/// What we hold of the files of a page, where that may save a message.
///
/// After a lost cursor nearly every file is as we have it. To know that costs one read of a record, half a
/// unit; a message that changes nothing costs the same read, a share of three SQS calls, and with history
/// a write. A first listing finds nothing here, and asks nothing. The read may be behind: then a message
/// too many is sent, and never one too few, since a record only ever moves on.
async fn held(
    operation: &Operation,
    files: &[Listed],
    deps: &Deps,
) -> Result<BTreeMap<FileId, FileRecord>, Stopped> {
    if operation.kind != OperationKind::Resync {
        return Ok(BTreeMap::new());
    }
    let present = files.iter().filter_map(|entry| match entry {
        Listed::Present(snapshot) => Some(snapshot.file.clone()),
        Listed::Unreadable(_) => None,
    });
    let present: Vec<FileId> = present.collect();
    Ok(deps.store.load_files(&operation.key, &present).await?)
}

async fn queue_page(
    log: &Log,
    operation: &Operation,
    files: Vec<Listed>,
    deps: &Deps,
) -> Result<Vec<FileId>, Stopped> {
    let at = deps.clock.now();
    let held = held(operation, &files, deps).await?;
    let mut ids = Vec::with_capacity(files.len());
    let mut messages = Vec::with_capacity(files.len());
    for entry in files {
        match entry {
            Listed::Present(snapshot) => {
                ids.push(snapshot.file.clone());
                let id = operation.id.to_string();
                let seen = Observation::Present(snapshot.clone());
                let cause = match drift(held.get(&snapshot.file), &seen) {
                    None => continue,
                    Some(Drift::Differing(_)) => Cause::Correction(id),
                    Some(Drift::MissingHere | Drift::MissingThere(_) | Drift::Stale(_)) => {
                        Cause::Run(id)
                    }
                };
                messages.push(SnapshotMessage {
                    key: log.key.clone(),
                    cause,
                    file: snapshot.file.clone(),
                    at,
                    snapshot: Some(snapshot),
                });
            }
            Listed::Unreadable(unreadable) => {
                park_entry(log, &unreadable, at, deps).await?;
                ids.extend(unreadable.file);
            }
        }
    }
    queue::send_snapshots(&deps.snapshots.bulk, &messages).await?;
    Ok(ids)
}
