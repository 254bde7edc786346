//! Files that come into scope with a folder: no record of theirs moves, so only a walk finds them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use domain::{Ancestry, ConnectionKey, FOLDER, FileRecord, Side, Timestamp};
use store::stream::FileChange;
use store::{Connection, Operation, StoreError};

use crate::Deps;

/// A listing that has not got on for so long may never end, in milliseconds.
const LISTING_MILLIS: i64 = 3_600_000;

/// The newest operations of connections, the newest first, as they were after every write that a batch tells of.
pub(crate) type Recent = BTreeMap<ConnectionKey, Vec<Operation>>;

/// Has a walk come by every file of the connection, where a folder is known anew, or has another name or place in Drive,
/// and the connection's rules take in what lies in it because of that. One walk does for many folders.
pub(crate) async fn begin(
    change: &FileChange,
    connection: &Connection,
    recent: &mut Recent,
    deps: &Deps,
) -> Result<(), StoreError> {
    let key = &connection.key;
    let Some(folder) = placed_anew(change) else {
        return Ok(());
    };
    if connection.rules.is_empty() {
        return Ok(());
    }
    let operations = match recent.entry(key.clone()) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(deps.store.recent_operations(key).await?),
    };
    // Another log's listing may end when it will, or never, as where its drive is left.
    let log = folder.mirror.log();
    let mut listings = operations.iter().filter(|operation| operation.lists_all());
    let listing = listings.find(|operation| operation.log == log);
    let now = deps.clock.now();
    if operations.iter().any(Operation::is_walk_to_come)
        || listing.is_some_and(|listing| comes_with(listing, connection, now))
    {
        return Ok(());
    }
    let Some(log) = connection.scope.own_log() else {
        return Ok(());
    };
    if !brings(folder, change.before.as_ref(), connection, deps).await? {
        return Ok(());
    }
    let (whose, id) = ((key.clone(), log), deps.entropy.operation(now));
    let walk = Operation::walk(whose, id, "drivesync", now, now);
    deps.store.ensure_walk(&walk).await?;
    operations.push(walk);
    tracing::info!(connection = %key, file = %folder.file, metric = "walk_begins", "a folder came into scope");
    Ok(())
}

/// Whether the walk comes at the end of a listing of the folder's own log. One that stands still for an hour is not waited
/// for: a person has to look at it.
fn comes_with(listing: &Operation, connection: &Connection, now: Timestamp) -> bool {
    let since = listing.progressed_at.unwrap_or(listing.started_at);
    listing.ends_in_a_walk(connection) && now.millis_since(since) < LISTING_MILLIS
}

/// The folder that a change is about, where it is not what or where it was.
fn placed_anew(change: &FileChange) -> Option<&FileRecord> {
    let now = change.after.as_ref()?;
    let before = change.before.as_ref().filter(|before| !before.is_gone());
    let moved = before.is_none_or(|before| now.moved_in_drive_since(before));
    (moved && !now.is_gone() && now.mirror.mime_type == FOLDER).then_some(now)
}

/// Whether what lies in the folder may be in scope now and was not before. What is above it is taken as it is by now:
/// where that moved too, its own change tells.
async fn brings(
    now: &FileRecord,
    before: Option<&FileRecord>,
    connection: &Connection,
    deps: &Deps,
) -> Result<bool, StoreError> {
    let store = &deps.store;
    let mut was = Ancestry::below(connection.my_drive.clone());
    match before {
        Some(before) if !before.is_gone() => {
            store
                .extend_ancestry(connection, &mut was, [before])
                .await?;
        }
        Some(_) | None => was.add_unknown(now.file.clone()),
    }
    let is = store.ancestry(connection, [now]).await?;
    let (file, side) = (&now.file, Side::Drive);
    let rules = &connection.rules;
    Ok(rules.bring(&was.lineage(file, side), &is.lineage(file, side)))
}
