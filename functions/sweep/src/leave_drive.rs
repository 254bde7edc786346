//! Marks the files of a shared drive that was left: they still exist but are not accessible.
//!
//! Drive itself reported that the drive is inaccessible, so its files are not looked up one by one.
//! Each is queued as a message that names the drive, and is marked only if the drive is still left
//! by then.

use domain::FileRecord;
use runtime::Deadline;
use store::{
    LogPosition, Operation, OperationState, PageRequest, ScanProgress, Tombstones, Written,
};
use worker::{Origin, SnapshotMessage, queue};

use crate::{Deps, WorkError};

/// Delay before a scan that marked files is repeated, in milliseconds: longer than
/// `apply-snapshots` may run, so that the repetition covers what it was writing when the drive was
/// left.
const REPEAT_MILLIS: i64 = 16_000;
/// Delay before an unfinished scan resumes, in milliseconds.
const RETRY_MILLIS: i64 = 1_000;

/// Scans the connection's records and queues each file that is present in the drive. Done when a
/// scan after the first finds none.
pub(crate) async fn mark_files(
    leave: &Operation,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let log = deps.store.load_log(&leave.key, &leave.log).await?;
    let Some(log) = log.filter(|log| matches!(log.position, LogPosition::Left { .. })) else {
        let reason = "the shared drive is followed again".to_owned();
        let end = OperationState::Failed { reason };
        deps.store.finish_operation(leave, end, now).await?;
        return Ok(());
    };
    if let Some(channel) = &log.channel {
        // The channel is stopped like a replaced one: Drive may no longer know it.
        deps.store.replace_channel(channel, now).await?;
        deps.store
            .set_channel(&leave.key, &leave.log, Some(channel), None)
            .await?;
    }
    let mut leave = leave.clone();
    loop {
        let page = PageRequest {
            limit: PageRequest::LIMIT_MAX,
            cursor: leave.page_token.clone(),
        };
        let page = deps
            .store
            .list_files(&leave.key, None, Tombstones::Skip, &page)
            .await?;
        let files = page
            .items
            .iter()
            .filter(|file| file.metadata.log() == log.log);
        let messages: Vec<SnapshotMessage> = files.map(|file| mark_message(&leave, file)).collect();
        queue::send_snapshots(&deps.snapshots_bulk, &messages).await?;
        let marked = u64::try_from(messages.len()).unwrap_or(u64::MAX);
        let now = deps.clock.now();
        // `verified` is the number of files queued before this scan.
        let listed = leave.listed + marked;
        let ended = page.next_cursor.is_none();
        if ended && leave.pages > 0 && listed == leave.verified {
            deps.store
                .finish_operation(&leave, OperationState::Done, now)
                .await?;
            tracing::info!(
                connection = %leave.key, log = %log.log, files = listed,
                metric = "drive_left_whole",
                "marked all files of the left drive"
            );
            return Ok(());
        }
        let wait_millis = if ended { REPEAT_MILLIS } else { RETRY_MILLIS };
        let scanned = ScanProgress {
            position: page.next_cursor,
            listed,
            verified: if ended { listed } else { leave.verified },
            rounds: leave.pages + u32::from(ended),
            due_at: now.plus_millis(wait_millis),
        };
        leave = match deps.store.record_scan_progress(&leave, scanned).await? {
            Written::Done(leave) => leave,
            // Another sweep is processing it.
            Written::Stale(_) => return Ok(()),
        };
        if ended || deadline.passed(now) {
            return Ok(());
        }
    }
}

fn mark_message(leave: &Operation, file: &FileRecord) -> SnapshotMessage {
    SnapshotMessage {
        key: leave.key.clone(),
        origin: Origin::DriveLeft {
            drive: leave.log.clone(),
            operation: format!("{}.{}", leave.id, leave.pages),
        },
        file: file.file.clone(),
        at: leave.started_at,
        snapshot: None,
    }
}
