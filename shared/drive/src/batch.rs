//! Many calls in one: a hundred reads or writes for one round trip. They cost as much quota as they would
//! alone, and may be carried out in any order (Drive guide "Improve performance").

use bytes::Bytes;
use domain::{FileId, Observation, Patch, Snapshot};
use http::Method;

use crate::client::{observation, v2_path};
use crate::multipart;
use crate::request::{Call, expired, parsed, unclear};
use crate::{DriveClient, DriveError, Kind, Read, Secret, normalise};

/// The most calls that Drive takes in one batch (same guide).
pub const BATCH_CALLS_MAX: usize = 100;
/// No line of a part begins with it: requests begin with their method, and JSON is one line in braces.
const BOUNDARY: &str = "batch_drivesync";
const CONTENT_TYPE: &str = "multipart/mixed; boundary=batch_drivesync";

/// Whose batch endpoint: the inner calls are of the same version of the API.
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

/// What a write left in Drive.
#[expect(
    clippy::large_enum_variant,
    reason = "a write nearly always leaves a file"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The file, in this state.
    Holds(Snapshot),
    /// Nothing: the file is deleted, and everything below it.
    Deleted,
}

/// The method of a deletion.
const DELETE: &str = "files.delete";

/// The answer holds nothing that says what became of this call.
#[derive(Debug, thiserror::Error)]
#[error("the batch's answer holds none to this call")]
struct NoPart;

/// The answer to a batch is something else, an error page for instance.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not that of a batch")]
struct NotABatch;

/// The same file was to be written twice in one batch, which knows no order.
#[derive(Debug, thiserror::Error)]
#[error("the batch writes this file already")]
struct Twice;

impl DriveClient {
    /// The complete states of files, each with its etag, in the order in which they were asked for. Up to a
    /// hundred go in one call, and one alone goes without a batch.
    ///
    /// # Errors
    /// Each file has its own: what is refused, lost or throttled is so for that file alone. Where the whole
    /// call failed, every file has that error.
    pub async fn read_files(&self, files: &[FileId]) -> Vec<Result<Read, DriveError>> {
        let calls: Vec<Call> = files.iter().map(Self::read_call).collect();
        let mut reads = Vec::with_capacity(files.len());
        for (calls, files) in calls
            .chunks(BATCH_CALLS_MAX)
            .zip(files.chunks(BATCH_CALLS_MAX))
        {
            let answers = self.batch(Api::V2, calls).await;
            for ((call, file), answer) in calls.iter().zip(files).zip(answers) {
                reads.push(answer.and_then(|body| read_of(call, file, &body)));
            }
        }
        reads
    }

    /// What is there of each of these files, as [`DriveClient::look`] says it of one, in the order in which
    /// they were asked for.
    ///
    /// # Errors
    /// Each file has its own, as for [`DriveClient::read_files`]. What became of a whole batch never says of a
    /// file that it is gone.
    pub async fn look_all(&self, files: &[FileId]) -> Vec<Result<Observation, DriveError>> {
        let reads = self.read_files(files).await;
        reads.into_iter().map(observation).collect()
    }

    /// Writes to files, or deletes them, each on condition that it is still as it was read, and returns what
    /// became of each, in the same order. A file that comes a second time is not written again: a batch
    /// knows no order.
    ///
    /// # Errors
    /// Each file has its own, as for [`DriveClient::patch_file`]. Where no answer came to the whole call,
    /// every file is [`Kind::Unanswered`]: some may have been written.
    pub async fn write_files(
        &self,
        writes: &[(&Read, &Patch)],
    ) -> Vec<Result<Written, DriveError>> {
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
                answered.map(|((call, file), answer)| written_of(call, file, answer));
            for outcome in outcomes {
                written.extend(match outcome {
                    Some(error) => Some(Err(error)),
                    None => answered.next(),
                });
            }
        }
        written
    }

    /// Makes up to a hundred calls at once: one outcome for each, in their order. Calls whose access token
    /// was refused are made once more with a new one.
    pub(crate) async fn batch(&self, api: Api, calls: &[Call]) -> Vec<Result<Bytes, DriveError>> {
        let all: Vec<&Call> = calls.iter().collect();
        match calls {
            [] => return Vec::new(),
            [one] => return vec![self.call(one).await],
            _ => {}
        }
        let token = match self.tokens.token().await {
            Ok(token) => token,
            Err(error) => return failed(&all, &error),
        };
        let mut answers = self.batch_once(api, &all, &token).await;
        let refused = |answer: &Result<Bytes, DriveError>| answer.as_ref().is_err_and(expired);
        if !answers.iter().any(refused) {
            return answers;
        }
        let renewed = match self.tokens.instead_of(&token).await {
            Ok(Some(token)) => token,
            Ok(None) => return answers,
            Err(error) => {
                for answer in answers.iter_mut().filter(|answer| refused(answer)) {
                    *answer = Err(error.again());
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
    ) -> Vec<Result<Bytes, DriveError>> {
        let mut body = Vec::new();
        let mut unsendable = Vec::with_capacity(calls.len());
        for (at, call) in calls.iter().enumerate() {
            match call.inner(self.quota_user.as_deref()) {
                Ok(inner) => {
                    let head = format!(
                        "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <{at}>\r\n\r\n"
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
            return failed(calls, &unclear(outer.asked(), NotABatch));
        };
        let mut parts = multipart::answers(answer.body(), &boundary);
        let numbered = calls.iter().zip(unsendable).enumerate();
        let outcome = |(at, (call, unsendable)): (usize, (&&Call, Option<DriveError>))| {
            if let Some(error) = unsendable {
                return Err(error);
            }
            match parts.remove(&at.to_string()) {
                Some(part) => call.judged(part),
                None => Err(unclear(call.asked(), NoPart)),
            }
        };
        numbered.map(outcome).collect()
    }
}

/// The failure of a whole batch, for each of its calls. What says for certain that nothing was done is said
/// of each; any other status is about the batch and no call of it, which may all have been made.
fn failed(calls: &[&Call], error: &DriveError) -> Vec<Result<Bytes, DriveError>> {
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
            error.again()
        } else {
            unclear(call.asked(), error.again())
        })
    };
    calls.iter().map(outcome).collect()
}

fn twice(call: &Call) -> DriveError {
    DriveError::new(call.asked().method, Kind::NotSent).with_source(Twice)
}

/// On the very condition that a patch has; see [`crate::Assumption::StaleEtagStopsDeletion`].
fn delete_call(read: &Read) -> Call {
    let path = v2_path(&read.snapshot.file);
    Call::new(DELETE, Method::DELETE, path)
        .query("supportsAllDrives", "true")
        .if_match(&read.etag)
}

fn written_of(
    call: &Call,
    file: &FileId,
    answer: Result<Bytes, DriveError>,
) -> Result<Written, DriveError> {
    match answer {
        Ok(_) if call.asked().method == DELETE => Ok(Written::Deleted),
        Ok(body) => snapshot_of(call, file, &body).map(Written::Holds),
        // It is not there, which is what was asked for.
        Err(error) if call.asked().method == DELETE && *error.kind() == Kind::NotFound => {
            Ok(Written::Deleted)
        }
        Err(error) => Err(error),
    }
}

/// An answer about another file than the one that was asked about.
#[derive(Debug, thiserror::Error)]
#[error("the answer is about another file")]
struct AnotherFile;

fn read_of(call: &Call, file: &FileId, body: &Bytes) -> Result<Read, DriveError> {
    let read = normalise::read(parsed(call.asked(), body)?)
        .map_err(|defect| unclear(call.asked(), defect))?;
    if read.snapshot.file == *file {
        Ok(read)
    } else {
        Err(unclear(call.asked(), AnotherFile))
    }
}

pub(crate) fn snapshot_of(
    call: &Call,
    file: &FileId,
    body: &Bytes,
) -> Result<Snapshot, DriveError> {
    let snapshot = normalise::snapshot(parsed(call.asked(), body)?)
        .map_err(|defect| unclear(call.asked(), defect))?;
    if snapshot.file == *file {
        Ok(snapshot)
    } else {
        Err(unclear(call.asked(), AnotherFile))
    }
}
