//! Compares the files of a folder, or of the whole connection, with their history, and lists what
//! is set back and what is left.
//!
//! Which files were in the folder is known only from the history of each, so all files of the
//! connection are read, page by page. The folders above them are those of the time, too.

use std::collections::{BTreeMap, BTreeSet};

use domain::derive::LEVELS_MAX;
use domain::operation::{Restore, RestoreCounts};
use domain::restore::{RestorePlan, StateAt};
use domain::{Ancestry, Field, FileId, FileRecord, Operation, Side, Timestamp, Value};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use store::{Connection, PageRequest, RestoreEntry, Tombstones};
use worker::WorkError;

use crate::Deps;
use crate::restore::file_at_time::{FileAtTime, state_at};

/// The number of files between two records of the progress.
const PAGE: u32 = 200;
/// The number of files that are worked on at a time.
const AT_ONCE: usize = 16;

/// Compares the page of files at a position.
pub(crate) async fn compare_page(
    position: Option<String>,
    operation: &Operation,
    restore: &Restore,
    connection: &Connection,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let page = PageRequest {
        limit: PAGE,
        cursor: position,
    };
    let key = &connection.key;
    let page = deps
        .store
        .list_files(key, None, Tombstones::Include, &page)
        .await?;
    let states = states(&page.items, restore.at, connection, deps).await?;
    let places = Places::of(&page.items, &states, restore, connection, deps).await?;
    let folder = restore.folder.as_ref();
    let inside = states.iter().filter(|(record, state)| {
        folder.is_none_or(|folder| places.were_or_are_in(folder, record, state))
    });
    let work = inside.map(|(record, state)| {
        let file = FileAtTime {
            record,
            state,
            at: restore.at,
            out_of_scope: places.is_out_of_scope(record, connection),
        };
        list(operation, file, connection, deps).boxed()
    });
    let listed = some_at_a_time(work.collect()).await?;
    let mut counts = RestoreCounts::default();
    for (plan, is_there) in &listed {
        counts.files += u64::from(*is_there || !plan.is_empty());
        counts.to_restore += u64::from(plan.changes());
        for reason in plan.reasons() {
            *counts.left.entry(reason).or_default() += 1;
        }
    }
    let (facts, now) = (connection.facts(&operation.id), deps.clock.now());
    let after = operation.on_compared_with_history(&counts, page.next_cursor, &facts, now);
    if let Some(compared) = after
        .restore()
        .filter(|_| after.state() != operation.state())
    {
        tracing::info!(
            connection = %key, operation = %operation.id, files = compared.counts.files,
            to_restore = compared.counts.to_restore, metric = "restore_listed",
            "compared files with their history"
        );
    }
    Ok(after)
}

/// Lists a file, unless it is as it was. Returns what is set back and left of it, and whether the
/// file is there.
async fn list(
    operation: &Operation,
    file: FileAtTime<'_>,
    connection: &Connection,
    deps: &Deps,
) -> Result<(RestorePlan, bool), WorkError> {
    let (plan, record) = (file.plan(connection, deps).await?, file.record);
    if plan.is_empty() {
        return Ok((plan, !record.is_gone()));
    }
    let name = match record.app(&Field::Name) {
        Value::Text(name) => name,
        Value::Null | Value::Flag(_) => String::new(),
    };
    let entry = RestoreEntry {
        file: record.file.clone(),
        name,
        seen: record.visible,
        plan: plan.clone(),
        found_at: deps.clock.now(),
        done_at: None,
        left_later: BTreeSet::new(),
    };
    deps.store.record_restore_entry(operation, &entry).await?;
    Ok((plan, !record.is_gone()))
}

/// Returns each record with its state at a time.
async fn states<'r>(
    records: &'r [FileRecord],
    at: Timestamp,
    connection: &Connection,
    deps: &Deps,
) -> Result<Vec<(&'r FileRecord, StateAt)>, WorkError> {
    let key = &connection.key;
    let work = records.iter().map(|record| {
        let read = async move {
            let state = state_at(record, at, key, deps).await?;
            Ok::<_, WorkError>((record, state))
        };
        read.boxed()
    });
    some_at_a_time(work.collect()).await
}

/// Does work of several files, a number of them at a time.
pub(crate) async fn some_at_a_time<T>(
    work: Vec<BoxFuture<'_, Result<T, WorkError>>>,
) -> Result<Vec<T>, WorkError> {
    stream::iter(work).buffered(AT_ONCE).try_collect().await
}

/// The folders above files: now, and at the time.
struct Places {
    now: Ancestry,
    then: Ancestry,
}

impl Places {
    /// Reads the folders above records, as far as they matter: those of the time for a folder
    /// alone, and those of now also for the rules.
    async fn of(
        records: &[FileRecord],
        states: &[(&FileRecord, StateAt)],
        restore: &Restore,
        connection: &Connection,
        deps: &Deps,
    ) -> Result<Self, WorkError> {
        let needs_now = restore.folder.is_some() || !connection.rules.is_empty();
        let present = records.iter();
        let present: Vec<&FileRecord> = present
            .filter(|record| needs_now && !record.is_gone())
            .collect();
        let mut places = Self {
            now: deps.store.ancestry(connection, present).await?,
            then: Ancestry::below(connection.my_drive.clone()),
        };
        if restore.folder.is_none() {
            return Ok(places);
        }
        for (record, state) in states {
            if let StateAt::Known(_) = state {
                places.then.add(&as_it_was(record, state));
            }
        }
        for _ in 0..=LEVELS_MAX {
            let wanted = places.then.missing();
            if wanted.is_empty() {
                break;
            }
            let key = &connection.key;
            let mut found: BTreeMap<FileId, FileRecord> =
                deps.store.load_files_consistent(key, &wanted).await?;
            let folders: Vec<FileRecord> =
                wanted.iter().filter_map(|id| found.remove(id)).collect();
            for (folder, state) in self::states(&folders, restore.at, connection, deps).await? {
                places.then.add(&as_it_was(folder, &state));
            }
            for unknown in wanted {
                places.then.add_unknown(unknown);
            }
        }
        Ok(places)
    }

    /// Returns whether a file is in a folder, is it, or was in it at the time.
    fn were_or_are_in(&self, folder: &FileId, record: &FileRecord, state: &StateAt) -> bool {
        let file = &record.file;
        let is_in = !record.is_gone() && self.now.lineage(file, Side::App).contains(folder);
        let was_known = matches!(state, StateAt::Known(_));
        is_in || was_known && self.then.lineage(file, Side::Drive).contains(folder)
    }

    fn is_out_of_scope(&self, record: &FileRecord, connection: &Connection) -> bool {
        let rules = &connection.rules;
        let lineage = || self.now.lineage(&record.file, Side::Drive);
        !rules.is_empty() && record.is_present() && !rules.includes(&lineage())
    }
}

/// Returns a record as Drive had the file at the time; as it is now if that is not known.
fn as_it_was(record: &FileRecord, state: &StateAt) -> FileRecord {
    match state {
        StateAt::Known(then) => FileRecord::from_snapshot(then),
        StateAt::MadeSince | StateAt::NotKnown => record.clone(),
    }
}
