//! What an event log needs although nothing happens: a heartbeat before its newest item expires,
//! and the word that readers must reload where events could not be appended.

use domain::ConnectionKey;
use domain::event::{
    Author, Details, Epoch, Event, EventLogState, EventType, Subject, Upkeep, upkeep,
};
use domain::webhook::Endpoint;
use store::{Appending, Nonce, StoreError};
use worker::WorkError;
use worker::queue::{wake_endpoint, wake_readers};

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
            wake_endpoints(key, deps).await?;
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

/// Wakes the webhook endpoints that receive the events of a connection.
async fn wake_endpoints(key: &ConnectionKey, deps: &Deps) -> Result<(), WorkError> {
    let (all, _) = deps.store.list_endpoints(&key.tenant).await?;
    let endpoints = all.into_iter().map(|stored| stored.endpoint);
    for endpoint in endpoints.filter(Endpoint::is_active) {
        let now = deps.clock.now();
        wake_endpoint(&deps.wakes.deliver, &key.tenant, &endpoint.id, now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store::EventsRead;
    use worker_testing::World;

    use super::*;
    use crate::tests::deps;

    const DAY: Duration = Duration::from_secs(24 * 3_600);
    const LIVE: &str = "live.fifo";

    fn appending(world: &World) -> Appending {
        Appending {
            table: None,
            fresh: Epoch(7),
            nonce: Nonce(1),
            now: world.clock.now(),
        }
    }

    async fn with_a_log(world: &World) -> Deps {
        let deps = deps(world).await;
        let event = Event {
            kind: EventType::SyncReset,
            subject: Subject::Connection,
            state: "first".to_owned(),
            at: world.clock.now(),
            by: Author::App,
            cause: None,
            details: Details::default(),
        };
        let (key, appending) = (World::key(), appending(world));
        let appended = deps.store.append_events(&key, &[event], &appending).await;
        appended.unwrap();
        deps
    }

    async fn kinds(deps: &Deps) -> Vec<EventType> {
        let now = deps.clock.now();
        match deps.store.read_events(&World::key(), None, 50, now).await {
            Ok(EventsRead::Page { events, .. }) => {
                events.into_iter().map(|(_, event)| event.kind).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_log_has_a_heartbeat_before_its_newest_event_expires() {
        let world = World::new().await;
        world.connect(|_| {}).await;
        let deps = with_a_log(&world).await;
        keep(&World::key(), &deps).await.unwrap();
        assert_eq!(kinds(&deps).await, [EventType::SyncReset], "it is new");
        tokio::time::advance(5 * DAY).await;
        keep(&World::key(), &deps).await.unwrap();
        let heard = [EventType::SyncReset, EventType::SyncHeartbeat];
        assert_eq!(kinds(&deps).await, heard);
        assert_eq!(world.bodies(LIVE).await.len(), 1);
        keep(&World::key(), &deps).await.unwrap();
        assert_eq!(kinds(&deps).await, heard, "once");
    }

    #[tokio::test(start_paused = true)]
    async fn readers_are_told_once_to_reload_where_events_could_not_be_appended() {
        let world = World::new().await;
        world.connect(|_| {}).await;
        let deps = with_a_log(&world).await;
        let now = deps.clock.now();
        deps.store.owe_reset(&World::key(), now).await.unwrap();
        keep(&World::key(), &deps).await.unwrap();
        keep(&World::key(), &deps).await.unwrap();
        assert_eq!(kinds(&deps).await, [EventType::SyncReset; 2]);
        let state = deps.store.event_log_state(&World::key()).await.unwrap();
        assert!(!state.unwrap().state.reset_owed);
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_of_a_connection_that_is_gone_is_forgotten() {
        let world = World::new().await;
        let deps = with_a_log(&world).await;
        keep(&World::key(), &deps).await.unwrap();
        let state = deps.store.event_log_state(&World::key()).await.unwrap();
        assert!(state.is_none());
        assert_eq!(kinds(&deps).await.len(), 1, "nothing is appended");
    }
}
