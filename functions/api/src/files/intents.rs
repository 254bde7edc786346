//! Intents: what is owed to Drive, and what has been given up.

use axum::Json;
use axum::response::Response;
use domain::{Context, FileRecord, Transition};
use serde::{Deserialize, Serialize};
use store::IntentStatus;
use utoipa::{IntoParams, ToSchema};

use crate::edits::{ConditionalEdit, Precondition};
use crate::files::derived::DerivedView;
use crate::files::file_view::{FileView, IntentView};
use crate::http::{ConnectionPath, FilePath, JsonResult, Keyed, Params, Problem, page};
use crate::{App, Deps, lookups};

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
/// given up until the file is edited or the intent retried.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IntentStatusQuery {
    #[default]
    Owed,
    Failed,
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
    let request = page(query.limit, query.cursor)?;
    let status = match query.status.unwrap_or_default() {
        IntentStatusQuery::Owed => IntentStatus::Owed,
        IntentStatusQuery::Failed => IntentStatus::Failed,
    };
    let connection = lookups::connection(&deps, &at.key).await?;
    let page = deps.store.list_intents(&at.key, status, &request).await?;
    let derived = DerivedView::load_scope(&deps, &connection, &page.items).await?;
    let item = |record: &FileRecord| {
        let intent = IntentView::of(record);
        IntentItem {
            file_id: record.file.to_string(),
            intent: intent.map(|intent| intent.with_scope(derived.in_scope(record))),
            file: FileView::with_scope(record, &derived),
        }
    };
    Ok(Json(IntentList {
        items: page.items.iter().map(item).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Retries now what is owed or has been given up.
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
    change(&deps, &at, &keyed, FileRecord::retry).await
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
