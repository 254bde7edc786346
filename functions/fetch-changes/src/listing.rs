//! Lists every file of a log's scope, for the first sync and after a lost cursor.
//!
//! The start token is taken **before** the listing, so that the log contains whatever changes
//! meanwhile. Each page is queued, then recorded with its ids and the next page's token in one
//! write: a crash repeats at most one page, and the recorded ids later prove that every listed file
//! has arrived.

use std::collections::BTreeMap;

use domain::operation::{ListedPage, SyncKind};
use domain::rate_limit::CallKind;
use domain::{Drift, FileId, FileRecord, Observation, Operation, OperationId, Run, drift};
use drive::{Kind, Listed, Scope};
use runtime::{Deadline, telemetry};
use store::{Log, LogPosition, Written};
use throttle::{CallError, ThrottledDrive};
use tracing::Instrument as _;
use worker::{Origin, SnapshotMessage, WorkError, queue};

use crate::{Deps, drive_root, ends_turn, log_stop, store_dead_letter};

/// Starts a listing of the log's scope. Returns `None` if another worker was first.
pub(crate) async fn start(
    log: &Log,
    kind: SyncKind,
    drive: &ThrottledDrive,
    deps: &Deps,
) -> Result<Option<Log>, WorkError> {
    let start = drive
        .call_with_retries(CallKind::Other, || {
            drive.client().start_page_token(&log.log)
        })
        .await?;
    let now = deps.clock.now();
    let id = deps.entropy.operation(now);
    let (key, run) = (log.key.clone(), Run::sync(kind));
    let operation = Operation::new(key, id, log.log.clone(), "drivesync", now, run);
    tracing::info!(
        connection = %log.key, log = %log.log, operation = %operation.id, ?kind,
        "listing started"
    );
    match deps.store.begin_listing(log, &start, &operation).await? {
        Written::Done(log) => Ok(Some(log)),
        Written::Stale(_) => Ok(None),
    }
}

/// Resumes a listing from its last recorded page. Returns the log once every page is queued; `None`
/// if time ran out or another worker is processing it.
pub(crate) async fn resume(
    log: &Log,
    operation: &OperationId,
    drive: &ThrottledDrive,
    deadline: Deadline,
    deps: &Deps,
) -> Result<Option<Log>, WorkError> {
    let Some(operation) = deps.store.load_operation(&log.key, operation).await? else {
        return Ok(None);
    };
    match operation.cause {
        Some(cause) => {
            let deps = deps.caused_by(cause);
            let listed = list_remaining(log, operation, drive, deadline, &deps);
            listed.instrument(telemetry::span(cause)).await
        }
        None => list_remaining(log, operation, drive, deadline, deps).await,
    }
}

/// Lists the remaining pages of an operation, under its own cause.
async fn list_remaining(
    log: &Log,
    mut operation: Operation,
    drive: &ThrottledDrive,
    deadline: Deadline,
    deps: &Deps,
) -> Result<Option<Log>, WorkError> {
    let began = deps.clock.now();
    let scope = Scope::from(&log.log);
    if operation.page_to_list() == Some(None) {
        let origin = Origin::Operation(operation.id.to_string());
        drive_root::queue_root(log, origin, &deps.snapshots.bulk, drive, deps).await?;
    }
    while let Some(token) = operation.page_to_list() {
        if let Some(until) = operation.stopped_until(deps.clock.now()) {
            deps.store.postpone_poll(&log.key, &log.log, until).await?;
            return Ok(None);
        }
        if ends_turn(began, deadline, deps) {
            queue::wake_log(&deps.log_wakes, &log.key, &log.log, deps.clock.now()).await?;
            return Ok(None);
        }
        let listed = || drive.client().list_files(&scope, token);
        let page = match drive.call_with_retries(CallKind::List, listed).await {
            Ok(page) => page,
            // A page token expires within hours: "if rejected, restart from the first page".
            Err(CallError::Drive(error))
                if token.is_some() && matches!(error.kind(), Kind::CursorLost | Kind::NotFound) =>
            {
                let restarted = operation.on_token_lost(deps.clock.now(), deps.entropy.jitter());
                log_new_stop(log, &restarted);
                match deps.store.advance_operation(&operation, &restarted).await? {
                    Written::Done(restarted) => operation = restarted,
                    Written::Stale(_) => return Ok(None),
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if page.incomplete {
            tracing::warn!(
                operation = %operation.id, metric = "listing_incomplete",
                "Drive returned an incomplete listing: not every corpus was searched"
            );
        }
        let entries = page.entries_hash();
        let ids = queue_page(log, &operation, page.files, deps).await?;
        let listed = ListedPage {
            files: u64::try_from(ids.len()).unwrap_or(u64::MAX),
            entries,
            next: page.next.as_deref(),
            incomplete: page.incomplete,
        };
        let now = deps.clock.now();
        let after = operation.on_page(&listed, now, deps.entropy.jitter());
        if after.stop() != operation.stop() {
            log_new_stop(log, &after);
        }
        match deps.store.record_page(&operation, &after, &ids).await? {
            Written::Done(recorded) => operation = recorded,
            Written::Stale(_) => return Ok(None),
        }
    }
    let log = deps.store.load_log(&log.key, &log.log).await?;
    Ok(log.filter(|log| log.position == LogPosition::Following))
}

fn log_new_stop(log: &Log, operation: &Operation) {
    if let Some(stop) = operation.stop() {
        log_stop(log, stop);
    }
}

/// Loads the stored records of a page's files where that may save a message.
///
/// After a lost cursor nearly every file is unchanged. Finding that out costs one read of a record,
/// half a unit; a message that changes nothing costs the same read, a share of three SQS calls and,
/// with history, a write. A first listing finds no records and loads none. The read may be stale,
/// which at worst sends a superfluous message and never omits a necessary one, since a record only
/// ever advances.
async fn load_known(
    operation: &Operation,
    files: &[Listed],
    deps: &Deps,
) -> Result<BTreeMap<FileId, FileRecord>, WorkError> {
    if !operation.is_resync() {
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
) -> Result<Vec<FileId>, WorkError> {
    let at = deps.clock.now();
    let known = load_known(operation, &files, deps).await?;
    let mut ids = Vec::with_capacity(files.len());
    let mut messages = Vec::with_capacity(files.len());
    for entry in files {
        match entry {
            Listed::Present(snapshot) => {
                ids.push(snapshot.file.clone());
                let id = operation.id.to_string();
                let observation = Observation::Present(snapshot.clone());
                let origin = match drift(known.get(&snapshot.file), &observation) {
                    None => continue,
                    Some(Drift::Differing(_)) => Origin::Correction(id),
                    Some(Drift::MissingHere | Drift::MissingThere(_) | Drift::Stale(_)) => {
                        Origin::Operation(id)
                    }
                };
                messages.push(SnapshotMessage {
                    key: log.key.clone(),
                    origin,
                    file: snapshot.file.clone(),
                    at,
                    snapshot: Some(snapshot),
                });
            }
            Listed::Unreadable(unreadable) => {
                store_dead_letter(log, &unreadable, at, deps).await?;
                ids.extend(unreadable.file);
            }
        }
    }
    queue::send_snapshots(&deps.snapshots.bulk, &messages).await?;
    Ok(ids)
}
