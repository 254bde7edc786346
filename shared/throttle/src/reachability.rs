//! Classifies missing files of shared drives: deleted, or in a drive that is inaccessible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::rate_limit::CallKind;
use domain::{DriveMetadata, Gone, LogId};
use futures_util::future::join_all;
use store::LogPosition;

use crate::{CallError, ThrottledDrive};

/// The accessibility of some shared drives, each looked up once.
///
/// Drive answers 404 to a deleted file and to a file of a shared drive that the account is no
/// longer a member of; only in the second case does it answer 404 to the drive itself. Only drives
/// that are followed or were left are looked up. The lookup must come after the lookup of the
/// files: a drive that was accessible before them may have been left since.
#[derive(Debug, Default)]
pub struct DriveReachability(BTreeMap<LogId, Result<Accessible, Arc<CallError>>>);

/// Tells an accessible drive from one that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accessible {
    Yes,
    No,
}

impl DriveReachability {
    /// Tells a deleted file from one in an inaccessible drive. `last_seen` is Drive's metadata of
    /// the file when it was last seen.
    ///
    /// # Errors
    /// The error of the drive's lookup, if it failed.
    pub fn classify_missing(
        &self,
        gone: Gone,
        last_seen: &DriveMetadata,
    ) -> Result<Gone, Arc<CallError>> {
        if gone == Gone::AccessLost {
            return Ok(gone);
        }
        match self.0.get(&last_seen.log()) {
            Some(Ok(Accessible::No)) => Ok(Gone::AccessLost),
            Some(Err(error)) => Err(Arc::clone(error)),
            Some(Ok(Accessible::Yes)) | None => Ok(gone),
        }
    }
}

impl ThrottledDrive {
    /// Looks up the shared drives that these files were last seen in, each once. A failed lookup is
    /// part of the result.
    pub async fn drive_reachability(
        &self,
        last_seen: impl Iterator<Item = &DriveMetadata>,
    ) -> DriveReachability {
        let drives: BTreeSet<LogId> = last_seen.map(DriveMetadata::log).collect();
        let drives = drives.into_iter().filter(|log| *log != LogId::user());
        let lookups = drives.map(async |drive| {
            let accessible = self.accessible(&drive).await;
            (drive, accessible.map_err(Arc::new))
        });
        DriveReachability(join_all(lookups).await.into_iter().collect())
    }

    async fn accessible(&self, drive: &LogId) -> Result<Accessible, CallError> {
        let log = self.budget.store.load_log(&self.budget.key, drive).await?;
        match log.map(|log| log.position) {
            None => Ok(Accessible::Yes),
            Some(LogPosition::Left { .. }) => Ok(Accessible::No),
            Some(LogPosition::New | LogPosition::Listing(_) | LogPosition::Following) => {
                let find = || self.client().find_drive(drive);
                match self.call_with_retries(CallKind::Read, find).await? {
                    Some(_) => Ok(Accessible::Yes),
                    None => Ok(Accessible::No),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rate_limit::{Throttled, ThrottledBy};

    fn file_in(drive: Option<&str>) -> DriveMetadata {
        DriveMetadata {
            drive_id: drive.map(str::to_owned),
            ..DriveMetadata::default()
        }
    }

    #[test]
    fn a_missing_file_is_classified_by_its_shared_drive() {
        let throttled = CallError::Throttled(Throttled {
            wait_millis: 5,
            by: ThrottledBy::Quota,
        });
        let drive = |id: &str| LogId::parse(id).unwrap();
        let reachability = DriveReachability(BTreeMap::from([
            (drive("member"), Ok(Accessible::Yes)),
            (drive("left"), Ok(Accessible::No)),
            (drive("unknown"), Err(Arc::new(throttled))),
        ]));
        let classify = |gone, id| reachability.classify_missing(gone, &file_in(id));
        for (drive, expected) in [
            (Some("member"), Gone::Removed),
            (Some("left"), Gone::AccessLost),
            (None, Gone::Removed),
            (Some("not followed"), Gone::Removed),
        ] {
            assert_eq!(classify(Gone::Removed, drive).unwrap(), expected);
        }
        assert!(classify(Gone::Removed, Some("unknown")).is_err());
        assert_eq!(
            classify(Gone::AccessLost, Some("unknown")).unwrap(),
            Gone::AccessLost,
            "Drive reported it for the file itself"
        );
    }
}
