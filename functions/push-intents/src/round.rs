//! One round: up to a hundred files, with one read and one write of Drive for all of them. What is refused,
//! lost or throttled for one of them concerns that file alone.

use std::collections::BTreeSet;

use domain::pace::CallKind;
use domain::{Field, FileId, FileRecord, Gone, Patch, Refusal, Timestamp};
use drive::{DriveError, Read, Written};
use futures_util::StreamExt;
use futures_util::stream;
use gate::{GateError, Pass};
use runtime::{ContentWake, Deadline, Lane, WakeCause, telemetry};
use store::{Connection, StoreError};

use crate::record::Claimed;
use crate::{Deps, Stopped, WRITE_MILLIS};

/// Records of one connection that are written at a time.
pub(crate) const RECORDS_AT_ONCE: usize = 16;

/// One connection's pushing.
pub(crate) struct Round<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) pass: &'a Pass,
    pub(crate) deadline: Deadline,
    pub(crate) deps: &'a Deps,
}

/// A file that was claimed, on its way to Drive.
pub(crate) struct Write {
    pub(crate) record: FileRecord,
    pub(crate) read: Read,
    pub(crate) patch: Patch,
}

/// When each file is due next, if it is.
type DueNext = Vec<(FileId, Option<Timestamp>)>;

impl Round<'_> {
    /// Brings what these files owe to Drive, and says when each is due again.
    pub(crate) async fn run(&self, files: &[FileId]) -> Result<DueNext, Stopped> {
        let mut after = After::default();
        let (due, held) = self.in_scope(self.due(files).await?).await?;
        self.hold(held, &mut after).await;
        let ready = self.in_order(due, &mut after).await?;
        let unmade = |record: &FileRecord| record.is_creating() && !record.creation_taken_back();
        let (unmade, made): (Vec<_>, Vec<_>) = ready.into_iter().partition(unmade);
        let unmade_count = unmade.len();
        self.make(unmade, &mut after).await;
        let writes = self.read_and_claim(made, &mut after).await;
        let unneeded = files.len().saturating_sub(writes.len() + unmade_count);
        self.pass
            .give_back(CallKind::Edit, u32::try_from(unneeded).unwrap_or(0))
            .await;
        // What was claimed is brought to its end before anything else: the function may be over after it.
        let (permissions, writes) = writes
            .into_iter()
            .partition(|write| write.patch.permission().is_some());
        self.send(writes, &mut after).await;
        self.send_permissions(permissions, &mut after).await;
        self.wake_content(&after.content).await;
        after.result()
    }

    /// Has content carried that is owed: another function does it. What could not be said now stays due, and is said again.
    async fn wake_content(&self, files: &BTreeSet<FileId>) {
        let cause = WakeCause::Due(self.deps.clock.now());
        let key = &self.connection.key;
        let wake = |file: &FileId| {
            let (key, file) = (key.clone(), file.clone());
            (ContentWake { key, file }, cause.clone())
        };
        let wakes: Vec<_> = files.iter().map(wake).collect();
        if let Err(error) = self.deps.contents.send(Lane::Prompt, &wakes).await {
            let error = telemetry::chain(&error);
            tracing::warn!(connection = %key, error, metric = "wake_failed", "content waits for the sweep");
        }
    }

    /// Takes note of how Drive answered. What it answered stands, whether or not the table took note of it.
    pub(crate) async fn note<T>(&self, kind: CallKind, answers: &[Result<T, DriveError>]) {
        if let Err(error) = self.pass.tell_all(kind, answers).await {
            let error = telemetry::chain(&error);
            tracing::warn!(error, metric = "pace_unnoted", "the pace was not noted");
        }
    }

    /// The records of those files that are really due: the index that named them lags behind.
    async fn due(&self, files: &[FileId]) -> Result<Vec<FileRecord>, Stopped> {
        let records = self
            .deps
            .store
            .load_files(&self.connection.key, files)
            .await?;
        let due = |record: &FileRecord| self.is_due(record);
        Ok(records.into_values().filter(due).collect())
    }

    /// What is out of scope is looked at again later: each by a write of its own record, and none of Drive.
    async fn hold(&self, held: Vec<FileRecord>, after: &mut After) {
        let held = stream::iter(held).map(|record| async {
            let file = record.file.clone();
            (file, self.held(record).await)
        });
        let mut held = held.buffer_unordered(RECORDS_AT_ONCE);
        while let Some((file, record)) = held.next().await {
            after.file(file, record);
        }
    }

    /// One read of Drive for all of them; then each is merged and claimed by a write of its own record.
    async fn read_and_claim(&self, due: Vec<FileRecord>, after: &mut After) -> Vec<Write> {
        let files: Vec<FileId> = due.iter().map(|record| record.file.clone()).collect();
        let reads = self.pass.drive().read_files(&files).await;
        self.note(CallKind::Read, &reads).await;
        let unclaimed = |record| Claimed {
            record,
            patch: None,
        };
        let gone = due.iter().zip(&reads);
        let gone = gone.filter(|(_, read)| {
            read.as_ref()
                .is_err_and(|e| e.gone() == Some(Gone::Removed))
        });
        let reach = self
            .pass
            .reach(gone.map(|(record, _)| &record.mirror))
            .await;
        let claims = stream::iter(due.into_iter().zip(reads)).map(|(record, read)| async {
            let file = record.file.clone();
            let read = match read {
                Ok(read) => {
                    let snapshot = self.with_permissions(&record, read.snapshot).await;
                    snapshot.map(|snapshot| Read { snapshot, ..read })
                }
                Err(error) => Err(error.into()),
            };
            match read {
                Ok(read) => {
                    let claimed = self.claim(record, &read.snapshot).await;
                    (file, claimed.map(|claimed| (claimed, Some(read))), None)
                }
                Err(GateError::Held(held)) => {
                    let record = self.not_yet(record, held).await;
                    (file, record.map(|record| (unclaimed(record), None)), None)
                }
                Err(GateError::Store(error)) => (file, Err(error), None),
                Err(GateError::Drive(error)) => {
                    let stops = error.concerns_us();
                    let record = if stops {
                        Ok(Some(record))
                    } else {
                        self.unread(record, &error, &reach).await
                    };
                    let outcome = record.map(|record| (unclaimed(record), None));
                    (file, outcome, stops.then_some(error))
                }
            }
        });
        let mut claims = claims.buffer_unordered(RECORDS_AT_ONCE);
        let mut writes = Vec::new();
        while let Some((file, outcome, stopped)) = claims.next().await {
            after.stop(stopped);
            match outcome {
                Ok((
                    Claimed {
                        record: Some(record),
                        patch: Some(patch),
                    },
                    Some(read),
                )) => writes.push(Write {
                    record,
                    read,
                    patch,
                }),
                Ok((claimed, _)) => after.file(file, Ok(claimed.record)),
                Err(error) => after.file(file, Err(error)),
            }
        }
        writes
    }

    /// One write to Drive for all of them; then each is settled by a write of its own record.
    async fn send(&self, writes: Vec<Write>, after: &mut After) {
        let answers: Vec<Option<_>> = if self.too_late() {
            writes.iter().map(|_| None).collect()
        } else {
            let patches: Vec<_> = writes.iter().map(|w| (&w.read, &w.patch)).collect();
            let answers = self.pass.drive().write_files(&patches).await;
            self.note(CallKind::Edit, &answers).await;
            answers.into_iter().map(Some).collect()
        };
        let settled = stream::iter(writes.into_iter().zip(answers)).map(|(write, answer)| async {
            let Write { record, patch, .. } = write;
            let file = record.file.clone();
            match answer {
                Some(Ok(Written::Holds(snapshot))) => {
                    (file, self.confirm(record, &patch, &snapshot).await, None)
                }
                Some(Ok(Written::Deleted)) => (file, self.deleted(record).await, None),
                Some(Err(error)) => {
                    let settled = self.refuse(record, &patch, &error).await;
                    (file, settled, error.concerns_us().then_some(error))
                }
                None => {
                    let settled = self.give_back(record, &patch, &Refusal::Busy).await;
                    (file, settled, None)
                }
            }
        });
        let mut settled = settled.buffer_unordered(RECORDS_AT_ONCE);
        while let Some((file, record, stopped)) = settled.next().await {
            after.stop(stopped);
            after.file(file, record);
        }
    }
}

impl Round<'_> {
    /// Whether the claims took so long that an answer to a write might not be lived to be heard: then nothing
    /// is sent, and what was claimed is given back.
    pub(crate) fn too_late(&self) -> bool {
        let now = self.deps.clock.now();
        self.deadline.passed(now.plus_millis(WRITE_MILLIS))
    }
}

/// What a round leaves behind. The first error that is nobody's own ends the drain, but not the round: what
/// was claimed is settled in any case.
#[derive(Default)]
pub(crate) struct After {
    due: DueNext,
    /// Files whose content is owed, after everything that is done here.
    content: BTreeSet<FileId>,
    stopped: Option<Stopped>,
}

impl After {
    pub(crate) fn file(&mut self, file: FileId, record: Result<Option<FileRecord>, StoreError>) {
        match record {
            Ok(Some(record)) if record.content_owed() => {
                // Where nothing else is owed, there is nothing to wait for here.
                let owed = record
                    .intent()
                    .map_or_else(Vec::new, |intent| intent.fields);
                let more = owed.iter().any(|field| **field != Field::Content);
                let due = if more { record.due() } else { None };
                self.content.insert(file.clone());
                self.due.push((file, due));
            }
            Ok(record) => self
                .due
                .push((file, record.and_then(|record| record.due()))),
            Err(error) => self.stop(Some(error)),
        }
    }

    pub(crate) fn stop(&mut self, error: Option<impl Into<Stopped>>) {
        if let Some(error) = error {
            self.stopped.get_or_insert(error.into());
        }
    }

    fn result(self) -> Result<DueNext, Stopped> {
        self.stopped.map_or(Ok(self.due), Err)
    }
}
