//! The limits of the caller's tenant, and what it uses of them.

use axum::Json;
use domain::rate_limit::TenantLimit;
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::fairness::admission;
use crate::http::{Caller, JsonResult};

/// The limits of a tenant, which the deployment sets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantLimitList {
    items: Vec<TenantLimitView>,
}

/// A limit. A request that reaches it is answered 429 with its `name` as `limit`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantLimit)]
struct TenantLimitView {
    name: &'static str,
    /// The largest number that is allowed; null if there is none.
    max: Option<u64>,
    /// The number now; null for rates. Of files that owe something to Drive, the number a moment
    /// ago.
    used: Option<u64>,
}

/// Returns the limits of the tenant, and what it uses of them.
#[utoipa::path(
    get, path = "/v1/limits", tag = "service",
    responses((status = 200, description = "The limits.", body = TenantLimitList))
)]
pub(crate) async fn get_limits(deps: App, caller: Caller) -> JsonResult<TenantLimitList> {
    let limits = deps.budgets.limits();
    let tenant = &caller.tenant;
    let slots = deps.store.load_slots(tenant).await?.slots;
    let slots = admission::without_ended(&deps, tenant, &slots).await?;
    let used = slots.used();
    let connections = admission::connections(&deps, tenant).await?.len() as u64;
    let owed = admission::owed_files(&deps, tenant).await?;
    let (webhooks, unreadable) = deps.store.list_endpoints(tenant).await?;
    let webhooks = (webhooks.len() + unreadable) as u64;
    let view = |limit: TenantLimit| {
        let (max, now) = match limit {
            TenantLimit::Requests => (limits.requests_per_second, None),
            TenantLimit::Reads => (limits.reads_per_minute, None),
            TenantLimit::Connections => (limits.connections, Some(connections)),
            TenantLimit::Webhooks => (limits.webhooks, Some(webhooks)),
            TenantLimit::Operations => (limits.operations, Some(used.operations)),
            TenantLimit::OwedFiles => (limits.owed_files, Some(owed)),
            TenantLimit::Uploads => (limits.uploads, Some(used.uploads)),
            TenantLimit::UploadBytes => {
                let max = (limits.upload_bytes < u64::MAX).then_some(limits.upload_bytes);
                return TenantLimitView {
                    name: limit.label(),
                    max,
                    used: Some(used.upload_bytes),
                };
            }
        };
        TenantLimitView {
            name: limit.label(),
            max: (max < u32::MAX).then_some(u64::from(max)),
            used: now,
        }
    };
    let items = TenantLimit::ALL.into_iter().map(view).collect();
    Ok(Json(TenantLimitList { items }))
}
