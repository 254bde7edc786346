//! The routes of the HTTP interface.

use std::future::Future;

use axum::{
    Router,
    extract::{RawPathParams, Request, State},
    response::Response,
    routing::{MethodFilter, MethodRouter, delete, get, on, post},
};

use crate::{
    errors::DriveError,
    http::{
        batch_endpoint,
        call::Call,
        control,
        endpoint::endpoint,
        media::resumable_upload,
        methods::{self, Method},
        oauth_token,
        response::{ApiResponse, error_response},
        v2::files_v2,
        v3::{
            changes_v3, drives_v3, exports_v3, files_v3, labels_v3, permissions_v3, revisions_v3,
        },
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
        .merge(labels())
        .merge(drives_v3::routes())
        .merge(permissions_v3::routes())
        .merge(v3_content())
        .merge(v2_files())
        .merge(links())
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

/// The calls that begin an upload. At the URL of a session, which has an `upload_id`, `PUT` and
/// `POST` both continue it (Google documents `PUT`, and rclone sends `POST`); `DELETE` cancels it.
fn upload<F, Fut>(
    method: &'static Method,
    verb: MethodFilter,
    handler: F,
) -> MethodRouter<Simulator>
where
    F: Fn(Simulator, Call) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<ApiResponse, DriveError>> + Send + 'static,
{
    let begin = endpoint(method, handler);
    let either = move |state: State<Simulator>, path: RawPathParams, request: Request| {
        let is_session = resumable_upload::is_session(request.uri());
        let begins = (!is_session).then(|| begin.clone());
        async move {
            match begins {
                Some(begin) => begin(state, path, request).await,
                None => resumable_upload::upload_chunk(state, request).await,
            }
        }
    };
    let chunk = |state: State<Simulator>, request: Request| async move {
        if resumable_upload::is_session(request.uri()) {
            resumable_upload::upload_chunk(state, request).await
        } else {
            unknown(request).await
        }
    };
    let chunks = match verb {
        MethodFilter::POST => MethodFilter::PUT,
        MethodFilter::PUT => MethodFilter::POST,
        _ => MethodFilter::PUT.or(MethodFilter::POST),
    };
    on(verb, either)
        .on(chunks, chunk)
        .delete(resumable_upload::cancel)
}

fn upload_create() -> MethodRouter<Simulator> {
    upload(
        &methods::FILES_CREATE,
        MethodFilter::POST,
        resumable_upload::create,
    )
}

fn upload_update() -> MethodRouter<Simulator> {
    upload(
        &methods::FILES_UPDATE,
        MethodFilter::PATCH,
        resumable_upload::update,
    )
}

fn upload_update_v2() -> MethodRouter<Simulator> {
    upload(
        &methods::V2_FILES_UPDATE,
        MethodFilter::PUT,
        resumable_upload::update_v2,
    )
}

fn upload_insert_v2() -> MethodRouter<Simulator> {
    upload(
        &methods::V2_FILES_INSERT,
        MethodFilter::POST,
        resumable_upload::insert_v2,
    )
}

fn v2_files() -> Router<Simulator> {
    Router::new()
        .route(
            "/drive/v2/files",
            get(endpoint(&methods::V2_FILES_LIST, files_v2::list))
                .post(endpoint(&methods::V2_FILES_INSERT, files_v2::insert)),
        )
        .route(
            "/drive/v2/files/generateIds",
            get(endpoint(
                &methods::V2_FILES_GENERATE_IDS,
                files_v3::generate_ids,
            )),
        )
        .route(
            "/drive/v2/files/trash",
            delete(endpoint(
                &methods::V2_FILES_EMPTY_TRASH,
                files_v3::empty_trash,
            )),
        )
        .route(
            "/drive/v2/files/{id}",
            get(endpoint(&methods::V2_FILES_GET, files_v2::get))
                .patch(endpoint(&methods::V2_FILES_PATCH, files_v2::patch))
                .put(endpoint(&methods::V2_FILES_UPDATE, files_v2::patch))
                .delete(endpoint(&methods::V2_FILES_DELETE, files_v2::delete)),
        )
        .route(
            "/drive/v2/files/{id}/trash",
            post(endpoint(&methods::V2_FILES_TRASH, files_v2::trash)),
        )
        .route(
            "/drive/v2/files/{id}/untrash",
            post(endpoint(&methods::V2_FILES_UNTRASH, files_v2::untrash)),
        )
        .route("/upload/drive/v2/files", upload_insert_v2())
        .route("/upload/drive/v2/files/{id}", upload_update_v2())
        .route("/resumable/upload/drive/v2/files", upload_insert_v2())
        .route("/resumable/upload/drive/v2/files/{id}", upload_update_v2())
}

fn labels() -> Router<Simulator> {
    Router::new()
        .route(
            "/drive/v3/files/{id}/listLabels",
            get(endpoint(&methods::FILES_LIST_LABELS, labels_v3::list)),
        )
        .route(
            "/drive/v3/files/{id}/modifyLabels",
            post(endpoint(&methods::FILES_MODIFY_LABELS, labels_v3::modify)),
        )
        .route(
            "/drive/v2/files/{id}/listLabels",
            get(endpoint(&methods::V2_FILES_LIST_LABELS, labels_v3::list)),
        )
        .route(
            "/drive/v2/files/{id}/modifyLabels",
            post(endpoint(
                &methods::V2_FILES_MODIFY_LABELS,
                labels_v3::modify,
            )),
        )
}

/// The links in files, and the places to which a batch sends its downloads.
fn links() -> Router<Simulator> {
    Router::new()
        .route(
            "/uc",
            get(endpoint(&methods::CONTENT_LINK, exports_v3::content_link)),
        )
        .route(
            "/feeds/download/documents/export/Export",
            get(endpoint(&methods::EXPORT_LINK, exports_v3::export_link)),
        )
        .route(
            "/download/drive/v3/files/{id}",
            get(endpoint(&methods::FILES_GET, files_v3::get)),
        )
        .route(
            "/download/drive/v2/files/{id}",
            get(endpoint(&methods::V2_FILES_GET, files_v2::get)),
        )
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

/// The methods of Google's discovery documents that the simulator omits, by path: `-` stands for
/// any segment. A segment's own verb, as in `/approvals/ID:cancel`, is part of it.
const OMITTED: [(&str, &str); 47] = [
    ("v3/apps", "GET"),
    ("v3/apps/-", "GET"),
    ("v3/files/-/accessproposals", "GET"),
    ("v3/files/-/accessproposals/-", "GET POST"),
    ("v3/files/-/approvals", "GET"),
    ("v3/files/-/approvals:start", "POST"),
    ("v3/files/-/approvals/-", "GET POST"),
    ("v3/files/-/comments", "GET POST"),
    ("v3/files/-/comments/-", "GET PATCH DELETE"),
    ("v3/files/-/comments/-/replies", "GET POST"),
    ("v3/files/-/comments/-/replies/-", "GET PATCH DELETE"),
    ("v3/files/generateCseToken", "GET"),
    ("v3/teamdrives", "GET POST"),
    ("v3/teamdrives/-", "GET PATCH DELETE"),
    ("v2/about", "GET"),
    ("v2/apps", "GET"),
    ("v2/apps/-", "GET"),
    ("v2/changes", "GET"),
    ("v2/changes/-", "GET"),
    ("v2/changes/watch", "POST"),
    ("v2/channels/stop", "POST"),
    ("v2/drives", "GET POST"),
    ("v2/drives/-", "GET PUT DELETE"),
    ("v2/drives/-/hide", "POST"),
    ("v2/drives/-/unhide", "POST"),
    ("v2/files/-/children", "GET POST"),
    ("v2/files/-/children/-", "GET DELETE"),
    ("v2/files/-/comments", "GET POST"),
    ("v2/files/-/comments/-", "GET PATCH PUT DELETE"),
    ("v2/files/-/comments/-/replies", "GET POST"),
    ("v2/files/-/comments/-/replies/-", "GET PATCH PUT DELETE"),
    ("v2/files/-/copy", "POST"),
    ("v2/files/-/export", "GET"),
    ("v2/files/-/parents", "GET POST"),
    ("v2/files/-/parents/-", "GET DELETE"),
    ("v2/files/-/permissions", "GET POST"),
    ("v2/files/-/permissions/-", "GET PATCH PUT DELETE"),
    ("v2/files/-/properties", "GET POST"),
    ("v2/files/-/properties/-", "GET PATCH PUT DELETE"),
    ("v2/files/-/revisions", "GET"),
    ("v2/files/-/revisions/-", "GET PATCH PUT DELETE"),
    ("v2/files/-/touch", "POST"),
    ("v2/files/-/watch", "POST"),
    ("v2/files/generateCseToken", "GET"),
    ("v2/permissionIds/-", "GET"),
    ("v2/teamdrives", "GET POST"),
    ("v2/teamdrives/-", "GET PUT DELETE"),
];

/// Returns the name of a Google Drive method that the simulator omits, recognized by its path.
fn omitted_method(method: &str, path: &str) -> Option<String> {
    let path = path.strip_prefix("/drive/")?;
    let fits = |pattern: &str| {
        let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some("-"), Some(segment)) if !segment.is_empty() => {}
                (Some(name), Some(segment)) if name == segment => {}
                _ => return false,
            }
        }
    };
    OMITTED
        .iter()
        .any(|(pattern, verbs)| fits(pattern) && verbs.split(' ').any(|verb| verb == method))
        .then(|| format!("{method} /drive/{path}"))
}
