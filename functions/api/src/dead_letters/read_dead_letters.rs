//! The list of a tenant's dead letters, and one dead letter.

use axum::Json;
use domain::{ConnectionId, ConnectionKey};
use serde::{Deserialize, Serialize};
use store::{Connection, DeadLetter, DeadLetterStatus, PageRequest};
use utoipa::{IntoParams, ToSchema};

use crate::dead_letters::dead_letter_id::DeadLetterPath;
use crate::dead_letters::dead_letter_view::DeadLetterView;
use crate::described::query::Params;
use crate::http::{
    Caller, JsonResult, Kind, ListPage, Problem, TenantCursor, cursor, page, page_that_fits,
};
use crate::{App, Deps, lookups};

/// The most connections that are read in one request. The rest is behind `next_cursor`.
const CONNECTIONS_MAX: usize = 20;

/// The filters and the page of a list of dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLettersQuery {
    /// Only dead letters of this connection.
    #[param(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._-]+$")]
    connection: Option<String>,
    /// Only dead letters with this status; the default is `parked`.
    #[param(inline)]
    status: Option<LetterFilter>,
    /// 1 to 1,000; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// `parked`: waits for a decision. `redriven`: was sent again, and has not been set aside since.
/// `dropped`: a person decided not to send it again. The records of the last two are stored for 30
/// days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LetterFilter {
    #[default]
    Parked,
    Redriven,
    Dropped,
    All,
}

impl LetterFilter {
    fn accepts(self, parked: &DeadLetter) -> bool {
        match self {
            Self::Parked => parked.status == DeadLetterStatus::Parked,
            Self::Redriven => parked.status == DeadLetterStatus::Redriven,
            Self::Dropped => parked.status == DeadLetterStatus::Dropped,
            Self::All => true,
        }
    }
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterList {
    /// By connection. A page before the last one may have fewer than `limit` items, or none.
    items: Vec<DeadLetterView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// Returns one dead letter with its history.
#[utoipa::path(
    get, path = "/v1/dead-letters/{letter}", tag = "service",
    params(DeadLetterPath),
    responses((status = 200, description = "The dead letter.", body = DeadLetterView))
)]
pub(crate) async fn get_dead_letter(deps: App, at: DeadLetterPath) -> JsonResult<DeadLetterView> {
    let letter = lookups::dead_letter(&deps, &at.caller, &at.key, &at.id).await?;
    Ok(Json(DeadLetterView::new(&letter)))
}

/// Lists the dead letters of the tenant's connections that the caller can reach.
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "service", params(DeadLettersQuery),
    responses((status = 200, description = "A page.", body = DeadLetterList))
)]
pub(crate) async fn list_dead_letters(
    deps: App,
    caller: Caller,
    Params(query): Params<DeadLettersQuery>,
) -> JsonResult<DeadLetterList> {
    let request = page(query.limit, None);
    let from = query.cursor.as_deref().map(cursor::decode).transpose()?;
    let connections = match &query.connection {
        Some(id) => {
            let invalid = |_| {
                let detail = "connection must be the id of a connection";
                Problem::new(Kind::MalformedRequest, detail).parameter("connection")
            };
            let key = ConnectionKey {
                tenant: caller.tenant.clone(),
                connection: ConnectionId::parse(id).map_err(invalid)?,
            };
            let connection = lookups::connection(&deps, &key).await?;
            caller.admitted(&connection, "the connection")?;
            vec![connection]
        }
        None => lookups::reachable_connections(&deps, &caller).await?,
    };
    let filter = query.status.unwrap_or_default();
    let (deps, connections, from) = (&deps, &connections, &from);
    let read =
        |request: PageRequest| collect(deps, connections, filter, request.limit, from.clone());
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(DeadLetterList { items, next_cursor }))
}

/// Collects up to `limit` dead letters from a bounded number of connections.
async fn collect(
    deps: &Deps,
    connections: &[Connection],
    filter: LetterFilter,
    limit: u32,
    from: Option<TenantCursor>,
) -> Result<ListPage<DeadLetterView>, Problem> {
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
            return Ok(up_to(items, id, None));
        }
        let request = PageRequest {
            limit: limit - taken,
            cursor: inside.and_then(|from| from.page.clone()),
        };
        let page = deps
            .store
            .list_dead_letters(&connection.key, &request)
            .await?;
        let wanted = page.items.iter().filter(|parked| filter.accepts(parked));
        items.extend(wanted.map(DeadLetterView::new));
        if page.next_cursor.is_some() {
            return Ok(up_to(items, id, page.next_cursor));
        }
    }
    Ok((items, None))
}

/// A page that the next one continues at `page` of `connection`.
fn up_to(
    items: Vec<DeadLetterView>,
    connection: &str,
    page: Option<String>,
) -> ListPage<DeadLetterView> {
    let next = TenantCursor {
        connection: connection.to_owned(),
        page,
    };
    (items, Some(cursor::encode(&next)))
}
