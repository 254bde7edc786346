//! The HTTP API: connections, files, conflicts, intents, operations.
//!
//! Invariants:
//! - The tenant comes from the claims that the authorizer verified, and from nowhere else.
//! - A write is one conditional write of one record. It is done whole or not at all, and `If-Match`
//!   is judged against the very record that is replaced.
//! - Every answer that is not a success is `application/problem+json`.
//! - A wake that could not be sent is no error of the caller's: the sweep finds what is due.

mod auth;
mod both;
mod conflict_body;
mod conflict_id;
mod conflicts;
mod connection_body;
mod connection_view;
mod connections;
mod content;
mod content_settings;
mod cursor;
mod dead_letters;
mod drift;
mod etag;
mod extract;
mod file_patch;
mod file_view;
mod files;
mod findings;
mod health;
mod intents;
mod limits;
mod make;
mod meaning;
mod mirroring;
mod openapi;
mod operations;
mod permission_view;
mod policies;
mod problem;
mod record;
mod redrive;
mod rollback;
mod rule_status;
mod rules;
mod stats;
mod status;
mod sync;
mod upload;
mod uploads;
mod value;
mod versions;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, patch, post};
use gate::{Gate, Services};
use objects::Objects;
use runtime::{Clock, ContentQueues, Entropy, Settings, SettingsError, Snapshots, Wakes};
use store::Store;
use tower::ServiceExt;

use crate::problem::{Kind, Problem};

/// The claim that names the tenant, unless `TENANT_CLAIM` says otherwise: an attribute of our own user
/// pool that its clients can't write.
const TENANT_CLAIM_DEFAULT: &str = "custom:tenant";

/// How long Drive may take. API Gateway waits for 30 s, and creating a connection makes a few calls.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(5),
};

/// What the API works with.
#[derive(Clone)]
pub struct Deps {
    /// Everything that is stored.
    pub store: Store,
    /// The bytes of all contents.
    pub objects: Objects,
    /// Where wakes go after a write.
    pub wakes: Wakes,
    /// Where snapshots go that were dead letters.
    pub snapshots: Snapshots,
    /// Where wakes for content go that were dead letters.
    pub contents: ContentQueues,
    /// Drive, to try out a connection's credentials.
    pub gate: Gate,
    /// Now.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Which claim of the token names the tenant.
    pub tenant_claim: String,
    /// What the names of our secrets begin with; a tenant's follow with its id.
    pub secrets_prefix: String,
}

impl Deps {
    /// Makes everything out of the environment.
    ///
    /// # Errors
    /// Says which setting is missing or can't be read.
    pub async fn load(
        settings: &Settings,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let services = Services::connect(settings, DRIVE_TIMEOUTS).await?;
        let queue = |name| services.queue(settings, name);
        Ok(Self {
            store: services.store.clone(),
            objects: bucket(settings).await?,
            gate: services.gate.clone(),
            wakes: Wakes {
                logs: queue("LOG_WAKES_QUEUE_URL")?,
                pushes: queue("PUSH_WAKES_QUEUE_URL")?,
            },
            snapshots: Snapshots {
                live: queue("SNAPSHOTS_QUEUE_URL")?,
                bulk: queue("SNAPSHOTS_BULK_QUEUE_URL")?,
            },
            contents: ContentQueues::of_settings(&services.sqs, settings)?,
            clock: services.clock.clone(),
            entropy: services.entropy.clone(),
            tenant_claim: settings
                .optional("TENANT_CLAIM")
                .unwrap_or_else(|| TENANT_CLAIM_DEFAULT.to_owned()),
            secrets_prefix: settings.secrets_prefix(),
        })
    }
}

/// The bucket of contents. A call of it may take as long as the API itself: a commit of an upload reads all of it.
async fn bucket(settings: &Settings) -> Result<Objects, SettingsError> {
    let name = settings.content_bucket()?;
    let client = objects::client(&runtime::aws::config().await);
    Ok(Objects::new(client, name))
}

/// The API as a service. A request carries API Gateway's context (`lambda_http`'s `RequestContext`) in
/// its extensions; without it nobody is authenticated.
pub fn router(deps: Deps) -> Router {
    Router::new()
        .route("/health", get(health::get))
        .route("/openapi.json", get(openapi::get))
        .nest("/v1", v1())
        .fallback(async || Problem::not_found("the path"))
        .method_not_allowed_fallback(async |method: Method| {
            Problem::new(
                Kind::MethodNotAllowed,
                format!("{method} is not possible here; Allow says what is"),
            )
        })
        .layer(middleware::from_fn(around))
        .with_state(Arc::new(deps))
}

fn v1() -> Router<Arc<Deps>> {
    Router::new()
        .route(
            "/connections",
            get(connections::list).post(connections::create),
        )
        .route(
            "/connections/{connection}",
            get(connections::get)
                .patch(connections::update)
                .delete(connections::delete),
        )
        .route("/connections/{connection}/pause", post(connections::pause))
        .route(
            "/connections/{connection}/resume",
            post(connections::resume),
        )
        .route("/connections/{connection}/status", get(status::get))
        .route("/connections/{connection}/sync", post(sync::start))
        .route(
            "/connections/{connection}/operations",
            get(operations::list),
        )
        .route(
            "/connections/{connection}/operations/{operation}",
            get(operations::get),
        )
        .route(
            "/connections/{connection}/operations/{operation}/drift",
            get(drift::list),
        )
        .route(
            "/connections/{connection}/operations/{operation}/findings",
            get(findings::list),
        )
        .route(
            "/connections/{connection}/operations/{operation}/confirm",
            post(drift::confirm),
        )
        .route(
            "/connections/{connection}/operations/{operation}/cancel",
            post(drift::cancel),
        )
        .route(
            "/connections/{connection}/files",
            get(files::list).post(make::create),
        )
        .route(
            "/connections/{connection}/files/{file}",
            get(files::get).patch(files::update).delete(make::delete),
        )
        .route(
            "/connections/{connection}/files/{file}/history",
            get(files::history),
        )
        .route(
            "/connections/{connection}/files/{file}/rollback",
            post(rollback::roll_back),
        )
        .merge(contents())
        .route("/connections/{connection}/conflicts", get(conflicts::list))
        .route(
            "/connections/{connection}/conflicts/resolutions",
            post(conflicts::resolve_many),
        )
        .route(
            "/connections/{connection}/conflicts/{conflict}",
            get(conflicts::get),
        )
        .route(
            "/connections/{connection}/conflicts/{conflict}/resolution",
            post(conflicts::resolve),
        )
        .route("/connections/{connection}/intents", get(intents::list))
        .route(
            "/connections/{connection}/intents/{file}/retry",
            post(intents::retry),
        )
        .route(
            "/connections/{connection}/intents/{file}/cancel",
            post(intents::cancel),
        )
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/redrive", post(redrive::redrive))
        .route("/dead-letters/{letter}", get(dead_letters::get))
        .route("/dead-letters/{letter}/drop", post(redrive::drop))
        .route("/stats", get(stats::get))
}

/// What a file holds.
fn contents() -> Router<Arc<Deps>> {
    const FILE: &str = "/connections/{connection}/files/{file}";
    Router::new()
        .route(
            &format!("{FILE}/content"),
            get(upload::get).post(upload::put),
        )
        .route(&format!("{FILE}/versions"), get(versions::list))
        .route(&format!("{FILE}/versions/compare"), get(versions::compare))
        .route(
            &format!("{FILE}/versions/{{version}}"),
            patch(versions::update),
        )
        .route(&format!("{FILE}/restore"), post(versions::restore))
        .route(&format!("{FILE}/uploads"), post(uploads::begin))
        .route(&format!("{FILE}/uploads/{{upload}}"), get(uploads::get))
        .route(
            &format!("{FILE}/uploads/{{upload}}/commit"),
            post(uploads::commit),
        )
}

/// Answers one request.
pub async fn handle<B>(request: axum::http::Request<B>, deps: &Deps) -> Response
where
    B: axum::body::HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let request = request.map(Body::new);
    router(deps.clone())
        .oneshot(request)
        .await
        .unwrap_or_else(|never| match never {})
}

/// One log line for every request, by its route: a path would name files. And no copy of an answer in
/// between: what one person may see is no one else's.
async fn around(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let status = response.status().as_u16();
    tracing::info!(%method, route, status, metric = "api_requests", "answered");
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}
