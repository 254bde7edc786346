//! Walks through a connection's records and wakes the content of each: after its content is turned on, or it was not
//! active for a while, nothing else tells what was there before.

use domain::{LogId, content_moved};
use runtime::{ContentWake, Lane, WakeCause};
use store::{Connection, ConnectionState, Operation, OperationState, PageRequest, Tombstones};

use crate::operations::{INACTIVE_MILLIS, moved, postpone};
use crate::{Deps, Stopped};

/// When a walk begins, in milliseconds: once the write that it is for has followed. What waits for that write, too, may
/// count on the walk until then.
const BEGINS_MILLIS: i64 = 5_000;

/// Has a walk come by every file of a connection whose content is mirrored, soon: one that is to come anyway will do.
pub(crate) async fn ensure(
    connection: &Connection,
    log: &LogId,
    deps: &Deps,
) -> Result<(), Stopped> {
    if !connection.content.enabled {
        return Ok(());
    }
    let now = deps.clock.now();
    let (whose, id) = (
        (connection.key.clone(), log.clone()),
        deps.entropy.operation(now),
    );
    let walk = Operation::walk(whose, id, "drivesync", now, now.plus_millis(BEGINS_MILLIS));
    if deps.store.ensure_walk(&walk).await? {
        tracing::info!(connection = %walk.key, operation = %walk.id, metric = "walk_begins", "every file's content is to be looked at");
    }
    Ok(())
}

/// Wakes the content of the next page of records. `None` where it has to wait, has ended, or another sweep is at it.
///
/// The wakes are sent before the walk is said to be past them: one that is cut off sends them again, and SQS takes those of
/// one operation once.
pub(crate) async fn go_on(
    walk: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    let now = deps.clock.now();
    if connection.state != ConnectionState::Active {
        return postpone(walk, now.plus_millis(INACTIVE_MILLIS), deps).await;
    }
    if !connection.content.enabled {
        let reason = "the connection's content is not mirrored".to_owned();
        let end = OperationState::Failed { reason };
        deps.store.finish_operation(walk, end, now).await?;
        return Ok(None);
    }
    if walk.progressed_at.is_none() {
        // Said before anything is woken: whoever needs one that comes by every file begins another from now on.
        let begun = Operation {
            progressed_at: Some(now),
            due_at: Some(now),
            ..walk.clone()
        };
        return moved(walk, &begun, deps).await;
    }
    let page = PageRequest {
        limit: PageRequest::LIMIT_MAX,
        cursor: walk.position.clone(),
    };
    let held = deps
        .store
        .list_files(&walk.key, None, Tombstones::Include, &page)
        .await?;
    let concerned = held.items.iter().filter(|record| {
        // What is gone may still have content that is to be let go.
        content_moved(None, record) || record.is_gone() && record.content_version > 0
    });
    let wakes: Vec<(ContentWake, WakeCause)> = concerned
        .map(|record| {
            let (key, file) = (walk.key.clone(), record.file.clone());
            let cause = WakeCause::Run(walk.id.clone());
            (ContentWake { key, file }, cause)
        })
        .collect();
    deps.contents.send(Lane::Bulk, &wakes).await?;
    let listed = walk.listed + u64::try_from(wakes.len()).unwrap_or(u64::MAX);
    let pages = walk.pages + 1;
    let walked = Operation {
        position: held.next_cursor,
        pages,
        pages_verified: pages,
        listed,
        verified: listed,
        progressed_at: Some(now),
        due_at: Some(now),
        ..walk.clone()
    };
    if walked.position.is_some() {
        return moved(walk, &walked, deps).await;
    }
    let ended = Operation {
        state: OperationState::Done,
        finished_at: Some(now),
        due_at: None,
        ..walked
    };
    if moved(walk, &ended, deps).await?.is_some() {
        tracing::info!(connection = %walk.key, operation = %walk.id, files = listed, metric = "mirror_walked", "every file's content is woken");
    }
    Ok(None)
}
