//! The HTTP API: connections, files, content, conflicts, intents, operations, dead letters.
//!
//! Handlers are named after their OpenAPI operations. None calls another one: what they share is in
//! `lookups`, `edits`, `swap`, `wakes` and the modules of each folder that contain no handlers.
//!
//! Invariants:
//! - The tenant and the role come only from the claims that the authorizer verified. A route
//!   without a role can't be added: `routes` is the one table of both.
//! - A write is one conditional write of one record: complete or not made at all, together with the
//!   answer to the request if it has an `Idempotency-Key`, and with its act of the audit trail.
//!   `If-Match` is checked against the very record that is replaced.
//! - Every error response is `application/problem+json`.
//! - A wake that could not be sent is not reported to the caller: the sweep finds what is due.

mod edits;
mod lookups;
mod routes;
mod swap;
#[cfg(test)]
mod tests;
mod wakes;

mod described {
    pub(crate) mod check;
    pub(crate) mod passes;
    pub(crate) mod query;
    pub(crate) mod strict_json;
    #[cfg(test)]
    mod tests;
    pub(crate) mod texts;
}

mod http {
    pub(crate) mod acts;
    mod auth;
    pub(crate) mod cursor;
    mod etag;
    pub(crate) mod health;
    mod idempotency;
    pub(crate) mod openapi;
    mod path_params;
    mod problem;
    mod request;
    mod response_size;
    mod responses;
    mod restored_tags;
    pub(crate) mod role_word;
    pub(crate) mod view_enum;

    pub use auth::ClaimNames;
    pub(crate) use auth::{Caller, Needs, authorize};
    pub(crate) use cursor::{FilteredCursor, TenantCursor};
    pub(crate) use etag::{IfMatch, tag, tagged};
    pub(crate) use idempotency::{Keyed, ShowsGone, answer_repeats, digest};
    pub(crate) use path_params::{
        ConnectionPath, FilePath, OperationPath, PathParams, UploadPath, VersionPath,
        connection_path, describe_path, path_extractor, path_parameter,
    };
    pub(crate) use problem::{
        JsonResult, Kind, Problem, ProblemBody, UnstoredView, name_cause, pointer_part,
    };
    pub(crate) use request::{JsonBody, PageQuery, page, reason};
    pub(crate) use response_size::{ListPage, Room, fits, page_that_fits};
    pub(crate) use responses::{
        ConditionallyEditedFile, ContentEditHeaders, EditHeaders, EditedFile, ShownConnection,
        accepted, created,
    };
    pub(crate) use restored_tags::name_the_restore;
    pub(crate) use view_enum::view_enum;
}

mod audit {
    pub(crate) mod list_acts;
}

mod channels {
    pub(crate) mod stray_channels;
}

mod connections {
    pub(crate) mod access_body;
    pub(crate) mod connection_body;
    pub(crate) mod connection_logs;
    pub(crate) mod connection_stats;
    pub(crate) mod connection_status;
    pub(crate) mod connection_view;
    pub(crate) mod content_settings_body;
    pub(crate) mod delete_connections;
    pub(crate) mod drive_access;
    pub(crate) mod erasure_view;
    pub(crate) mod limits_body;
    pub(crate) mod manage_connections;
    pub(crate) mod policies_body;
    pub(crate) mod rule_status;
    pub(crate) mod rules_body;
}

mod events {
    pub(crate) mod read_events;
}

mod exports {
    pub(crate) mod export_view;
    pub(crate) mod manage_exports;
}

mod fairness {
    pub(crate) mod admission;
    pub(crate) mod read_limits;
    pub(crate) mod request_rate;
}

mod files {
    pub(crate) mod create_file;
    pub(crate) mod derived;
    pub(crate) mod edit_file;
    pub(crate) mod edit_problems;
    pub(crate) mod field_value;
    pub(crate) mod file_patch;
    pub(crate) mod file_view;
    pub(crate) mod intents;
    pub(crate) mod new_id;
    pub(crate) mod permission_view;
    pub(crate) mod read_files;
    pub(crate) mod roll_back_file;
    pub(crate) mod scope;
    pub(crate) mod sharing;
}

mod content {
    pub(crate) mod content_condition;
    pub(crate) mod content_retries;
    pub(crate) mod content_versions;
    pub(crate) mod content_writes;
    pub(crate) mod direct_content;
    pub(crate) mod distribution;
    pub(crate) mod multipart_upload;
    pub(crate) mod stored_versions;
    pub(crate) mod text_merge;
}

mod conflicts {
    pub(crate) mod conflict_body;
    pub(crate) mod conflict_decision;
    pub(crate) mod conflict_id;
    pub(crate) mod keep_both;
    pub(crate) mod read_conflicts;
    pub(crate) mod resolve_conflicts;
}

mod live {
    pub(crate) mod live_tickets;
}

mod operations {
    pub(crate) mod confirmation;
    pub(crate) mod content_scan;
    pub(crate) mod drift;
    pub(crate) mod findings;
    pub(crate) mod new_operation;
    pub(crate) mod operation_view;
    pub(crate) mod read_operations;
    pub(crate) mod restore_view;
    pub(crate) mod start_restore;
    pub(crate) mod start_sync;
}

mod why {
    pub(crate) mod read_why;
    pub(crate) mod why_view;
}

mod erasures {
    pub(crate) mod erase_people;
    pub(crate) mod erase_tenants;
    pub(crate) mod person_erasure_view;
}

mod dead_letters {
    pub(crate) mod dead_letter_id;
    pub(crate) mod dead_letter_view;
    pub(crate) mod read_dead_letters;
    pub(crate) mod redrive;
}

mod endpoints {
    pub(crate) mod allowed_hosts;
    pub(crate) mod event_type_word;
    pub(crate) mod manage_webhooks;
    pub(crate) mod resolvers;
    pub(crate) mod webhook_actions;
    pub(crate) mod webhook_body;
    pub(crate) mod webhook_path;
    pub(crate) mod webhook_view;
}

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use domain::Cause;
use objects::Objects;
use runtime::{Clock, Entropy, Settings, SettingsError, VersionCheck, telemetry};
use store::{ReadMeter, Store};
use throttle::{DriveFactory, TenantBudgets};
use tower::ServiceExt as _;
use tracing::Instrument as _;
use webhooks::{RootSecret, Rules};
use worker::version_check::{check_bucket, check_secrets, check_sending, check_table};
use worker::{ContentQueues, Services, SnapshotQueues, WakeQueues};

use crate::fairness::request_rate::Counted;
use crate::http::{Kind, Problem, openapi};

pub use crate::content::distribution::Distribution;
pub use crate::http::ClaimNames;

/// The timeouts of a Drive call. API Gateway waits for 30 s, and creating a connection takes a few
/// calls.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(5),
};

/// The services and settings of the API.
#[derive(Clone)]
pub struct Deps {
    /// The table.
    pub store: Store,
    /// The bucket with the content.
    pub objects: Objects,
    /// The distribution that serves content; `None` if the bucket itself does.
    pub distribution: Option<Distribution>,
    /// The queues of wakes that are sent after a write.
    pub wakes: WakeQueues,
    /// The queues of snapshots, for redrives.
    pub snapshots: SnapshotQueues,
    /// The queues of content wakes, for redrives.
    pub contents: ContentQueues,
    /// Drive clients, to check a connection's credentials among others.
    pub drives: DriveFactory,
    /// What each tenant may use.
    pub budgets: TenantBudgets,
    /// The clock.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
    /// The token's claims that say who calls.
    pub claims: ClaimNames,
    /// The prefix of the names of all secrets; the tenant's id follows.
    pub secrets_prefix: String,
    /// The most requests of all tenants that wait for an event at once.
    pub waits_max: usize,
    /// The address of the live WebSocket, without a query.
    pub live_url: String,
    /// The secret that the signing secrets of webhook endpoints are derived from.
    pub webhook_key: RootSecret,
    /// Which hosts webhook endpoints may be on. The host of a request is none of them.
    pub webhook_hosts: Rules,
    /// The retention of files' history, in days; `None` if none is kept.
    pub history_days: Option<u32>,
}

/// The API's dependencies as handlers receive them.
pub(crate) type App = State<Arc<Deps>>;

impl Deps {
    /// Connects the services that the environment names.
    ///
    /// # Errors
    /// The setting that is missing or invalid.
    pub async fn load(
        settings: &Settings,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let services = Services::connect(settings, DRIVE_TIMEOUTS).await?;
        let queue = |name| services.queue(settings, name);
        let secrets = aws_sdk_secretsmanager::Client::new(&services.aws);
        Ok(Self {
            store: services.store.clone(),
            objects: bucket(settings).await?,
            distribution: Distribution::from_settings(settings, &secrets, &services.clock)?,
            drives: services.drives.clone(),
            wakes: WakeQueues {
                logs: queue("LOG_WAKES_QUEUE_URL")?,
                pushes: queue("PUSH_WAKES_QUEUE_URL")?,
                operations: queue("OPERATIONS_QUEUE_URL")?,
                live: queue("LIVE_QUEUE_URL")?,
                deliver: queue("DELIVER_QUEUE_URL")?,
            },
            snapshots: SnapshotQueues {
                live: queue("SNAPSHOTS_QUEUE_URL")?,
                bulk: queue("SNAPSHOTS_BULK_QUEUE_URL")?,
            },
            contents: ContentQueues::from_settings(&services.sqs, settings)?,
            budgets: services.budgets.clone(),
            clock: services.clock.clone(),
            entropy: services.entropy.clone(),
            claims: claim_names(settings),
            secrets_prefix: settings.secrets_prefix(),
            waits_max: settings.event_waits_max()?,
            live_url: settings.required("LIVE_URL")?,
            webhook_key: RootSecret::new(secrets, settings.required("WEBHOOK_KEY_SECRET")?),
            webhook_hosts: Rules::of_internet(&settings.required("OWN_HOSTS")?),
            history_days: settings.history_days()?,
        })
    }

    /// Returns the same dependencies on behalf of this cause, for one request.
    fn caused_by(&self, cause: Cause) -> Self {
        Self {
            store: self.store.caused_by(cause).metered(&ReadMeter::default()),
            wakes: self.wakes.caused_by(cause),
            snapshots: self.snapshots.caused_by(cause),
            contents: self.contents.caused_by(cause),
            ..self.clone()
        }
    }
}

fn claim_names(settings: &Settings) -> ClaimNames {
    let ours = ClaimNames::default();
    let named = |setting, default| settings.optional(setting).unwrap_or(default);
    ClaimNames {
        tenant: named("TENANT_CLAIM", ours.tenant),
        role: named("ROLE_CLAIM", ours.role),
        groups: named("GROUPS_CLAIM", ours.groups),
    }
}

/// Connects the content bucket, without a timeout of its own: the commit of an upload reads all of
/// it.
async fn bucket(settings: &Settings) -> Result<Objects, SettingsError> {
    let name = settings.content_bucket()?;
    let client = objects::client(&runtime::aws::config().await);
    Ok(Objects::new(client, name))
}

/// Returns the API as a service. A request carries API Gateway's context (`lambda_http`'s
/// `RequestContext`) in its extensions; one without it is not authenticated.
pub fn router(deps: Deps) -> Router {
    let routes = routes();
    Router::new().fallback(move |request: Request| {
        let (routes, deps) = (routes.clone(), deps.clone());
        async move { respond(request, routes, &deps).await }
    })
}

/// Handles one request under a cause of its own, which the response names.
async fn respond(mut request: Request, routes: Router<Arc<Deps>>, deps: &Deps) -> Response {
    let cause = deps.entropy.cause();
    let is_head = request.method() == Method::HEAD;
    let deps = Arc::new(deps.caused_by(cause));
    request.extensions_mut().insert(Arc::clone(&deps));
    let routes = routes.with_state(deps);
    let handled = routes.oneshot(request).instrument(telemetry::span(cause));
    let Ok(response) = handled.await;
    let mut response = if is_head {
        response
    } else {
        http::name_cause(response, cause)
    };
    if let Ok(value) = HeaderValue::from_str(&cause.to_string()) {
        response.headers_mut().insert(CAUSE_HEADER, value);
    }
    response
}

/// The header of every response that names the cause of what the request did.
const CAUSE_HEADER: HeaderName = HeaderName::from_static("drivesync-cause");

fn routes() -> Router<Arc<Deps>> {
    routes::router()
        .route("/openapi.json", get(openapi::get))
        .fallback(async || Problem::not_found("the path"))
        .method_not_allowed_fallback(async |method: Method| {
            let detail = format!("{method} is not allowed here; see Allow");
            Problem::new(Kind::MethodNotAllowed, detail)
        })
        .layer(middleware::from_fn(http::name_the_restore))
        .layer(middleware::from_fn(log_and_forbid_caching))
}

/// Reads what a request of this service itself asks for, in the name of its caller.
async fn read(deps: &Arc<Deps>, mut request: Request) -> Response {
    request.extensions_mut().insert(Arc::clone(deps));
    request.extensions_mut().insert(Counted);
    let reads = routes::router().with_state(Arc::clone(deps));
    reads
        .oneshot(request)
        .await
        .unwrap_or_else(|never| match never {})
}

/// Handles one request.
pub async fn handle<B>(request: axum::http::Request<B>, deps: &Deps) -> Response
where
    B: axum::body::HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    respond(request.map(Body::new), routes(), deps).await
}

/// Logs every request by its route, since a path would name files, and forbids caches to store the
/// response, which only its caller may see.
async fn log_and_forbid_caching(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let status = response.status().as_u16();
    tracing::info!(%method, route, status, metric = "api_requests", "request handled");
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

/// Tries everything that the function needs, with its own role. Changes nothing.
pub async fn version_check(deps: &Deps, settings: &Settings) -> VersionCheck {
    let mut check = VersionCheck::default();
    check_table(&mut check, &deps.store).await;
    check_secrets(&mut check, &deps.drives, settings).await;
    check_bucket(&mut check, &deps.objects).await;
    check_sending(
        &mut check,
        &[
            &deps.wakes.logs,
            &deps.wakes.pushes,
            &deps.wakes.operations,
            &deps.wakes.live,
            &deps.wakes.deliver,
            &deps.snapshots.live,
            &deps.snapshots.bulk,
            &deps.contents.high,
            &deps.contents.bulk,
        ],
    )
    .await;
    let key = deps.webhook_key.key().await;
    check.record(
        "the key of webhooks",
        key.map(|_| ()).map_err(|error| telemetry::chain(&error)),
    );
    let request = axum::http::Request::get("/health").body(Body::empty());
    let answered = match request {
        Ok(request) => {
            let Ok(answer) = router(deps.clone()).oneshot(request).await;
            match answer.status() {
                StatusCode::OK => Ok(()),
                other => Err(format!("it is answered {other}")),
            }
        }
        Err(error) => Err(error.to_string()),
    };
    check.record("GET /health", answered);
    check
}
