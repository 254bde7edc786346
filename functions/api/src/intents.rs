//! Intents: what is still owed to Drive, and what was given up.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use domain::{FileRecord, Moment, Step};
use serde::{Deserialize, Serialize};
use store::IntentStatus;
use utoipa::{IntoParams, ToSchema};

use crate::extract::{ConnectionPath, FilePath, Params, page};
use crate::file_view::{FileView, IntentView};
use crate::meaning::Meaning;
use crate::problem::Problem;
use crate::{Deps, files, record};

/// Which intents are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct IntentsQuery {
    /// `owed` where left out.
    #[param(inline)]
    status: Option<IntentStatusQuery>,
    /// 1 to 1,000; 100 where left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// `owed`: will be pushed, at once or when the file is in scope again (`held`). `failed`: was given up, until someone edits or retries.
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
    /// The earliest due first.
    items: Vec<IntentItem>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// What is owed for one file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntentItem {
    /// The file's id.
    file_id: String,
    /// Null where only the fate of a write that was sent is still to be seen.
    intent: Option<IntentView>,
    /// The file, without its path.
    file: FileView,
}

/// What is owed to Drive, or was given up.
#[utoipa::path(
    get, operation_id = "list_intents", path = "/v1/connections/{connection}/intents", tag = "intents",
    params(("connection" = String, Path), IntentsQuery),
    responses((status = 200, description = "A page.", body = IntentList))
)]
pub(crate) async fn list(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
    Params(query): Params<IntentsQuery>,
) -> Result<Json<IntentList>, Problem> {
    let request = page(query.limit, query.cursor)?;
    let status = match query.status.unwrap_or_default() {
        IntentStatusQuery::Owed => IntentStatus::Owed,
        IntentStatusQuery::Failed => IntentStatus::Failed,
    };
    let connection = record::connection(&deps, &at.key).await?;
    let page = deps.store.list_intents(&at.key, status, &request).await?;
    let meaning = Meaning::scope(&deps, &connection, &page.items).await?;
    let item = |record: &FileRecord| {
        let intent = IntentView::of(record);
        IntentItem {
            file_id: record.file.to_string(),
            intent: intent.map(|intent| intent.unless_held(meaning.in_scope(record))),
            file: FileView::scoped(record, &meaning),
        }
    };
    Ok(Json(IntentList {
        items: page.items.iter().map(item).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Tries again, now, what is owed or was given up.
#[utoipa::path(
    post, operation_id = "retry_intent", path = "/v1/connections/{connection}/intents/{file}/retry", tag = "intents",
    params(("connection" = String, Path), ("file" = String, Path)),
    responses((status = 200, description = "The file.", body = FileView))
)]
pub(crate) async fn retry(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
) -> Result<Response, Problem> {
    change(&deps, &at, FileRecord::retry).await
}

/// Takes back what is owed: the application's values return to what both sides last agreed on. What
/// was sent already may still arrive.
#[utoipa::path(
    post, operation_id = "cancel_intent", path = "/v1/connections/{connection}/intents/{file}/cancel", tag = "intents",
    params(("connection" = String, Path), ("file" = String, Path)),
    responses((status = 200, description = "The file.", body = FileView))
)]
pub(crate) async fn cancel(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
) -> Result<Response, Problem> {
    change(&deps, &at, FileRecord::cancel).await
}

/// Doing either twice is doing it once, so neither asks for a condition, and a file that owes nothing
/// is answered as it is.
async fn change(
    deps: &Deps,
    at: &FilePath,
    step: impl Fn(&FileRecord, Moment<'_>) -> Step,
) -> Result<Response, Problem> {
    let connection = record::connection(deps, &at.key).await?;
    let now = deps.clock.now();
    let written = record::write(deps, &at.key, &at.file, |record| {
        Ok(Some(step(
            record,
            record::moment(now, &connection.policies),
        )))
    })
    .await?;
    record::wake_push(deps, &at.key, written.record()).await;
    files::answer(deps, &connection, written.record()).await
}
