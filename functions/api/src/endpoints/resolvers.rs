//! The resolvers that a connection's policies may name.

use domain::{ConnectionId, EndpointId, Policies};

use crate::Deps;
use crate::endpoints::webhook_path::Connections;
use crate::http::{Caller, Kind, Problem};

/// Checks the resolvers that policies name and `before` did not: each is an active webhook of the
/// tenant, which the caller sees and which includes the connection.
///
/// # Errors
/// 422
pub(crate) async fn require_resolvers(
    deps: &Deps,
    caller: &Caller,
    connection: &ConnectionId,
    policies: &Policies,
    before: Option<&Policies>,
) -> Result<(), Problem> {
    let known = before.into_iter().flat_map(Policies::resolvers);
    let known: Vec<&EndpointId> = known.map(|resolver| &resolver.endpoint).collect();
    let named = policies.resolvers().map(|resolver| &resolver.endpoint);
    let new: Vec<&EndpointId> = named.filter(|id| !known.contains(id)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let connections = Connections::load(deps, caller).await?;
    for id in new {
        let stored = deps.store.load_endpoint(&caller.tenant, id).await?;
        let shown = stored.filter(|stored| connections.shows(caller, &stored.endpoint));
        let problem = match shown {
            None => Some("there is no webhook"),
            Some(stored) if !stored.endpoint.scope.includes(connection) => {
                Some("this connection is not one of the webhook")
            }
            Some(stored) if !stored.endpoint.is_active() => Some("enable first the webhook"),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            let detail = format!("{problem} {id}");
            return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/policies"));
        }
    }
    Ok(())
}
