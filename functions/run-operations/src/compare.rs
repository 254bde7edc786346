//! Compares the stored records with the second listing and finds the files that it did not contain.
//!
//! An unlisted file is not assumed to be gone, only recorded as a candidate. The records are read
//! in chunks, so that memory does not grow with the account; each chunk is compared with the listed
//! ids page by page.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Field, FileId, FileRecord, LogId, Operation, Value};
use runtime::Deadline;
use store::{CandidateReason, DriftEntry, PageRequest, Tombstones};
use worker::WorkError;

use crate::{Deps, candidates};

/// The reason of a run whose recorded pages were kept for as long as they are, and are gone.
pub(crate) const LISTING_EXPIRED: &str = "what was listed has expired";
/// The number of records that are compared at a time.
const CHUNK_FILES: usize = 20_000;
/// The time limit for reading a chunk, in milliseconds, which leaves time to record the candidates.
const READING_MILLIS: i64 = 4_000;

/// Compares the next chunk of records of the operation's log.
pub(crate) async fn compare_chunk(
    position: Option<String>,
    operation: &Operation,
    deadline: Deadline,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let now = deps.clock.now();
    let reading = Deadline(now.plus_millis(READING_MILLIS).min(deadline.0));
    let logs = deps.store.list_logs(&operation.key).await?;
    let known_logs: BTreeSet<LogId> = logs.into_iter().map(|log| log.log).collect();
    let mut chunk: BTreeMap<FileId, String> = BTreeMap::new();
    let mut position = position;
    loop {
        let page = PageRequest {
            limit: PageRequest::LIMIT_MAX,
            cursor: position,
        };
        let records = deps
            .store
            .list_files(&operation.key, None, Tombstones::Skip, &page)
            .await?;
        let own = records.items.into_iter();
        let own = own.filter(|record| log_of(record, &known_logs) == operation.log);
        chunk.extend(own.map(|record| {
            let name = name(&record);
            (record.file, name)
        }));
        position = records.next_cursor;
        if position.is_none() || chunk.len() >= CHUNK_FILES || reading.passed(deps.clock.now()) {
            break;
        }
    }
    let compared = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
    if !remove_listed(operation, &mut chunk, deps).await? {
        return Ok(operation.failed(LISTING_EXPIRED, now));
    }
    tracing::info!(
        operation = %operation.id, held = compared, files = chunk.len(), metric = "not_listed",
        "compared records with the listing; unlisted files will be verified"
    );
    candidates::record(operation, chunk.into_iter().map(not_listed), deps).await?;
    Ok(operation.on_compared(compared, position, deps.clock.now()))
}

/// Returns the connection's log that reports a file. A file of a shared drive without a log of its
/// own was shared with the user individually, and the user's log reports it.
fn log_of(record: &FileRecord, known_logs: &BTreeSet<LogId>) -> LogId {
    let log = record.metadata.log();
    if known_logs.contains(&log) {
        log
    } else {
        LogId::user()
    }
}

/// Returns a file's name in Drive, as stored in its record.
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
        reason: CandidateReason::NotListed,
        finding: None,
    }
}

/// Removes the listed files from the chunk. Returns whether every page of the listing still exists.
async fn remove_listed(
    operation: &Operation,
    chunk: &mut BTreeMap<FileId, String>,
    deps: &Deps,
) -> Result<bool, WorkError> {
    let (first, expected) = operation.pages_compared();
    let mut pages = 0;
    let mut next = PageRequest::first(PageRequest::LIMIT_MAX);
    loop {
        let found = deps
            .store
            .list_pages(&operation.key, &operation.id, first, &next)
            .await?;
        pages += found.items.len();
        for file in found.items.iter().flatten() {
            chunk.remove(file);
        }
        match found.next_cursor {
            Some(cursor) => next.cursor = Some(cursor),
            None => return Ok(u32::try_from(pages).ok() == Some(expected)),
        }
    }
}
