//! Shared drives that the connection's user joins and leaves.
//!
//! A user's log reports a joined drive with one entry about the drive and none about its items
//! (Drive guide "Track changes for users and shared drives"). A joined drive therefore gets a log
//! of its own, with its own cursor and first listing. The effect of an entry is stored before the
//! cursor passes it. Once an hour the drives are listed and compared with the stored logs, which
//! covers an entry that never arrives.

use std::collections::BTreeMap;

use domain::operation::{PageWalk, StopReason, WalkedPage, entries_hash};
use domain::rate_limit::CallKind;
use domain::{ConnectionKey, LogId, Operation, Run, Timestamp};
use drive::{DriveChange, DriveError, Kind};
use store::{Attempt, Created, Log, LogPosition, Swapped, Written, compare_and_swap};
use throttle::{CallError, ThrottledDrive};
use worker::{WorkError, queue};

use crate::Deps;

/// The interval at which the user's shared drives are compared with the stored logs, in
/// milliseconds: one `drives.list` for a hundred drives.
const COMPARISON_INTERVAL_MILLIS: i64 = 60 * 60_000;
/// The interval at which access to a left drive is checked again, in milliseconds. It covers a
/// restored access that no user's log reports.
const LEFT_POLL_INTERVAL_MILLIS: i64 = 60 * 60_000;

/// Returns whether the user's shared drives are due to be compared with the stored logs.
pub(crate) fn is_comparison_due(user_log: &Log, now: Timestamp) -> bool {
    let checked = user_log.drives_checked_at;
    checked.is_none_or(|at| now.millis_since(at) >= COMPARISON_INTERVAL_MILLIS)
}

/// Compares the user's shared drives with the stored logs. A drive without a log is joined; a drive
/// that Drive does not list is queried before it is left. Returns the updated log, `None` if
/// another worker moved it.
pub(crate) async fn compare_drives(
    user_log: &Log,
    drive: &ThrottledDrive,
    deps: &Deps,
) -> Result<Option<Log>, WorkError> {
    let key = &user_log.key;
    let listed = list_drives(key, drive).await?;
    let stored = deps.store.list_logs(key).await?;
    let stored: BTreeMap<LogId, Log> = stored
        .into_iter()
        .map(|log| (log.log.clone(), log))
        .collect();
    for (id, name) in &listed {
        let known = stored.get(id).is_some_and(|log| {
            is_followed(log) && log.drive_name.as_deref() == Some(name.as_str())
        });
        if !known {
            join_drive(key, id, name, deps).await?;
        }
    }
    for (id, log) in &stored {
        let reported = *id == LogId::user() || listed.contains_key(id);
        if !reported
            && is_followed(log)
            && drive
                .call_with_retries(CallKind::Read, || drive.client().find_drive(id))
                .await?
                .is_none()
        {
            leave_drive(key, id, deps).await?;
        }
    }
    tracing::info!(
        connection = %key, drives = listed.len(), metric = "drives_compared",
        "compared shared drives with stored logs"
    );
    let now = deps.clock.now();
    match deps.store.record_drives_checked(user_log, now).await? {
        Written::Done(log) => Ok(Some(log)),
        Written::Stale(_) => Ok(None),
    }
}

/// Lists all shared drives of the account: their names by id. If the pages do not lead to an end,
/// those listed so far are returned, and the next comparison lists them again: a drive that is not
/// among them is asked about by its id before anything is concluded.
async fn list_drives(
    key: &ConnectionKey,
    drive: &ThrottledDrive,
) -> Result<BTreeMap<LogId, String>, CallError> {
    let mut listed = BTreeMap::new();
    let mut token: Option<String> = None;
    let mut walk = PageWalk::default();
    let mut begun_anew = false;
    let stopped = loop {
        let page = match drive
            .call_with_retries(CallKind::List, || {
                drive.client().list_drives(token.as_deref())
            })
            .await
        {
            Ok(page) => page,
            // The token expires within hours; drives listed so far remain valid.
            Err(CallError::Drive(error))
                if *error.kind() == Kind::CursorLost && token.is_some() =>
            {
                if begun_anew {
                    break StopReason::TokenRefused;
                }
                (token, walk, begun_anew) = (None, PageWalk::default(), true);
                continue;
            }
            Err(error) => return Err(error),
        };
        let entries = entries_hash(page.drives.iter().map(|drive| drive.id.as_str()));
        listed.extend(page.drives.into_iter().map(|drive| (drive.id, drive.name)));
        let Some(next) = page.next else {
            return Ok(listed);
        };
        let step = WalkedPage {
            token: token.as_deref(),
            next: &next,
            entries,
        };
        match walk.follow(step) {
            Ok(followed) => walk = followed,
            Err(reason) => break reason,
        }
        token = Some(next);
    };
    tracing::warn!(
        connection = %key, reason = stopped.label(), metric = "pages_stopped",
        "the list of shared drives does not end; will read it again later"
    );
    Ok(listed)
}

fn is_followed(log: &Log) -> bool {
    match log.position {
        LogPosition::New | LogPosition::Listing(_) | LogPosition::Following => true,
        LogPosition::Left { .. } => false,
    }
}

/// Applies an entry about a shared drive. Applying it twice changes nothing.
pub(crate) async fn handle_drive_change(
    log: &Log,
    entry: &DriveChange,
    drive: &ThrottledDrive,
    deps: &Deps,
) -> Result<(), WorkError> {
    // A shared drive's own log concerns that drive alone.
    if log.log != LogId::user() && log.log != entry.drive {
        return Ok(());
    }
    if let (false, Some(name)) = (entry.removed, &entry.name) {
        return join_drive(&log.key, &entry.drive, name, deps).await;
    }
    // The entry may be outdated. Before files are marked as gone, Drive is asked.
    match drive
        .call_with_retries(CallKind::Read, || drive.client().find_drive(&entry.drive))
        .await?
    {
        Some(found) => join_drive(&log.key, &found.id, &found.name, deps).await,
        None => leave_drive(&log.key, &entry.drive, deps).await,
    }
}

/// Checks whether the drive of a left log is accessible again, and rejoins it if so.
pub(crate) async fn rejoin_if_accessible(
    log: &Log,
    drive: &ThrottledDrive,
    deps: &Deps,
) -> Result<(), WorkError> {
    match drive
        .call_with_retries(CallKind::Read, || drive.client().find_drive(&log.log))
        .await?
    {
        Some(found) => join_drive(&log.key, &found.id, &found.name, deps).await,
        None => Ok(()),
    }
}

/// Checks with Drive whether an error on a shared drive's log means that the drive is no longer
/// accessible. If so, leaves the drive and returns `true`.
pub(crate) async fn leave_if_inaccessible(
    log: &Log,
    error: &DriveError,
    drive: &ThrottledDrive,
    deps: &Deps,
) -> Result<bool, WorkError> {
    let may_be_inaccessible = *error.kind() == Kind::CursorLost || error.gone().is_some();
    if log.log == LogId::user()
        || !may_be_inaccessible
        || drive
            .call_with_retries(CallKind::Read, || drive.client().find_drive(&log.log))
            .await?
            .is_some()
    {
        return Ok(false);
    }
    leave_drive(&log.key, &log.log, deps).await?;
    Ok(true)
}

/// Follows a shared drive, starting with its first listing unless it is already followed.
async fn join_drive(
    key: &ConnectionKey,
    id: &LogId,
    name: &str,
    deps: &Deps,
) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let log = Log {
        drive_name: Some(name.to_owned()),
        ..Log::new(key.clone(), id.clone(), now)
    };
    let stored = match deps.store.create_log(&log).await? {
        Created::Created => {
            tracing::info!(
                connection = %key, log = %id, metric = "drive_joined",
                "joined shared drive"
            );
            return Ok(queue::wake_log(&deps.log_wakes, key, id, now).await?);
        }
        Created::Exists(stored) => stored,
    };
    if stored.drive_name.as_deref() != Some(name) {
        deps.store.set_drive_name(key, id, name).await?;
    }
    if !is_followed(&stored)
        && let Written::Done(_) = deps.store.rejoin_log(&stored, now).await?
    {
        tracing::info!(
            connection = %key, log = %id, metric = "drive_joined",
            "rejoined shared drive"
        );
        queue::wake_log(&deps.log_wakes, key, id, now).await?;
    }
    Ok(())
}

/// Stops following a shared drive and starts the operation that marks its files. Nothing is left
/// while the account has taken the place of another and a person has not yet said what may go.
async fn leave_drive(key: &ConnectionKey, id: &LogId, deps: &Deps) -> Result<(), WorkError> {
    let connection = deps.store.load_connection(key).await?;
    if let Some(comparison) = connection.and_then(|connection| connection.account.comparison)
        && let Some(comparison) = deps.store.load_operation(key, &comparison).await?
        && !comparison.has_ended()
    {
        return Ok(());
    }
    let left = compare_and_swap((), |()| async {
        let log = deps.store.load_log(key, id).await?;
        let Some(log) = log.filter(is_followed) else {
            return Ok::<_, WorkError>(Attempt::Done(()));
        };
        let now = deps.clock.now();
        let operation = deps.entropy.operation(now);
        let run = Run::leave_drive();
        let leave = Operation::new(key.clone(), operation, id.clone(), "drivesync", now, run);
        let poll_at = now.plus_millis(deps.entropy.jitter().around(LEFT_POLL_INTERVAL_MILLIS));
        match deps.store.leave_log(&log, &leave, now, poll_at).await? {
            Written::Done(_) => {
                tracing::warn!(
                    connection = %key, log = %id, metric = "drive_left",
                    "left shared drive: it is no longer accessible"
                );
                Ok(Attempt::Done(()))
            }
            Written::Stale(_) => Ok(Attempt::Stale(())),
        }
    });
    match left.await? {
        Swapped::Done(()) => Ok(()),
        Swapped::Contended(()) => Err(WorkError::Contended),
    }
}
