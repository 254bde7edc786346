//! The root of a shared drive. It is in no listing and no log, but its permissions are the drive's members,
//! and what every item of the drive inherits: so it has a record like any folder, by the drive's own id.

use domain::pace::CallKind;
use domain::{FileId, LogId, Observation};
use gate::Pass;
use runtime::{Cause, Queue, SnapshotMessage, queue};
use store::Log;

use crate::{Deps, Stopped};

/// Reads the root of the log's shared drive, and queues it; its permissions are listed where it is applied.
/// Done when the drive is listed, and when its log has an entry about the drive itself: that is how a
/// change of its members shows. One read each. Nothing for a user's log, or for a drive that is out of sight:
/// the log's next page will tell.
pub(crate) async fn queue(
    log: &Log,
    cause: Cause,
    to: &Queue,
    pass: &Pass,
    deps: &Deps,
) -> Result<(), Stopped> {
    let root = match FileId::parse(log.log.as_str()) {
        Ok(root) if log.log != LogId::user() => root,
        Ok(_) | Err(_) => return Ok(()),
    };
    let Observation::Present(snapshot) = pass
        .ask(CallKind::Read, || pass.drive().look(&root))
        .await?
    else {
        return Ok(());
    };
    let message = SnapshotMessage {
        key: log.key.clone(),
        cause,
        file: root,
        at: deps.clock.now(),
        snapshot: Some(snapshot),
    };
    Ok(queue::send_snapshots(to, std::slice::from_ref(&message)).await?)
}
