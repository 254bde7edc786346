//! Webhook endpoints: listed, made, read, changed, deleted.

use std::collections::BTreeSet;

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domain::webhook::{Course, Endpoint, EndpointScope, EndpointState, SigningSecret};
use domain::{ConnectionId, EndpointId, TenantId};
use futures_util::future::try_join_all;
use serde::Serialize;
use store::{Attempt, Created, StoredEndpoint};
use utoipa::ToSchema;

use crate::endpoints::allowed_hosts::AllowedHosts;
use crate::endpoints::webhook_body::{NewWebhook, WebhookPatch, new_webhook, patched};
use crate::endpoints::webhook_path::{Connections, WHAT, WebhookPath, load};
use crate::endpoints::webhook_view::{WebhookView, version};
use crate::erasures::erase_tenants::refuse_while_erasing;
use crate::fairness::admission::{self, Wanted};
use crate::http::acts;
use crate::http::{
    Caller, IfMatch, JsonBody, JsonResult, Keyed, Kind, Problem, created, tag, tagged,
};
use crate::swap::{attempt, swap};
use crate::{App, Deps, wakes};

/// The logs that are looked at concurrently.
const AT_ONCE: usize = 10;

/// The webhook endpoints of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookList {
    /// By id.
    items: Vec<WebhookView>,
}

/// Responds with an endpoint and its entity tag.
pub(crate) fn respond(endpoint: &Endpoint) -> Response {
    tagged(version(endpoint), WebhookView::new(endpoint))
}

/// Responds with an endpoint and the secret that signs its deliveries from now on.
pub(crate) async fn respond_with_secret(
    deps: &Deps,
    tenant: &TenantId,
    endpoint: &Endpoint,
) -> Result<Response, Problem> {
    let secret = secret(deps, tenant, endpoint).await?;
    let view = WebhookView::new(endpoint).with_secret(secret);
    Ok(tagged(version(endpoint), view))
}

/// Returns the current secret of an endpoint, as its receiver configures it.
async fn secret(deps: &Deps, tenant: &TenantId, endpoint: &Endpoint) -> Result<String, Problem> {
    let key = deps.webhook_key.key().await.map_err(|error| {
        let error = runtime::telemetry::chain(&error);
        tracing::error!(
            error,
            metric = "webhook_key_unread",
            "no secret can be derived"
        );
        Problem::busy("the secret can't be derived now", 5)
    })?;
    let generation = endpoint.secret.generation;
    let secret = webhooks::signing_secret(&key, tenant, endpoint.id.as_str(), generation);
    Ok(secret.reveal())
}

/// Lists the webhook endpoints that are told only of connections that the caller operates.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks",
    responses((status = 200, description = "All of them.", body = WebhookList))
)]
pub(crate) async fn list_webhooks(deps: App, caller: Caller) -> JsonResult<WebhookList> {
    let (all, unreadable) = deps.store.list_endpoints(&caller.tenant).await?;
    if unreadable > 0 {
        let metric = "webhook_unreadable";
        tracing::error!(tenant = %caller.tenant, unreadable, metric, "webhooks can't be read");
    }
    let connections = Connections::load(&deps, &caller).await?;
    let shown = all.iter().map(|stored| &stored.endpoint);
    let shown = shown.filter(|endpoint| connections.shows(&caller, endpoint));
    let items = shown.map(WebhookView::new).collect();
    Ok(Json(WebhookList { items }))
}

/// Makes a webhook endpoint: what its connections' event logs gain from now on is posted to its
/// `url`, signed as Standard Webhooks 1.0.0 says.
///
/// `secret` is shown once. A repeat with the same `Idempotency-Key` shows the endpoint without it:
/// rotate the secret to be shown another one.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "webhooks",
    request_body(content = NewWebhook,
        example = json!({"name": "Billing", "url": "https://hooks.example.com/drivesync",
            "types": ["file:created", "file:deleted"]})),
    responses(
        (status = 201, description = "The endpoint with its secret.", body = WebhookView,
            headers(("Location" = String), ("ETag" = String))),
        (status = 200, description = "A repeat: the endpoint now.", body = WebhookView,
            headers(("Idempotent-Replayed" = String), ("ETag" = String))),
        (status = 409, description = "The deployment keeps no events, or the tenant is being \
            erased."),
    )
)]
pub(crate) async fn create_webhook(
    deps: App,
    caller: Caller,
    keyed: Keyed,
    hosts: AllowedHosts,
    body: JsonBody,
) -> Result<Response, Problem> {
    let settings = new_webhook(body, &hosts.0)?;
    if deps.store.event_days() == 0 {
        let detail = "the deployment keeps no events (EventDays is 0)";
        return Err(Problem::new(Kind::StateNotAllowed, detail));
    }
    refuse_while_erasing(&deps, &caller.tenant).await?;
    let connections = Connections::load(&deps, &caller).await?;
    admit_scope(&caller, &settings.scope, &connections)?;
    let now = deps.clock.now();
    let endpoint = Endpoint {
        id: EndpointId::fresh(deps.entropy.next()),
        name: settings.name,
        url: settings.url,
        scope: settings.scope,
        filter: settings.filter,
        maker: caller.maker(),
        state: EndpointState::Active,
        secret: SigningSecret::FIRST,
        course: Course::new(now),
        created_at: now,
    };
    // What can't be shown is not made.
    let response = respond_with_secret(&deps, &caller.tenant, &endpoint).await?;
    let location = format!("/v1/webhooks/{}", endpoint.id);
    keyed.creates(&location);
    keyed.tell("webhook", endpoint.id.as_str());
    keyed.tell(
        "changes",
        acts::changes(None, &WebhookView::settings(&endpoint)),
    );
    let told = connections.of(&endpoint.scope);
    let told = told.map(|connection| connection.key.connection.clone());
    begin_places(&deps, &caller.tenant, &endpoint.id, told.collect()).await?;
    let (deps, keyed, endpoint) = (&deps, &keyed, &endpoint);
    let tenant = &caller.tenant;
    admission::begin(deps, Wanted::Webhook(tenant), |admission| async move {
        let store = keyed.store(deps).admitting(&admission);
        match store.create_endpoint(tenant, endpoint).await? {
            Created::Created => Ok(()),
            Created::Exists(_) => Err(Problem::busy("the generated id was in use; try again", 1)),
        }
    })
    .await?;
    Ok(created(response, &location))
}

/// Checks that a caller operates each connection that a scope names.
fn admit_scope(
    caller: &Caller,
    scope: &EndpointScope,
    connections: &Connections,
) -> Result<(), Problem> {
    const CONNECTION: &str = "the connection";
    let EndpointScope::Connections(named) = scope else {
        return Ok(());
    };
    for (number, id) in named.iter().enumerate() {
        let admitted = match connections.0.get(id) {
            Some(connection) => caller.admitted(connection, CONNECTION).map(drop),
            None => Err(Problem::not_found(CONNECTION)),
        };
        admitted.map_err(|problem| problem.at(format!("/connections/{number}")))?;
    }
    Ok(())
}

/// Lets an endpoint begin at the end of the logs of these connections.
async fn begin_places(
    deps: &Deps,
    tenant: &TenantId,
    id: &EndpointId,
    connections: BTreeSet<ConnectionId>,
) -> Result<(), Problem> {
    let connections: Vec<ConnectionId> = connections.into_iter().collect();
    for chunk in connections.chunks(AT_ONCE) {
        let begin = chunk.iter().map(async |connection| {
            let key = domain::ConnectionKey {
                tenant: tenant.clone(),
                connection: connection.clone(),
            };
            let end = deps.store.event_log_end(&key).await?;
            let head = end.map(|end| end.cursor());
            let place = deps
                .store
                .set_place((tenant, id), connection, head.as_ref());
            place.await
        });
        try_join_all(begin).await?;
    }
    Ok(())
}

/// Returns a webhook endpoint, without its secret.
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook}", tag = "webhooks", params(WebhookPath),
    responses((status = 200, description = "The endpoint.", body = WebhookView,
        headers(("ETag" = String))))
)]
pub(crate) async fn get_webhook(deps: App, at: WebhookPath) -> Result<Response, Problem> {
    let (stored, _) = load(&deps, &at).await?;
    Ok(respond(&stored.endpoint))
}

/// Changes settings of a webhook endpoint, disables it, or makes it active again.
///
/// Who changes its `url`, its `connections` or the events that it gets answers for it from then on:
/// it gets what that caller may read. So does who makes one active whose `made_by` was erased. A
/// connection that is added is heard from now on. One that is active again is delivered what came
/// meanwhile; if that is no longer known, `sync:reset` comes first.
#[utoipa::path(
    patch, path = "/v1/webhooks/{webhook}", tag = "webhooks",
    params(
        WebhookPath,
        ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`."),
    ),
    request_body(content = WebhookPatch, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "The endpoint.", body = WebhookView,
            headers(("ETag" = String))),
        (status = 412, description = "The endpoint has changed; `current` is the endpoint now."),
        (status = 428, description = "`If-Match` is missing."),
    )
)]
pub(crate) async fn update_webhook(
    deps: App,
    at: WebhookPath,
    keyed: Keyed,
    headers: HeaderMap,
    AllowedHosts(hosts): AllowedHosts,
    body: JsonBody,
) -> Result<Response, Problem> {
    let if_match = IfMatch::required(&headers)?;
    let members = body.members::<WebhookPatch>()?;
    let (stored, connections) = load(&deps, &at).await?;
    let (deps, caller, keyed, id) = (&deps, &at.caller, &keyed, &at.id);
    let (if_match, members, connections, hosts) = (&if_match, &members, &connections, &hosts);
    let tenant = &caller.tenant;
    let saved: StoredEndpoint = swap(WHAT, stored, |stored| async move {
        let before = &stored.endpoint;
        if !if_match.allows(version(before)) {
            let detail = "the webhook has changed; `current` is the webhook now";
            return Err(Problem::new(Kind::Stale, detail)
                .current(&WebhookView::new(before))
                .header(header::ETAG, tag(version(before))));
        }
        let settings = patched(before, members, hosts)?;
        if settings.scope != before.scope {
            admit_scope(caller, &settings.scope, connections)?;
        }
        let maker = caller.maker();
        let next = before.changed(&settings.changes(), &maker, deps.clock.now());
        if next == *before {
            return Ok(Attempt::Done(stored));
        }
        let told = |scope: &EndpointScope| -> BTreeSet<ConnectionId> {
            let told = connections.of(scope);
            told.map(|connection| connection.key.connection.clone())
                .collect()
        };
        let (old, new) = (told(&before.scope), told(&next.scope));
        begin_places(deps, tenant, id, &new - &old).await?;
        let settings = WebhookView::settings;
        let changes = acts::changes(Some(&settings(before)), &settings(&next));
        keyed.tell("changes", changes);
        let written = keyed.store(deps).save_endpoint(&stored, &next).await?;
        if let store::Written::Done(_) = &written {
            deps.store
                .delete_places((tenant, id), &(&old - &new))
                .await?;
        }
        attempt(WHAT, written)
    })
    .await?;
    wakes::wake_endpoint(deps, tenant, id).await;
    Ok(respond(&saved.endpoint))
}

/// Deletes a webhook endpoint. What is being delivered may still arrive.
#[utoipa::path(
    delete, path = "/v1/webhooks/{webhook}", tag = "webhooks", params(WebhookPath),
    responses((status = 204, description = "The endpoint has been deleted."))
)]
pub(crate) async fn delete_webhook(
    deps: App,
    at: WebhookPath,
    keyed: Keyed,
) -> Result<Response, Problem> {
    load(&deps, &at).await?;
    keyed.deletes();
    let store = keyed.store(&deps);
    store.delete_endpoint(&at.caller.tenant, &at.id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
