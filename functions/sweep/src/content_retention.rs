//! Content that is due: asked for again because it could not be had, versions of deleted files
//! whose retention has ended, and stored bytes that no version references.

use domain::content::{ContentHash, ContentState};
use domain::{ConnectionKey, FileId, LogId, TenantId};
use store::{Connection, ConnectionState, GcStart, Nonce, Written};
use worker::{ContentWake, DedupKey, Priority, WorkError};

use crate::Deps;

/// The interval at which due content of an inactive or unmirrored connection is checked, in
/// milliseconds.
const STOPPED_MILLIS: i64 = 3_600_000;

/// Wakes `mirror-content` for a file whose content is due; it checks again what is to be done.
pub(crate) async fn wake_if_due(
    key: &ConnectionKey,
    file: &FileId,
    deps: &Deps,
) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let state = deps.store.load_content(key, file).await?;
    if state.due_at.is_none_or(|due| due > now) {
        return Ok(());
    }
    let connection = deps.store.load_any_connection(key).await?;
    let is_mirrored = connection.as_ref().is_some_and(|connection| {
        connection.state == ConnectionState::Active && connection.content.enabled
    });
    if is_mirrored {
        let wake = ContentWake {
            key: key.clone(),
            file: file.clone(),
        };
        let priority = match state.trouble {
            Some(_) => Priority::Bulk,
            None => Priority::High,
        };
        let wakes = [(wake, DedupKey::Due(now))];
        return Ok(deps.contents.send(priority, &wakes).await?);
    }
    let later = ContentState {
        // Of a connection that is not stored any more, nothing is due.
        due_at: connection.map(|_| now.plus_millis(STOPPED_MILLIS)),
        ..state
    };
    let nonce = Nonce(deps.entropy.next());
    match deps.store.save_content(key, file, &later, nonce).await? {
        Written::Done(_) | Written::Stale(_) => Ok(()),
    }
}

/// Schedules a content scan of a connection whose files were last scanned by older rules.
pub(crate) async fn scan_by_current_rules(
    connection: &Connection,
    log: &LogId,
    deps: &Deps,
) -> Result<(), WorkError> {
    let Deps {
        store,
        clock,
        entropy,
        ..
    } = deps;
    if worker::needs_scan_by_current_rules(connection, store).await? {
        worker::schedule_scan(connection, log, store, clock, entropy).await?;
        worker::record_scan_by_current_rules(&connection.key, store, entropy).await?;
    }
    Ok(())
}

/// Deletes an object that nothing has referenced for the retention period. From the first step on
/// it can't be referenced again; an interrupted collection is completed by the next sweep.
pub(crate) async fn collect_object(
    tenant: &TenantId,
    hash: &ContentHash,
    deps: &Deps,
) -> Result<(), WorkError> {
    let now = deps.clock.now();
    match deps.store.begin_gc(tenant, hash, now).await? {
        GcStart::Begun(object) => {
            deps.objects.delete(&object.key).await?;
            deps.store.finish_gc(tenant, &object).await?;
            tracing::info!(
                %tenant, bytes = object.stored_bytes, metric = "content_collected",
                "deleted unreferenced content"
            );
            Ok(())
        }
        GcStart::NotYet(_) | GcStart::Absent => Ok(()),
    }
}
