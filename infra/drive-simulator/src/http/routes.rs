//! Which path is which method.

use axum::{
    Router,
    extract::{RawPathParams, Request, State},
    response::Response,
    routing::{MethodRouter, delete, get, patch, post, put},
};

use crate::{
    Simulator,
    errors::DriveError,
    http::{
        batch, changes, control, drives, endpoint, export, files, files_v2, methods, permissions,
        refusal, resumable, revisions, token,
    },
};

/// Everything that the simulator answers.
pub(crate) fn router(simulator: &Simulator) -> Router {
    let api = api(simulator);
    let (inner, batching) = (api.clone(), simulator.clone());
    let answer_batch =
        move |request: Request| batch::batch(batching.clone(), inner.clone(), request);
    api.route("/batch/drive/v3", post(answer_batch.clone()))
        .route("/batch/drive/v2", post(answer_batch))
        .nest("/_control", control::router(simulator))
}

fn api(simulator: &Simulator) -> Router {
    Router::new()
        .merge(v3_files())
        .merge(v3_rest())
        .merge(drives::routes())
        .merge(permissions::routes())
        .merge(v3_content())
        .route(
            "/drive/v2/files/{id}",
            get(endpoint(&methods::V2_FILES_GET, files_v2::get))
                .patch(endpoint(&methods::V2_FILES_PATCH, files_v2::patch))
                .put(endpoint(&methods::V2_FILES_UPDATE, files_v2::patch))
                .delete(endpoint(&methods::V2_FILES_DELETE, files_v2::delete)),
        )
        .route("/upload/drive/v2/files/{id}", upload_v2())
        .route("/resumable/upload/drive/v2/files/{id}", upload_v2())
        .route("/token", post(token::token))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(simulator.clone())
}

fn v3_files() -> Router<Simulator> {
    Router::new()
        .route(
            "/drive/v3/files",
            get(endpoint(&methods::FILES_LIST, files::list))
                .post(endpoint(&methods::FILES_CREATE, files::create)),
        )
        .route(
            "/drive/v3/files/generateIds",
            get(endpoint(&methods::FILES_GENERATE_IDS, files::generate_ids)),
        )
        .route(
            "/drive/v3/files/trash",
            delete(endpoint(&methods::FILES_EMPTY_TRASH, files::empty_trash)),
        )
        .route(
            "/drive/v3/files/{id}",
            get(endpoint(&methods::FILES_GET, files::get))
                .patch(endpoint(&methods::FILES_UPDATE, files::update))
                .delete(endpoint(&methods::FILES_DELETE, files::delete)),
        )
        .route(
            "/drive/v3/files/{id}/copy",
            post(endpoint(&methods::FILES_COPY, files::copy)),
        )
        .route(
            "/drive/v3/files/{id}/watch",
            post(endpoint(&methods::FILES_WATCH, changes::watch_file)),
        )
        .route("/upload/drive/v3/files", upload_create())
        .route("/upload/drive/v3/files/{id}", upload_update())
        .route("/resumable/upload/drive/v3/files", upload_create())
        .route("/resumable/upload/drive/v3/files/{id}", upload_update())
}

/// A create with content. `PUT` goes on with a resumable upload, `DELETE` gives it up.
fn upload_create() -> MethodRouter<Simulator> {
    post(endpoint(&methods::FILES_CREATE, files::create_with_content))
        .put(resumable::proceed)
        .delete(resumable::cancel)
}

/// An update with content.
fn upload_update() -> MethodRouter<Simulator> {
    patch(endpoint(&methods::FILES_UPDATE, files::update_with_content))
        .put(resumable::proceed)
        .delete(resumable::cancel)
}

/// An update with content in v2, where `PUT` both begins a resumable upload and goes on with it: the address of a
/// session says which.
fn upload_v2() -> MethodRouter<Simulator> {
    let update = endpoint(&methods::V2_FILES_UPDATE, files_v2::update_with_content);
    let either = move |state: State<Simulator>, path: RawPathParams, request: Request| {
        let goes_on = resumable::goes_on(request.uri());
        let begins = (!goes_on).then(|| update.clone());
        async move {
            match begins {
                Some(update) => update(state, path, request).await,
                None => resumable::proceed(state, request).await,
            }
        }
    };
    put(either).delete(resumable::cancel)
}

fn v3_content() -> Router<Simulator> {
    Router::new()
        .route(
            "/drive/v3/files/{id}/revisions",
            get(endpoint(&methods::REVISIONS_LIST, revisions::list)),
        )
        .route(
            "/drive/v3/files/{id}/revisions/{revision}",
            get(endpoint(&methods::REVISIONS_GET, revisions::get))
                .patch(endpoint(&methods::REVISIONS_UPDATE, revisions::update))
                .delete(endpoint(&methods::REVISIONS_DELETE, revisions::delete)),
        )
        .route(
            "/drive/v3/files/{id}/export",
            get(endpoint(&methods::FILES_EXPORT, export::export)),
        )
        .route(
            "/drive/v3/files/{id}/download",
            post(endpoint(&methods::FILES_DOWNLOAD, export::begin_download)),
        )
        .route(
            "/drive/v3/operations/{name}",
            get(endpoint(&methods::OPERATIONS_GET, export::operation)),
        )
        .route(
            "/download/drive/v3/operations/{name}",
            get(endpoint(&methods::OPERATIONS_MEDIA, export::fetch)),
        )
}

fn v3_rest() -> Router<Simulator> {
    Router::new()
        .route(
            "/drive/v3/changes/startPageToken",
            get(endpoint(&methods::CHANGES_START, changes::start_page_token)),
        )
        .route(
            "/drive/v3/changes",
            get(endpoint(&methods::CHANGES_LIST, changes::list)),
        )
        .route(
            "/drive/v3/changes/watch",
            post(endpoint(&methods::CHANGES_WATCH, changes::watch)),
        )
        .route(
            "/drive/v3/channels/stop",
            post(endpoint(&methods::CHANNELS_STOP, changes::stop)),
        )
        .route(
            "/drive/v3/about",
            get(endpoint(&methods::ABOUT_GET, drives::about)),
        )
}

/// A path or a method that is not here: Google's 404, or 501 for what Google Drive has and the simulator does not.
async fn unknown(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    refusal(
        &left_out(method.as_str(), path).map_or_else(DriveError::no_such_method, |name| {
            DriveError::not_implemented(&name)
        }),
    )
}

/// The name of a method of Google Drive that is left out, recognised by its path.
fn left_out(method: &str, path: &str) -> Option<String> {
    if path.contains("/upload/drive/v2/") {
        return Some("new files of v2".to_owned());
    }
    let segments: Vec<&str> = path
        .strip_prefix("/drive/v3/")
        .or_else(|| path.strip_prefix("/drive/v2/"))?
        .split('/')
        .collect();
    let known = match segments.as_slice() {
        [
            "files",
            _,
            "export" | "listLabels" | "modifyLabels" | "download",
        ] => true,
        [
            "files",
            _,
            "permissions" | "revisions" | "comments" | "accessproposals" | "approvals",
            ..,
        ] => true,
        ["drives" | "teamdrives" | "apps" | "operations", ..] => true,
        ["changes" | "channels" | "files" | "about", ..] => path.starts_with("/drive/v2/"),
        _ => false,
    };
    known.then(|| format!("{method} {path}"))
}
