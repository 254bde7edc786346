//! Batches of up to a hundred calls in one request. They cost as much quota as separate calls, and
//! may be executed in any order (Drive guide "Improve performance").

use domain::trail::ErasedPersons;
use domain::{FileId, Observation, Patch, Snapshot};
use http::Method;

use crate::calls::client::{observation, v2_path};
use crate::calls::multipart;
use crate::calls::request::{Call, ambiguous, parse_json, token_rejected};
use crate::protocol::body::JsonBody;
use crate::protocol::normalise;
use crate::{DriveClient, DriveError, Kind, Read, Secret};

/// The most calls in one batch (same guide).
pub const BATCH_CALLS_MAX: usize = 100;
/// The boundary of the parts. No line of a part starts with it: a request starts with its method,
/// and JSON is a single line in braces.
const BOUNDARY: &str = "batch_drivesync";
const CONTENT_TYPE: &str = "multipart/mixed; boundary=batch_drivesync";

/// The version of the API of a batch endpoint and of all its inner calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Api {
    V2,
    V3,
}

impl Api {
    const fn path(self) -> &'static str {
        match self {
            Self::V2 => "/batch/drive/v2",
            Self::V3 => "/batch/drive/v3",
        }
    }
}

/// The result of a write.
#[expect(
    clippy::large_enum_variant,
    reason = "a write is nearly always an update"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteResult {
    /// The file was updated and has this state.
    Updated(Snapshot),
    /// The file was deleted, with everything below it.
    Deleted,
}

/// The method that deletes a file.
const DELETE: &str = "files.delete";

/// The batch response has no valid part for a call.
#[derive(Debug, thiserror::Error)]
#[error("the batch response has no part for this call")]
struct NoPart;

/// The response to a batch is something else, for example an error page.
#[derive(Debug, thiserror::Error)]
#[error("the response is not a batch response")]
struct NotABatch;

/// The same file would be written twice in one batch, which has no order.
#[derive(Debug, thiserror::Error)]
#[error("the batch already writes this file")]
struct Twice;

impl DriveClient {
    /// Reads the complete states of files with their etags, and returns one result for each, in
    /// order. Up to a hundred files share one request; a single file is read without a batch.
    ///
    /// # Errors
    /// Each file has its own result: a rejected, lost or throttled read fails that file alone. If
    /// the whole request failed, every file has that error.
    pub async fn read_files(&self, files: &[FileId]) -> Vec<Result<Read, DriveError>> {
        let calls: Vec<Call> = files.iter().map(Self::read_call).collect();
        let mut reads = Vec::with_capacity(files.len());
        for (calls, files) in calls
            .chunks(BATCH_CALLS_MAX)
            .zip(files.chunks(BATCH_CALLS_MAX))
        {
            let answers = self.batch(Api::V2, calls).await;
            for ((call, file), answer) in calls.iter().zip(files).zip(answers) {
                let read = answer.and_then(|body| read_of(call, file, &body));
                reads.push(read.map(|read| read.without(&self.erased)));
            }
        }
        reads
    }

    /// Observes files as [`DriveClient::get_or_gone`] does for one, and returns one result for
    /// each, in order.
    ///
    /// # Errors
    /// As for [`DriveClient::read_files`]. The failure of a whole batch never means that a file is
    /// gone.
    pub async fn get_or_gone_many(&self, files: &[FileId]) -> Vec<Result<Observation, DriveError>> {
        let reads = self.read_files(files).await;
        reads.into_iter().map(observation).collect()
    }

    /// Updates or deletes files, each on condition that it is unchanged since it was read, and
    /// returns one result for each, in order. A second write of the same file is not sent: a batch
    /// has no order.
    ///
    /// # Errors
    /// Each file has its own result, as for [`DriveClient::patch_file`]. If the whole request got
    /// no response, every file is [`Kind::Unanswered`]: some may have been written.
    pub async fn write_files(
        &self,
        writes: &[(&Read, &Patch)],
    ) -> Vec<Result<WriteResult, DriveError>> {
        let mut written = Vec::with_capacity(writes.len());
        for writes in writes.chunks(BATCH_CALLS_MAX) {
            let mut files: Vec<&FileId> = Vec::with_capacity(writes.len());
            let mut calls = Vec::with_capacity(writes.len());
            let mut outcomes: Vec<Option<DriveError>> = Vec::with_capacity(writes.len());
            for (read, patch) in writes {
                let file = &read.snapshot.file;
                let call = if patch.deletes() {
                    Ok(delete_call(read))
                } else {
                    Self::patch_call(read, patch)
                };
                match call {
                    Ok(call) if files.contains(&file) => outcomes.push(Some(twice(&call))),
                    Ok(call) => {
                        files.push(file);
                        calls.push(call);
                        outcomes.push(None);
                    }
                    Err(error) => outcomes.push(Some(error)),
                }
            }
            let answers = self.batch(Api::V2, &calls).await;
            let answered = calls.iter().zip(files).zip(answers);
            let mut answered =
                answered.map(|((call, file), answer)| written_of(call, file, answer, &self.erased));
            for outcome in outcomes {
                written.extend(match outcome {
                    Some(error) => Some(Err(error)),
                    None => answered.next(),
                });
            }
        }
        written
    }

    /// Makes up to a hundred calls in one request, and returns one result for each, in order. Calls
    /// whose access token was rejected are made once more with a new one.
    pub(crate) async fn batch(
        &self,
        api: Api,
        calls: &[Call],
    ) -> Vec<Result<JsonBody, DriveError>> {
        let all: Vec<&Call> = calls.iter().collect();
        match calls {
            [] => return Vec::new(),
            [one] => return vec![self.call(one).await],
            _ => {}
        }
        let token = match self.token().await {
            Ok(token) => token,
            Err(error) => return failed(&all, &error),
        };
        let mut answers = self.batch_once(api, &all, &token).await;
        let refused =
            |answer: &Result<JsonBody, DriveError>| answer.as_ref().is_err_and(token_rejected);
        if !answers.iter().any(refused) {
            return answers;
        }
        let renewed = match self.replacement_for(&token).await {
            Ok(Some(token)) => token,
            Ok(None) => return answers,
            Err(error) => {
                for answer in answers.iter_mut().filter(|answer| refused(answer)) {
                    *answer = Err(error.duplicate());
                }
                return answers;
            }
        };
        let again = calls.iter().zip(&answers);
        let again = again.filter(|(_, answer)| refused(answer));
        let again: Vec<&Call> = again.map(|(call, _)| call).collect();
        let mut repeated = self.batch_once(api, &again, &renewed).await.into_iter();
        for answer in answers.iter_mut().filter(|answer| refused(answer)) {
            if let Some(repeated) = repeated.next() {
                *answer = repeated;
            }
        }
        answers
    }

    async fn batch_once(
        &self,
        api: Api,
        calls: &[&Call],
        token: &Secret,
    ) -> Vec<Result<JsonBody, DriveError>> {
        let mut body = Vec::new();
        let mut unsendable = Vec::with_capacity(calls.len());
        for (at, call) in calls.iter().enumerate() {
            match call.inner(self.quota_user.as_deref()) {
                Ok(inner) => {
                    let head = format!(
                        "--{BOUNDARY}\r\nContent-Type: application/http\r\n\
                         Content-ID: <{at}>\r\n\r\n"
                    );
                    body.extend_from_slice(head.as_bytes());
                    body.extend_from_slice(&inner);
                    body.extend_from_slice(b"\r\n");
                    unsendable.push(None);
                }
                Err(error) => unsendable.push(Some(error)),
            }
        }
        if body.is_empty() {
            return unsendable.into_iter().flatten().map(Err).collect();
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let outer = Call::new("batch", Method::POST, api.path()).mixed(CONTENT_TYPE, body);
        let answer = match self.send(&outer, token).await {
            Ok(answer) => answer,
            Err(error) => return failed(calls, &error),
        };
        let Some(boundary) = multipart::boundary(answer.headers()) else {
            return failed(calls, &ambiguous(outer.context(), NotABatch));
        };
        let mut parts = multipart::answers(answer.body(), &boundary);
        let numbered = calls.iter().zip(unsendable).enumerate();
        let outcome = |(at, (call, unsendable)): (usize, (&&Call, Option<DriveError>))| {
            if let Some(error) = unsendable {
                return Err(error);
            }
            match parts.remove(&at.to_string()) {
                Some(part) => call.interpret(part),
                None => Err(ambiguous(call.context(), NoPart)),
            }
        };
        numbered.map(outcome).collect()
    }
}

/// Converts the failure of a whole batch into a result for each of its calls. An error that proves
/// that nothing was done applies to each; any other says nothing about the calls, which may all
/// have been executed.
fn failed(calls: &[&Call], error: &DriveError) -> Vec<Result<JsonBody, DriveError>> {
    let certain = match error.kind() {
        Kind::RateLimited { .. } | Kind::DailyLimit | Kind::AuthLost { .. } | Kind::NotSent => true,
        Kind::CursorLost
        | Kind::NotFound
        | Kind::AccessDenied { .. }
        | Kind::Stale
        | Kind::Permanent { .. }
        | Kind::BadContent(_)
        | Kind::Transient
        | Kind::Unanswered => false,
    };
    let outcome = |call: &&Call| {
        Err(if certain {
            error.duplicate()
        } else {
            ambiguous(call.context(), error.duplicate())
        })
    };
    calls.iter().map(outcome).collect()
}

fn twice(call: &Call) -> DriveError {
    DriveError::new(call.context().method, Kind::NotSent).with_source(Twice)
}

/// Builds a deletion with the same condition as a patch; see
/// [`crate::Assumption::StaleEtagStopsDeletion`].
fn delete_call(read: &Read) -> Call {
    let path = v2_path(&read.snapshot.file);
    Call::new(DELETE, Method::DELETE, path)
        .query("supportsAllDrives", "true")
        .if_match(&read.etag)
}

fn written_of(
    call: &Call,
    file: &FileId,
    answer: Result<JsonBody, DriveError>,
    erased: &ErasedPersons,
) -> Result<WriteResult, DriveError> {
    match answer {
        Ok(_) if call.context().method == DELETE => Ok(WriteResult::Deleted),
        Ok(body) => {
            let shown = snapshot_of(call, file, &body)?;
            Ok(WriteResult::Updated(shown.without(erased)))
        }
        // A 404 too: it is no proof that the file is gone.
        Err(error) => Err(error),
    }
}

/// The response is about another file than the requested one.
#[derive(Debug, thiserror::Error)]
#[error("the response is about another file")]
struct AnotherFile;

/// Reads the response about a file of any id.
pub(crate) fn read_any(call: &Call, body: &JsonBody) -> Result<Read, DriveError> {
    let read = normalise::read(parse_json(call.context(), body)?);
    let read = read.map_err(|defect| ambiguous(call.context(), defect))?;
    Ok(Read {
        original_properties: body.original_properties(),
        ..read
    })
}

fn read_of(call: &Call, file: &FileId, body: &JsonBody) -> Result<Read, DriveError> {
    let read = read_any(call, body)?;
    if read.snapshot.file == *file {
        Ok(read)
    } else {
        Err(ambiguous(call.context(), AnotherFile))
    }
}

pub(crate) fn snapshot_of(
    call: &Call,
    file: &FileId,
    body: &JsonBody,
) -> Result<Snapshot, DriveError> {
    let snapshot = normalise::snapshot(parse_json(call.context(), body)?)
        .map_err(|defect| ambiguous(call.context(), defect))?;
    if snapshot.file == *file {
        Ok(snapshot)
    } else {
        Err(ambiguous(call.context(), AnotherFile))
    }
}
