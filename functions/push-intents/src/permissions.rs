//! Writing permissions: one at a time for a file, each between two reads.
//!
//! Drive has no condition for these writes, and of several at once on one file only the last one counts (v3
//! reference). So the file is read with its permissions and merged, the one write is claimed like any other,
//! done, and the file is read again: that is one more observation, in which the claim recognises our own
//! write. What somebody sets between the read and the write is overwritten unseen; that window is as short
//! as we can make it, and Drive offers nothing to close it.

use domain::pace::CallKind;
use domain::{Field, FileId, FileRecord, Patch, Refusal, Snapshot};
use drive::{DriveError, Read};
use futures_util::StreamExt;
use futures_util::stream;
use gate::GateError;
use runtime::telemetry;
use store::StoreError;

use crate::round::{After, Round, Write};

/// Files whose permissions are written at a time.
const WRITES_AT_ONCE: usize = 8;
/// What must be left of the function's time for one, in milliseconds: the write, and the reading of the file
/// and of its permissions, none of which often takes a second. One that is cut off all the same is
/// remembered by its claim.
const PERMISSION_MILLIS: i64 = 12_000;
/// How long a sharing limit is waited out, in milliseconds. Google ties it to the number of people that an
/// account shares with in a day, and names no time.
const SHARING_LIMIT_MILLIS: i64 = 15 * 60 * 1_000;

impl Round<'_> {
    /// What was read of a file, with its permissions if one of them is to be looked at: where they have to be
    /// listed, that costs as much as twenty reads, and is admitted as that.
    pub(crate) async fn with_permissions(
        &self,
        record: &FileRecord,
        snapshot: Snapshot,
    ) -> Result<Snapshot, GateError> {
        let mut fields = record.fields.iter();
        let pending =
            fields.any(|(field, sides)| matches!(field, Field::Permission(_)) && sides.pending());
        if pending && snapshot.has_listed_permissions() {
            let listed = || self.pass.drive().with_permissions(snapshot.clone());
            self.pass.ask(CallKind::List, listed).await
        } else {
            Ok(snapshot)
        }
    }

    /// Writes the claimed permissions, one for each file.
    pub(crate) async fn send_permissions(&self, writes: Vec<Write>, after: &mut After) {
        let sent = stream::iter(writes).map(|write| async {
            let file = write.record.file.clone();
            let (record, stopped) = self.send_permission(write).await;
            (file, record, stopped)
        });
        let mut sent = sent.buffer_unordered(WRITES_AT_ONCE);
        while let Some((file, record, stopped)) = sent.next().await {
            after.stop(stopped);
            after.file(file, record);
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
            return (self.give_back(record, &patch, &Refusal::Busy).await, None);
        }
        // The look after the write is admitted before it: what was written and can't be looked at is unsure. The
        // write itself was admitted with the round.
        let look = [CallKind::Read, CallKind::List];
        if let Err(error) = self.pass.admit(&look, 1).await {
            let settled = match error {
                GateError::Held(held) => self.give_back(record, &patch, &held.refusal()).await,
                GateError::Store(error) => Err(error),
                GateError::Drive(error) => self.refuse(record, &patch, &error).await,
            };
            return (settled, None);
        }
        let file = record.file.clone();
        let drive = self.pass.drive();
        let written = drive
            .write_permission(&read.snapshot, principal, role)
            .await;
        self.note(CallKind::Edit, std::slice::from_ref(&written))
            .await;
        let error = match written {
            Ok(()) => match self.look_again(&file).await {
                Ok(read) => return (self.took(record, &patch, &read.snapshot).await, None),
                // It was written; the claim remembers it, and the next look at the file finds it.
                Err(error) => {
                    let unseen = Refusal::Unknown("written, and not read again".to_owned());
                    tracing::warn!(%file, error = telemetry::chain(&error), metric = "push_unread", "not read");
                    let settled = self.give_back(record, &patch, &unseen).await;
                    return (settled, error.concerns_us().then_some(error));
                }
            },
            Err(error) => error,
        };
        tracing::warn!(%file, error = telemetry::chain(&error), metric = "push_refused", "not shared");
        let settled = self.give_back(record, &patch, &refusal(&error)).await;
        (settled, error.concerns_us().then_some(error))
    }

    /// The file with its permissions, as admitted before the write.
    async fn look_again(&self, file: &FileId) -> Result<Read, DriveError> {
        let drive = self.pass.drive();
        let read = drive.read_with_permissions(file).await;
        self.note(CallKind::List, std::slice::from_ref(&read)).await;
        read
    }

    /// Drive took what was claimed, and held `read` after it.
    async fn took(
        &self,
        claimed: FileRecord,
        patch: &Patch,
        read: &Snapshot,
    ) -> Result<Option<FileRecord>, StoreError> {
        tracing::info!(file = %read.file, metric = "shared", "a permission was written to Drive");
        let jitter = self.deps.entropy.jitter();
        self.settle(claimed, |record| {
            record.took(patch, read, self.moment(), jitter)
        })
        .await
    }
}

/// What a refusal means for the attempt. The limit on sharing is no limit on other calls, and passes late.
fn refusal(error: &DriveError) -> Refusal {
    if error.reason() == Some("sharingRateLimitExceeded") {
        return Refusal::Later {
            wait_millis: SHARING_LIMIT_MILLIS,
        };
    }
    error.refusal()
}
