//! Marks the files of a shared drive that was left: they are there still, but not for us.
//!
//! Drive itself said that the drive is out of reach, so its files are not asked about one by one. Each is
//! queued as a message that names the drive, and is marked only if the drive is still left by then.

use domain::FileRecord;
use runtime::{Cause, Deadline, SnapshotMessage, queue};
use store::{Operation, OperationState, PageRequest, Position, Tombstones, Walked, Written};

use crate::{Deps, Stopped};

/// A walk that marked something is followed by another after this, in milliseconds: longer than
/// `apply-snapshots` may run, so that what it was writing when the drive was left is seen.
const SETTLE_MILLIS: i64 = 16_000;
/// What was not reached is gone on with after this, in milliseconds.
const AGAIN_MILLIS: i64 = 1_000;

/// Walks through the connection's records and queues each that is present in the drive; done when a
/// walk after the first finds none.
pub(crate) async fn look_at(
    leave: &Operation,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), Stopped> {
    let now = deps.clock.now();
    let log = deps.store.load_log(&leave.key, &leave.log).await?;
    let Some(log) = log.filter(|log| matches!(log.position, Position::Left { .. })) else {
        let reason = "the shared drive is followed again".to_owned();
        let end = OperationState::Failed { reason };
        deps.store.finish_operation(leave, end, now).await?;
        return Ok(());
    };
    if let Some(channel) = &log.channel {
        // The channel is stopped as one that was replaced is: Drive may not know it any more.
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
        let held = deps
            .store
            .list_files(&leave.key, None, Tombstones::Skip, &page)
            .await?;
        let of_drive = held
            .items
            .iter()
            .filter(|file| file.mirror.log() == log.log);
        let marks: Vec<SnapshotMessage> = of_drive.map(|file| mark(&leave, file)).collect();
        queue::send_snapshots(&deps.snapshots_bulk, &marks).await?;
        let marked = u64::try_from(marks.len()).unwrap_or(u64::MAX);
        let now = deps.clock.now();
        // `verified` has what had been queued when this walk began.
        let listed = leave.listed + marked;
        let ended = held.next_cursor.is_none();
        if ended && leave.pages > 0 && listed == leave.verified {
            deps.store
                .finish_operation(&leave, OperationState::Done, now)
                .await?;
            tracing::info!(connection = %leave.key, log = %log.log, files = listed, metric = "drive_left_whole", "marked");
            return Ok(());
        }
        let wait_millis = if ended { SETTLE_MILLIS } else { AGAIN_MILLIS };
        let walked = Walked {
            position: held.next_cursor,
            listed,
            verified: if ended { listed } else { leave.verified },
            rounds: leave.pages + u32::from(ended),
            due_at: now.plus_millis(wait_millis),
        };
        leave = match deps.store.record_walk(&leave, walked).await? {
            Written::Done(leave) => leave,
            // Another sweep is at it.
            Written::Stale(_) => return Ok(()),
        };
        if ended || deadline.passed(now) {
            return Ok(());
        }
    }
}

fn mark(leave: &Operation, file: &FileRecord) -> SnapshotMessage {
    SnapshotMessage {
        key: leave.key.clone(),
        cause: Cause::Left {
            drive: leave.log.clone(),
            run: format!("{}.{}", leave.id, leave.pages),
        },
        file: file.file.clone(),
        at: leave.started_at,
        snapshot: None,
    }
}
