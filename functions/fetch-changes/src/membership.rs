//! Shared drives that the connection's user joins and leaves.
//!
//! A user's log says so with one entry about the drive and none about its items (Drive guide "Track
//! changes for users and shared drives"), so a drive that was joined gets a log of ours, with a cursor and a
//! first listing of its own. What an entry asks for is stored before the cursor passes it. An entry that
//! never comes is made up for: once in a while the drives are listed and compared with our logs.

use std::collections::BTreeMap;

use domain::pace::CallKind;
use domain::{ConnectionKey, LogId, Timestamp};
use drive::{DriveChange, DriveError, Kind};
use gate::{GateError, Pass};
use runtime::queue;
use store::{Created, Log, Operation, OperationKind, Position, Written};

use crate::{Deps, Stopped};

/// How often the user's shared drives are compared with our logs, in milliseconds: one `drives.list` for
/// a hundred drives.
const COMPARED_EVERY_MILLIS: i64 = 60 * 60_000;
/// A log that was left is asked about again after this, in milliseconds: where no user's log tells that
/// we were let in again, this does.
const LEFT_POLL_MILLIS: i64 = 60 * 60_000;
/// Rounds against other writers of the same log.
const ROUNDS_MAX: usize = 8;

/// Whether it is time to compare the user's shared drives with our logs.
pub(crate) fn is_due(user_log: &Log, now: Timestamp) -> bool {
    let checked = user_log.drives_checked_at;
    checked.is_none_or(|at| now.millis_since(at) >= COMPARED_EVERY_MILLIS)
}

/// Compares the user's shared drives with our logs: what we don't follow is joined, and what Drive does not
/// list is asked about before it is left. Gives the log as it is then, `None` where another worker moved it.
pub(crate) async fn compare(
    user_log: &Log,
    drive: &Pass,
    deps: &Deps,
) -> Result<Option<Log>, Stopped> {
    let key = &user_log.key;
    let listed = list(drive).await?;
    let kept = deps.store.list_logs(key).await?;
    let kept: BTreeMap<LogId, Log> = kept.into_iter().map(|log| (log.log.clone(), log)).collect();
    for (id, name) in &listed {
        let known = kept.get(id).is_some_and(|log| {
            is_followed(log) && log.drive_name.as_deref() == Some(name.as_str())
        });
        if !known {
            join(key, id, name, deps).await?;
        }
    }
    for (id, log) in &kept {
        let ours = *id == LogId::user() || listed.contains_key(id);
        if !ours
            && is_followed(log)
            && drive
                .ask(CallKind::Read, || drive.drive().find_drive(id))
                .await?
                .is_none()
        {
            leave(key, id, deps).await?;
        }
    }
    tracing::info!(connection = %key, drives = listed.len(), metric = "drives_compared", "compared");
    let now = deps.clock.now();
    match deps.store.record_drives_checked(user_log, now).await? {
        Written::Done(log) => Ok(Some(log)),
        Written::Stale(_) => Ok(None),
    }
}

/// All shared drives of the account, by id, with their names.
async fn list(drive: &Pass) -> Result<BTreeMap<LogId, String>, GateError> {
    let mut listed = BTreeMap::new();
    let mut token: Option<String> = None;
    loop {
        let page = match drive
            .ask(CallKind::List, || {
                drive.drive().list_drives(token.as_deref())
            })
            .await
        {
            Ok(page) => page,
            // It lives for hours only, and what was listed so far is as good as before.
            Err(GateError::Drive(error))
                if *error.kind() == Kind::CursorLost && token.is_some() =>
            {
                token = None;
                drive
                    .ask(CallKind::List, || drive.drive().list_drives(None))
                    .await?
            }
            Err(error) => return Err(error),
        };
        listed.extend(page.drives.into_iter().map(|drive| (drive.id, drive.name)));
        let again = page.next == token;
        token = page.next;
        if token.is_none() || again {
            return Ok(listed);
        }
    }
}

fn is_followed(log: &Log) -> bool {
    match log.position {
        Position::New | Position::Listing(_) | Position::Following => true,
        Position::Left { .. } => false,
    }
}

/// Does what an entry about a shared drive asks for. Doing it again changes nothing.
pub(crate) async fn heed(
    log: &Log,
    entry: &DriveChange,
    drive: &Pass,
    deps: &Deps,
) -> Result<(), Stopped> {
    // A drive's own log tells of that drive alone.
    if log.log != LogId::user() && log.log != entry.drive {
        return Ok(());
    }
    if let (false, Some(name)) = (entry.removed, &entry.name) {
        return join(&log.key, &entry.drive, name, deps).await;
    }
    // An entry may be older than what holds now: what makes files disappear is asked about.
    match drive
        .ask(CallKind::Read, || drive.drive().find_drive(&entry.drive))
        .await?
    {
        Some(found) => join(&log.key, &found.id, &found.name, deps).await,
        None => leave(&log.key, &entry.drive, deps).await,
    }
}

/// A log that was left is woken: whether its drive is there again.
pub(crate) async fn return_to(log: &Log, drive: &Pass, deps: &Deps) -> Result<(), Stopped> {
    match drive
        .ask(CallKind::Read, || drive.drive().find_drive(&log.log))
        .await?
    {
        Some(found) => join(&log.key, &found.id, &found.name, deps).await,
        None => Ok(()),
    }
}

/// Whether an error of a call about a shared drive's log means that the drive is not there for us any
/// more, which Drive is asked about; it is left then.
pub(crate) async fn has_ended(
    log: &Log,
    error: &DriveError,
    drive: &Pass,
    deps: &Deps,
) -> Result<bool, Stopped> {
    let out_of_sight = *error.kind() == Kind::CursorLost || error.gone().is_some();
    if log.log == LogId::user()
        || !out_of_sight
        || drive
            .ask(CallKind::Read, || drive.drive().find_drive(&log.log))
            .await?
            .is_some()
    {
        return Ok(false);
    }
    leave(&log.key, &log.log, deps).await?;
    Ok(true)
}

/// Follows a shared drive, from its first listing on if we don't follow it already.
async fn join(key: &ConnectionKey, id: &LogId, name: &str, deps: &Deps) -> Result<(), Stopped> {
    let now = deps.clock.now();
    let log = Log {
        drive_name: Some(name.to_owned()),
        ..Log::new(key.clone(), id.clone(), now)
    };
    let kept = match deps.store.create_log(&log).await? {
        Created::Created => {
            tracing::info!(connection = %key, log = %id, metric = "drive_joined", "joined");
            return Ok(queue::wake_log(&deps.log_wakes, key, id, now).await?);
        }
        Created::Exists(kept) => kept,
    };
    if kept.drive_name.as_deref() != Some(name) {
        deps.store.name_drive(key, id, name).await?;
    }
    if !is_followed(&kept)
        && let Written::Done(_) = deps.store.rejoin_log(&kept, now).await?
    {
        tracing::info!(connection = %key, log = %id, metric = "drive_joined", "joined again");
        queue::wake_log(&deps.log_wakes, key, id, now).await?;
    }
    Ok(())
}

/// Follows a shared drive no longer, and begins to mark its files.
async fn leave(key: &ConnectionKey, id: &LogId, deps: &Deps) -> Result<(), Stopped> {
    for _ in 0..ROUNDS_MAX {
        let log = deps.store.load_log(key, id).await?;
        let Some(log) = log.filter(is_followed) else {
            return Ok(());
        };
        let now = deps.clock.now();
        let operation = deps.entropy.operation(now);
        let leave = OperationKind::Leave;
        let leave = Operation::new(key.clone(), operation, id.clone(), leave, "drivesync", now);
        let again_at = now.plus_millis(deps.entropy.jitter().around(LEFT_POLL_MILLIS));
        if let Written::Done(_) = deps.store.leave_log(&log, &leave, now, again_at).await? {
            tracing::warn!(connection = %key, log = %id, metric = "drive_left", "left");
            return Ok(());
        }
    }
    Err(Stopped::Contended)
}
