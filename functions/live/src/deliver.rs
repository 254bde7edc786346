//! Sending what a log has gained to its readers.
//!
//! Each reader is sent what comes after its own place, so a wake that is doubled or handled twice
//! sends little or nothing again. A reader that holds up is closed, and no other waits for it.

use std::collections::BTreeMap;

use domain::ConnectionKey;
use domain::event::{Event, EventCursor, EventFilter};
use domain::live::{EVENTS_MAX, EXAMINED_MAX, Examined, Plan, Progress, Standing, plan};
use events::EventView;
use futures_util::{StreamExt as _, stream};
use runtime::Deadline;
use store::{Connection, EventsRead, Subscription};
use worker::WorkError;

use crate::requests::Refusal;
use crate::sockets::{Sent, cut, send};
use crate::{Deps, frames};

/// The most readers of a connection that are sent to concurrently.
const READERS_AT_ONCE: usize = 100;
/// The events without one for a reader after which its place is stored: until then they are read
/// again.
const PASSED_MAX: usize = 50;

/// What was read of a log after one place.
struct Reading {
    /// Each with its cursor, its form, and the bytes of it.
    events: Vec<(EventCursor, Event, EventView, usize)>,
    /// The log has more.
    more: bool,
    /// The place is not in the log any more.
    expired: bool,
    /// The end of the log when it was read.
    head: Option<EventCursor>,
}

/// Sends to all readers of a connection.
///
/// # Errors
/// Some were not sent to. What they missed is sent by the next attempt.
pub(crate) async fn to_all(
    key: &ConnectionKey,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let (all, unreadable) = deps.store.subscriptions(key).await?;
    if unreadable > 0 {
        tracing::warn!(
            connection = %key, unreadable, metric = "subscription_unreadable",
            "subscriptions can't be read; they get nothing until their sockets end"
        );
    }
    if all.is_empty() {
        return Ok(());
    }
    let connection = deps.store.load_connection(key).await?;
    to_these(key, all, connection.as_ref(), deadline, deps).await
}

/// Sends to one reader.
///
/// # Errors
/// As [`to_all`].
pub(crate) async fn to_one(
    subscription: Subscription,
    connection: &Connection,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    let key = subscription.key.clone();
    to_these(&key, vec![subscription], Some(connection), deadline, deps).await
}

async fn to_these(
    key: &ConnectionKey,
    readers: Vec<Subscription>,
    connection: Option<&Connection>,
    deadline: Deadline,
    deps: &Deps,
) -> Result<(), WorkError> {
    // Readers that stand at the same place share what is read.
    let mut places: BTreeMap<Option<EventCursor>, bool> = BTreeMap::new();
    for reader in &readers {
        let has_filter = reader.filter != EventFilter::default();
        *places.entry(reader.progress.examined).or_default() |= has_filter;
    }
    let mut readings = BTreeMap::new();
    for (place, has_filter) in places {
        readings.insert(place, read(key, place, has_filter, deps).await?);
    }
    let readings = &readings;
    let mut sending = stream::iter(readers)
        .map(|reader| async move {
            if deadline.passed(deps.clock.now()) {
                return Err(WorkError::OutOfTime);
            }
            match readings.get(&reader.progress.examined) {
                Some(reading) => Box::pin(to_reader(&reader, connection, reading, deps)).await,
                None => Ok(()),
            }
        })
        .buffer_unordered(READERS_AT_ONCE);
    let mut first = Ok(());
    while let Some(sent) = sending.next().await {
        first = first.and(sent);
    }
    first
}

async fn read(
    key: &ConnectionKey,
    place: Option<EventCursor>,
    has_filter: bool,
    deps: &Deps,
) -> Result<Reading, WorkError> {
    let limit = if has_filter { EXAMINED_MAX } else { EVENTS_MAX };
    let limit = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let now = deps.clock.now();
    let read = deps.store.read_events(key, place.as_ref(), limit, now);
    Ok(match read.await? {
        EventsRead::Expired { head } => Reading {
            events: Vec::new(),
            more: false,
            expired: true,
            head,
        },
        EventsRead::Page { events, next, head } => {
            let shown = events.into_iter().map(|(cursor, event)| {
                let view = EventView::of(key, &cursor, &event);
                let bytes = serde_json::to_string(&view).map_or(usize::MAX / 2, |text| text.len());
                (cursor, event, view, bytes)
            });
            Reading {
                events: shown.collect(),
                // What was appended after the head was read may be here already.
                more: next < head,
                expired: false,
                head: head.max(next),
            }
        }
    })
}

async fn to_reader(
    reader: &Subscription,
    connection: Option<&Connection>,
    reading: &Reading,
    deps: &Deps,
) -> Result<(), WorkError> {
    let (socket, id) = (&reader.socket, &reader.key.connection);
    let now = deps.clock.now();
    let standing = connection.map_or(Standing::Outside, |connection| {
        reader.holder.standing(connection.access.as_ref(), now)
    });
    match standing {
        Standing::Reads => {}
        Standing::Outside => {
            deps.store.delete_subscription(&reader.key, socket).await?;
            let changed = deps.store.change_subscribed(socket, now, |connections| {
                connections.remove(id);
            });
            changed.await?;
            let refusal = Refusal::unknown_connection(id.as_str());
            return send(socket, &frames::error(&refusal), deps).await.map(drop);
        }
        Standing::Expired => {
            send(socket, &frames::error(&Refusal::token_expired()), deps).await?;
            return cut(socket, deps).await;
        }
    }
    let told = reader.progress.told;
    let examined: Vec<Examined> = reading
        .events
        .iter()
        .map(|(cursor, event, _, bytes)| Examined {
            cursor: *cursor,
            bytes: *bytes,
            selected: reader.filter.selects(event),
        })
        .collect();
    let plan = match reading.expired {
        true => Plan::Behind,
        false => plan(told, &examined, reading.more),
    };
    let after = match plan {
        Plan::Nothing if examined.len() < PASSED_MAX => return Ok(()),
        Plan::Nothing => Progress {
            told,
            examined: reading.head,
        },
        Plan::Behind => {
            if send(socket, &frames::behind(id, reading.head), deps).await? == Sent::Closed {
                return Ok(());
            }
            Progress {
                told: reading.head,
                examined: reading.head,
            }
        }
        Plan::Frames(planned) => {
            let mut head = told;
            for frame in planned {
                let part = reading.events.get(frame.range.clone()).unwrap_or_default();
                let selected = part
                    .iter()
                    .filter(|(_, event, ..)| reader.filter.selects(event));
                let views: Vec<&EventView> = selected.map(|(_, _, view, _)| view).collect();
                let text = frames::events(id, (frame.after, frame.head), &views);
                if send(socket, &text, deps).await? == Sent::Closed {
                    return Ok(());
                }
                head = Some(frame.head);
            }
            Progress {
                told: head,
                examined: head,
            }
        }
    };
    // Refused if the same was sent at the same time: then the reader sees it twice, and reads.
    deps.store.advance_subscription(reader, &after).await?;
    Ok(())
}
