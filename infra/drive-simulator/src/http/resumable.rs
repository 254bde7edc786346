//! Resumable uploads: a session, its chunks, and what is asked about it.

use std::{collections::HashMap, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::{
    Simulator,
    errors::DriveError,
    http::{
        Answer, Call, answer,
        body::{self, Upload},
        fault_response, files, files_v2, json,
        params::Params,
        read_body, refusal, shapes_v3, with_fault,
    },
    ids::random_text,
    state::{item::Content, rights::check_container},
};

/// How long a session lives, in milliseconds: a week (the Drive guide "Upload file data").
const LIFETIME_MS: i64 = 7 * 24 * 3_600 * 1_000;
/// Every chunk but the last is a multiple of this, in bytes (the same guide).
const CHUNK_BYTES: u64 = 256 * 1024;

/// What an upload becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A new file.
    Create,
    /// The content of the file that the call names.
    Update,
    /// The same through v2, where the call may name the file's etag.
    UpdateV2,
}

/// When an upload whose beginning named an etag is held to it. Google says nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadCondition {
    /// When it begins, and again when it is complete.
    #[default]
    Both,
    /// Only when it begins: whatever happens meanwhile is written over.
    Begin,
    /// Only when it is complete.
    End,
}

#[derive(Debug)]
struct Session {
    call: Arc<Call>,
    target: Target,
    mime_type: Option<String>,
    total: Option<u64>,
    received: BytesMut,
    begun_ms: i64,
    /// All has been received, and is being made a file of.
    finishing: bool,
    /// The answer, once all has been received: asked again, it is given again.
    done: Option<Value>,
}

/// The sessions that were begun and not given up.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    sessions: HashMap<String, Session>,
    pub(crate) condition: UploadCondition,
}

impl Uploads {
    fn live(&mut self, id: &str, now_ms: i64) -> Result<&mut Session, DriveError> {
        self.sessions
            .retain(|_, session| now_ms.saturating_sub(session.begun_ms) <= LIFETIME_MS);
        self.sessions
            .get_mut(id)
            .ok_or_else(|| DriveError::new(404, "notFound", "Upload session not found."))
    }
}

/// Whether a call begins a resumable upload.
pub(crate) fn is_asked(call: &Call) -> bool {
    call.params.text("uploadType") == Some("resumable")
}

/// Whether an address is that of a session.
pub(crate) fn goes_on(uri: &http::Uri) -> bool {
    let params = Params::parse(uri.query().unwrap_or_default());
    params.text("upload_id").is_some()
}

/// Begins a session; its address is the `Location` of the answer.
///
/// # Errors
/// What the create or the update would refuse by its metadata, its target and the caller's rights.
pub(crate) async fn begin(
    simulator: Simulator,
    call: Call,
    target: Target,
) -> Result<Answer, DriveError> {
    check_target(&simulator, &call, target)?;
    let text = |name: &str| call.headers.get(name).and_then(|value| value.to_str().ok());
    let total = text("x-upload-content-length").map(|length| {
        length.parse().map_err(|_| {
            DriveError::bad_request(format!("Invalid X-Upload-Content-Length: {length}"))
        })
    });
    let host = call.header(header::HOST).unwrap_or("127.0.0.1").to_owned();
    let path = match (target, call.path.get("id")) {
        (Target::Update, Some(id)) => format!("/upload/drive/v3/files/{id}"),
        (Target::UpdateV2, Some(id)) => format!("/upload/drive/v2/files/{id}"),
        (Target::Create | Target::Update | Target::UpdateV2, _) => {
            "/upload/drive/v3/files".to_owned()
        }
    };
    let session = Session {
        target,
        mime_type: text("x-upload-content-type").map(str::to_owned),
        total: total.transpose()?,
        received: BytesMut::new(),
        begun_ms: simulator.now_ms(),
        finishing: false,
        done: None,
        call: Arc::new(call),
    };
    let id = simulator.with(|state| random_text(state.rng(), 64));
    let location = format!("http://{host}{path}?uploadType=resumable&upload_id={id}");
    let mut response = Response::new(Body::empty());
    for (name, value) in [("location", &location), ("x-guploader-uploadid", &id)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    simulator.uploads(|uploads| uploads.sessions.insert(id, session));
    Ok(Answer::Raw(response))
}

fn check_target(simulator: &Simulator, call: &Call, target: Target) -> Result<(), DriveError> {
    let all_drives = call.all_drives()?;
    match target {
        Target::Create => {
            let new = body::file_body(&call.body, &shapes_v3::FILE, true)?.into_new(None)?;
            let parent = new.parents.first().map_or("root", String::as_str);
            simulator.with(|state| {
                check_container(&state.find(&call.user, parent, all_drives)?)?;
                state.check_unused(new.id.as_deref())
            })
        }
        Target::Update => {
            body::file_body(&call.body, &shapes_v3::FILE, false)?.into_patch(None)?;
            check_file(simulator, call).map(|_| ())
        }
        Target::UpdateV2 => {
            files_v2::check_metadata(call)?;
            let etag = check_file(simulator, call)?;
            let condition = simulator.uploads(|uploads| uploads.condition);
            let wanted = files_v2::if_match(call).filter(|wanted| *wanted != "*");
            if condition != UploadCondition::End && wanted.is_some_and(|wanted| wanted != etag) {
                return Err(DriveError::condition_not_met());
            }
            Ok(())
        }
    }
}

/// The etag of the file that is to be written, if the caller may.
fn check_file(simulator: &Simulator, call: &Call) -> Result<String, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let view = simulator.with(|state| state.find(&call.user, id, all_drives))?;
    if !view.role.can_edit() {
        return Err(DriveError::insufficient_permissions(id));
    }
    Ok(view.item.etag())
}

/// What a `Content-Range` of a request says.
#[derive(Debug, PartialEq, Eq)]
enum Span {
    /// Nothing is sent; `bytes */TOTAL` asks how much has arrived.
    Status(Option<u64>),
    /// The first and the last byte, both included, and the total if it is known.
    Chunk(u64, u64, Option<u64>),
}

fn span(text: &str) -> Option<Span> {
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let total = match total.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    if range.trim() == "*" {
        return Some(Span::Status(total));
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let ordered = first <= last && total.is_none_or(|total| last < total);
    ordered.then_some(Span::Chunk(first, last, total))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Session {
    /// Takes what a request brings.
    ///
    /// # Errors
    /// 400 for a span that does not fit the body, what has arrived, or the size of a chunk.
    fn take(&mut self, headers: &HeaderMap, bytes: &Bytes) -> Result<(), DriveError> {
        let header = headers
            .get(header::CONTENT_RANGE)
            .map(|value| value.to_str().unwrap_or_default());
        let span = match header {
            Some(text) => span(text).ok_or_else(|| {
                DriveError::bad_request(format!("Failed to parse Content-Range header: {text}"))
            })?,
            None if bytes.is_empty() => Span::Status(Some(0)),
            None => Span::Chunk(0, length(bytes) - 1, Some(length(bytes))),
        };
        match span {
            Span::Status(total) => self.know_total(total),
            Span::Chunk(first, last, total) => {
                self.know_total(total)?;
                self.append(first, last, bytes)
            }
        }
    }

    fn know_total(&mut self, total: Option<u64>) -> Result<(), DriveError> {
        match (self.total, total) {
            (Some(known), Some(said)) if known != said => Err(DriveError::bad_request(format!(
                "Invalid request. The total size was {known} bytes and is {said} bytes now."
            ))),
            (Some(_), _) | (None, None) => Ok(()),
            (None, Some(said)) => {
                self.total = Some(said);
                Ok(())
            }
        }
    }

    fn append(&mut self, first: u64, last: u64, bytes: &Bytes) -> Result<(), DriveError> {
        let (sent, received) = (length(bytes), length(&self.received));
        if sent != last - first + 1 {
            return Err(DriveError::bad_request(format!(
                "Invalid request. The body has {sent} bytes, its Content-Range names {}.",
                last - first + 1
            )));
        }
        if first > received {
            return Err(DriveError::bad_request(format!(
                "Invalid request. According to the Content-Range header, the upload offset is {first} byte(s), \
                 which exceeds already uploaded size of {received} byte(s)."
            )));
        }
        if self.total != Some(last + 1) && !sent.is_multiple_of(CHUNK_BYTES) {
            return Err(DriveError::bad_request(format!(
                "Invalid request. The size of a chunk must be a multiple of {CHUNK_BYTES} bytes, except for the last one."
            )));
        }
        // What has arrived already is not overwritten: a repeated chunk adds what is new in it.
        let known = usize::try_from(received - first).unwrap_or(usize::MAX);
        self.received
            .extend_from_slice(bytes.get(known..).unwrap_or_default());
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.total == Some(length(&self.received))
    }

    /// What is to be made of it, with the bytes themselves: they are not copied, however many they are.
    fn finish(&mut self) -> Finished {
        self.finishing = true;
        Finished {
            call: Arc::clone(&self.call),
            target: self.target,
            upload: Upload {
                metadata: self.call.body.clone(),
                content: Arc::new(Content::uploaded(self.received.split().freeze())),
                mime_type: self.mime_type.clone(),
            },
        }
    }
}

/// `PUT` to the address of a session. The address is all the authority that it needs.
pub(crate) async fn proceed(State(simulator): State<Simulator>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    simulator.count("uploads.put", 0);
    let fault = simulator.meet_fault(&parts);
    let params = Params::parse(parts.uri.query().unwrap_or_default());
    with_fault(fault, fault_response, async {
        match advance(&simulator, &params, &parts.headers, body).await {
            Ok(response) => response,
            Err(error) => refusal(&error),
        }
    })
    .await
}

fn session_id(params: &Params) -> Result<&str, DriveError> {
    params
        .text("upload_id")
        .ok_or_else(|| DriveError::required("upload_id"))
}

/// An upload of which everything has arrived.
struct Finished {
    call: Arc<Call>,
    target: Target,
    upload: Upload,
}

/// What a request to a session leads to.
enum Step {
    Waits(u64),
    Finishes(Finished),
    WasDone(Value),
}

async fn advance(
    simulator: &Simulator,
    params: &Params,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, DriveError> {
    let id = session_id(params)?;
    let now_ms = simulator.now_ms();
    let bytes = read_body(body).await?;
    let step = simulator.uploads(|uploads| {
        let session = uploads.live(id, now_ms)?;
        if let Some(done) = &session.done {
            return Ok(Step::WasDone(done.clone()));
        }
        if session.finishing {
            return Err(DriveError::new(503, "backendError", "Backend Error"));
        }
        session.take(headers, &bytes)?;
        Ok(if session.is_complete() {
            Step::Finishes(session.finish())
        } else {
            Step::Waits(length(&session.received))
        })
    })?;
    match step {
        Step::WasDone(done) => Ok(json(StatusCode::OK, &done)),
        Step::Waits(received) => Ok(incomplete(received)),
        Step::Finishes(finished) => {
            // Who hangs up now has still sent everything: a task of its own is not given up with the connection.
            let (simulator, id) = (simulator.clone(), id.to_owned());
            let task = tokio::spawn(async move { complete(&simulator, &id, finished).await });
            task.await
                .map_err(|error| DriveError::new(500, "internalError", error.to_string()))
        }
    }
}

async fn complete(simulator: &Simulator, id: &str, finished: Finished) -> Response {
    let Finished {
        call,
        target,
        upload,
    } = finished;
    let outcome = match target {
        Target::Create => files::create_uploaded(simulator, &call, upload).await,
        Target::Update => files::update_uploaded(simulator, &call, upload).await,
        Target::UpdateV2 => {
            let condition = simulator.uploads(|uploads| uploads.condition);
            let if_match = files_v2::if_match(&call);
            let if_match = if_match.filter(|_| condition != UploadCondition::Begin);
            files_v2::update_uploaded(simulator, &call, upload, if_match).await
        }
    };
    let now_ms = simulator.now_ms();
    simulator.uploads(|uploads| match &outcome {
        Ok(Answer::Json(value) | Answer::Tagged(value, _)) => {
            if let Ok(session) = uploads.live(id, now_ms) {
                session.done = Some(value.clone());
            }
        }
        Ok(Answer::Empty | Answer::Raw(_)) | Err(_) => {
            uploads.sessions.remove(id);
        }
    });
    answer(outcome)
}

/// 308 with what has arrived; without a `Range` when nothing has.
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

/// `DELETE` of a session: 499, as Google answers it.
pub(crate) async fn cancel(State(simulator): State<Simulator>, request: Request) -> Response {
    let params = Params::parse(request.uri().query().unwrap_or_default());
    let now_ms = simulator.now_ms();
    let given_up = session_id(&params).and_then(|id| {
        simulator.uploads(|uploads| {
            uploads.live(id, now_ms)?;
            uploads.sessions.remove(id);
            Ok(())
        })
    });
    match given_up {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
            response
        }
        Err(error) => refusal(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_a_question_or_a_chunk() {
        assert_eq!(span("bytes */100"), Some(Span::Status(Some(100))));
        assert_eq!(span("bytes */*"), Some(Span::Status(None)));
        assert_eq!(span("bytes 0-9/100"), Some(Span::Chunk(0, 9, Some(100))));
        assert_eq!(span("bytes 5-9/*"), Some(Span::Chunk(5, 9, None)));
        for bad in [
            "",
            "bytes",
            "bytes 9-5/10",
            "bytes 0-10/10",
            "bytes a-b/c",
            "0-9/10",
        ] {
            assert_eq!(span(bad), None, "{bad}");
        }
    }
}
