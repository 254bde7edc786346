//! Schedules content scans for files that enter the scope with a folder. Their own records do not
//! change, so only a scan finds them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use domain::{Ancestry, ConnectionKey, FOLDER, FileRecord, Operation, Run, Side};
use store::stream::FileChange;
use store::{Connection, PageRequest, StoreError, Tombstones};

use crate::Deps;

/// The newest operations of each connection, newest first, read after every write that the batch
/// reports.
pub(crate) type RecentOperations = BTreeMap<ConnectionKey, Vec<Operation>>;

/// Returns the newest operations of a connection, read once for a batch.
pub(crate) async fn operations_of<'a>(
    key: &ConnectionKey,
    recent_operations: &'a mut RecentOperations,
    deps: &Deps,
) -> Result<&'a mut Vec<Operation>, StoreError> {
    match recent_operations.entry(key.clone()) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(unknown) => Ok(unknown.insert(deps.store.recent_operations(key).await?)),
    }
}

/// Schedules a content scan of the connection when a folder is new, renamed or moved in Drive, if
/// that brings its contents into the scope of the connection's rules. One scan covers many folders.
pub(crate) async fn schedule_for_folder(
    change: &FileChange,
    connection: &Connection,
    recent_operations: &mut RecentOperations,
    deps: &Deps,
) -> Result<(), StoreError> {
    let key = &connection.key;
    let Some(folder) = new_or_moved_folder(change) else {
        return Ok(());
    };
    if connection.rules.is_empty() {
        return Ok(());
    }
    let operations = operations_of(key, recent_operations, deps).await?;
    // A listing of another log may end at any time, or never if its drive is left.
    let log = folder.metadata.log();
    let mut listings = operations.iter().filter(|operation| operation.lists_all());
    let listing = listings.find(|operation| operation.log == log);
    let now = deps.clock.now();
    if operations.iter().any(Operation::is_pending_scan)
        || listing.is_some_and(|listing| listing.scan_follows(&connection.facts(&listing.id), now))
    {
        return Ok(());
    }
    let Some(log) = connection.scope.own_log() else {
        return Ok(());
    };
    let seen_before = change.before.as_ref().filter(|before| !before.is_gone());
    if seen_before.is_none() && !has_files(folder, connection, deps).await?
        || !may_enter_scope(folder, seen_before, connection, deps).await?
    {
        return Ok(());
    }
    let (id, run) = (deps.entropy.operation(now), Run::content_scan());
    let scan = Operation::new(key.clone(), id, log, "drivesync", now, run);
    deps.store.schedule_scan(&scan).await?;
    operations.push(scan);
    tracing::info!(
        connection = %key, file = %folder.file, metric = "walk_begins",
        "scheduled content scan: a folder entered the scope"
    );
    Ok(())
}

/// Returns the changed folder if it is new, renamed or moved.
fn new_or_moved_folder(change: &FileChange) -> Option<&FileRecord> {
    let now = change.after.as_ref()?;
    let before = change.before.as_ref().filter(|before| !before.is_gone());
    let moved = before.is_none_or(|before| now.moved_in_drive_since(before));
    (moved && !now.is_gone() && now.metadata.mime_type == FOLDER).then_some(now)
}

/// Returns whether files in the folder are stored. A folder that is seen for the first time is
/// usually new in Drive, and what is put into it later is in scope from the start. Only files that
/// arrived before their folder were out of scope until now: they were stored in an earlier batch of
/// the stream, so that the index has them.
async fn has_files(
    folder: &FileRecord,
    connection: &Connection,
    deps: &Deps,
) -> Result<bool, StoreError> {
    let (key, one) = (&connection.key, PageRequest::first(1));
    let files = deps
        .store
        .list_files(key, Some(&folder.file), Tombstones::Skip, &one);
    let files = files.await?;
    Ok(!files.items.is_empty() || files.next_cursor.is_some())
}

/// Returns whether the folder's contents may have entered the scope. Its ancestors are taken in
/// their current state: if they moved too, their own changes trigger this check.
async fn may_enter_scope(
    now: &FileRecord,
    before: Option<&FileRecord>,
    connection: &Connection,
    deps: &Deps,
) -> Result<bool, StoreError> {
    let store = &deps.store;
    let mut ancestry_before = Ancestry::below(connection.my_drive.clone());
    match before {
        Some(before) => {
            store
                .extend_ancestry(connection, &mut ancestry_before, [before])
                .await?;
        }
        None => ancestry_before.add_unknown(now.file.clone()),
    }
    let ancestry_now = store.ancestry(connection, [now]).await?;
    let (file, side) = (&now.file, Side::Drive);
    let rules = &connection.rules;
    Ok(rules.brings_into_scope(
        &ancestry_before.lineage(file, side),
        &ancestry_now.lineage(file, side),
    ))
}
