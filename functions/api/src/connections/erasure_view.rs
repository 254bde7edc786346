//! Connections that were deleted: how long they can be restored, how far their erasure is, and its
//! certificate.

use std::collections::BTreeMap;

use axum::Json;
use domain::Operation;
use domain::operation::EraseStage;
use serde::Serialize;
use store::{Connection, Erased, PageRequest};
use utoipa::ToSchema;

use crate::described::query::Params;
use crate::http::{Caller, ConnectionPath, JsonResult, PageQuery, Problem, page_that_fits};
use crate::operations::operation_view::{OperationView, named};
use crate::{App, Deps, lookups};

/// A connection that was deleted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Erasure)]
pub(crate) struct ErasureView {
    /// Its id, which is never used again.
    connection: String,
    /// Its name, until it is erased.
    name: Option<String>,
    state: ErasureStateView,
    /// How often it was deleted.
    generation: u32,
    deleted_at: String,
    deleted_by: String,
    /// The time at which its erasure begins by itself. Until it has begun, the connection can be
    /// restored.
    erase_at: Option<String>,
    /// The operation that erases it, until it has ended.
    operation: Option<OperationView>,
    /// The certificate, once nothing is left.
    certificate: Option<CertificateView>,
}

/// `kept`: it can be restored. `erasing`: a part of it is gone, or may be. `erased`: nothing is
/// left of it but this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ErasureState)]
pub(crate) enum ErasureStateView {
    Kept,
    Erasing,
    Erased,
}

/// The certificate of an erasure.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Certificate)]
pub(crate) struct CertificateView {
    /// The time from which nothing was left in the table and the bucket.
    erased_at: String,
    /// What was deleted, by kind: what was counted when the erasure began, and what was found
    /// later.
    counts: BTreeMap<String, u64>,
    /// What is kept, by name: it is exempt.
    exempt: Vec<&'static str>,
    /// The copies that end by themselves, and after how many days at most.
    expiring: BTreeMap<&'static str, u32>,
}

/// What an erasure leaves.
const EXEMPT: [&str; 3] = ["audit trail", "certificate", "tombstone"];
/// The copies that no function can reach, and the days after which they are gone.
const EXPIRING: [(&str, u32); 3] = [
    ("point-in-time recovery of the table", 35),
    ("messages in queues", 14),
    ("records of the table's stream", 1),
];

/// A page of deleted connections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasureList {
    /// By id.
    items: Vec<ErasureView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

impl CertificateView {
    fn new(erased: &Erased) -> Self {
        Self {
            erased_at: erased.at.to_string(),
            counts: named(&erased.counts),
            exempt: EXEMPT.to_vec(),
            expiring: BTreeMap::from(EXPIRING),
        }
    }
}

impl ErasureView {
    /// Returns the view; `None` of a connection whose deletion is not recorded.
    pub(crate) fn new(connection: &Connection, operation: Option<&Operation>) -> Option<Self> {
        let deletion = connection.deletion.as_ref()?;
        let operation = operation.filter(|operation| !operation.has_ended());
        let erase = operation.and_then(Operation::erasure);
        let state = match (&deletion.erased, erase) {
            (Some(_), _) => ErasureStateView::Erased,
            (None, Some(erase)) if erase.is_untouched() => ErasureStateView::Kept,
            (None, _) => ErasureStateView::Erasing,
        };
        let waiting = erase.filter(|erase| erase.stage == EraseStage::Waiting);
        Some(Self {
            connection: connection.key.connection.to_string(),
            name: Some(connection.name.clone()).filter(|name| !name.is_empty()),
            state,
            generation: connection.generation,
            deleted_at: deletion.at.to_string(),
            deleted_by: deletion.by.clone(),
            erase_at: waiting.map(|erase| erase.begins_at.to_string()),
            operation: operation.map(OperationView::new),
            certificate: deletion.erased.as_ref().map(CertificateView::new),
        })
    }
}

/// Loads the operation that erases a connection; `None` of one that was not deleted, or is erased.
pub(crate) async fn erasure_of(
    deps: &Deps,
    connection: &Connection,
) -> Result<Option<Operation>, Problem> {
    match &connection.deletion {
        Some(deletion) if deletion.erased.is_none() => {
            let (store, key) = (&deps.store, &connection.key);
            Ok(store.load_operation(key, &deletion.operation).await?)
        }
        Some(_) | None => Ok(None),
    }
}

/// Loads the view of a deleted connection; `None` of one whose deletion is not recorded.
pub(crate) async fn load(
    deps: &Deps,
    connection: &Connection,
) -> Result<Option<ErasureView>, Problem> {
    let operation = erasure_of(deps, connection).await?;
    Ok(ErasureView::new(connection, operation.as_ref()))
}

/// Lists the tenant's connections that were deleted, with the certificates of those that were
/// erased.
#[utoipa::path(
    get, path = "/v1/erasures", tag = "connections", params(PageQuery),
    responses((status = 200, description = "A page.", body = ErasureList))
)]
pub(crate) async fn list_erasures(
    deps: App,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> JsonResult<ErasureList> {
    let (deps, caller) = (&deps, &caller);
    let read = |request: PageRequest| async move {
        let page = deps
            .store
            .list_deleted_connections(&caller.tenant, &request);
        let page = page.await?;
        let mut items = Vec::new();
        for connection in &page.items {
            items.extend(load(deps, connection).await?);
        }
        Ok((items, page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(query.page(), read).await?;
    Ok(Json(ErasureList { items, next_cursor }))
}

/// Returns a connection that was deleted, and how far its erasure is.
#[utoipa::path(
    get, path = "/v1/erasures/{connection}", tag = "connections", params(ConnectionPath),
    responses((status = 200, description = "The deleted connection.", body = ErasureView))
)]
pub(crate) async fn get_erasure(deps: App, at: ConnectionPath) -> JsonResult<ErasureView> {
    let connection = lookups::any_connection(&deps, &at.key).await?;
    let found = load(&deps, &connection).await?;
    let not_found = || Problem::not_found("a deleted connection of this id");
    found.map(Json).ok_or_else(not_found)
}
