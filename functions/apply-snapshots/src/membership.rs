//! Files of shared drives that were left: what a queue still brings of them, and what is said of them.

use std::collections::BTreeMap;

use domain::{ConnectionKey, FileRecord, Gone, LogId, Moment, Observation, Step};
use runtime::{Cause, SnapshotMessage};
use store::{Position, StoreError};
use tokio::sync::Mutex;

use crate::Deps;

/// Which logs were left, as far as one invocation has asked. It lives for seconds only; whoever marks the
/// files of a drive looks again after that.
#[derive(Default)]
pub(crate) struct LeftLogs(Mutex<BTreeMap<(ConnectionKey, LogId), bool>>);

impl LeftLogs {
    async fn has(&self, key: &ConnectionKey, log: &LogId, deps: &Deps) -> Result<bool, StoreError> {
        let place = (key.clone(), log.clone());
        let mut known = self.0.lock().await;
        if let Some(left) = known.get(&place) {
            return Ok(*left);
        }
        let found = deps.store.load_log(key, log).await?;
        let left = found.is_some_and(|log| match log.position {
            Position::Left { .. } => true,
            Position::New | Position::Listing(_) | Position::Following => false,
        });
        known.insert(place, left);
        Ok(left)
    }

    /// The drives that the messages of one file name and that are left at this moment: those that mark the
    /// file, and, of a file that has no record, those that it is said to be in.
    pub(crate) async fn of(
        &self,
        messages: &[SnapshotMessage],
        first_sight: bool,
        deps: &Deps,
    ) -> Result<Vec<LogId>, StoreError> {
        let mut left = Vec::new();
        for message in messages {
            let log = match (&message.cause, &message.snapshot) {
                (Cause::Left { drive, .. }, _) => drive.clone(),
                (Cause::Live | Cause::Run(_) | Cause::Correction(_), Some(snapshot))
                    if first_sight =>
                {
                    snapshot.mirror.log()
                }
                (Cause::Live | Cause::Run(_) | Cause::Correction(_), _) => continue,
            };
            if log != LogId::user() && self.has(&message.key, &log, deps).await? {
                left.push(log);
            }
        }
        Ok(left)
    }
}

/// Marks a present file of a drive that was left. What is in another drive by now stays as it is.
pub(crate) fn mark(record: FileRecord, drive: &LogId, moment: Moment<'_>) -> Step {
    if record.is_present() && record.mirror.log() == *drive {
        record.answered(&Observation::Gone(Gone::AccessLost), moment)
    } else {
        Step::stay(record)
    }
}
