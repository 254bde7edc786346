//! Edits and deletions of a file by the application.

use axum::http::HeaderMap;
use axum::response::Response;
use domain::Field;
use serde::Deserialize;
use store::{PageRequest, Tombstones};
use utoipa::IntoParams;

use crate::described::query::Params;
use crate::edits::{ConditionalEdit, Precondition};
use crate::files::edit_problems::refused;
use crate::files::file_patch::{FilePatch, parse, without_erased};
use crate::files::permission_view;
use crate::files::sharing::Sharing;
use crate::http::{
    ConditionallyEditedFile, EditHeaders, FilePath, IfMatch, JsonBody, Keyed, Kind, Problem,
};
use crate::{App, Deps, lookups};

/// Changes fields of a file: all of them or none.
///
/// The changes are owed to Drive from then on. To share the file beyond the connection's own
/// domains needs the role `operator`.
#[utoipa::path(
    patch, path = "/v1/connections/{connection}/files/{file}", tag = "files",
    params(FilePath, EditHeaders),
    request_body(content = FilePatch, content_type = "application/merge-patch+json"),
    responses(ConditionallyEditedFile)
)]
pub(crate) async fn update_file(
    deps: App,
    at: FilePath,
    keyed: Keyed,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let values = parse(&body.members::<FilePatch>()?)?;
    let values = without_erased(&deps, &at.key.tenant, values).await?;
    let if_match = IfMatch::required(&headers)?;
    let connection = lookups::connection(&deps, &at.key).await?;
    let effective =
        permission_view::effective_if_removing(&deps, &connection, &at.file, &values).await?;
    let parent = values.get(&Field::Parent);
    let sharing = Sharing::of(&deps, &connection, &at.caller, &at.file, parent).await?;
    let fields = values.keys().map(Field::label);
    keyed.tell("fields", fields.collect::<Vec<_>>());
    let edit = ConditionalEdit::new(
        &deps,
        &connection,
        &at.file,
        &keyed,
        Precondition::FileTag(if_match),
    );
    let edited = edit.run(|record, context| {
        sharing.check_edit(record, &values)?;
        permission_view::refuse_removing_inherited(record, &values, &effective)?;
        let transition = record.edit(&values, &at.caller.subject, context);
        transition.map_err(|why| refused(record, why))
    });
    edited.await?.respond(&deps, &connection).await
}

/// The scope of a deletion.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Whether a folder may be deleted with its content.
    recursive: Option<bool>,
}

/// Deletes a file permanently, not into the trash.
///
/// The deletion is owed to Drive from then on. If the file changes in Drive first, that becomes a
/// conflict on `existence`. A file that has not been created in Drive yet is not created.
#[utoipa::path(
    delete,
    path = "/v1/connections/{connection}/files/{file}",
    tag = "files",
    params(FilePath, DeleteQuery, EditHeaders),
    responses(ConditionallyEditedFile)
)]
pub(crate) async fn delete_file(
    deps: App,
    at: FilePath,
    Params(query): Params<DeleteQuery>,
    keyed: Keyed,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let if_match = IfMatch::required(&headers)?;
    let recursive = query.recursive == Some(true);
    let connection = lookups::connection(&deps, &at.key).await?;
    let deletable = recursive || is_empty(&deps, &at).await?;
    let edit = ConditionalEdit::new(
        &deps,
        &connection,
        &at.file,
        &keyed,
        Precondition::FileTag(if_match),
    );
    let edited = edit.run(|record, context| {
        if !deletable && !record.is_gone() {
            let detail = "the folder is not empty; `recursive=true` deletes it with its content";
            return Err(Problem::new(Kind::StateNotAllowed, detail));
        }
        let transition = record.delete(&at.caller.subject, context);
        transition.map_err(|why| refused(record, why))
    });
    edited.await?.respond(&deps, &connection).await
}

/// Returns whether no file is known to be in the folder: always true of a file that is not a
/// folder.
async fn is_empty(deps: &Deps, at: &FilePath) -> Result<bool, Problem> {
    let mut cursor = None;
    loop {
        let page = PageRequest { limit: 1, cursor };
        let found = deps
            .store
            .list_files(&at.key, Some(&at.file), Tombstones::Skip, &page)
            .await?;
        if !found.items.is_empty() {
            return Ok(false);
        }
        // A page may be empty before the end: the index may still contain a file that is gone.
        match found.next_cursor {
            None => return Ok(true),
            next @ Some(_) => cursor = next,
        }
    }
}
