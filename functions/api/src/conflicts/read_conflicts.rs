//! The list of a connection's conflicts, and one conflict.

use axum::Json;
use axum::response::Response;
use domain::{ConflictRecord, ConflictStatus, Field, FileId};
use serde::{Deserialize, Serialize};
use store::{ConflictFilter, ConflictState, PageRequest};
use utoipa::{IntoParams, ToSchema};

use crate::conflicts::conflict_body::{self, ConflictView};
use crate::conflicts::conflict_id::ConflictPath;
use crate::described::query::Params;
use crate::files::scope;
use crate::http::{ConnectionPath, JsonResult, Kind, Problem, page, page_that_fits};
use crate::{App, lookups};

/// The filters and the page of a list of conflicts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConflictsQuery {
    /// The default is `open`.
    #[param(inline)]
    status: Option<StatusQuery>,
    /// Only conflicts on this field: `name`, `properties.KEY`, ...
    field: Option<String>,
    /// 1 to 1,000; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// The status of the conflicts in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusQuery {
    /// Open ones.
    #[default]
    Open,
    /// Those that a person or a policy has resolved.
    Resolved,
    /// Those whose sides agree again without a decision.
    Closed,
    /// All of them.
    All,
}

impl StatusQuery {
    fn state(self) -> Option<ConflictState> {
        match self {
            Self::Open => Some(ConflictState::Open),
            Self::Resolved | Self::Closed => Some(ConflictState::Ended),
            Self::All => None,
        }
    }

    fn accepts(self, conflict: &ConflictRecord) -> bool {
        match &conflict.status {
            ConflictStatus::Open => matches!(self, Self::Open | Self::All),
            ConflictStatus::Resolved(_) => matches!(self, Self::Resolved | Self::All),
            ConflictStatus::Closed { .. } => matches!(self, Self::Closed | Self::All),
        }
    }
}

/// A page of conflicts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConflictList {
    /// Open ones first, oldest first. A page before the last one may have fewer than `limit` items,
    /// or none.
    items: Vec<ConflictView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// Lists the conflicts of a connection.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/conflicts", tag = "conflicts",
    params(ConnectionPath, ConflictsQuery),
    responses((status = 200, description = "A page.", body = ConflictList))
)]
pub(crate) async fn list_conflicts(
    deps: App,
    at: ConnectionPath,
    Params(query): Params<ConflictsQuery>,
) -> JsonResult<ConflictList> {
    let request = page(query.limit, query.cursor);
    let status = query.status.unwrap_or_default();
    let field = query.field.as_deref().map(|label| {
        let detail = format!("there is no field {label}");
        Field::from_label(label)
            .ok_or_else(|| Problem::new(Kind::MalformedRequest, detail).parameter("field"))
    });
    let filter = ConflictFilter {
        status: status.state(),
        field: field.transpose()?,
    };
    let connection = lookups::connection(&deps, &at.key).await?;
    let (deps, connection, filter) = (&deps, &connection, &filter);
    let read = |request: PageRequest| async move {
        let page = deps.store.list_conflicts(&connection.key, filter, &request);
        let page = page.await?;
        let files: Vec<FileId> = page.items.iter().map(|c| c.id.file.clone()).collect();
        let out = scope::out_of_scope(deps, connection, &files).await?;
        let items = page.items.iter().filter(|item| status.accepts(item));
        let view = |item: &ConflictRecord| ConflictView::new(item, out.contains(&item.id.file));
        Ok((items.map(view).collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(ConflictList { items, next_cursor }))
}

/// Returns one conflict.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/conflicts/{conflict}", tag = "conflicts",
    params(ConflictPath),
    responses((status = 200, description = "The conflict. Its `ETag` moves with its sides.",
        body = ConflictView, headers(("ETag" = String))))
)]
pub(crate) async fn get_conflict(deps: App, at: ConflictPath) -> Result<Response, Problem> {
    let (connection, conflict) = tokio::try_join!(
        lookups::connection(&deps, &at.key),
        lookups::conflict(&deps, &at.key, &at.id)
    )?;
    let out_of_scope = scope::is_out_of_scope(&deps, &connection, &at.id.file).await?;
    Ok(conflict_body::respond(&conflict, out_of_scope))
}
