//! The caller of a request: tenant and subject, from the claims that API Gateway has verified.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::TenantId;
use lambda_http::request::RequestContext;

use crate::Deps;
use crate::http::problem::Problem;

/// The longest subject that is stored with an edit, in bytes. OpenID Connect allows 255 characters.
const SUBJECT_BYTES_MAX: usize = 255;

/// The authenticated caller. Taken from the authorizer's claims only: no header, query or body can
/// name a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The tenant whose data the caller may access.
    pub(crate) tenant: TenantId,
    /// The author of the caller's edits: the token's `sub`.
    pub(crate) subject: String,
}

impl FromRequestParts<Arc<Deps>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        caller(parts, &deps.tenant_claim).ok_or_else(Problem::unauthenticated)
    }
}

fn caller(parts: &Parts, tenant_claim: &str) -> Option<Caller> {
    let RequestContext::ApiGatewayV2(context) = parts.extensions.get::<RequestContext>()? else {
        return None;
    };
    let claims = &context.authorizer.as_ref()?.jwt.as_ref()?.claims;
    let tenant = TenantId::parse(claims.get(tenant_claim)?).ok()?;
    let subject = claims.get("sub")?;
    let usable = !subject.is_empty()
        && subject.len() <= SUBJECT_BYTES_MAX
        && !subject.chars().any(char::is_control);
    usable.then(|| Caller {
        tenant,
        subject: subject.clone(),
    })
}
