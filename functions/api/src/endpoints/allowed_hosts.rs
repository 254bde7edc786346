//! The hosts that webhook endpoints may be on, as far as a request tells.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lambda_http::request::RequestContext;
use webhooks::Rules;

use crate::Deps;

/// What the deployment allows, without the host that the request came to: the API's own name is
/// known to API Gateway before it is to the function.
pub(crate) struct AllowedHosts(pub(crate) Rules);

impl FromRequestParts<Arc<Deps>> for AllowedHosts {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Infallible> {
        let mut rules = deps.webhook_hosts.clone();
        if let Some(RequestContext::ApiGatewayV2(context)) = parts.extensions.get() {
            rules.own_hosts.extend(context.domain_name.clone());
        }
        Ok(Self(rules))
    }
}
