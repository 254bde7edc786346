//! The events of one change of an item.

use domain::event::{
    ConnectionSync, Event, conflict_events, connection_events, content_events, file_events,
    operation_events, parked_event,
};
use domain::{FileRecord, Side, Timestamp};
use store::stream::{Change, FileChange, ItemKind};
use store::{Connection, ConnectionState, DeadLetter, DeadLetterStatus, StoreError};

use crate::Deps;

/// Returns the events of a change, in the order in which they are told.
pub(crate) fn events_of(change: &Change, at: Timestamp) -> Vec<Event> {
    let one = match change {
        Change::File(change) => {
            let FileChange { before, after, .. } = change.as_ref();
            let after = after.as_ref();
            return after.map_or_else(Vec::new, |after| file_events(before.as_ref(), after, at));
        }
        Change::Conflict { before, after } => conflict_events(before.as_deref(), after, at),
        Change::Content {
            file,
            before,
            after,
        } => content_events(file, before.as_deref(), after, at),
        Change::Operation { before, after } => operation_events(before.as_deref(), after, at),
        Change::DeadLetter { before, after } => parked(before.as_deref(), after, at),
        Change::Connection { before, after } => before.as_deref().and_then(|before| {
            let (before, now) = (sync_of(before)?, sync_of(after)?);
            connection_events(&before, &now, after.revision, at)
        }),
        Change::Removed => None,
    };
    one.into_iter().collect()
}

/// Returns what a connection's state means to readers; `None` while it is deleted.
fn sync_of(connection: &Connection) -> Option<ConnectionSync> {
    match &connection.state {
        ConnectionState::Active => Some(ConnectionSync::Active),
        ConnectionState::Paused => Some(ConnectionSync::Paused),
        ConnectionState::Suspended { reason, .. } => Some(ConnectionSync::Suspended {
            reason: reason.clone(),
        }),
        ConnectionState::Deleting => None,
    }
}

/// Returns the event of a dead letter that was set aside, or set aside again.
fn parked(before: Option<&DeadLetter>, after: &DeadLetter, at: Timestamp) -> Option<Event> {
    let told = |letter: &DeadLetter| (letter.status, letter.parked_at);
    let is_new = before.map(told) != Some(told(after));
    (is_new && after.status == DeadLetterStatus::Parked).then(|| {
        let file = after.file.as_ref();
        let (id, revision) = (&after.id, after.revision);
        parked_event(id, revision, file, &after.reason, after.cause, at)
    })
}

/// Returns whether the connection's rules hide a change from readers: one of a file that is out of
/// scope. A file that leaves the scope is reported, since readers show it.
pub(crate) async fn is_out_of_scope(
    change: &Change,
    kind: &ItemKind,
    connection: &Connection,
    deps: &Deps,
) -> Result<bool, StoreError> {
    let Some(file) = kind.file().filter(|_| !connection.rules.is_empty()) else {
        return Ok(false);
    };
    let loaded;
    let (before, after) = match change {
        Change::File(change) => (change.before.as_ref(), change.after.as_ref()),
        Change::Conflict { .. }
        | Change::Content { .. }
        | Change::Operation { .. }
        | Change::DeadLetter { .. }
        | Change::Connection { .. }
        | Change::Removed => {
            loaded = deps.store.load_file(&connection.key, file).await?;
            (None, loaded.as_ref())
        }
    };
    let Some(after) = after else {
        return Ok(false);
    };
    if is_in_scope(after, connection, deps).await? {
        return Ok(false);
    }
    match before.filter(|before| after.moved_in_drive_since(before)) {
        Some(before) => Ok(!is_in_scope(before, connection, deps).await?),
        None => Ok(true),
    }
}

async fn is_in_scope(
    record: &FileRecord,
    connection: &Connection,
    deps: &Deps,
) -> Result<bool, StoreError> {
    let ancestry = deps.store.ancestry(connection, [record]).await?;
    let rules = &connection.rules;
    Ok(rules.includes(&ancestry.lineage(&record.file, Side::Drive)))
}
