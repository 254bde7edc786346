//! Folds the messages of one file into its record, as far as that is possible without asking Drive.

use domain::trail::ErasedPersons;
use domain::{
    Ancestry, ConnectionKey, Context, FileRecord, LogId, Observation, Policies, Timestamp,
    Transition,
};
use store::StoreError;
use worker::{Origin, SnapshotMessage};

use crate::{FileWork, left_drives};

/// Folds all messages of one file, in order, into one step. Returns `None` if one of them would
/// make the file appear or disappear: only Drive itself can confirm that. `above` is that of
/// [`Context`].
pub(crate) fn fold(
    record: Option<&FileRecord>,
    messages: &[SnapshotMessage],
    left: &[LogId],
    (policies, above): (&Policies, Option<&Ancestry>),
    now: Timestamp,
) -> Option<Transition> {
    let mut folded = record.cloned().map(Transition::unchanged);
    for message in messages {
        let context = Context {
            now,
            drive_at: match message.origin {
                Origin::Live => Some(message.at),
                Origin::Operation(_) | Origin::Correction(_) | Origin::DriveLeft { .. } => None,
            },
            policies,
            above,
        };
        if let Origin::DriveLeft { drive, .. } = &message.origin {
            // A drive that is followed again, or a file without a record, has nothing to mark.
            if left.contains(drive) {
                folded = folded.map(|transition| {
                    transition.then(|record| {
                        left_drives::mark_inaccessible(record.clone(), drive, context)
                    })
                });
            }
            continue;
        }
        let observation = match &message.snapshot {
            Some(snapshot) => Observation::Present(snapshot.clone()),
            None => Observation::Gone(domain::Gone::Removed),
        };
        folded = Some(match folded {
            None => Transition::unchanged(match &observation {
                // The snapshot was taken before the drive was left.
                Observation::Present(snapshot) if left.contains(&snapshot.metadata.log()) => {
                    return None;
                }
                Observation::Present(snapshot) => FileRecord::from_snapshot(snapshot),
                Observation::Gone(_) if is_lookup_request(message) => return None,
                Observation::Gone(gone) => FileRecord::tombstone(message.file.clone(), *gone, now),
            }),
            Some(transition) if transition.record.needs_lookup(&observation) => return None,
            // Also for a file whose record says that it is gone.
            Some(_) if is_lookup_request(message) => return None,
            Some(transition) => {
                transition.then(|record| match (&message.origin, &message.snapshot) {
                    (Origin::Correction(_), Some(snapshot)) => record.corrected(snapshot, context),
                    (Origin::Correction(_), None)
                    | (Origin::Live | Origin::Operation(_) | Origin::DriveLeft { .. }, _) => {
                        record.observe(&observation, context)
                    }
                })
            }
        });
    }
    folded
}

impl FileWork<'_> {
    /// See [`fold()`]: with the folders above the file, if their policies may decide a conflict.
    pub(crate) async fn fold(
        &self,
        record: Option<&FileRecord>,
        now: Timestamp,
    ) -> Result<Option<Transition>, StoreError> {
        let by = |above| {
            let policies = (&self.connection.policies, above);
            fold(record, self.messages, &self.left, policies, now)
        };
        let folded = by(None);
        let (Some(record), Some(step)) = (record, &folded) else {
            return Ok(folded);
        };
        let store = &self.deps.store;
        let above = store.policy_ancestry(self.connection, record, step).await?;
        Ok(if above.is_some() {
            by(above.as_ref())
        } else {
            folded
        })
    }
}

/// Replaces persons in the messages of a connection: some were sent before a person was erased.
pub(crate) fn replace_erased<'a>(
    messages: impl Iterator<Item = &'a mut SnapshotMessage>,
    key: &ConnectionKey,
    erased: &ErasedPersons,
) {
    for message in messages.filter(|message| message.key == *key) {
        let shown = message.snapshot.take();
        message.snapshot = shown.map(|snapshot| snapshot.without(erased));
    }
}

/// Returns whether the message is a request to read the file from Drive (of an operation, of a dead
/// letter, or for a snapshot that is too large for a message) rather than a reported change.
fn is_lookup_request(message: &SnapshotMessage) -> bool {
    match message.origin {
        Origin::Operation(_) => message.snapshot.is_none(),
        Origin::Live | Origin::Correction(_) | Origin::DriveLeft { .. } => false,
    }
}
