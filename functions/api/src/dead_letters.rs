//! Dead letters: inputs that could never succeed, set aside with the reason.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::{ConnectionId, ConnectionKey, TenantId};
use serde::{Deserialize, Serialize};
use store::{Connection, PageRequest, Parked};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::cursor::{self, Across};
use crate::extract::{Params, page};
use crate::problem::{Kind, Problem};
use crate::{Deps, record};

/// Connections that one request looks into: what is left is behind `next_cursor`.
const CONNECTIONS_MAX: usize = 20;

/// Which dead letters are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLettersQuery {
    /// Only those of this connection.
    connection: Option<String>,
    /// 1 to 1,000; 100 where left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterList {
    /// By connection. May be fewer than `limit`, even none, before the end.
    items: Vec<DeadLetterView>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// An input that was set aside.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterView {
    id: String,
    connection: String,
    /// The queue that it came by.
    queue: String,
    /// Why it can't succeed.
    reason: String,
    /// The message, as it came.
    body: String,
    /// The file that it is about, if it could be told.
    file_id: Option<String>,
    first_seen_at: String,
    parked_at: String,
    /// How often it was received.
    receives: u32,
}

impl DeadLetterView {
    fn new(parked: &Parked) -> Self {
        Self {
            id: parked.id.clone(),
            connection: parked.key.connection.to_string(),
            queue: parked.queue.clone(),
            reason: parked.reason.clone(),
            body: parked.body.clone(),
            file_id: parked.file.as_ref().map(ToString::to_string),
            first_seen_at: parked.first_seen_at.to_string(),
            parked_at: parked.parked_at.to_string(),
            receives: parked.receives,
        }
    }
}

/// The dead letters of the tenant's connections.
#[utoipa::path(
    get, operation_id = "list_dead_letters", path = "/v1/dead-letters", tag = "service", params(DeadLettersQuery),
    responses((status = 200, description = "A page.", body = DeadLetterList))
)]
pub(crate) async fn list(
    State(deps): State<Arc<Deps>>,
    caller: Caller,
    Params(query): Params<DeadLettersQuery>,
) -> Result<Json<DeadLetterList>, Problem> {
    let limit = page(query.limit, None)?.limit;
    let from: Option<Across> = query.cursor.as_deref().map(cursor::decode).transpose()?;
    let connections = match &query.connection {
        Some(id) => {
            let id = ConnectionId::parse(id)
                .map_err(|_| Problem::new(Kind::MalformedRequest, "connection is no id"))?;
            let key = ConnectionKey {
                tenant: caller.tenant.clone(),
                connection: id,
            };
            vec![record::connection(&deps, &key).await?]
        }
        None => all_connections(&deps, &caller.tenant).await?,
    };
    Ok(Json(collect(&deps, &connections, limit, from).await?))
}

/// All of a tenant's connections, up to a page of them, by id.
pub(crate) async fn all_connections(
    deps: &Deps,
    tenant: &TenantId,
) -> Result<Vec<Connection>, Problem> {
    let request = PageRequest::first(PageRequest::LIMIT_MAX);
    Ok(deps.store.list_connections(tenant, &request).await?.items)
}

async fn collect(
    deps: &Deps,
    connections: &[Connection],
    limit: u32,
    from: Option<Across>,
) -> Result<DeadLetterList, Problem> {
    let mut items = Vec::new();
    let first = from.as_ref().map_or("", |from| from.connection.as_str());
    let rest = connections
        .iter()
        .filter(|c| c.key.connection.as_str() >= first);
    for (number, connection) in rest.enumerate() {
        let id = connection.key.connection.as_str();
        let inside = from.as_ref().filter(|from| from.connection == id);
        let taken = u32::try_from(items.len()).unwrap_or(limit);
        if taken >= limit || number >= CONNECTIONS_MAX {
            return Ok(cut(items, id, None));
        }
        let request = PageRequest {
            limit: limit - taken,
            cursor: inside.and_then(|from| from.page.clone()),
        };
        let page = deps.store.list_parked(&connection.key, &request).await?;
        items.extend(page.items.iter().map(DeadLetterView::new));
        if page.next_cursor.is_some() {
            return Ok(cut(items, id, page.next_cursor));
        }
    }
    Ok(DeadLetterList {
        items,
        next_cursor: None,
    })
}

fn cut(items: Vec<DeadLetterView>, connection: &str, page: Option<String>) -> DeadLetterList {
    let next = Across {
        connection: connection.to_owned(),
        page,
    };
    DeadLetterList {
        items,
        next_cursor: Some(cursor::encode(&next)),
    }
}
