//! Why files of a shared drive are not there: deleted, or the whole drive is out of reach.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::pace::CallKind;
use domain::{Gone, LogId, Mirror};
use futures_util::future::join_all;
use store::Position;

use crate::{GateError, Pass};

/// Which of some shared drives are out of reach, each asked about once.
///
/// Drive answers 404 to a file that was deleted and to one whose drive we are no member of any more, and to the
/// drive itself in the second case alone. Only a drive that we follow, or have left, is looked at, and it must be
/// looked at after the files: one that was there before them may have been left since.
#[derive(Debug, Default)]
pub struct Reach(BTreeMap<LogId, Result<bool, Arc<GateError>>>);

impl Reach {
    /// Tells a file that was deleted from one in a drive that is out of reach; `mirror` is the file's, as it was last
    /// seen.
    ///
    /// # Errors
    /// Where the table or Drive did not say it of its drive.
    pub fn tell_apart(&self, gone: Gone, mirror: &Mirror) -> Result<Gone, Arc<GateError>> {
        if gone == Gone::AccessLost {
            return Ok(gone);
        }
        match self.0.get(&mirror.log()) {
            Some(Ok(true)) => Ok(Gone::AccessLost),
            Some(Err(error)) => Err(Arc::clone(error)),
            Some(Ok(false)) | None => Ok(gone),
        }
    }
}

impl Pass {
    /// Finds out which of the drives are out of reach that these files were last seen in. Each is asked about once,
    /// whatever comes of it.
    pub async fn reach(&self, mirrors: impl Iterator<Item = &Mirror>) -> Reach {
        let drives: BTreeSet<LogId> = mirrors.map(Mirror::log).collect();
        let drives = drives.into_iter().filter(|log| *log != LogId::user());
        let known = drives.map(async |drive| {
            let out_of_reach = self.is_out_of_reach(&drive).await;
            (drive, out_of_reach.map_err(Arc::new))
        });
        Reach(join_all(known).await.into_iter().collect())
    }

    async fn is_out_of_reach(&self, drive: &LogId) -> Result<bool, GateError> {
        let kept = self.ledger.store.load_log(&self.ledger.key, drive).await?;
        match kept.map(|log| log.position) {
            None => Ok(false),
            Some(Position::Left { .. }) => Ok(true),
            Some(Position::New | Position::Listing(_) | Position::Following) => {
                let found = || self.drive().find_drive(drive);
                Ok(self.ask(CallKind::Read, found).await?.is_none())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::pace::{Held, HeldBy};

    fn of(drive: Option<&str>) -> Mirror {
        Mirror {
            drive_id: drive.map(str::to_owned),
            ..Mirror::default()
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_judged_by_its_drive() {
        let held = GateError::Held(Held {
            wait_millis: 5,
            by: HeldBy::Quota,
        });
        let drive = |id: &str| LogId::parse(id).unwrap();
        let reach = Reach(BTreeMap::from([
            (drive("there"), Ok(false)),
            (drive("left"), Ok(true)),
            (drive("unknown"), Err(Arc::new(held))),
        ]));
        let tell = |gone, id| reach.tell_apart(gone, &of(id));
        assert_eq!(tell(Gone::Removed, Some("there")).unwrap(), Gone::Removed);
        assert_eq!(tell(Gone::Removed, Some("left")).unwrap(), Gone::AccessLost);
        assert_eq!(tell(Gone::Removed, None).unwrap(), Gone::Removed);
        assert_eq!(
            tell(Gone::Removed, Some("a stranger's")).unwrap(),
            Gone::Removed
        );
        assert!(tell(Gone::Removed, Some("unknown")).is_err());
        let said = tell(Gone::AccessLost, Some("unknown")).unwrap();
        assert_eq!(
            said,
            Gone::AccessLost,
            "Drive has said it of the file itself"
        );
    }
}
