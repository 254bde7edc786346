//! The rate of a tenant's requests, and what they read: checked before anything else is read.

use axum::http::request::Parts;
use domain::TenantId;
use domain::rate_limit::{RateReached, TenantLimit, TenantLimits};

use crate::Deps;
use crate::http::Problem;

/// Marks a request that is counted already: one that this service makes for another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted;

/// Counts a request of a tenant, unless it is counted already. Returns whether it was counted here.
///
/// # Errors
/// 429 if the tenant's requests are too many, or have read too much.
pub(crate) async fn count(deps: &Deps, tenant: &TenantId, parts: &Parts) -> Result<bool, Problem> {
    if parts.extensions.get::<Counted>().is_some() {
        return Ok(false);
    }
    match deps.budgets.request(tenant).await {
        Ok(Ok(())) => {}
        Ok(Err(reached)) => return Err(refusal(reached, deps.budgets.limits())),
        Err(error) => {
            // The trouble of the limiter must not become that of every request.
            let error = runtime::telemetry::chain(&error);
            tracing::warn!(error, "could not count a request against its tenant's rate");
        }
    }
    Ok(true)
}

/// Charges a tenant for what the handling of a request has read.
pub(crate) async fn charge(deps: &Deps, tenant: &TenantId) {
    deps.budgets.charge(tenant, deps.store.read_count()).await;
}

/// The problem of a request that reaches a limit.
pub(crate) fn refusal(reached: RateReached, limits: &TenantLimits) -> Problem {
    let detail = match reached.limit {
        TenantLimit::Requests => format!(
            "the tenant may make {} requests a second",
            limits.requests_per_second
        ),
        TenantLimit::Reads => format!(
            "the tenant's requests may read {} records a minute; those before this one read more",
            limits.reads_per_minute
        ),
        TenantLimit::Connections => format!(
            "the tenant may have {} connections; delete one first",
            limits.connections
        ),
        TenantLimit::Webhooks => format!(
            "the tenant may have {} webhooks; delete one first",
            limits.webhooks
        ),
        TenantLimit::Operations => format!(
            "{} of the tenant's operations may run at once; wait for one, or cancel it",
            limits.operations
        ),
        TenantLimit::OwedFiles => format!(
            "{} of the tenant's files may owe something to Drive; wait until some have reached it, \
             or cancel what they owe",
            limits.owed_files
        ),
        TenantLimit::Uploads => format!(
            "the tenant may have {} uploads that are not committed; commit or delete one",
            limits.uploads
        ),
        TenantLimit::UploadBytes => format!(
            "the tenant's uploads that are not committed may announce {} bytes; commit or delete \
             one",
            limits.upload_bytes
        ),
    };
    let limit = reached.limit.label();
    tracing::warn!(
        limit,
        metric = "tenant_limit_reached",
        "request refused by a limit"
    );
    let seconds = u64::try_from(reached.wait_millis)
        .unwrap_or(0)
        .div_ceil(1_000);
    Problem::limit_reached(limit, detail, seconds)
}
