//! Channels of a connection that Drive notifies and no item names.

use axum::Json;
use axum::http::StatusCode;
use serde::Serialize;
use store::{PageRequest, StrayChannel, Updated};
use utoipa::ToSchema;

use crate::described::query::Params;
use crate::http::{ConnectionPath, JsonResult, Keyed, PageQuery, Problem, page_that_fits};
use crate::{App, Deps, lookups};

/// The most channels that one request hurries.
const HURRIED_MAX: u32 = 100;

/// A page of channels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StrayChannelList {
    /// Oldest first.
    items: Vec<StrayChannelView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// A channel that this system opened and nothing here names any more, though Drive still notifies
/// it: its opener ended before it was stored, or the table was restored to an earlier time. Its
/// notifications wake nothing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StrayChannel)]
pub(crate) struct StrayChannelView {
    id: String,
    /// The time of the first notification.
    first_seen_at: String,
    /// When it is stopped in Drive: ten minutes after the first notification, or at the next
    /// attempt.
    stops_at: String,
    /// The attempts to stop it that failed.
    failures: u32,
    /// When Drive lets it expire at the latest.
    expires_at: String,
}

impl StrayChannelView {
    fn new(channel: &StrayChannel) -> Self {
        Self {
            id: channel.id.to_string(),
            first_seen_at: channel.stray.first_seen.to_string(),
            stops_at: channel.stray.stops_at().to_string(),
            failures: channel.stray.failures,
            expires_at: channel.stray.expires_at().to_string(),
        }
    }
}

/// Lists the channels of a connection that Drive notifies and nothing here names.
///
/// Each is stopped by itself, within minutes.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/stray-channels", tag = "connections",
    params(ConnectionPath, PageQuery),
    responses((status = 200, description = "A page.", body = StrayChannelList))
)]
pub(crate) async fn list_stray_channels(
    deps: App,
    at: ConnectionPath,
    Params(query): Params<PageQuery>,
) -> JsonResult<StrayChannelList> {
    let request = query.page();
    lookups::connection(&deps, &at.key).await?;
    Ok(Json(list(&deps, &at, request).await?))
}

/// Stops the channels of a connection that Drive notifies and nothing here names: all up to 100 of
/// them whose first notification came more than ten minutes ago, within a minute, and whatever
/// Drive answered before.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/stray-channels/stop", tag = "connections",
    params(ConnectionPath),
    responses((status = 202, description = "The channels.", body = StrayChannelList))
)]
pub(crate) async fn stop_stray_channels(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
) -> Result<(StatusCode, Json<StrayChannelList>), Problem> {
    lookups::connection(&deps, &at.key).await?;
    let now = deps.clock.now();
    let first = PageRequest::first(HURRIED_MAX);
    for channel in deps.store.list_strays(&at.key, &first).await?.items {
        let hurried = channel.stray.hurried(now);
        match deps.store.postpone_stray(&channel.id, &hurried).await? {
            Updated::Done | Updated::Absent => {}
        }
    }
    keyed.record(&deps).await?;
    let listed = list(&deps, &at, first).await?;
    Ok((StatusCode::ACCEPTED, Json(listed)))
}

async fn list(
    deps: &Deps,
    at: &ConnectionPath,
    request: PageRequest,
) -> Result<StrayChannelList, Problem> {
    let key = &at.key;
    let read = |request: PageRequest| async move {
        let page = deps.store.list_strays(key, &request).await?;
        let items = page.items.iter().map(StrayChannelView::new);
        Ok((items.collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(StrayChannelList { items, next_cursor })
}
