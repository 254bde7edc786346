//! Intents: what is owed to Drive, and what has been given up.

use axum::Json;
use axum::response::Response;
use domain::{Context, FileRecord, Transition};
use serde::{Deserialize, Serialize};
use store::{IntentStatus, PageRequest};
use utoipa::{IntoParams, ToSchema};

use crate::content::content_retries;
use crate::described::query::Params;
use crate::edits::{ConditionalEdit, Precondition};
use crate::files::derived::DerivedView;
use crate::files::file_view::{FileView, IntentView};
use crate::http::{
    ConnectionPath, FilePath, JsonBody, JsonResult, Keyed, Kind, Problem, page, page_that_fits,
};
use crate::{App, Deps, lookups, wakes};

/// The filter and the page of a list of intents.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct IntentsQuery {
    /// The default is `owed`.
    #[param(inline)]
    status: Option<IntentStatusQuery>,
    /// 1 to 1,000; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// `owed`: will be pushed, at once or when the file is in scope again (`held`). `failed`: has been
/// given up until it is tried again, by itself or on request, or the file is edited.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IntentStatusQuery {
    #[default]
    Owed,
    Failed,
}

impl From<IntentStatusQuery> for IntentStatus {
    fn from(status: IntentStatusQuery) -> Self {
        match status {
            IntentStatusQuery::Owed => Self::Owed,
            IntentStatusQuery::Failed => Self::Failed,
        }
    }
}

/// A page of intents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntentList {
    /// In the order in which they are due.
    items: Vec<IntentItem>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// The intent of one file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntentItem {
    /// The file's id.
    file_id: String,
    /// Null if nothing is owed and only the outcome of a sent write is still unknown.
    intent: Option<IntentView>,
    /// The file, without its path.
    file: FileView,
}

/// Lists the intents of a connection.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/intents", tag = "intents",
    params(ConnectionPath, IntentsQuery),
    responses((status = 200, description = "A page.", body = IntentList))
)]
pub(crate) async fn list_intents(
    deps: App,
    at: ConnectionPath,
    Params(query): Params<IntentsQuery>,
) -> JsonResult<IntentList> {
    let request = page(query.limit, query.cursor);
    let status = IntentStatus::from(query.status.unwrap_or_default());
    let connection = lookups::connection(&deps, &at.key).await?;
    let (deps, connection) = (&deps, &connection);
    let read = |request: PageRequest| async move {
        let page = deps.store.list_intents(&connection.key, status, &request);
        let page = page.await?;
        let derived = DerivedView::load_scope(deps, connection, &page.items).await?;
        let item = |record: &FileRecord| {
            let intent = IntentView::of(record);
            IntentItem {
                file_id: record.file.to_string(),
                intent: intent.map(|intent| intent.with_scope(derived.in_scope(record))),
                file: FileView::with_scope(record, &derived),
            }
        };
        Ok((page.items.iter().map(item).collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(IntentList { items, next_cursor }))
}

/// Retries now what is owed or has been given up, and asks for the file's content if it could not
/// be had.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/intents/{file}/retry", tag = "intents",
    params(FilePath),
    responses((status = 200, description = "The file.", body = FileView))
)]
pub(crate) async fn retry_intent(
    deps: App,
    at: FilePath,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let retried = change(&deps, &at, &keyed, FileRecord::retry).await?;
    content_retries::ask_for_file(&deps, &keyed.act_only(), &at.key, &at.file).await?;
    Ok(retried)
}

/// Cancels what is owed.
///
/// The application's values return to those that both sides last agreed on. A write that has been
/// sent may still arrive in Drive.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/intents/{file}/cancel", tag = "intents",
    params(FilePath),
    responses((status = 200, description = "The file.", body = FileView))
)]
pub(crate) async fn cancel_intent(
    deps: App,
    at: FilePath,
    keyed: Keyed,
) -> Result<Response, Problem> {
    change(&deps, &at, &keyed, FileRecord::cancel).await
}

/// The intents to change: those that match every given member. One of `all`, `reason` and `field`
/// is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntentFilter {
    /// The default is `failed`.
    #[serde(default)]
    status: Option<IntentStatusQuery>,
    /// True: without any other condition.
    #[serde(default)]
    all: Option<bool>,
    /// Only files with a field that was given up for this reason.
    #[serde(default)]
    reason: Option<String>,
    /// Only files that owe this field.
    #[serde(default)]
    field: Option<String>,
    /// The `next_cursor` of the previous response.
    #[serde(default)]
    cursor: Option<String>,
}

/// The result of a change of many intents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntentsChanged {
    /// The number of files whose intent was changed.
    changed: u32,
    /// The `cursor` of the next request; null at the end.
    next_cursor: Option<String>,
}

impl IntentFilter {
    fn takes(&self, record: &FileRecord) -> bool {
        let reason = |wanted: &String| record.push.failed.values().any(|reason| reason == wanted);
        let field = |wanted: &String| {
            let intent = record.intent();
            intent.is_some_and(|i| i.fields.iter().any(|field| field.label() == *wanted))
        };
        self.reason.as_ref().is_none_or(reason) && self.field.as_ref().is_none_or(field)
    }
}

/// Retries many intents now: up to 100 of those that match, in one request.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/intents/retry", tag = "intents",
    params(ConnectionPath), request_body(content = IntentFilter),
    responses((status = 200, description = "What was changed.", body = IntentsChanged))
)]
pub(crate) async fn retry_intents(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
    body: JsonBody,
) -> JsonResult<IntentsChanged> {
    change_many(&deps, &at, &keyed, &body.read()?, FileRecord::retry).await
}

/// Cancels many intents: up to 100 of those that match, in one request.
///
/// The application's values return to those that both sides last agreed on.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/intents/cancel", tag = "intents",
    params(ConnectionPath), request_body(content = IntentFilter),
    responses((status = 200, description = "What was changed.", body = IntentsChanged))
)]
pub(crate) async fn cancel_intents(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
    body: JsonBody,
) -> JsonResult<IntentsChanged> {
    change_many(&deps, &at, &keyed, &body.read()?, FileRecord::cancel).await
}

/// The most intents that one request changes.
const CHANGED_MAX: u32 = 100;

async fn change_many(
    deps: &Deps,
    at: &ConnectionPath,
    keyed: &Keyed,
    filter: &IntentFilter,
    transition: fn(&FileRecord, Context<'_>) -> Transition,
) -> JsonResult<IntentsChanged> {
    if filter.all != Some(true) && filter.reason.is_none() && filter.field.is_none() {
        let detail = "send all (true), reason or field";
        return Err(Problem::new(Kind::MemberNotAllowed, detail).at(""));
    }
    if let Some(first) = keyed.first_answer() {
        return Ok(Json(IntentsChanged {
            changed: u32::try_from(first.parts.len()).unwrap_or(u32::MAX),
            next_cursor: first.next_cursor.clone(),
        }));
    }
    let connection = lookups::connection(deps, &at.key).await?;
    let request = page(Some(CHANGED_MAX), filter.cursor.clone());
    let status = IntentStatus::from(filter.status.unwrap_or(IntentStatusQuery::Failed));
    let page = deps.store.list_intents(&at.key, status, &request).await?;
    let mut changed = Vec::new();
    let taken = page.items.iter().filter(|record| filter.takes(record));
    let taken: Vec<&FileRecord> = taken.collect();
    let ids = taken.iter().map(|record| record.file.as_str());
    keyed.tell("ids", ids.collect::<Vec<_>>());
    keyed.tell("count", taken.len());
    // Both changes are idempotent, so only the whole request has an answer.
    let unkeyed = keyed.act_only();
    for record in taken {
        let file = &record.file;
        let edit = ConditionalEdit::new(deps, &connection, file, &unkeyed, Precondition::None);
        let edited = edit.run::<Problem>(|record, context| Ok(transition(record, context)));
        edited.await?;
        changed.push(file.to_string());
    }
    if !changed.is_empty() {
        wakes::wake_push(deps, &at.key).await;
    }
    let count = u32::try_from(changed.len()).unwrap_or(u32::MAX);
    keyed.shows(changed, page.next_cursor.clone());
    Ok(Json(IntentsChanged {
        changed: count,
        next_cursor: page.next_cursor,
    }))
}

/// Changes an intent. Both changes are idempotent, so there is no precondition, and a file that
/// owes nothing is returned unchanged.
async fn change(
    deps: &Deps,
    at: &FilePath,
    keyed: &Keyed,
    transition: impl Fn(&FileRecord, Context<'_>) -> Transition,
) -> Result<Response, Problem> {
    let connection = lookups::connection(deps, &at.key).await?;
    let edit = ConditionalEdit::new(deps, &connection, &at.file, keyed, Precondition::None);
    let edited = edit.run::<Problem>(|record, context| Ok(transition(record, context)));
    edited.await?.respond(deps, &connection).await
}
