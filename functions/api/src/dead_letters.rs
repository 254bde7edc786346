//! Dead letters: inputs that could never succeed, set aside with the reason, and what became of them.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{ConnectionId, ConnectionKey, TenantId};
use serde::{Deserialize, Serialize};
use store::{
    Connection, ConnectionState, PageRequest, Parked, ParkedEvent, ParkedStatus, ParkedStep,
};
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
    /// What became of them; `parked` where left out.
    #[param(inline)]
    status: Option<LetterFilter>,
    /// 1 to 1,000; 100 where left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// `parked`: waits for somebody. `redriven`: was sent again, and has not come back. `dropped`: somebody decided that it
/// is not wanted. Of the last two, the record is kept for 30 days.
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
    fn takes(self, parked: &Parked) -> bool {
        match self {
            Self::Parked => parked.status == ParkedStatus::Parked,
            Self::Redriven => parked.status == ParkedStatus::Redriven,
            Self::Dropped => parked.status == ParkedStatus::Dropped,
            Self::All => true,
        }
    }
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
    status: LetterStatus,
    /// The queue that it came by; `drive` where Drive itself said what can't be read.
    queue: String,
    /// Why it can't succeed.
    reason: String,
    /// The message, as it came.
    body: String,
    /// The file that it is about, if it could be told.
    file_id: Option<String>,
    first_seen_at: String,
    /// When it was set aside, the last time.
    parked_at: String,
    /// How often it was received before that.
    receives: u32,
    /// How often it was sent again.
    redrives: u32,
    /// What happened to it, the oldest first: the last twenty events.
    history: Vec<LetterEvent>,
}

/// Whether a dead letter waits, or how it ended.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LetterStatus {
    Parked,
    Redriven,
    Dropped,
}

impl LetterStatus {
    fn of(status: ParkedStatus) -> Self {
        match status {
            ParkedStatus::Parked => Self::Parked,
            ParkedStatus::Redriven => Self::Redriven,
            ParkedStatus::Dropped => Self::Dropped,
        }
    }
}

/// An event of a dead letter's history.
#[derive(Debug, Serialize, ToSchema)]
struct LetterEvent {
    at: String,
    /// What happened.
    event: LetterStatus,
    /// Why it was set aside or dropped.
    reason: Option<String>,
    /// Who sent it again or dropped it.
    by: Option<String>,
    /// How often it had been received when it was set aside.
    receives: Option<u32>,
}

impl LetterEvent {
    fn new(event: &ParkedEvent) -> Self {
        let (status, reason, by, receives) = match &event.step {
            ParkedStep::Parked {
                reason, receives, ..
            } => (ParkedStatus::Parked, Some(reason), None, Some(*receives)),
            ParkedStep::Redriven { by } => (ParkedStatus::Redriven, None, Some(by), None),
            ParkedStep::Dropped { by, reason } => {
                (ParkedStatus::Dropped, Some(reason), Some(by), None)
            }
        };
        Self {
            at: event.at.to_string(),
            event: LetterStatus::of(status),
            reason: reason.cloned(),
            by: by.cloned(),
            receives,
        }
    }
}

impl DeadLetterView {
    /// The id that callers know a letter by.
    pub(crate) fn id_of(parked: &Parked) -> String {
        encode_id(&parked.key.connection, &parked.id)
    }

    pub(crate) fn new(parked: &Parked) -> Self {
        Self {
            id: Self::id_of(parked),
            connection: parked.key.connection.to_string(),
            status: LetterStatus::of(parked.status),
            queue: parked.queue.clone(),
            reason: parked.reason.clone(),
            body: parked.body.clone(),
            file_id: parked.file.as_ref().map(ToString::to_string),
            first_seen_at: parked.first_seen_at.to_string(),
            parked_at: parked.parked_at.to_string(),
            receives: parked.receives,
            redrives: parked.redrives,
            history: parked.history.iter().map(LetterEvent::new).collect(),
        }
    }
}

/// Names a letter among all of a tenant's, in a text that fits into a URL.
fn encode_id(connection: &ConnectionId, id: &str) -> String {
    // A connection's id holds no line break.
    URL_SAFE_NO_PAD.encode(format!("{connection}\n{id}"))
}

/// The inverse of [`encode_id`]; 404 where it is no id of ours. The tenant is the caller's, whatever the id says.
pub(crate) fn parse_id(tenant: &TenantId, text: &str) -> Result<(ConnectionKey, String), Problem> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = decoded.as_deref().and_then(|text| text.split_once('\n'));
    parts
        .and_then(|(connection, id)| {
            let key = ConnectionKey {
                tenant: tenant.clone(),
                connection: ConnectionId::parse(connection).ok()?,
            };
            Some((key, id.to_owned()))
        })
        .ok_or_else(|| Problem::not_found("the dead letter"))
}

/// A dead letter of one of the caller's connections, by the path.
pub(crate) struct LetterPath {
    pub(crate) caller: Caller,
    pub(crate) key: ConnectionKey,
    pub(crate) id: String,
}

impl FromRequestParts<Arc<Deps>> for LetterPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, deps).await?;
        let params = Path::<HashMap<String, String>>::from_request_parts(parts, deps).await;
        let Path(params) = params.map_err(|_| Problem::not_found("the path"))?;
        let text = params.get("letter").map_or("", String::as_str);
        let (key, id) = parse_id(&caller.tenant, text)?;
        Ok(Self { caller, key, id })
    }
}

/// A letter of a connection that is there.
pub(crate) async fn load(deps: &Deps, key: &ConnectionKey, id: &str) -> Result<Parked, Problem> {
    let not_found = || Problem::not_found("the dead letter");
    let found = deps.store.load_connection(key).await?;
    found
        .filter(|connection| connection.state != ConnectionState::Deleting)
        .ok_or_else(not_found)?;
    let found = deps.store.load_parked(key, id).await?;
    found.ok_or_else(not_found)
}

/// One dead letter, with everything that happened to it.
#[utoipa::path(
    get, operation_id = "get_dead_letter", path = "/v1/dead-letters/{letter}", tag = "service",
    params(("letter" = String, Path)),
    responses((status = 200, description = "The dead letter.", body = DeadLetterView))
)]
pub(crate) async fn get(
    State(deps): State<Arc<Deps>>,
    at: LetterPath,
) -> Result<Json<DeadLetterView>, Problem> {
    let letter = load(&deps, &at.key, &at.id).await?;
    Ok(Json(DeadLetterView::new(&letter)))
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
    let filter = query.status.unwrap_or_default();
    Ok(Json(
        collect(&deps, &connections, filter, limit, from).await?,
    ))
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
    filter: LetterFilter,
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
        let wanted = page.items.iter().filter(|parked| filter.takes(parked));
        items.extend(wanted.map(DeadLetterView::new));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letters_id_reads_back_and_never_names_a_tenant() {
        let tenant = TenantId::parse("acme").unwrap();
        let connection = ConnectionId::parse("c_01").unwrap();
        let text = encode_id(&connection, "f.1abc.x\ny");
        let (key, id) = parse_id(&tenant, &text).unwrap();
        assert_eq!(
            (key.to_string().as_str(), id.as_str()),
            ("acme/c_01", "f.1abc.x\ny")
        );
        for bad in ["", "m.1", "!", &URL_SAFE_NO_PAD.encode("a/b\nm.1")] {
            assert_eq!(parse_id(&tenant, bad).unwrap_err().status(), 404, "{bad}");
        }
    }
}
