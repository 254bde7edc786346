//! Files that we hold and that a resync did not list.
//!
//! While the cursor was lost, files may have gone without the log telling us. What is not listed is not
//! believed to be gone: each such file is queued as a removal, and `apply-snapshots` asks Drive about it
//! before it writes anything. So a file that was made after its page was listed, or that another log
//! tells of, stays as it is.

use std::collections::HashSet;

use domain::FileId;
use runtime::{Cause, Deadline, SnapshotMessage, queue};
use store::{Operation, PageRequest, Tombstones, Written};

use crate::{Deps, Stopped};

/// Queues a question about every file that a resync did not list. Gives whether all was asked; where time
/// was too short, the next sweep goes on from the recorded position.
pub(crate) async fn ask_about(
    resync: &Operation,
    deadline: Deadline,
    deps: &Deps,
) -> Result<bool, Stopped> {
    let mut listed: HashSet<FileId> = HashSet::new();
    for number in 0..resync.pages {
        let page = deps
            .store
            .load_page(&resync.key, &resync.id, number)
            .await?;
        listed.extend(page.unwrap_or_default());
    }
    let mut resync = resync.clone();
    loop {
        if deadline.passed(deps.clock.now()) {
            tracing::warn!(operation = %resync.id, metric = "resync_unfinished", "goes on at the next sweep");
            return Ok(false);
        }
        let page = PageRequest {
            limit: PageRequest::LIMIT_MAX,
            cursor: resync.page_token.clone(),
        };
        let held = deps
            .store
            .list_files(&resync.key, None, Tombstones::Skip, &page)
            .await?;
        let not_listed = held
            .items
            .into_iter()
            .filter(|record| !listed.contains(&record.file));
        let questions: Vec<SnapshotMessage> = not_listed
            .map(|record| SnapshotMessage {
                key: resync.key.clone(),
                cause: Cause::Run(resync.id.to_string()),
                file: record.file,
                at: resync.started_at,
                snapshot: None,
            })
            .collect();
        tracing::info!(operation = %resync.id, files = questions.len(), metric = "not_listed", "asking Drive");
        queue::send_snapshots(&deps.snapshots_bulk, &questions).await?;
        let Some(cursor) = held.next_cursor else {
            return Ok(true);
        };
        resync = match deps.store.record_position(&resync, &cursor).await? {
            Written::Done(resync) => resync,
            // Another sweep is at it.
            Written::Stale(_) => return Ok(false),
        };
    }
}
