//! Marks the files of a shared drive that was left: they still exist but are not accessible.
//!
//! Drive itself reported that the drive is inaccessible, so its files are not looked up one by one.
//! Each is queued as a message that names the drive, and is marked only if the drive is still left
//! by then.

use domain::{FileRecord, Operation};
use store::{LogPosition, PageRequest, Tombstones};
use worker::{Origin, SnapshotMessage, WorkError, queue};

use crate::Deps;

/// Queues each file of the page of records at a position that is present in the drive.
pub(crate) async fn mark_page(
    position: Option<String>,
    leave: &Operation,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let now = deps.clock.now();
    let log = deps.store.load_log(&leave.key, &leave.log).await?;
    let Some(log) = log.filter(|log| matches!(log.position, LogPosition::Left { .. })) else {
        return Ok(leave.failed("the shared drive is followed again", now));
    };
    if let Some(channel) = &log.channel {
        // The channel is stopped like a replaced one: Drive may no longer know it.
        deps.store.replace_channel(channel, now).await?;
        deps.store
            .set_channel(&leave.key, &leave.log, Some(channel), None)
            .await?;
    }
    let page = PageRequest {
        limit: PageRequest::LIMIT_MAX,
        cursor: position,
    };
    let page = deps
        .store
        .list_files(&leave.key, None, Tombstones::Skip, &page)
        .await?;
    let files = page
        .items
        .iter()
        .filter(|file| file.metadata.log() == log.log);
    let marks: Vec<SnapshotMessage> = files.map(|file| mark_message(leave, file)).collect();
    queue::send_snapshots(&deps.snapshots_bulk, &marks).await?;
    let marked = u64::try_from(marks.len()).unwrap_or(u64::MAX);
    let after = leave.on_marked(marked, page.next_cursor, deps.clock.now());
    if after.has_ended() {
        tracing::info!(
            connection = %leave.key, log = %log.log, files = after.form().listed,
            metric = "drive_left_whole",
            "marked all files of the left drive"
        );
    }
    Ok(after)
}

fn mark_message(leave: &Operation, file: &FileRecord) -> SnapshotMessage {
    let round = leave.leave_drive().map_or(0, |run| run.rounds);
    SnapshotMessage {
        key: leave.key.clone(),
        origin: Origin::DriveLeft {
            drive: leave.log.clone(),
            operation: format!("{}.{round}", leave.id),
        },
        file: file.file.clone(),
        at: leave.started_at,
        snapshot: None,
    }
}
