//! Takes an operation as far as time allows, step by step.

use domain::operation::{ErasePerson, ErasePersonWork, EraseTenantWork, Export, ExportWork, Work};
use domain::{Cause, FileId, Operation};
use runtime::{Deadline, telemetry};
use store::{Connection, Written};
use tracing::Instrument as _;
use worker::{OperationWake, Origin, SnapshotMessage, WorkError, queue};

use crate::erasures::{erase, erase_person, erase_tenant};
use crate::export::write_export;
use crate::restore::{compare_with_history, restore_files};
use crate::{
    Deps, compare, list_page, mark_files, repair, scan_content, second_look, self_check, verify,
};

/// The longest duration of one step, in milliseconds: none is started that could be cut off.
const STEP_MILLIS: i64 = 20_000;

/// Runs a due operation until it has to wait, has ended, or time runs out; then it wakes itself. It
/// runs under its own cause, whichever wake continues it.
pub(crate) async fn run(wake: &OperationWake, cause: Cause, deadline: Deadline, deps: &Deps) {
    let loaded = deps.store.load_operation(&wake.key, &wake.operation).await;
    let own = loaded.as_ref().ok().and_then(Option::as_ref);
    let cause = own.and_then(|operation| operation.cause).unwrap_or(cause);
    let deps = deps.caused_by(cause);
    let run = async {
        let Some(operation) = loaded? else {
            return Ok(());
        };
        continue_operation(operation, deadline, &deps).await
    };
    let logged = async {
        if let Err(error) = run.await {
            let error = telemetry::chain(&error);
            tracing::warn!(
                operation = %wake.operation, error, metric = "operation_failed",
                "could not continue the operation; it stays due"
            );
        }
    };
    logged.instrument(telemetry::span(cause)).await;
}

async fn continue_operation(
    mut operation: Operation,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let (key, id) = (operation.key.clone(), operation.id.clone());
    let (key, id) = (&key, &id);
    while operation.is_due(deps.clock.now()) {
        let now = deps.clock.now();
        if deadline.passed(now.plus_millis(STEP_MILLIS)) {
            tracing::info!(
                operation = %id, metric = "operation_unfinished",
                "operation continues with its next wake"
            );
            return Ok(deps.wakes.operation(key, id, now).await?);
        }
        if let Some(export) = operation.export() {
            operation = match Box::pin(export_step(&operation, export, deps)).await? {
                Some(Written::Done(after)) => after,
                Some(Written::Stale(_)) | None => return Ok(()),
            };
            continue;
        }
        if let Some(erase) = operation.person_erasure() {
            operation = match Box::pin(person_step(&operation, erase, deps)).await? {
                Some(Written::Done(after)) => after,
                Some(Written::Stale(_)) | None => return Ok(()),
            };
            continue;
        }
        if operation.tenant_erasure().is_some() {
            operation = match Box::pin(tenant_step(&operation, deps)).await? {
                Some(Written::Done(after)) => after,
                Some(Written::Stale(_)) | None => return Ok(()),
            };
            continue;
        }
        let connection = match operation.erasure() {
            Some(erase) => {
                let found = deps.store.load_any_connection(key).await?;
                found.filter(|connection| erase::is_meant(erase, connection))
            }
            None => deps.store.load_connection(key).await?,
        };
        let Some(connection) = connection else {
            let failed = operation.failed("the connection was deleted", now);
            deps.store.advance_operation(&operation, &failed).await?;
            return Ok(());
        };
        operation = match Box::pin(step(&operation, &connection, deadline, deps)).await? {
            Some(Written::Done(after)) => after,
            // Another run is processing it, or a person decided: what is due is woken again.
            Some(Written::Stale(_)) | None => return Ok(()),
        };
    }
    Ok(())
}

/// Does what is next of an export, which concerns no single connection, and records it.
async fn export_step(
    operation: &Operation,
    export: &Export,
    deps: &Deps,
) -> Result<Option<Written<Operation>>, WorkError> {
    let after = match operation.next_export_work(deps.clock.now()) {
        ExportWork::Nothing => return Ok(None),
        ExportWork::Advance(after) => *after,
        ExportWork::WriteFile(place) => {
            write_export::write_file(place, operation, export, deps).await?
        }
        ExportWork::WriteManifest => write_export::write_manifest(operation, export, deps).await?,
        ExportWork::DeleteFiles => {
            write_export::delete_files(operation, deps).await?;
            operation.on_export_deleted(deps.clock.now())
        }
    };
    Ok(Some(deps.store.advance_operation(operation, &after).await?))
}

/// Does what is next of the erasure of a person, and records it.
async fn person_step(
    operation: &Operation,
    erase: &ErasePerson,
    deps: &Deps,
) -> Result<Option<Written<Operation>>, WorkError> {
    let after = match operation.next_person_work(deps.clock.now()) {
        ErasePersonWork::Nothing => return Ok(None),
        ErasePersonWork::Advance(after) => *after,
        ErasePersonWork::Look(part, position) => {
            erase_person::look(part, position, operation, erase, deps).await?
        }
    };
    Ok(Some(deps.store.advance_operation(operation, &after).await?))
}

/// Does what is next of the erasure of a tenant, and records it.
async fn tenant_step(
    operation: &Operation,
    deps: &Deps,
) -> Result<Option<Written<Operation>>, WorkError> {
    let after = match operation.next_tenant_work(deps.clock.now()) {
        EraseTenantWork::Nothing => return Ok(None),
        EraseTenantWork::Advance(after) => *after,
        EraseTenantWork::Count(position) => erase_tenant::count(position, operation, deps).await?,
        EraseTenantWork::EraseConnections => {
            erase_tenant::erase_connections(operation, deps).await?
        }
        EraseTenantWork::Erase(part, position) => {
            erase_tenant::erase(part, position, operation, deps).await?
        }
    };
    Ok(Some(deps.store.advance_operation(operation, &after).await?))
}

/// Does what is next and records it. Returns `None` if there is nothing to do.
async fn step(
    operation: &Operation,
    connection: &Connection,
    deadline: Deadline,
    deps: &Deps,
) -> Result<Option<Written<Operation>>, WorkError> {
    let now = deps.clock.now();
    let after = match operation.next_work(&connection.facts(&operation.id), now) {
        Work::Nothing => return Ok(None),
        Work::Advance(after) => *after,
        Work::Remind(after) => {
            log_awaiting(operation);
            *after
        }
        Work::SelfCheck(phase) => {
            Box::pin(self_check::check_page(phase, operation, connection, deps)).await?
        }
        Work::ListPage(token) => {
            let listed = list_page::list_page(token.as_deref(), operation, connection, deps);
            return Box::pin(listed).await.map(Some);
        }
        Work::SecondLook(token) => {
            let looked = second_look::look_again(token.as_deref(), operation, connection, deps);
            return Box::pin(looked).await.map(Some);
        }
        Work::CheckArrival { page } => check_arrival(page, operation, deadline, deps).await?,
        Work::Arrived { scan } => {
            tracing::info!(
                connection = %operation.key, operation = %operation.id,
                files = operation.form().verified, metric = "synced",
                "all listed files have arrived"
            );
            if scan {
                let Deps {
                    store,
                    clock,
                    entropy,
                    ..
                } = deps;
                worker::schedule_scan(connection, &operation.log, store, clock, entropy).await?;
            }
            operation.on_all_arrived(deps.clock.now())
        }
        Work::Compare(position) => {
            compare::compare_chunk(position, operation, deadline, deps).await?
        }
        Work::Verify {
            position,
            awaits_log,
        } => {
            if awaits_log && !verify::is_log_read(operation, deps).await? {
                operation.on_log_awaited(deps.clock.now())
            } else {
                Box::pin(verify::verify_page(position, operation, connection, deps)).await?
            }
        }
        Work::Repair(position) => {
            Box::pin(repair::repair_page(position, operation, connection, deps)).await?
        }
        Work::MarkFiles(position) => mark_files::mark_page(position, operation, deps).await?,
        Work::ScanContent(position) => scan_content::scan_page(position, operation, deps).await?,
        Work::Erase(part, position) => {
            Box::pin(erase::erase_page(part, position, operation, deps)).await?
        }
        Work::CompareWithHistory(position) => {
            let Some(restore) = operation.restore() else {
                return Ok(None);
            };
            let page =
                compare_with_history::compare_page(position, operation, restore, connection, deps);
            Box::pin(page).await?
        }
        Work::RestoreFiles(position) => {
            let Some(restore) = operation.restore() else {
                return Ok(None);
            };
            let page = restore_files::restore_page(position, operation, restore, connection, deps);
            Box::pin(page).await?
        }
        Work::Certify => {
            if let Some(erase) = operation.erasure() {
                erase::certify(operation, erase, connection, deps).await?;
            }
            return Ok(None);
        }
    };
    Ok(Some(deps.store.advance_operation(operation, &after).await?))
}

fn log_awaiting(operation: &Operation) {
    let counts = operation.form().comparison.counts;
    let would_restore = operation.restore().map(|restore| restore.counts.to_restore);
    tracing::error!(
        connection = %operation.key, operation = %operation.id,
        would_remove = counts.missing_there, would_restore, metric = "awaiting_confirmation",
        "operation awaits confirmation or cancellation"
    );
}

/// Checks that everything listed has arrived, from this page on: every id of each page must have a
/// record or a dead letter.
async fn check_arrival(
    first: u32,
    operation: &Operation,
    deadline: Deadline,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let (mut pages, mut files, mut errors) = (0, 0, 0);
    while !deadline.passed(deps.clock.now().plus_millis(STEP_MILLIS)) {
        let page = deps
            .store
            .load_page(&operation.key, &operation.id, first + pages)
            .await?;
        let Some(ids) = page else {
            if pages == 0 {
                return Ok(operation.failed(compare::LISTING_EXPIRED, deps.clock.now()));
            }
            break;
        };
        let arrival = deps.store.check_arrival(&operation.key, &ids).await?;
        if !arrival.missing.is_empty() {
            break;
        }
        request_lookups(operation, arrival.gone, deps).await?;
        pages += 1;
        files += u64::try_from(ids.len()).unwrap_or(u64::MAX);
        errors += u64::try_from(arrival.dead.len()).unwrap_or(u64::MAX);
    }
    Ok(operation.on_arrival(pages, files, errors, deps.clock.now()))
}

/// Requests a lookup of listed files whose records say that they are gone. They may have
/// disappeared since, or a mark that they were inaccessible may have been in flight when their
/// drive came back.
async fn request_lookups(
    operation: &Operation,
    gone: Vec<FileId>,
    deps: &Deps,
) -> Result<(), WorkError> {
    let lookup = |file| SnapshotMessage {
        key: operation.key.clone(),
        origin: Origin::Operation(operation.id.to_string()),
        file,
        at: operation.started_at,
        snapshot: None,
    };
    let lookups: Vec<SnapshotMessage> = gone.into_iter().map(lookup).collect();
    Ok(queue::send_snapshots(&deps.snapshots_bulk, &lookups).await?)
}
