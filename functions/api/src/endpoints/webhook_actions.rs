//! What a person does with a webhook endpoint: tests it, rotates its secret, looks at what was
//! delivered, and has events delivered again.

use axum::Json;
use axum::response::Response;
use domain::event::EventCursor;
use domain::webhook::{Endpoint, OwedTest};
use domain::{ConnectionId, ConnectionKey};
use serde::{Deserialize, Serialize};
use store::{EventsRead, PageRequest, StoredEndpoint};
use utoipa::ToSchema;

use crate::described::query::Params;
use crate::described::texts::IdText;
use crate::endpoints::manage_webhooks::{respond, respond_with_secret};
use crate::endpoints::webhook_path::{WHAT, WebhookPath, load};
use crate::endpoints::webhook_view::{DeliveryView, WebhookView};
use crate::http::{
    JsonBody, JsonResult, Keyed, Kind, PageQuery, Problem, accepted, page_that_fits,
};
use crate::{App, Deps, wakes};

/// The events that are delivered again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayBody {
    /// One of the endpoint's connections.
    #[schema(value_type = IdText)]
    connection: String,
    /// Everything after this place in the connection's log is delivered again: the `sequence` of an
    /// event, the `head` of a delivery, or the `next_cursor` of `GET .../events`.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[0-9a-f]{16}\\.[0-9]+\\.[0-9]+$"
    )]
    after: String,
}

/// A page of deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookDeliveryList {
    /// Newest first, of the last 7 days.
    items: Vec<DeliveryView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// Changes an endpoint in the name of a request.
async fn change(
    deps: &Deps,
    keyed: &Keyed,
    stored: StoredEndpoint,
    change: impl Fn(&Endpoint) -> Endpoint,
) -> Result<Endpoint, Problem> {
    let store = keyed.store(deps);
    let changed = store.change_endpoint(stored, |endpoint| Some(change(endpoint)));
    let changed = changed.await?.ok_or_else(|| Problem::not_found(WHAT))?;
    Ok(changed.endpoint)
}

/// Posts a test to a webhook endpoint, also to one that is disabled: an event of the type
/// `webhook:test`, once. What comes of it is a delivery, and has no other effect.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook}/test", tag = "webhooks", params(WebhookPath),
    responses((status = 202, description = "The test is about to be posted.", body = WebhookView,
        headers(("Location" = String), ("ETag" = String))))
)]
pub(crate) async fn test_webhook(
    deps: App,
    at: WebhookPath,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let (stored, _) = load(&deps, &at).await?;
    let location = format!("/v1/webhooks/{}", at.id);
    keyed.accepts(&location);
    let test = OwedTest {
        id: deps.entropy.next(),
        at: deps.clock.now(),
    };
    let endpoint = change(&deps, &keyed, stored, |endpoint| {
        endpoint.to_be_tested(test)
    })
    .await?;
    wakes::wake_endpoint(&deps, &at.caller.tenant, &at.id).await;
    Ok(accepted(respond(&endpoint), &location))
}

/// Gives a webhook endpoint another secret, which is shown once. For a day, the one before signs as
/// well, so that the receiver can be configured meanwhile.
///
/// A repeat with the same `Idempotency-Key` shows the endpoint without the secret.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook}/rotate", tag = "webhooks", params(WebhookPath),
    responses((status = 200, description = "The endpoint with its new secret.",
        body = WebhookView, headers(("ETag" = String))))
)]
pub(crate) async fn rotate_webhook_secret(
    deps: App,
    at: WebhookPath,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let (stored, _) = load(&deps, &at).await?;
    let now = deps.clock.now();
    // What can't be shown is not made.
    respond_with_secret(&deps, &at.caller.tenant, &stored.endpoint).await?;
    let endpoint = change(&deps, &keyed, stored, |endpoint| endpoint.rotated(now)).await?;
    respond_with_secret(&deps, &at.caller.tenant, &endpoint).await
}

/// Lists what was delivered to a webhook endpoint in the last 7 days, and what came of it.
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook}/deliveries", tag = "webhooks",
    params(WebhookPath, PageQuery),
    responses((status = 200, description = "A page.", body = WebhookDeliveryList))
)]
pub(crate) async fn list_webhook_deliveries(
    deps: App,
    at: WebhookPath,
    Params(query): Params<PageQuery>,
) -> JsonResult<WebhookDeliveryList> {
    let (_, connections) = load(&deps, &at).await?;
    let (deps, at, connections) = (&deps, &at, &connections);
    let read = |request: PageRequest| async move {
        let now = deps.clock.now();
        let (tenant, id) = (&at.caller.tenant, &at.id);
        let page = deps
            .store
            .list_deliveries(tenant, id, &request, now)
            .await?;
        // It may have heard of a connection that it follows no more.
        let shown = page.items.iter().filter(|delivery| {
            let connection = delivery.connection.as_ref();
            connection.is_none_or(|id| {
                let connection = connections.0.get(id);
                connection.is_some_and(|connection| at.caller.reaches(connection))
            })
        });
        Ok((shown.map(DeliveryView::new).collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(query.page(), read).await?;
    Ok(Json(WebhookDeliveryList { items, next_cursor }))
}

/// Delivers everything after a place in a connection's log again, in order, before what follows.
///
/// 410 `cursor-expired` says that events after the place are no longer known.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook}/replay", tag = "webhooks", params(WebhookPath),
    request_body(content = ReplayBody,
        example = json!({"connection": "c_01", "after": "00000000000000ab.4.1"})),
    responses((status = 202, description = "The events are about to be delivered.",
        body = WebhookView, headers(("Location" = String), ("ETag" = String))))
)]
pub(crate) async fn replay_webhook(
    deps: App,
    at: WebhookPath,
    keyed: Keyed,
    body: JsonBody,
) -> Result<Response, Problem> {
    let body: ReplayBody = body.read()?;
    let (stored, connections) = load(&deps, &at).await?;
    let not_told = || Problem::not_found("the connection").at("/connection");
    let id = ConnectionId::parse(&body.connection).map_err(|_| not_told())?;
    let told = connections.0.get(&id);
    told.filter(|connection| at.caller.reaches(connection))
        .filter(|_| stored.endpoint.scope.includes(&id))
        .ok_or_else(not_told)?;
    let after = EventCursor::parse(&body.after).map_err(|why| {
        Problem::new(Kind::ValueNotAllowed, format!("after is {why}")).at("/after")
    })?;
    let now = deps.clock.now();
    let key = ConnectionKey {
        tenant: at.caller.tenant.clone(),
        connection: id.clone(),
    };
    if let EventsRead::Expired { head } = deps.store.read_events(&key, Some(&after), 1, now).await?
    {
        let detail = "events after this place are no longer known, or the place is not \
                      one of this connection's log; current.head is its end";
        let current = serde_json::json!({ "head": head.map(|head| head.to_string()) });
        return Err(Problem::new(Kind::CursorExpired, detail)
            .at("/after")
            .current(&current));
    }
    let location = format!("/v1/webhooks/{}", at.id);
    keyed.accepts(&location);
    keyed.tell("connection", id.as_str());
    keyed.tell("after", body.after.as_str());
    // First the place, and then the look at it: a crash between the two delays it.
    let place = (&at.caller.tenant, &at.id);
    deps.store.set_place(place, &id, Some(&after)).await?;
    let endpoint = change(&deps, &keyed, stored, |endpoint| {
        endpoint.replayed(&id, now)
    })
    .await?;
    wakes::wake_endpoint(&deps, &at.caller.tenant, &at.id).await;
    Ok(accepted(respond(&endpoint), &location))
}
