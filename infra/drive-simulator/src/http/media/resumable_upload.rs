//! Uploads, in one request or resumable: beginning, sending and cancelling them.

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    errors::DriveError,
    http::{
        call::Call,
        endpoint::{apply_fault, fault_response},
        media::upload_sessions::{
            CompleteUpload, Session, UploadCondition, UploadState, UploadTarget,
        },
        params::Params,
        request_body::{self, read_body},
        response::{ApiResponse, error_response, into_response, json},
        v2::files_v2,
        v3::{files_v3, shapes_v3},
    },
    ids::random_text,
    simulator::Simulator,
    state::items::{breaches::Breach, edit_rights::check_container},
};

/// Returns whether a call begins a resumable upload.
fn is_resumable(call: &Call) -> bool {
    call.params.text("uploadType") == Some("resumable")
}

/// Returns whether a URL is that of a session.
pub(crate) fn is_session(uri: &http::Uri) -> bool {
    let params = Params::parse(uri.query().unwrap_or_default());
    params.text("upload_id").is_some()
}

/// `files.create` with content.
pub(crate) async fn create(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    if is_resumable(&call) {
        return begin(simulator, call, UploadTarget::Create).await;
    }
    let upload = request_body::parse_upload(&call)?;
    files_v3::create_uploaded(&simulator, &call, upload).await
}

/// `files.update` with content.
pub(crate) async fn update(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    if is_resumable(&call) {
        return begin(simulator, call, UploadTarget::Update).await;
    }
    let upload = request_body::parse_upload(&call)?;
    files_v3::update_uploaded(&simulator, &call, upload).await
}

/// `v2.files.update` with content: the only conditional upload of the Drive API.
pub(crate) async fn update_v2(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    if is_resumable(&call) {
        return begin(simulator, call, UploadTarget::UpdateV2).await;
    }
    let upload = request_body::parse_upload(&call)?;
    let if_match = files_v2::if_match(&call);
    let if_match = simulator.with_state(|state| {
        let breaches = &state.breaches;
        breaches.condition(Breach::StaleEtagStopsUpload, if_match)
    });
    files_v2::update_uploaded(&simulator, &call, upload, if_match).await
}

/// `v2.files.insert` with content.
pub(crate) async fn insert_v2(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    if is_resumable(&call) {
        return begin(simulator, call, UploadTarget::CreateV2).await;
    }
    let upload = request_body::parse_upload(&call)?;
    files_v2::insert_uploaded(&simulator, &call, upload).await
}

/// Opens a session; the `Location` of the response is its URL.
///
/// # Errors
/// Those of the create or the update that concern its metadata, its target and the caller's rights.
async fn begin(
    simulator: Simulator,
    call: Call,
    target: UploadTarget,
) -> Result<ApiResponse, DriveError> {
    check_target(&simulator, &call, target)?;
    let text = |name: &str| call.headers.get(name).and_then(|value| value.to_str().ok());
    let total = text("x-upload-content-length").map(|length| {
        length.parse().map_err(|_| {
            DriveError::bad_request(format!("Invalid X-Upload-Content-Length: {length}"))
        })
    });
    let host = call.host().to_owned();
    let path = match (target, call.path.get("id")) {
        (UploadTarget::Update, Some(id)) => format!("/upload/drive/v3/files/{id}"),
        (UploadTarget::UpdateV2, Some(id)) => format!("/upload/drive/v2/files/{id}"),
        (UploadTarget::CreateV2, _) => "/upload/drive/v2/files".to_owned(),
        (UploadTarget::Create | UploadTarget::Update | UploadTarget::UpdateV2, _) => {
            "/upload/drive/v3/files".to_owned()
        }
    };
    let mime_type = text("x-upload-content-type").map(str::to_owned);
    let session = Session::new(
        call,
        target,
        mime_type,
        total.transpose()?,
        simulator.now_ms(),
    );
    let id = simulator.with_state(|state| random_text(state.rng(), 64));
    let location = format!("http://{host}{path}?uploadType=resumable&upload_id={id}");
    let mut response = Response::new(Body::empty());
    for (name, value) in [("location", &location), ("x-guploader-uploadid", &id)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    simulator.with_uploads(|uploads| uploads.open(id, session));
    Ok(ApiResponse::Raw(response))
}

fn check_target(
    simulator: &Simulator,
    call: &Call,
    target: UploadTarget,
) -> Result<(), DriveError> {
    let all_drives = call.all_drives()?;
    match target {
        UploadTarget::Create => {
            let new =
                request_body::parse_file(&call.body, &shapes_v3::FILE, true)?.into_new(None)?;
            let parent = new.parents.first().map_or("root", String::as_str);
            simulator.with_state(|state| {
                check_container(&state.find(&call.user, parent, all_drives)?)?;
                state.check_unused(new.id.as_deref())
            })
        }
        UploadTarget::Update => {
            request_body::parse_file(&call.body, &shapes_v3::FILE, false)?.into_patch(None)?;
            check_file(simulator, call).map(|_| ())
        }
        UploadTarget::CreateV2 => files_v2::check_metadata(call),
        UploadTarget::UpdateV2 => {
            files_v2::check_metadata(call)?;
            let etag = check_file(simulator, call)?;
            let condition = upload_condition(simulator);
            let wanted = files_v2::if_match(call).filter(|wanted| *wanted != "*");
            if condition.at_begin() && wanted.is_some_and(|wanted| wanted != etag) {
                return Err(DriveError::condition_not_met());
            }
            Ok(())
        }
    }
}

/// Returns the moments at which the condition of a session is checked.
fn upload_condition(simulator: &Simulator) -> UploadCondition {
    if simulator.with_state(|state| state.breaches.has(Breach::StaleEtagStopsSession)) {
        return UploadCondition::Never;
    }
    simulator.with_uploads(|uploads| uploads.condition)
}

/// Returns the etag of the file to be written, if the caller may write it.
fn check_file(simulator: &Simulator, call: &Call) -> Result<String, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let view = simulator.with_state(|state| state.find(&call.user, id, all_drives))?;
    if !view.role.can_edit() {
        return Err(DriveError::insufficient_permissions(id));
    }
    Ok(view.item.etag())
}

/// `PUT` or `POST` to the URL of a session, which needs no other authorization.
pub(crate) async fn upload_chunk(State(simulator): State<Simulator>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    simulator.count("uploads.put", 0);
    let fault = simulator.match_fault(&parts);
    let params = Params::parse(parts.uri.query().unwrap_or_default());
    apply_fault(fault, fault_response, async {
        match receive_chunk(&simulator, &params, &parts.headers, body).await {
            Ok(response) => response,
            Err(error) => error_response(&error),
        }
    })
    .await
}

fn session_id(params: &Params) -> Result<&str, DriveError> {
    params
        .text("upload_id")
        .ok_or_else(|| DriveError::required("upload_id"))
}

async fn receive_chunk(
    simulator: &Simulator,
    params: &Params,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, DriveError> {
    let id = session_id(params)?;
    let now_ms = simulator.now_ms();
    let bytes = read_body(body).await?;
    let state = simulator.with_uploads(|uploads| {
        let keep_bytes = if bytes.is_empty() {
            None
        } else {
            uploads.take_partial()
        };
        uploads
            .session(id, now_ms)?
            .receive(headers, &bytes, keep_bytes)
    })?;
    match state {
        UploadState::Finished(response) => Ok(json(StatusCode::OK, &response)),
        UploadState::Incomplete(received) => Ok(incomplete(received)),
        UploadState::Complete(upload) => {
            // Every byte has been sent: a task of its own is not cancelled with the connection.
            let (simulator, id) = (simulator.clone(), id.to_owned());
            let task = tokio::spawn(async move { complete(&simulator, &id, upload).await });
            task.await
                .map_err(|error| DriveError::new(500, "internalError", error.to_string()))
        }
    }
}

async fn complete(simulator: &Simulator, id: &str, complete: CompleteUpload) -> Response {
    let CompleteUpload {
        call,
        target,
        upload,
    } = complete;
    let outcome = match target {
        UploadTarget::Create => files_v3::create_uploaded(simulator, &call, upload).await,
        UploadTarget::Update => files_v3::update_uploaded(simulator, &call, upload).await,
        UploadTarget::CreateV2 => files_v2::insert_uploaded(simulator, &call, upload).await,
        UploadTarget::UpdateV2 => {
            let condition = upload_condition(simulator);
            let if_match = files_v2::if_match(&call);
            let if_match = if_match.filter(|_| condition.at_end());
            files_v2::update_uploaded(simulator, &call, upload, if_match).await
        }
    };
    let now_ms = simulator.now_ms();
    simulator.with_uploads(|uploads| match &outcome {
        Ok(ApiResponse::Json(value) | ApiResponse::Tagged(value, _)) => {
            uploads.complete(id, value.clone(), now_ms);
        }
        Ok(ApiResponse::Empty | ApiResponse::Raw(_)) | Err(_) => uploads.remove(id),
    });
    into_response(outcome)
}

/// 308 with the range received so far; no `Range` when nothing has been received.
fn incomplete(received: u64) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Some(last) = received.checked_sub(1)
        && let Ok(range) = format!("bytes=0-{last}").parse()
    {
        response.headers_mut().insert(header::RANGE, range);
    }
    response
}

/// `DELETE` of a session: 499, as Google responds.
pub(crate) async fn cancel(State(simulator): State<Simulator>, request: Request) -> Response {
    let params = Params::parse(request.uri().query().unwrap_or_default());
    let now_ms = simulator.now_ms();
    let cancelled = session_id(&params).and_then(|id| {
        simulator.with_uploads(|uploads| {
            uploads.session(id, now_ms)?;
            uploads.remove(id);
            Ok(())
        })
    });
    match cancelled {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
            response
        }
        Err(error) => error_response(&error),
    }
}
