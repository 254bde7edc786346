//! The endpoint that a path names, for those who may see all that it follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::webhook::{Endpoint, EndpointScope};
use domain::{ConnectionId, EndpointId};
use store::{Connection, PageRequest, StoredEndpoint};

use crate::Deps;
use crate::http::{Caller, PathParams, Problem, describe_path};

/// The name of the item in problems.
pub(crate) const WHAT: &str = "the webhook";

/// A webhook endpoint of the caller's tenant. It may not exist.
pub(crate) struct WebhookPath {
    pub(crate) caller: Caller,
    pub(crate) id: EndpointId,
}

impl FromRequestParts<Arc<Deps>> for WebhookPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, deps).await?;
        let params = PathParams::read(parts, deps).await?;
        let id = EndpointId::parse(params.get("webhook"));
        let id = id.map_err(|_| Problem::not_found(WHAT))?;
        Ok(Self { caller, id })
    }
}

describe_path!(WebhookPath, "webhook": String);

/// The connections of a tenant that were not deleted, by id.
pub(crate) struct Connections(pub(crate) BTreeMap<ConnectionId, Connection>);

impl Connections {
    pub(crate) async fn load(deps: &Deps, caller: &Caller) -> Result<Self, Problem> {
        let mut all = BTreeMap::new();
        let mut page = PageRequest::first(PageRequest::LIMIT_MAX);
        loop {
            let found = deps.store.list_connections(&caller.tenant, &page, |_| true);
            let found = found.await?;
            let by_id = found.items.into_iter();
            all.extend(by_id.map(|connection| (connection.key.connection.clone(), connection)));
            match found.next_cursor {
                Some(cursor) => page.cursor = Some(cursor),
                None => return Ok(Self(all)),
            }
        }
    }

    /// Returns those that a scope includes.
    pub(crate) fn of<'a>(
        &'a self,
        scope: &'a EndpointScope,
    ) -> impl Iterator<Item = &'a Connection> + 'a {
        let all = self.0.iter();
        let included = all.filter(move |(id, _)| scope.includes(id));
        included.map(|(_, connection)| connection)
    }

    /// Returns whether a caller operates everything that an endpoint follows: for others it does
    /// not exist.
    pub(crate) fn shows(&self, caller: &Caller, endpoint: &Endpoint) -> bool {
        let named = matches!(endpoint.scope, EndpointScope::Connections(_));
        let mut told = self
            .of(&endpoint.scope)
            .filter(|connection| named || endpoint.maker.reads(connection.access.as_ref()));
        told.all(|connection| caller.reaches(connection))
    }
}

/// Loads the endpoint that a path names, with the connections of the tenant.
///
/// # Errors
/// 404 if there is none, or if the caller may not see all that it follows.
pub(crate) async fn load(
    deps: &Deps,
    at: &WebhookPath,
) -> Result<(StoredEndpoint, Connections), Problem> {
    let stored = deps.store.load_endpoint(&at.caller.tenant, &at.id).await?;
    let stored = stored.ok_or_else(|| Problem::not_found(WHAT))?;
    let connections = Connections::load(deps, &at.caller).await?;
    match connections.shows(&at.caller, &stored.endpoint) {
        true => Ok((stored, connections)),
        false => Err(Problem::not_found(WHAT)),
    }
}
