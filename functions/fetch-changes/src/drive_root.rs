//! The root of a shared drive. It appears in no listing and no log, but its permissions are the
//! drive's members, which every item of the drive inherits. It therefore has a record like any
//! folder, under the drive's own id.

use domain::rate_limit::CallKind;
use domain::{FileId, LogId, Observation};
use store::Log;
use throttle::ThrottledDrive;
use worker::{Origin, Queue, SnapshotMessage, WorkError, queue};

use crate::Deps;

/// Reads the root of the log's shared drive and queues it; `apply-snapshots` lists its permissions.
/// Called when the drive is listed, and when its log has an entry about the drive itself, which is
/// how a change of its members shows. Each call costs one read. Does nothing for a user's log, or
/// for an inaccessible drive: the log's next page reports that.
pub(crate) async fn queue_root(
    log: &Log,
    origin: Origin,
    to: &Queue,
    drive: &ThrottledDrive,
    deps: &Deps,
) -> Result<(), WorkError> {
    let root = match FileId::parse(log.log.as_str()) {
        Ok(root) if log.log != LogId::user() => root,
        Ok(_) | Err(_) => return Ok(()),
    };
    let Observation::Present(snapshot) = drive
        .call_with_retries(CallKind::Read, || drive.client().get_or_gone(&root))
        .await?
    else {
        return Ok(());
    };
    let message = SnapshotMessage {
        key: log.key.clone(),
        origin,
        file: root,
        at: deps.clock.now(),
        snapshot: Some(snapshot),
    };
    Ok(queue::send_snapshots(to, std::slice::from_ref(&message)).await?)
}
