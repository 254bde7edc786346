//! Writing a file's record: load, decide, commit on what was loaded, and again where others were faster.

use domain::{ConnectionKey, FileId, FileRecord, Moment, Policies, Step, Timestamp};
use store::{Committed, Connection, ConnectionState, Nonce};

use crate::Deps;
use crate::extract::FilePath;
use crate::problem::Problem;

/// Rounds against other writers of the same file. Observations come at the pace of Drive's changes to
/// one file, so a caller's write gets through in one or two.
const ROUNDS_MAX: usize = 16;

/// What became of a write.
#[derive(Debug)]
pub(crate) struct Written {
    /// The step that was committed, or one that changes nothing.
    pub(crate) step: Step,
}

impl Written {
    pub(crate) fn record(&self) -> &FileRecord {
        &self.step.record
    }
}

/// A connection of the caller's that is there. One that is being deleted is as good as gone.
pub(crate) async fn connection(deps: &Deps, key: &ConnectionKey) -> Result<Connection, Problem> {
    let found = deps.store.load_connection(key).await?;
    found
        .filter(|connection| connection.state != ConnectionState::Deleting)
        .ok_or_else(|| Problem::not_found("the connection"))
}

/// The record of a file; 404 where there is none.
pub(crate) async fn file(
    deps: &Deps,
    key: &ConnectionKey,
    file: &FileId,
) -> Result<FileRecord, Problem> {
    let found = deps.store.load_file(key, file).await?;
    found.ok_or_else(|| Problem::not_found("the file"))
}

/// The connection and the record of a file; 404 where either is not there.
pub(crate) async fn found(deps: &Deps, at: &FilePath) -> Result<(Connection, FileRecord), Problem> {
    tokio::try_join!(connection(deps, &at.key), file(deps, &at.key, &at.file))
}

/// Now, under a connection's policies. Nothing here comes from Drive, so its time is now too.
pub(crate) fn moment(now: Timestamp, policies: &Policies) -> Moment<'_> {
    Moment {
        now,
        drive_at: None,
        policies,
    }
}

/// Takes `decide`'s step from the record as it is to the next. `decide` is asked anew for each record
/// that another writer put in its place: so a caller's conditions are judged against what is replaced,
/// and mere noise between reading and writing fails nobody. `None` writes nothing.
///
/// # Errors
/// What `decide` says; 404 where there is no record; 503 where the table did not answer, or other
/// writers never let up.
pub(crate) async fn write(
    deps: &Deps,
    key: &ConnectionKey,
    id: &FileId,
    mut decide: impl FnMut(&FileRecord) -> Result<Option<Step>, Problem>,
) -> Result<Written, Problem> {
    let mut record = file(deps, key, id).await?;
    for _ in 0..ROUNDS_MAX {
        let Some(step) = decide(&record)? else {
            return Ok(Written {
                step: Step::stay(record),
            });
        };
        if step.record == record {
            return Ok(Written { step });
        }
        let nonce = Nonce(deps.entropy.next());
        match deps
            .store
            .commit(key, record.revision, &step, nonce)
            .await?
        {
            Committed::Done => return Ok(Written { step }),
            Committed::Stale(Some(current)) => record = *current,
            Committed::Stale(None) => return Err(Problem::not_found("the file")),
        }
    }
    Err(Problem::busy("others keep writing the same file", 1))
}

/// Puts a request with an idempotency key into the very write that does it, so that neither stands
/// without the other.
pub(crate) fn remember(step: &mut Step, before: &FileRecord, request: Option<domain::Request>) {
    let Some(request) = request else {
        return;
    };
    step.record.last_request = Some(request);
    // A request that changes nothing else is a write all the same.
    step.record.revision = before.revision.next();
}

/// Tells the pusher that something may be owed.
pub(crate) async fn wake_push(deps: &Deps, key: &ConnectionKey, record: &FileRecord) {
    if record.due().is_some() {
        wake_pushes(deps, key).await;
    }
}

/// Tells the pusher of a connection. What is owed is in the table: a wake that is lost makes it late.
pub(crate) async fn wake_pushes(deps: &Deps, key: &ConnectionKey) {
    if let Err(error) = deps.wakes.push(key, deps.clock.now()).await {
        let error = runtime::telemetry::chain(&error);
        tracing::warn!(connection = %key, error, metric = "wake_failed", "the sweep will push");
    }
}

/// Where other rules hold now, what was held for being out of scope is looked at again at once. That this could not be
/// done is no error of the caller's: it is looked at within five minutes anyway.
pub(crate) async fn release_held(deps: &Deps, before: &Connection, now: &Connection) {
    if before.rules == now.rules {
        return;
    }
    let nonce = || Nonce(deps.entropy.next());
    let key = &now.key;
    match deps.store.release_held(key, deps.clock.now(), nonce).await {
        Ok(0) => {}
        Ok(_) => wake_pushes(deps, key).await,
        Err(error) => {
            let error = runtime::telemetry::chain(&error);
            tracing::warn!(connection = %key, error, metric = "release_failed", "what is held comes by itself");
        }
    }
}
