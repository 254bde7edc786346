//! Erases a tenant: begins the erasure of each connection, waits for all of them, and deletes the
//! rest.

use domain::operation::{EraseStage, ErasedCounts, ErasedKind, TenantPart};
use domain::{LogId, Operation, Run};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use store::{Connection, TenantItems};
use worker::WorkError;

use crate::Deps;
use crate::erasures::erase::{Place, buckets};
use crate::export::write_export;

/// The versions that are deleted at a time.
const AT_ONCE: usize = 16;

/// Counts the items from a position on.
pub(crate) async fn count(
    position: Option<String>,
    operation: &Operation,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let (tenant, store) = (&operation.key.tenant, &deps.store);
    let counted = store.erase_tenant_items(tenant, TenantItems::Count, position.as_deref());
    let (counts, next) = counted.await?;
    Ok(operation.on_tenant_counted(&counts, next, deps.clock.now()))
}

/// Begins the erasure of each connection that is not erased, and records whether all are.
pub(crate) async fn erase_connections(
    operation: &Operation,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let mut all = true;
    let mut last = None;
    while let Some(connection) = next_connection(operation, last.as_ref(), deps).await? {
        if !connection.is_erased() {
            all = false;
            begin_erasure(&connection, operation, deps).await?;
        }
        last = Some(connection);
    }
    Ok(operation.on_connections_erased(all, deps.clock.now()))
}

async fn next_connection(
    operation: &Operation,
    last: Option<&Connection>,
    deps: &Deps,
) -> Result<Option<Connection>, WorkError> {
    let last = last.map(|connection| &connection.key);
    let tenant = &operation.key.tenant;
    Ok(deps.store.next_connection(tenant, last).await?)
}

/// Deletes a connection with an erasure that begins now, or hastens the erasure of one that was
/// deleted. What another writer has changed meanwhile is seen at the next look.
async fn begin_erasure(
    connection: &Connection,
    operation: &Operation,
    deps: &Deps,
) -> Result<(), WorkError> {
    let (store, now) = (&deps.store, deps.clock.now());
    if let Some(deletion) = &connection.deletion {
        let erasure = store
            .load_operation(&connection.key, &deletion.operation)
            .await?;
        if let Some(erasure) = erasure.filter(|erasure| !erasure.has_ended()) {
            let waits = |stage: &EraseStage| *stage == EraseStage::Waiting;
            if erasure.erasure().is_some_and(|erase| waits(&erase.stage)) {
                store
                    .advance_operation(&erasure, &erasure.hastened(now))
                    .await?;
            }
            return Ok(());
        }
    }
    let id = deps.entropy.operation(now);
    let deleted = connection.deleted(&operation.by, id.clone(), now);
    let Some(deletion) = &deleted.deletion else {
        return Ok(());
    };
    let run = Run::erase(deleted.generation, deletion.at, now);
    let log = connection.scope.own_log().unwrap_or_else(LogId::user);
    let erasure = Operation::new(connection.key.clone(), id, log, &operation.by, now, run);
    store.delete_connection(&deleted, &erasure).await?;
    Ok(())
}

/// Erases a part from a position on, unless there is a connection again.
pub(crate) async fn erase(
    part: TenantPart,
    position: Option<String>,
    operation: &Operation,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let now = deps.clock.now();
    if position.is_none() && has_connection(operation, deps).await? {
        return Ok(operation.on_connection_met(now));
    }
    match part {
        TenantPart::Objects => objects(position, operation, deps).await,
        TenantPart::Items => {
            let (tenant, store) = (&operation.key.tenant, &deps.store);
            let deleted =
                store.erase_tenant_items(tenant, TenantItems::Delete, position.as_deref());
            let (_, next) = deleted.await?;
            let after = operation.on_tenant_erased(&ErasedCounts::new(), next, deps.clock.now());
            if after.has_ended() {
                tracing::info!(
                    %tenant, operation = %operation.id, metric = "tenant_erased",
                    "tenant erased: its certificates and its audit trail are left"
                );
            }
            Ok(after)
        }
    }
}

async fn has_connection(operation: &Operation, deps: &Deps) -> Result<bool, WorkError> {
    let mut last = None;
    while let Some(connection) = next_connection(operation, last.as_ref(), deps).await? {
        if !connection.is_erased() {
            return Ok(true);
        }
        last = Some(connection);
    }
    Ok(false)
}

/// Deletes the objects of the tenant with all versions, here and in the copy of the bucket.
async fn objects(
    position: Option<String>,
    operation: &Operation,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let tenant = &operation.key.tenant;
    let mut deleted = 0;
    if position.is_none() {
        deleted += write_export::erase_exports(tenant, None, deps).await?;
    }
    let place = Place::parse(position.as_deref());
    let mut next = None;
    if let Some(bucket) = buckets(deps).nth(place.bucket) {
        let (versions, after) = bucket.list_versions(tenant, place.after.as_ref()).await?;
        deleted += u64::try_from(versions.len()).unwrap_or(u64::MAX);
        stream::iter(versions)
            .map(|version| async move { Box::pin(bucket.delete_version(&version)).await })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        next = place.following(after, deps);
    }
    let mut counts = ErasedCounts::new();
    if deleted > 0 {
        counts.insert(ErasedKind::Objects, deleted);
    }
    Ok(operation.on_tenant_erased(&counts, next, deps.clock.now()))
}
