//! One batch: up to a hundred files, with one read and one write of Drive for all of them. A
//! failed, lost or throttled call affects only its own file.

use std::collections::BTreeMap;

use domain::rate_limit::CallKind;
use domain::{Cause, Field, FileId, FileRecord, Gone, Patch, Refusal, Timestamp};
use drive::{DriveError, Read, WriteResult};
use futures_util::StreamExt;
use futures_util::stream;
use runtime::{Deadline, telemetry};
use store::{Connection, Scope, StoreError};
use throttle::{CallError, DriveReachability, ThrottledDrive};
use tracing::{Instrument as _, Span};
use worker::{ContentWake, DedupKey, Priority, WorkError};

use crate::{Deps, WRITE_MILLIS};

/// The number of records of one connection that are written concurrently.
pub(crate) const RECORDS_AT_ONCE: usize = 16;

/// Pushes a batch of files of one connection.
pub(crate) struct PushBatch<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) drive: &'a ThrottledDrive,
    pub(crate) deadline: Deadline,
    pub(crate) deps: &'a Deps,
}

/// A claimed file that is about to be written to Drive.
pub(crate) struct Write {
    pub(crate) record: FileRecord,
    pub(crate) read: Read,
    pub(crate) patch: Patch,
}

/// What is known about the account when a file of it is missing.
pub(crate) struct AccountState {
    /// The shared drives of the missing files.
    pub(crate) drives: DriveReachability,
    /// Whether something else of the account can be read.
    pub(crate) works: bool,
}

/// The time at which each file is due next, if at all.
type DueNext = Vec<(FileId, Option<Timestamp>)>;

/// A record after a claim, with the fields to be written, if any are still owed.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// The stored record; `None` if it was deleted.
    pub(crate) record: Option<FileRecord>,
    /// The fields to be sent.
    pub(crate) patch: Option<Patch>,
}

impl PushBatch<'_> {
    /// Pushes what these files owe to Drive, and returns when each is due again.
    pub(crate) async fn run(&self, files: &[FileId]) -> Result<DueNext, WorkError> {
        let mut result = BatchResult::default();
        let (due, out_of_scope) = self.in_scope(self.load_due(files).await?).await?;
        self.postpone_all_out_of_scope(out_of_scope, &mut result)
            .await;
        let ready = self.ready_to_push(due, &mut result).await?;
        let is_creation =
            |record: &FileRecord| record.is_creating() && !record.creation_taken_back();
        let (to_create, to_update): (Vec<_>, Vec<_>) = ready.into_iter().partition(is_creation);
        let creation_count = to_create.len();
        self.create(to_create, &mut result).await;
        let writes = self.read_and_claim(to_update, &mut result).await;
        let unneeded = files.len().saturating_sub(writes.len() + creation_count);
        self.drive
            .release(CallKind::Edit, u32::try_from(unneeded).unwrap_or(0))
            .await;
        // Claimed writes are completed first: the function may time out after this.
        let (permissions, writes) = writes
            .into_iter()
            .partition(|write| write.patch.permission().is_some());
        self.send(writes, &mut result).await;
        self.send_permissions(permissions, &mut result).await;
        self.wake_content(&result.content).await;
        result.into_due()
    }

    /// Wakes `mirror-content` for owed content. If that fails, the content stays due and is woken
    /// again.
    async fn wake_content(&self, files: &BTreeMap<FileId, Option<Cause>>) {
        let dedup_key = DedupKey::Due(self.deps.clock.now());
        let key = &self.connection.key;
        let wake = |(file, cause): (&FileId, &Option<Cause>)| {
            let (key, file) = (key.clone(), file.clone());
            (ContentWake { key, file }, dedup_key.clone(), *cause)
        };
        let wakes: Vec<_> = files.iter().map(wake).collect();
        if let Err(error) = self.deps.contents.send_caused(Priority::High, &wakes).await {
            let error = telemetry::chain(&error);
            tracing::warn!(
                connection = %key, error, metric = "wake_failed",
                "could not wake mirror-content; the next sweep will"
            );
        }
    }

    /// Reports the outcomes of Drive calls to the rate limiter; `file` is the only file that they
    /// are about, if there is only one. A failure to store them does not
    /// affect the outcomes themselves.
    pub(crate) async fn report_outcomes<T>(
        &self,
        kind: CallKind,
        file: Option<&FileId>,
        answers: &[Result<T, DriveError>],
    ) {
        if let Err(error) = self.drive.record_outcomes(kind, file, answers).await {
            let error = telemetry::chain(&error);
            tracing::warn!(
                error,
                metric = "pace_unnoted",
                "could not store the outcomes of Drive calls"
            );
        }
    }

    /// Returns the records that are really due: the index that listed them lags behind.
    /// A record that can't be read is left out, and does not block the others.
    async fn load_due(&self, files: &[FileId]) -> Result<Vec<FileRecord>, WorkError> {
        let (store, key) = (&self.deps.store, &self.connection.key);
        let records: Vec<FileRecord> = match store.load_files(key, files).await {
            Ok(records) => records.into_values().collect(),
            Err(error) if error.concerns_one_item() => {
                let mut records = Vec::with_capacity(files.len());
                for file in files {
                    match store.load_file(key, file).await {
                        Ok(record) => records.extend(record),
                        Err(error) if error.concerns_one_item() => log_unstorable(file, &error),
                        Err(error) => return Err(error.into()),
                    }
                }
                records
            }
            Err(error) => return Err(error.into()),
        };
        let due = |record: &FileRecord| self.is_due(record);
        Ok(records.into_iter().filter(due).collect())
    }

    /// Postpones out-of-scope files, each by one write of its record and without a Drive call.
    async fn postpone_all_out_of_scope(
        &self,
        out_of_scope: Vec<FileRecord>,
        result: &mut BatchResult,
    ) {
        let out_of_scope = stream::iter(out_of_scope).map(|record| {
            let span = span(&record);
            let postponed = async {
                let file = record.file.clone();
                (file, self.postpone_out_of_scope(record).await)
            };
            postponed.instrument(span)
        });
        let mut out_of_scope = out_of_scope.buffer_unordered(RECORDS_AT_ONCE);
        while let Some((file, record)) = out_of_scope.next().await {
            result.add(file, record);
        }
    }

    /// Reads all files with one Drive call, then merges and claims each by a write of its own
    /// record.
    async fn read_and_claim(&self, due: Vec<FileRecord>, result: &mut BatchResult) -> Vec<Write> {
        let files: Vec<FileId> = due.iter().map(|record| record.file.clone()).collect();
        let reads = self.drive.client().read_files(&files).await;
        self.report_outcomes(CallKind::Read, None, &reads).await;
        let unclaimed = |record| Claimed {
            record,
            patch: None,
        };
        let gone = due.iter().zip(&reads);
        let gone = gone.filter(|(_, read)| {
            read.as_ref()
                .is_err_and(|e| e.gone() == Some(Gone::Removed))
        });
        let drives = self
            .drive
            .drive_reachability(gone.map(|(record, _)| &record.metadata))
            .await;
        let account = AccountState {
            drives,
            works: self.does_account_work(&reads).await,
        };
        let claims = stream::iter(due.into_iter().zip(reads)).map(|(record, read)| {
            let span = span(&record);
            let claimed = async {
                let file = record.file.clone();
                let read = match read {
                    Ok(mut read) => {
                        let snapshot = read.snapshot.clone();
                        let snapshot = self.with_permissions(&record, snapshot).await;
                        snapshot.map(|snapshot| {
                            read.snapshot = snapshot;
                            read
                        })
                    }
                    Err(error) => Err(error.into()),
                };
                match read {
                    Ok(read) => {
                        let claimed = self.claim(record, &read.snapshot).await;
                        (file, claimed.map(|claimed| (claimed, Some(read))), None)
                    }
                    Err(CallError::Throttled(throttled)) => {
                        let record = self.postpone_throttled(record, throttled).await;
                        (file, record.map(|record| (unclaimed(record), None)), None)
                    }
                    Err(CallError::Store(error)) => (file, Err(error), None),
                    Err(CallError::Drive(error)) => {
                        let stops = error.is_connection_wide();
                        let record = if stops {
                            Ok(Some(record))
                        } else {
                            self.handle_read_error(record, &error, &account).await
                        };
                        let outcome = record.map(|record| (unclaimed(record), None));
                        (file, outcome, stops.then_some(error))
                    }
                }
            };
            claimed.instrument(span)
        });
        let mut claims = claims.buffer_unordered(RECORDS_AT_ONCE);
        let mut writes = Vec::new();
        while let Some((file, outcome, error)) = claims.next().await {
            result.fail(error);
            match outcome {
                Ok((
                    Claimed {
                        record: Some(record),
                        patch: Some(patch),
                    },
                    Some(read),
                )) => writes.push(Write {
                    read: read.known_in(record.sides(&Field::Parent).drive()),
                    record,
                    patch,
                }),
                Ok((claimed, _)) => result.add(file, Ok(claimed.record)),
                Err(error) => result.add(file, Err(error)),
            }
        }
        writes
    }

    /// Writes all files with one Drive call, then records each outcome by a write of its own
    /// record.
    async fn send(&self, writes: Vec<Write>, result: &mut BatchResult) {
        let answers: Vec<Option<_>> = if self.too_late() {
            writes.iter().map(|_| None).collect()
        } else {
            let patches: Vec<_> = writes.iter().map(|w| (&w.read, &w.patch)).collect();
            let answers = self.drive.client().write_files(&patches).await;
            let only = match writes.as_slice() {
                [only] => Some(&only.record.file),
                _ => None,
            };
            self.report_outcomes(CallKind::Edit, only, &answers).await;
            answers.into_iter().map(Some).collect()
        };
        let results = stream::iter(writes.into_iter().zip(answers)).map(|(write, answer)| {
            let span = span(&write.record);
            let recorded = async {
                let Write { record, patch, .. } = write;
                let file = record.file.clone();
                match answer {
                    Some(Ok(WriteResult::Updated(snapshot))) => {
                        (file, self.confirm(record, &patch, &snapshot).await, None)
                    }
                    Some(Ok(WriteResult::Deleted)) => {
                        (file, self.confirm_deletion(record).await, None)
                    }
                    Some(Err(error)) => {
                        let record = self.record_refusal(record, &patch, &error).await;
                        (file, record, error.is_connection_wide().then_some(error))
                    }
                    None => {
                        let record = self.release_claim(record, &patch, &Refusal::Busy).await;
                        (file, record, None)
                    }
                }
            };
            recorded.instrument(span)
        });
        let mut results = results.buffer_unordered(RECORDS_AT_ONCE);
        while let Some((file, record, error)) = results.next().await {
            result.fail(error);
            result.add(file, record);
        }
    }

    /// Returns whether something else of the account can be read, if one of these reads did not
    /// find its file: without that, its absence says nothing.
    async fn does_account_work(&self, reads: &[Result<Read, DriveError>]) -> bool {
        let gone =
            |read: &Result<Read, DriveError>| read.as_ref().is_err_and(|e| e.gone().is_some());
        if reads.iter().any(Result::is_ok) || !reads.iter().any(gone) {
            return true;
        }
        let root = match &self.connection.scope {
            Scope::User => self.connection.my_drive.clone(),
            Scope::SharedDrive(drive) => FileId::parse(drive).ok(),
        };
        let client = self.drive.client();
        match root {
            Some(root) => self
                .drive
                .call(CallKind::Read, client.read_file(&root))
                .await
                .is_ok(),
            None => self
                .drive
                .call(CallKind::Read, client.root_folder_id())
                .await
                .is_ok(),
        }
    }
}

/// Returns the span of what is done for a file: that of its newest edit. The wake is only the
/// occasion, and may be that of another edit.
pub(crate) fn span(record: &FileRecord) -> Span {
    match record.edit_cause() {
        Some(cause) => telemetry::span(cause),
        None => Span::current(),
    }
}

impl PushBatch<'_> {
    /// Returns whether too little time is left to receive the response to a write. If so, nothing
    /// is sent and the claims are released.
    pub(crate) fn too_late(&self) -> bool {
        let now = self.deps.clock.now();
        self.deadline.passed(now.plus_millis(WRITE_MILLIS))
    }
}

/// Logs that the state of a file can't be stored, which affects no other file.
pub(crate) fn log_unstorable(file: &FileId, error: &StoreError) {
    tracing::error!(
        %file, error = telemetry::chain(error), metric = "push_unstorable",
        "the file's state can't be stored; other files are pushed"
    );
}

/// The result of a batch. The first error that concerns more than one file ends the drain, but not
/// the batch: every claim is completed or released in any case.
#[derive(Default)]
pub(crate) struct BatchResult {
    due: DueNext,
    /// The files whose content is owed once everything else is pushed.
    content: BTreeMap<FileId, Option<Cause>>,
    error: Option<WorkError>,
}

impl BatchResult {
    pub(crate) fn add(&mut self, file: FileId, record: Result<Option<FileRecord>, StoreError>) {
        match record {
            Ok(Some(record)) if record.content_owed() => {
                // If nothing else is owed, there is nothing to wait for here.
                let owed = record
                    .intent()
                    .map_or_else(Vec::new, |intent| intent.fields);
                let more = owed.iter().any(|field| **field != Field::Content);
                let due = if more { record.due() } else { None };
                self.content.insert(file.clone(), record.edit_cause());
                self.due.push((file, due));
            }
            Ok(record) => self
                .due
                .push((file, record.and_then(|record| record.due()))),
            // The claim in the record, if there is one, is settled by a later push.
            Err(error) if error.concerns_one_item() => {
                log_unstorable(&file, &error);
                self.due.push((file, None));
            }
            Err(error) => self.fail(Some(error)),
        }
    }

    pub(crate) fn fail(&mut self, error: Option<impl Into<WorkError>>) {
        if let Some(error) = error {
            self.error.get_or_insert(error.into());
        }
    }

    fn into_due(self) -> Result<DueNext, WorkError> {
        self.error.map_or(Ok(self.due), Err)
    }
}
