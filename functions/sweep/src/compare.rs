//! Our records against what was listed: which of our files did the listing not show?
//!
//! What is not listed is not believed to be gone, only suspected. Our records are walked in chunks, so that
//! what is in memory does not grow with the account; for each chunk the listed ids go by page by page.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Field, FileId, FileRecord, LogId, Value};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use runtime::Deadline;
use store::{
    DriftCounts, DriftEntry, Operation, OperationState, PageRequest, Suspicion, Tombstones,
};

use crate::operations::moved;
use crate::{Deps, Stopped};

/// Our files that are compared at a time.
const CHUNK_FILES: usize = 20_000;
/// What reading a chunk may take, in milliseconds, so that time is left to write down what is suspected.
const READING_MILLIS: i64 = 4_000;
/// Suspicions that are written at a time.
const WRITES_AT_ONCE: usize = 16;

/// Compares the next chunk of our files of the operation's log. `None` where another sweep is at it.
pub(crate) async fn go_on(
    operation: &Operation,
    slice: Deadline,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    let now = deps.clock.now();
    let reading = Deadline(now.plus_millis(READING_MILLIS).min(slice.0));
    let logs = deps.store.list_logs(&operation.key).await?;
    let kept: BTreeSet<LogId> = logs.into_iter().map(|log| log.log).collect();
    let mut chunk: BTreeMap<FileId, String> = BTreeMap::new();
    let mut position = operation.position.clone();
    loop {
        let page = PageRequest {
            limit: PageRequest::LIMIT_MAX,
            cursor: position,
        };
        let held = deps
            .store
            .list_files(&operation.key, None, Tombstones::Skip, &page)
            .await?;
        let ours = held.items.into_iter();
        let ours = ours.filter(|record| told_by(record, &kept) == operation.log);
        chunk.extend(ours.map(|record| {
            let name = name(&record);
            (record.file, name)
        }));
        position = held.next_cursor;
        if position.is_none() || chunk.len() >= CHUNK_FILES || reading.passed(deps.clock.now()) {
            break;
        }
    }
    let held = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
    if !take_out_listed(operation, &mut chunk, deps).await? {
        let reason = "what was listed has expired".to_owned();
        let end = OperationState::Failed { reason };
        deps.store.finish_operation(operation, end, now).await?;
        return Ok(None);
    }
    tracing::info!(operation = %operation.id, held, files = chunk.len(), metric = "not_listed", "to be asked about");
    suspect(operation, chunk.into_iter().map(not_listed), deps).await?;
    let now = deps.clock.now();
    let ended = position.is_none();
    let after = Operation {
        state: if ended {
            OperationState::Verifying
        } else {
            OperationState::Comparing
        },
        position,
        drift: DriftCounts {
            held: operation.drift.held + held,
            ..operation.drift
        },
        compared_at: ended.then_some(now),
        due_at: Some(now),
        ..operation.clone()
    };
    moved(operation, &after, deps).await
}

/// Which of the connection's logs tells of a file. A file of a shared drive that is no log of ours was
/// shared with the user by itself, and the user's own log tells of it.
fn told_by(record: &FileRecord, kept: &BTreeSet<LogId>) -> LogId {
    let log = record.mirror.log();
    if kept.contains(&log) {
        log
    } else {
        LogId::user()
    }
}

/// A file's name as our record has it from Drive.
pub(crate) fn name(record: &FileRecord) -> String {
    match record.sides(&Field::Name).drive() {
        Value::Text(name) => name.clone(),
        Value::Null | Value::Flag(_) => String::new(),
    }
}

fn not_listed((file, name): (FileId, String)) -> DriftEntry {
    DriftEntry {
        file,
        name,
        suspicion: Suspicion::NotListed,
        finding: None,
    }
}

/// Leaves those files that were not listed. Says whether every page of the listing was still there.
async fn take_out_listed(
    operation: &Operation,
    chunk: &mut BTreeMap<FileId, String>,
    deps: &Deps,
) -> Result<bool, Stopped> {
    let mut pages = 0;
    let mut next = PageRequest::first(PageRequest::LIMIT_MAX);
    loop {
        let found = deps
            .store
            .list_pages(&operation.key, &operation.id, &next)
            .await?;
        pages += found.items.len();
        for file in found.items.iter().flatten() {
            chunk.remove(file);
        }
        match found.next_cursor {
            Some(cursor) => next.cursor = Some(cursor),
            None => return Ok(u32::try_from(pages).ok() == Some(operation.pages)),
        }
    }
}

/// Writes suspicions down; those that are there already stay as they are.
pub(crate) async fn suspect(
    operation: &Operation,
    entries: impl Iterator<Item = DriftEntry>,
    deps: &Deps,
) -> Result<(), Stopped> {
    stream::iter(entries)
        .map(async |entry| deps.store.suspect(operation, &entry).await)
        .buffer_unordered(WRITES_AT_ONCE)
        .try_for_each(async |()| Ok(()))
        .await?;
    Ok(())
}
