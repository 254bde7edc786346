//! Files of shared drives that were left: messages that were still queued for them, and their
//! marking.

use std::collections::BTreeMap;

use domain::{ConnectionKey, Context, FileRecord, Gone, LogId, Observation, Transition};
use store::{LogPosition, StoreError};
use tokio::sync::Mutex;
use worker::{Origin, SnapshotMessage};

use crate::Deps;

/// Caches, for one invocation, whether logs were left. It lives for seconds only; the operation
/// that marks a drive's files repeats its scan after that.
#[derive(Default)]
pub(crate) struct LeftLogs(Mutex<BTreeMap<(ConnectionKey, LogId), bool>>);

impl LeftLogs {
    async fn is_left(
        &self,
        key: &ConnectionKey,
        log: &LogId,
        deps: &Deps,
    ) -> Result<bool, StoreError> {
        let place = (key.clone(), log.clone());
        let mut known = self.0.lock().await;
        if let Some(left) = known.get(&place) {
            return Ok(*left);
        }
        let found = deps.store.load_log(key, log).await?;
        let left = found.is_some_and(|log| match log.position {
            LogPosition::Left { .. } => true,
            LogPosition::New | LogPosition::Listing(_) | LogPosition::Following => false,
        });
        known.insert(place, left);
        Ok(left)
    }

    /// Returns the drives named by the messages of one file that are currently left: those that
    /// mark the file and, for a file without a record, those that its snapshots name.
    pub(crate) async fn left_drives(
        &self,
        messages: &[SnapshotMessage],
        first_sight: bool,
        deps: &Deps,
    ) -> Result<Vec<LogId>, StoreError> {
        let mut left = Vec::new();
        for message in messages {
            let log = match (&message.origin, &message.snapshot) {
                (Origin::DriveLeft { drive, .. }, _) => drive.clone(),
                (Origin::Live | Origin::Operation(_) | Origin::Correction(_), Some(snapshot))
                    if first_sight =>
                {
                    snapshot.metadata.log()
                }
                (Origin::Live | Origin::Operation(_) | Origin::Correction(_), _) => continue,
            };
            if log != LogId::user() && self.is_left(&message.key, &log, deps).await? {
                left.push(log);
            }
        }
        Ok(left)
    }
}

/// Marks a present file of a left drive as inaccessible. A file that has moved to another drive is
/// unchanged.
pub(crate) fn mark_inaccessible(
    record: FileRecord,
    drive: &LogId,
    context: Context<'_>,
) -> Transition {
    if record.is_present() && record.metadata.log() == *drive {
        record.apply_lookup(&Observation::Gone(Gone::AccessLost), context)
    } else {
        Transition::unchanged(record)
    }
}
