//! The routes of the HTTP interface.

use axum::{
    Router,
    extract::{RawPathParams, Request, State},
    response::Response,
    routing::{MethodRouter, delete, get, patch, post, put},
};

use crate::{
    errors::DriveError,
    http::{
        batch_endpoint, control,
        endpoint::endpoint,
        media::resumable_upload,
        methods, oauth_token,
        response::error_response,
        v2::files_v2,
        v3::{changes_v3, drives_v3, exports_v3, files_v3, permissions_v3, revisions_v3},
    },
    simulator::Simulator,
};

impl Simulator {
    /// Returns the router of the whole HTTP interface. A fault that drops connections needs
    /// [`Simulator::serve`]: otherwise it responds with 503.
    pub fn router(&self) -> Router {
        let api = api(self);
        let (simulator, calls) = (self.clone(), api.clone());
        let batch = move |request| batch_endpoint::batch(simulator.clone(), calls.clone(), request);
        api.route("/batch/drive/v3", post(batch.clone()))
            .route("/batch/drive/v2", post(batch))
            .nest("/_control", control::router(self))
    }
}

fn api(simulator: &Simulator) -> Router {
    Router::new()
        .merge(v3_files())
        .merge(v3_rest())
        .merge(drives_v3::routes())
        .merge(permissions_v3::routes())
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
        .route("/token", post(oauth_token::token))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(simulator.clone())
}

fn v3_files() -> Router<Simulator> {
    Router::new()
        .route(
            "/drive/v3/files",
            get(endpoint(&methods::FILES_LIST, files_v3::list))
                .post(endpoint(&methods::FILES_CREATE, files_v3::create)),
        )
        .route(
            "/drive/v3/files/generateIds",
            get(endpoint(
                &methods::FILES_GENERATE_IDS,
                files_v3::generate_ids,
            )),
        )
        .route(
            "/drive/v3/files/trash",
            delete(endpoint(&methods::FILES_EMPTY_TRASH, files_v3::empty_trash)),
        )
        .route(
            "/drive/v3/files/{id}",
            get(endpoint(&methods::FILES_GET, files_v3::get))
                .patch(endpoint(&methods::FILES_UPDATE, files_v3::update))
                .delete(endpoint(&methods::FILES_DELETE, files_v3::delete)),
        )
        .route(
            "/drive/v3/files/{id}/copy",
            post(endpoint(&methods::FILES_COPY, files_v3::copy)),
        )
        .route(
            "/drive/v3/files/{id}/watch",
            post(endpoint(&methods::FILES_WATCH, changes_v3::watch_file)),
        )
        .route("/upload/drive/v3/files", upload_create())
        .route("/upload/drive/v3/files/{id}", upload_update())
        .route("/resumable/upload/drive/v3/files", upload_create())
        .route("/resumable/upload/drive/v3/files/{id}", upload_update())
}

/// A create with content. `PUT` continues a resumable upload, `DELETE` cancels it.
fn upload_create() -> MethodRouter<Simulator> {
    post(endpoint(&methods::FILES_CREATE, resumable_upload::create))
        .put(resumable_upload::upload_chunk)
        .delete(resumable_upload::cancel)
}

/// An update with content.
fn upload_update() -> MethodRouter<Simulator> {
    patch(endpoint(&methods::FILES_UPDATE, resumable_upload::update))
        .put(resumable_upload::upload_chunk)
        .delete(resumable_upload::cancel)
}

/// An update with content in v2, where `PUT` both begins a resumable upload and continues it: the
/// URL of a session has an `upload_id`.
fn upload_v2() -> MethodRouter<Simulator> {
    let update = endpoint(&methods::V2_FILES_UPDATE, resumable_upload::update_v2);
    let either = move |state: State<Simulator>, path: RawPathParams, request: Request| {
        let is_session = resumable_upload::is_session(request.uri());
        let begins = (!is_session).then(|| update.clone());
        async move {
            match begins {
                Some(update) => update(state, path, request).await,
                None => resumable_upload::upload_chunk(state, request).await,
            }
        }
    };
    put(either).delete(resumable_upload::cancel)
}

fn v3_content() -> Router<Simulator> {
    Router::new()
        .route(
            "/drive/v3/files/{id}/revisions",
            get(endpoint(&methods::REVISIONS_LIST, revisions_v3::list)),
        )
        .route(
            "/drive/v3/files/{id}/revisions/{revision}",
            get(endpoint(&methods::REVISIONS_GET, revisions_v3::get))
                .patch(endpoint(&methods::REVISIONS_UPDATE, revisions_v3::update))
                .delete(endpoint(&methods::REVISIONS_DELETE, revisions_v3::delete)),
        )
        .route(
            "/drive/v3/files/{id}/export",
            get(endpoint(&methods::FILES_EXPORT, exports_v3::export)),
        )
        .route(
            "/drive/v3/files/{id}/download",
            post(endpoint(
                &methods::FILES_DOWNLOAD,
                exports_v3::begin_download,
            )),
        )
        .route(
            "/drive/v3/operations/{name}",
            get(endpoint(&methods::OPERATIONS_GET, exports_v3::operation)),
        )
        .route(
            "/download/drive/v3/operations/{name}",
            get(endpoint(
                &methods::OPERATIONS_MEDIA,
                exports_v3::operation_media,
            )),
        )
}

fn v3_rest() -> Router<Simulator> {
    Router::new()
        .route(
            "/drive/v3/changes/startPageToken",
            get(endpoint(
                &methods::CHANGES_START,
                changes_v3::start_page_token,
            )),
        )
        .route(
            "/drive/v3/changes",
            get(endpoint(&methods::CHANGES_LIST, changes_v3::list)),
        )
        .route(
            "/drive/v3/changes/watch",
            post(endpoint(&methods::CHANGES_WATCH, changes_v3::watch)),
        )
        .route(
            "/drive/v3/channels/stop",
            post(endpoint(&methods::CHANNELS_STOP, changes_v3::stop)),
        )
        .route(
            "/drive/v3/about",
            get(endpoint(&methods::ABOUT_GET, drives_v3::about)),
        )
}

/// Responds to an unknown path or method: Google's 404, or 501 for a method that only Google Drive
/// has.
async fn unknown(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    error_response(
        &omitted_method(method.as_str(), path).map_or_else(DriveError::no_such_method, |name| {
            DriveError::not_implemented(&name)
        }),
    )
}

/// Returns the name of a Google Drive method that the simulator omits, recognized by its path.
fn omitted_method(method: &str, path: &str) -> Option<String> {
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
