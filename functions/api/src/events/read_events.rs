//! The event log of a connection, read by number: at once, or when something happens.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::FileId;
use domain::event::{EventCursor, EventFilter, EventType};
use domain::rate_limit::Wait;
use events::EventView;
use serde::{Deserialize, Serialize};
use store::EventsRead;
use utoipa::{IntoParams, ToSchema};

use crate::described::query::Params;
use crate::http::{ConnectionPath, Kind, Problem};
use crate::{App, Deps, lookups};

/// The events of a page if the caller asks for no other number.
const LIMIT: u32 = 100;
/// The pause between two looks of a request that waits.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The pages that one request reads in search of events that the caller asked for.
const PAGES_MAX: u32 = 20;
/// The wait until there may be room for another request that waits, in seconds.
const RETRY_SECONDS: u64 = 5;
/// The cursor of a caller that wants only what happens from now on.
const LATEST: &str = "latest";

/// Where to begin, what to return, and how long to wait for it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// The `next_cursor` of the last answer, or the `sequence` of the last event that was applied.
    /// `latest` returns no events and the cursor of the newest one. Without it, the list begins
    /// with the oldest event that is kept.
    after: Option<String>,
    /// Only these types, separated by commas: `file:modified,conflict:detected`. `sync:reset` is
    /// always returned.
    types: Option<String>,
    /// Only events of this file.
    file: Option<String>,
    /// Only events of files that are in this folder, or were before the change.
    folder: Option<String>,
    /// Only changes by this author: `drive`, `app`, `policy` or `user:<subject>`.
    actor: Option<String>,
    /// 1 to 500; the default is 100. There may be up to 24 more, since what was stored together is
    /// returned together.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// If there is no event, wait for one for up to this many seconds, 0 to 20; the default is 0.
    #[param(minimum = 0, maximum = 20)]
    wait: Option<u32>,
}

/// Events of a connection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventList {
    /// The events, oldest first. The same change may come twice, with the same `id`.
    items: Vec<EventView>,
    /// The `after` of the next request: never the end of the list. Null while the connection has
    /// had no event.
    next_cursor: Option<String>,
    /// The cursor of the newest event. There is more to read while it is not `next_cursor`.
    head: Option<String>,
}

/// The events that were read.
struct Found {
    items: Vec<EventView>,
    /// The cursor after them.
    next: Option<EventCursor>,
    /// The end of the log.
    head: Option<EventCursor>,
}

impl Found {
    fn into_response(self) -> Response {
        let text = |cursor: EventCursor| cursor.to_string();
        let list = EventList {
            items: self.items,
            next_cursor: self.next.map(text),
            head: self.head.map(text),
        };
        Json(list).into_response()
    }
}

/// Lists the events of a connection, oldest first, and waits for one if asked to. 410
/// `cursor-expired` says that events after the cursor are no longer known: take `current.head`,
/// reload what you show, and go on from there.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/events", tag = "events",
    params(ConnectionPath, EventsQuery),
    responses((status = 200, description = "The next events; with `Retry-After` if too many \
        requests wait already, so that this one did not.", body = EventList,
        headers(("Retry-After" = u64))))
)]
pub(crate) async fn list_events(
    deps: App,
    at: ConnectionPath,
    Params(query): Params<EventsQuery>,
) -> Result<Response, Problem> {
    let filter = filter(&query)?;
    let after = query.after.as_deref().filter(|text| *text != LATEST);
    let after = after.map(EventCursor::parse).transpose();
    let after = after.map_err(|_| {
        let detail = "after must be the next_cursor of an answer, the sequence of an event, or \
                      latest";
        Problem::new(Kind::MalformedRequest, detail).parameter("after")
    })?;
    lookups::connection(&deps, &at.key).await?;
    if deps.store.event_days() == 0 {
        let detail = "the deployment keeps no events (EventDays is 0)";
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    if query.after.as_deref() == Some(LATEST) {
        let now = deps.clock.now();
        let end = deps.store.event_log_end(&at.key).await?;
        let end = end.filter(|end| end.expires_at > now);
        let head = end.map(|end| end.cursor());
        let latest = Found {
            items: Vec::new(),
            next: head,
            head,
        };
        return Ok(latest.into_response());
    }
    let limit = query.limit.unwrap_or(LIMIT);
    let found = read(&deps, &at, after, limit, &filter).await?;
    let seconds = query.wait.unwrap_or(0);
    if seconds == 0 || !found.items.is_empty() {
        return Ok(found.into_response());
    }
    let now = deps.clock.now();
    let until = now.plus_millis(i64::from(seconds) * 1_000);
    let wait = Wait {
        tenant: at.key.tenant.clone(),
        id: deps.entropy.next(),
        until,
    };
    if !deps.store.begin_wait(&wait, deps.waits_max, now).await? {
        let mut response = found.into_response();
        let retry = HeaderValue::from(RETRY_SECONDS);
        response.headers_mut().insert(header::RETRY_AFTER, retry);
        return Ok(response);
    }
    let mut found = Ok(found);
    while deps.clock.now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        let next = found.as_ref().ok().and_then(|found: &Found| found.next);
        found = read(&deps, &at, next.or(after), limit, &filter).await;
        if found.as_ref().map_or(true, |found| !found.items.is_empty()) {
            break;
        }
    }
    if let Err(error) = deps.store.end_wait(wait.id).await {
        let error = runtime::telemetry::chain(&error);
        tracing::warn!(
            error,
            "could not end a wait; it counts until its time is over"
        );
    }
    Ok(found?.into_response())
}

/// Reads the next events that the filter selects.
async fn read(
    deps: &Deps,
    at: &ConnectionPath,
    mut after: Option<EventCursor>,
    limit: u32,
    filter: &EventFilter,
) -> Result<Found, Problem> {
    for _ in 1..PAGES_MAX {
        let found = read_page(deps, at, after, limit, filter).await?;
        if !found.items.is_empty() || found.next == found.head {
            return Ok(found);
        }
        after = found.next.or(after);
    }
    read_page(deps, at, after, limit, filter).await
}

async fn read_page(
    deps: &Deps,
    at: &ConnectionPath,
    after: Option<EventCursor>,
    limit: u32,
    filter: &EventFilter,
) -> Result<Found, Problem> {
    let now = deps.clock.now();
    match deps
        .store
        .read_events(&at.key, after.as_ref(), limit, now)
        .await?
    {
        EventsRead::Page { events, next, head } => {
            let selected = events.iter().filter(|(_, event)| filter.selects(event));
            let view = |(cursor, event): &(_, _)| EventView::of(&at.key, cursor, event);
            Ok(Found {
                items: selected.map(view).collect(),
                next,
                head,
            })
        }
        EventsRead::Expired { head } => {
            let detail = "events after this cursor are no longer known; take current.head, reload \
                          what you show, and go on from there";
            let current = serde_json::json!({ "head": head.map(|head| head.to_string()) });
            Err(Problem::new(Kind::CursorExpired, detail).current(&current))
        }
    }
}

fn filter(query: &EventsQuery) -> Result<EventFilter, Problem> {
    let refused =
        |detail: String, name: &str| Problem::new(Kind::MalformedRequest, detail).parameter(name);
    let mut types = BTreeSet::new();
    let given = query.types.as_deref().unwrap_or_default().split(',');
    for label in given.map(str::trim).filter(|label| !label.is_empty()) {
        let kind = EventType::from_label(label);
        types.insert(kind.ok_or_else(|| refused(format!("there is no type {label}"), "types"))?);
    }
    let id = |text: &Option<String>, name: &str| {
        let parsed = text.as_deref().map(FileId::parse).transpose();
        parsed.map_err(|why| refused(format!("{name} is {why}"), name))
    };
    Ok(EventFilter {
        types,
        files: id(&query.file, "file")?.into_iter().collect(),
        folder: id(&query.folder, "folder")?,
        actor: query.actor.clone(),
    })
}
