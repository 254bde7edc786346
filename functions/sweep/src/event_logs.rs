//! What an event log needs although nothing happens: a heartbeat before its newest item expires,
//! and the word that readers must reload where events could not be appended.

use domain::ConnectionKey;
use domain::event::{
    Author, Details, Epoch, Event, EventLogState, EventType, Subject, Upkeep, upkeep,
};
use store::{Appending, Nonce, StoreError};
use worker::WorkError;
use worker::queue::wake_readers;

use crate::Deps;

/// The time until the next look at the log of a deleted connection.
const DELETED_MILLIS: i64 = 24 * 3_600_000;

/// Does what a connection's event log needs now.
pub(crate) async fn keep(key: &ConnectionKey, deps: &Deps) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let store = &deps.store;
    let Some(read) = store.event_log_state(key).await? else {
        return Ok(());
    };
    let connection = store.load_any_connection(key).await?;
    let Some(connection) = connection.filter(|_| store.event_days() > 0) else {
        store.forget_event_log(key).await?;
        return Ok(());
    };
    if !connection.exists() {
        // It may be restored. An erasure removes the state with everything else.
        let later = now.plus_millis(DELETED_MILLIS);
        store
            .save_event_log_state(key, Some(&read), read.state, later)
            .await?;
        return Ok(());
    }
    let (mut end, unreadable) = match store.event_log_end(key).await {
        Ok(end) => (end, false),
        Err(StoreError::Corrupt { .. }) => (None, true),
        // Newer code keeps its log, unless an append has failed: then that code is not at work.
        Err(StoreError::NewerItem { .. }) if read.state.reset_owed => (None, true),
        Err(
            error @ (StoreError::Busy(_)
            | StoreError::Refused(_)
            | StoreError::TooLarge { .. }
            | StoreError::NewerItem { .. }
            | StoreError::InvalidCursor),
        ) => return Err(error.into()),
    };
    let kind = match upkeep(read.state, end.as_ref(), store.event_days(), now) {
        _ if unreadable => Some(EventType::SyncReset),
        Upkeep::Reset => Some(EventType::SyncReset),
        Upkeep::Heartbeat => Some(EventType::SyncHeartbeat),
        Upkeep::Wait(_) => None,
    };
    if let Some(kind) = kind {
        let event = Event {
            kind,
            subject: Subject::Connection,
            state: now.as_millis().to_string(),
            at: now,
            by: Author::App,
            cause: store.cause(),
            details: Details::default(),
        };
        let appending = Appending {
            table: None,
            fresh: Epoch(deps.entropy.next()),
            nonce: Nonce(deps.entropy.next()),
            now,
        };
        let events = [event];
        end = match unreadable {
            true => {
                store
                    .append_after_unreadable(key, &events, &appending)
                    .await?
            }
            false => store.append_events(key, &events, &appending).await?,
        };
        if let Some(end) = &end {
            wake_readers(&deps.wakes.live, key, end).await;
        }
        if kind == EventType::SyncReset {
            tracing::warn!(
                connection = %key, unreadable, metric = "event_log_reset",
                "events could not be appended: told readers to reload"
            );
        }
        tracing::info!(connection = %key, event = %kind, "appended to the event log");
    }
    let calm = EventLogState::default();
    if let Upkeep::Wait(at) = upkeep(calm, end.as_ref(), store.event_days(), now) {
        // If it is owed again meanwhile, it is due again.
        store
            .save_event_log_state(key, Some(&read), calm, at)
            .await?;
    }
    Ok(())
}
