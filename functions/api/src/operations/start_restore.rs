//! Restores of a folder, or of a whole connection, to a point in time.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use domain::{DAY_MILLIS, FileId, Operation, Run, Timestamp};
use serde::Deserialize;
use store::{Connection, ConnectionState};
use utoipa::ToSchema;

use crate::described::texts::IdText;
use crate::http::{ConnectionPath, JsonBody, Keyed, Kind, Problem, accepted};
use crate::operations::new_operation::{self, new_operation};
use crate::operations::operation_view::OperationView;
use crate::{App, Deps, lookups};

/// The name of the root of My Drive, which stands for the whole connection.
const ROOT: &str = "root";

/// A restore to start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreBody {
    /// The folder, which is restored with everything that is in it or was in it at the time; also
    /// the id of a single file. The default, and `root`, is the whole connection.
    #[serde(default)]
    #[schema(value_type = Option<IdText>)]
    folder: Option<String>,
    /// The time whose state is restored: not in the future, and not before the history that is
    /// kept.
    #[schema(format = DateTime, max_length = 40)]
    at: String,
    /// Only list what would be changed.
    #[serde(default)]
    dry_run: bool,
}

/// Sets a folder back to a point in time.
///
/// Names, folders, descriptions, stars, the trash, properties and contents become what they were,
/// by ordinary edits that are owed to Drive; a role only where nobody gets more access by that.
/// What was made since is not deleted. `GET .../operations/{id}/findings` lists each file, with
/// what is left and why. If more files would be changed than the connection lets an operation
/// remove unasked, it waits to be confirmed. A restore to the time just before it undoes it.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/files/restore", tag = "operations",
    params(ConnectionPath),
    request_body(content = RestoreBody),
    responses(
        (status = 202, description = "The restore has been started.", body = OperationView,
            headers(("Location" = String))),
        (status = 409, description = "The connection is not active."),
    )
)]
pub(crate) async fn restore_files(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
    body: JsonBody,
) -> Result<Response, Problem> {
    let body: RestoreBody = body.read()?;
    let connection = lookups::connection(&deps, &at.key).await?;
    let time = time(&body.at, &connection, &deps)?;
    let folder = folder(body.folder.as_deref(), &connection, &deps).await?;
    if connection.state != ConnectionState::Active {
        let detail = "the connection is not active; resume it first";
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    let run = Run::restore(folder.clone(), time, body.dry_run);
    let operation = Operation {
        cause: deps.store.cause(),
        ..new_operation(&deps, &connection, &at.caller.subject, run)?
    };
    if let Some(folder) = &folder {
        keyed.tell("folder", folder.as_str());
    }
    keyed.tell("at", time.to_string());
    if body.dry_run {
        keyed.tell("dry_run", true);
    }
    keyed.tell("operation", operation.id.as_str());
    let (connection, id) = (&at.key.connection, &operation.id);
    let location = format!("/v1/connections/{connection}/operations/{id}");
    keyed.accepts(&location);
    new_operation::begin(&deps, &keyed.store(&deps), &operation).await?;
    let view = Json(OperationView::new(&operation));
    Ok(accepted(view.into_response(), &location))
}

/// Reads the time, for which the connection has a history.
fn time(text: &str, connection: &Connection, deps: &Deps) -> Result<Timestamp, Problem> {
    let refused = |detail: String| Err(Problem::new(Kind::ValueNotAllowed, detail).at("/at"));
    let Some(at) = Timestamp::parse_rfc3339(text) else {
        return refused("at must be a time like 2026-11-30T09:00:00Z".to_owned());
    };
    let now = deps.clock.now();
    if at > now {
        return refused(format!("at is in the future: it is {now} now"));
    }
    let Some(days) = deps.history_days else {
        let detail = "this deployment keeps no history, so nothing can be restored (HistoryDays)";
        return refused(detail.to_owned());
    };
    let kept_since = now.plus_millis(-i64::from(days) * DAY_MILLIS);
    let oldest = kept_since.max(connection.created_at);
    if at < oldest {
        let detail = format!(
            "at is before the history of the connection: the oldest time possible is {oldest} \
             (history is kept for {days} days)"
        );
        return refused(detail);
    }
    Ok(at)
}

/// Reads the folder: `None` for the whole connection.
async fn folder(
    text: Option<&str>,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<FileId>, Problem> {
    let Some(text) = text.filter(|text| *text != ROOT) else {
        return Ok(None);
    };
    let unknown = || Problem::not_found("the folder").at("/folder");
    let id = FileId::parse(text).map_err(|_| unknown())?;
    if connection.my_drive.as_ref() != Some(&id)
        && deps.store.load_file(&connection.key, &id).await?.is_none()
    {
        return Err(unknown());
    }
    Ok(Some(id))
}
