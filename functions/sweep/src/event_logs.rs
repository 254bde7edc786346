//! What an event log needs although nothing happens: a heartbeat before its newest item expires,
//! and the word that readers must reload where events could not be appended.

use domain::ConnectionKey;
use domain::event::{
    Author, Details, Epoch, Event, EventLogState, EventType, Subject, Upkeep, upkeep,
};
use store::{Appending, Nonce};
use worker::WorkError;

use crate::Deps;

/// Does what a connection's event log needs now.
pub(crate) async fn keep(key: &ConnectionKey, deps: &Deps) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let store = &deps.store;
    let Some(read) = store.event_log_state(key).await? else {
        return Ok(());
    };
    let connection = store.load_connection(key).await?;
    let is_kept = connection.is_some_and(|connection| connection.deletion.is_none());
    if !is_kept || store.event_days() == 0 {
        store.forget_event_log(key).await?;
        return Ok(());
    }
    let mut end = store.event_log_end(key).await?;
    let kind = match upkeep(read.state, end.as_ref(), store.event_days(), now) {
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
        end = store.append_events(key, &[event], &appending).await?;
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
