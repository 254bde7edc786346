//! What a tenant begins and keeps: counted in the transaction that begins it, so that requests at
//! the same time can't pass a limit together.

use domain::rate_limit::{NoRoom, RateReached, Slot, SlotKind, Slots, TenantLimit, TenantLimits};
use domain::{ConnectionKey, Operation, OperationId, TenantId, Timestamp};
use futures_util::future::try_join_all;
use store::{ATTEMPTS_MAX, Admission, MultipartUpload, PageRequest, Store};

use crate::Deps;
use crate::fairness::request_rate::refusal;
use crate::http::{Kind, Problem};
use crate::operations::operation_view::OperationView;

/// When a request that reaches a limit of what is kept may be repeated, in milliseconds.
const AGAIN_MILLIS: i64 = 60_000;
/// What is read concurrently.
const AT_ONCE: usize = 10;

fn reached(limit: TenantLimit, limits: &TenantLimits) -> Problem {
    let wait_millis = AGAIN_MILLIS;
    refusal(RateReached { limit, wait_millis }, limits)
}

/// What a request is about to begin or to keep.
pub(crate) enum Wanted<'a> {
    /// A connection of the tenant.
    Connection(&'a TenantId),
    /// A webhook endpoint of the tenant.
    Webhook(&'a TenantId),
    /// These things of a connection, all or none.
    Slots(&'a ConnectionKey, Vec<SlotKind>),
}

impl<'a> Wanted<'a> {
    /// One operation.
    pub(crate) fn operation(key: &'a ConnectionKey, id: &OperationId) -> Self {
        let kind = SlotKind::Operation {
            id: id.clone(),
            audits: None,
        };
        Self::Slots(key, vec![kind])
    }

    const fn tenant(&self) -> &TenantId {
        match self {
            Self::Connection(tenant) | Self::Webhook(tenant) => tenant,
            Self::Slots(key, _) => &key.tenant,
        }
    }

    /// Returns the slots with what is wanted.
    async fn admitted_to(&self, slots: &Slots, deps: &Deps) -> Result<Slots, Problem> {
        let limits = deps.budgets.limits();
        match self {
            Self::Connection(tenant) => {
                let count = connections(deps, tenant).await?.len() as u64;
                if count >= u64::from(limits.connections) {
                    return Err(reached(TenantLimit::Connections, limits));
                }
                Ok(slots.clone())
            }
            Self::Webhook(tenant) => {
                let (all, unreadable) = deps.store.list_endpoints(tenant).await?;
                let count = (all.len() + unreadable) as u64;
                if count >= u64::from(limits.webhooks) {
                    return Err(reached(TenantLimit::Webhooks, limits));
                }
                Ok(slots.clone())
            }
            Self::Slots(key, kinds) => {
                let wanted = kinds.iter().map(|kind| Slot {
                    connection: key.connection.clone(),
                    kind: kind.clone(),
                });
                let wanted: Vec<Slot> = wanted.collect();
                if let Ok(slots) = slots.admit(&wanted, limits) {
                    return Ok(slots);
                }
                let slots = without_ended(deps, &key.tenant, slots).await?;
                match slots.admit(&wanted, limits) {
                    Ok(slots) => Ok(slots),
                    Err(NoRoom::Limit(limit)) => Err(reached(limit, limits)),
                    Err(NoRoom::Audited(id)) => Err(audited(deps, key, &id).await?),
                }
            }
        }
    }
}

/// Carries out `act`, which writes through a store that admits what is wanted.
///
/// # Errors
/// 429 if the tenant has as many as it may have, 409 if the log of an audit is being audited; the
/// error of `act`.
pub(crate) async fn begin<T, F>(
    deps: &Deps,
    wanted: Wanted<'_>,
    act: impl Fn(Admission) -> F,
) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Problem>>,
{
    let tenant = wanted.tenant();
    for _ in 0..ATTEMPTS_MAX {
        let before = deps.store.load_slots(tenant).await?;
        // Boxed, like the act, to limit the depth of nested futures.
        let slots = Box::pin(wanted.admitted_to(&before.slots, deps)).await?;
        let admission = Admission::new(tenant.clone(), &before, slots);
        let done = Box::pin(act(admission.clone())).await;
        if done.is_ok() || !admission.is_stale() {
            return done;
        }
    }
    Err(Problem::busy("the tenant begins too much at once", 1))
}

/// The problem of an audit of a log that is being audited.
async fn audited(deps: &Deps, key: &ConnectionKey, id: &OperationId) -> Result<Problem, Problem> {
    let running = deps.store.load_operation(key, id).await?;
    let detail = format!("operation {id} is already auditing the log; wait for it, or cancel it");
    let problem = Problem::new(Kind::StateNotAllowed, detail);
    Ok(match running {
        Some(running) => problem.current(&OperationView::new(&running)),
        None => problem,
    })
}

/// Returns the slots of what has not ended. An upload that has expired is given up.
pub(crate) async fn without_ended(
    deps: &Deps,
    tenant: &TenantId,
    slots: &Slots,
) -> Result<Slots, Problem> {
    let mut ended = Vec::new();
    deps.store.count_read(slots.0.len() as u64);
    for chunk in slots.0.chunks(AT_ONCE) {
        let checks = chunk.iter().map(|slot| has_ended(deps, tenant, slot));
        let checked = try_join_all(checks).await?;
        let over = chunk.iter().zip(checked).filter(|(_, ended)| *ended);
        ended.extend(over.map(|(slot, _)| slot.clone()));
    }
    Ok(slots.without(&ended))
}

async fn has_ended(deps: &Deps, tenant: &TenantId, slot: &Slot) -> Result<bool, Problem> {
    let key = ConnectionKey {
        tenant: tenant.clone(),
        connection: slot.connection.clone(),
    };
    match &slot.kind {
        SlotKind::Upload { id, .. } => {
            let ever = Timestamp::from_millis(i64::MIN);
            let found = deps.store.load_multipart_upload(&key, id, ever).await?;
            let Some(upload) = found else { return Ok(true) };
            if upload.expires_at > deps.clock.now() {
                return Ok(false);
            }
            give_up(deps, &deps.store, &key, &upload).await?;
            Ok(true)
        }
        SlotKind::Operation { id, .. } => {
            let found = deps.store.load_operation(&key, id).await?;
            let Some(running) = found.filter(Operation::is_running) else {
                return Ok(true);
            };
            // Of a connection that was deleted, only the erasure goes on. The others are of none.
            let of_connection = running.erasure().is_none()
                && running.export().is_none()
                && running.person_erasure().is_none()
                && running.tenant_erasure().is_none();
            Ok(of_connection && deps.store.load_connection(&key).await?.is_none())
        }
    }
}

/// Deletes the parts of an upload, then its record.
pub(crate) async fn give_up(
    deps: &Deps,
    store: &Store,
    key: &ConnectionKey,
    upload: &MultipartUpload,
) -> Result<(), Problem> {
    let aborted = deps.objects.abort_upload(&upload.object, &upload.upload);
    aborted.await?;
    Ok(store.delete_multipart_upload(key, &upload.id).await?)
}

/// Admits an edit that makes another file owe something.
///
/// # Errors
/// 429 if as many of the tenant's files owe something as may.
pub(crate) async fn owe_more(deps: &Deps, tenant: &TenantId) -> Result<(), Problem> {
    let counted = || Box::pin(owed_files(deps, tenant));
    let admitted = Box::pin(deps.budgets.edit(tenant, counted)).await?;
    admitted.map_err(|reached| refusal(reached, deps.budgets.limits()))
}

/// Counts the tenant's files that owe something, over an index that lags a little.
pub(crate) async fn owed_files(deps: &Deps, tenant: &TenantId) -> Result<u64, Problem> {
    let limit = deps.budgets.limits().owed_files;
    let mut owed = 0;
    for chunk in connections(deps, tenant).await?.chunks(AT_ONCE) {
        let counts = chunk.iter().map(|key| deps.store.count_owed(key, limit));
        owed += try_join_all(counts).await?.iter().sum::<u64>();
    }
    Ok(owed)
}

/// Returns the keys of all connections of a tenant that were not deleted.
pub(crate) async fn connections(
    deps: &Deps,
    tenant: &TenantId,
) -> Result<Vec<ConnectionKey>, Problem> {
    let mut keys = Vec::new();
    let mut page = PageRequest::first(PageRequest::LIMIT_MAX);
    loop {
        let found = deps.store.list_connections(tenant, &page, |_| true).await?;
        keys.extend(found.items.into_iter().map(|connection| connection.key));
        match found.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(keys),
        }
    }
}
