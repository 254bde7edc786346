//! Content whose time has come: versions of files that have gone, and bytes that no version names any more.

use domain::content::{ContentHash, ContentState};
use domain::{ConnectionKey, FileId, TenantId};
use runtime::{ContentWake, Lane, WakeCause};
use store::{Collection, ConnectionState, Nonce, Written};

use crate::{Deps, Stopped};

/// How often content is looked at again whose connection is stopped, or mirrors nothing, in milliseconds.
const STOPPED_MILLIS: i64 = 3_600_000;

/// A file's stored versions may go: the mirror looks whether they still may, and lets them go.
pub(crate) async fn look_at(
    key: &ConnectionKey,
    file: &FileId,
    deps: &Deps,
) -> Result<(), Stopped> {
    let now = deps.clock.now();
    let state = deps.store.load_content(key, file).await?;
    if state.due_at.is_none_or(|due| due > now) {
        return Ok(());
    }
    let connection = deps.store.load_connection(key).await?;
    let mirrored = connection.is_some_and(|connection| {
        connection.state == ConnectionState::Active && connection.content.enabled
    });
    if mirrored {
        let wake = ContentWake {
            key: key.clone(),
            file: file.clone(),
        };
        let wakes = [(wake, WakeCause::Due(now))];
        return Ok(deps.contents.send(Lane::Prompt, &wakes).await?);
    }
    let later = ContentState {
        due_at: Some(now.plus_millis(STOPPED_MILLIS)),
        ..state
    };
    let nonce = Nonce(deps.entropy.next());
    match deps.store.save_content(key, file, &later, nonce).await? {
        Written::Done(_) | Written::Stale(_) => Ok(()),
    }
}

/// Nothing has named these bytes for as long as they were to be kept. From the first step on nobody can name them again; a
/// collection that stops half-way is finished by the next sweep.
pub(crate) async fn collect(
    tenant: &TenantId,
    hash: &ContentHash,
    deps: &Deps,
) -> Result<(), Stopped> {
    let now = deps.clock.now();
    match deps.store.begin_collect(tenant, hash, now).await? {
        Collection::Begun(object) => {
            deps.objects.delete(&object.key).await?;
            deps.store.finish_collect(tenant, &object).await?;
            tracing::info!(%tenant, bytes = object.stored_bytes, metric = "content_collected", "collected");
            Ok(())
        }
        Collection::NotYet(_) | Collection::Absent => Ok(()),
    }
}
