//! Writes permissions, one at a time per file, each between two reads.
//!
//! Drive offers no conditional write for permissions, and of several concurrent ones on one file
//! only the last counts (v3 reference). The file is therefore read with its permissions and merged,
//! the one write is claimed like any other and sent, and the file is read again: one more
//! observation, in which the claim recognises the write. A change made by another user between the
//! read and the write is overwritten unseen. That window is as short as possible, and Drive offers
//! nothing to close it.

use domain::rate_limit::CallKind;
use domain::{Field, FileId, FileRecord, ObservedPermission, Patch, Refusal, Snapshot};
use drive::{DriveError, Kind, Read};
use futures_util::StreamExt;
use futures_util::stream;
use runtime::telemetry;
use store::StoreError;
use throttle::CallError;
use tracing::Instrument as _;

use crate::push_batch::{BatchResult, PushBatch, Write, span};

/// The number of files whose permissions are written concurrently.
const WRITES_AT_ONCE: usize = 8;
/// The time that one permission write needs, in milliseconds: the write, and the reads of the file
/// and of its permissions, none of which often takes a second. The claim covers a write that is cut
/// off nevertheless.
const PERMISSION_MILLIS: i64 = 12_000;
/// The wait after a sharing limit, in milliseconds. Google ties it to the number of people that an
/// account shares with in a day, and states no time.
const SHARING_LIMIT_MILLIS: i64 = 15 * 60 * 1_000;

impl PushBatch<'_> {
    /// Adds the permissions to a snapshot if one of them is to be written. If they have to be
    /// listed, that costs as much as twenty reads and is charged accordingly.
    pub(crate) async fn with_permissions(
        &self,
        record: &FileRecord,
        snapshot: Snapshot,
    ) -> Result<Snapshot, CallError> {
        let mut fields = record.fields.iter();
        let pending =
            fields.any(|(field, sides)| matches!(field, Field::Permission(_)) && sides.pending());
        let unlisted = self.is_due_at(record.unlisted_due());
        if !(pending || unlisted) || !snapshot.permissions_need_listing() {
            return Ok(snapshot);
        }
        let listed = || self.drive.client().with_permissions(snapshot.clone());
        match self.drive.call_with_retries(CallKind::List, listed).await {
            // The rest of the file does not wait for them.
            Err(CallError::Drive(error)) if error.is_outage() && !pending => Ok(snapshot),
            listed => listed,
        }
    }

    /// Writes the claimed permissions, one per file.
    pub(crate) async fn send_permissions(&self, writes: Vec<Write>, result: &mut BatchResult) {
        let sent = stream::iter(writes).map(|write| {
            let span = span(&write.record);
            let sent = async {
                let file = write.record.file.clone();
                let (record, error) = self.send_permission(write).await;
                (file, record, error)
            };
            sent.instrument(span)
        });
        let mut sent = sent.buffer_unordered(WRITES_AT_ONCE);
        while let Some((file, record, error)) = sent.next().await {
            result.fail(error);
            result.add(file, record);
        }
    }

    async fn send_permission(
        &self,
        write: Write,
    ) -> (Result<Option<FileRecord>, StoreError>, Option<DriveError>) {
        let Write {
            record,
            read,
            patch,
        } = write;
        let Some((principal, role)) = patch.permission() else {
            return (Ok(Some(record)), None);
        };
        let now = self.deps.clock.now();
        if self.deadline.passed(now.plus_millis(PERMISSION_MILLIS)) {
            return (
                self.release_claim(record, &patch, &Refusal::Busy).await,
                None,
            );
        }
        // The read after the write is admitted before it, since the outcome of a write that can't
        // be read back is unknown. The write was admitted with the batch as any other write; now as
        // one that shares.
        self.drive.release(CallKind::Edit, 1).await;
        let read_back = [CallKind::Read, CallKind::List, CallKind::Share];
        if let Err(error) = self.drive.acquire(&read_back, 1).await {
            let record = match error {
                CallError::Throttled(throttled) => {
                    self.release_claim(record, &patch, &throttled.refusal())
                        .await
                }
                CallError::Store(error) => Err(error),
                CallError::Drive(error) => self.record_refusal(record, &patch, &error).await,
            };
            return (record, None);
        }
        let file = record.file.clone();
        let drive = self.drive.client();
        let existing = record.permission_in(principal, &read.snapshot);
        let outcome = drive
            .write_permission(&file, existing, principal, role)
            .await;
        let written = std::slice::from_ref(&outcome);
        self.report_outcomes(CallKind::Share, Some(&file), written)
            .await;
        let error = match outcome {
            Ok(answer) => match self.read_back(&file).await {
                Ok(read) => {
                    return (
                        self.confirm_permission(record, &patch, answer.as_ref(), &read.snapshot)
                            .await,
                        None,
                    );
                }
                // The permission was written; the claim records it, and the next read of the file
                // recognises it.
                Err(error) => {
                    let unconfirmed = Refusal::Unknown("written, and not read again".to_owned());
                    tracing::warn!(
                        %file, error = telemetry::chain(&error), metric = "push_unread",
                        "could not read file after writing a permission"
                    );
                    let record = self.release_claim(record, &patch, &unconfirmed).await;
                    return (record, error.is_connection_wide().then_some(error));
                }
            },
            Err(error) => error,
        };
        tracing::warn!(
            %file, error = telemetry::chain(&error), metric = "push_refused",
            "Drive rejected the permission"
        );
        let record = self.release_claim(record, &patch, &refusal(&error)).await;
        (record, error.is_connection_wide().then_some(error))
    }

    /// Reads the file with its permissions, as admitted before the write.
    async fn read_back(&self, file: &FileId) -> Result<Read, DriveError> {
        let drive = self.drive.client();
        let read = drive.read_with_permissions(file).await;
        self.report_outcomes(CallKind::List, None, std::slice::from_ref(&read))
            .await;
        read
    }

    /// Confirms a claimed permission with Drive's answer and the state `read` after the write.
    async fn confirm_permission(
        &self,
        claimed: FileRecord,
        patch: &Patch,
        answer: Option<&ObservedPermission>,
        read: &Snapshot,
    ) -> Result<Option<FileRecord>, StoreError> {
        tracing::info!(file = %read.file, metric = "shared", "wrote permission to Drive");
        let jitter = self.deps.entropy.jitter();
        self.update(claimed, |record, context| {
            record.confirmed_by_reread(patch, answer, read, context, jitter)
        })
        .await
    }
}

/// Returns how a refusal affects the attempt. A limit on sharing does not limit other calls, and is
/// lifted late.
fn refusal(error: &DriveError) -> Refusal {
    let limited = matches!(error.kind(), Kind::RateLimited { .. });
    if limited && error.reason() == Some("sharingRateLimitExceeded") {
        return Refusal::Later {
            wait_millis: SHARING_LIMIT_MILLIS,
        };
    }
    error.refusal()
}
