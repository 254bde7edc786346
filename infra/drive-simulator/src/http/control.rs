//! `/_control/`: what tests and people do to the simulated Drive from outside of it.

mod content;
mod grants;
mod journal;
mod timing;

use std::{collections::BTreeMap, path::PathBuf};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Simulator,
    faults::Fault,
    http::{self as face, control_sharing, read_body},
    ids::{DriveId, UserId},
    notify::NotificationPolicy,
    quota::QuotaLimits,
    state::{LIBRARY_OWNER, Paging, feed::Log, item::Role},
};

/// The routes below `/_control`.
pub(crate) fn router(simulator: &Simulator) -> Router {
    Router::new()
        .route("/load", post(load))
        .route("/reset", post(reset))
        .route("/clock", get(read_clock).post(move_clock))
        .route("/notifications", post(notifications))
        .route(
            "/faults",
            get(pending_faults).post(add_fault).delete(clear_faults),
        )
        .route("/counters", get(counters).delete(zero_counters))
        .route("/journal", get(journal::read).post(journal::keep))
        .route("/pages", post(pages))
        .route("/quota", post(quota))
        .route("/grants", post(grants::grants))
        .route("/content", post(content::content))
        .route("/operations", post(content::operations))
        .route("/generated", post(content::generated))
        .route("/uploads", post(content::uploads))
        .route("/watches", post(timing::watches))
        .route("/visibility", post(timing::visibility))
        .route("/drives", post(create_drive))
        .merge(control_sharing::routes())
        .route("/invalidate_tokens", post(invalidate_tokens))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(simulator.clone())
}

/// An order that could not be carried out.
pub(crate) struct Refused(pub(crate) String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        face::json(StatusCode::BAD_REQUEST, &json!({"error": self.0}))
    }
}

/// What an order answers.
pub(crate) type Outcome = Result<Response, Refused>;

/// A carried out order.
pub(crate) fn done(value: &Value) -> Outcome {
    Ok(face::json(StatusCode::OK, value))
}

async fn unknown() -> Response {
    face::json(StatusCode::NOT_FOUND, &json!({"error": "no such control"}))
}

/// Reads an order; an empty body is an empty object.
pub(crate) async fn order<T: for<'de> Deserialize<'de>>(request: Request) -> Result<T, Refused> {
    let bytes = read_body(request.into_body())
        .await
        .map_err(|error| Refused(error.to_string()))?;
    let bytes = if bytes.is_empty() {
        bytes::Bytes::from_static(b"{}")
    } else {
        bytes
    };
    serde_json::from_slice(&bytes).map_err(|error| Refused(error.to_string()))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Load {
    path: Option<PathBuf>,
    files: Option<usize>,
    folders: Option<usize>,
}

async fn load(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let load: Load = order(request).await?;
    let report = match (load.path, load.files.or(load.folders)) {
        (Some(path), None) => {
            let loading = tokio::task::spawn_blocking(move || simulator.load_directory(&path));
            loading
                .await
                .map_err(|error| Refused(error.to_string()))?
                .map_err(|error| Refused(error.to_string()))?
        }
        (None, Some(_)) => {
            simulator.load_synthetic(load.files.unwrap_or(0), load.folders.unwrap_or(0))
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Refused("either path, or files and folders".to_owned()));
        }
    };
    done(
        &json!({"files": report.files, "folders": report.folders, "skipped": report.skipped, "root": report.root}),
    )
}

async fn reset(State(simulator): State<Simulator>) -> Outcome {
    simulator.reset();
    done(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockOrder {
    advance_seconds: u64,
}

async fn move_clock(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let clock: ClockOrder = order(request).await?;
    simulator.advance_clock(clock.advance_seconds);
    read_clock(State(simulator)).await
}

async fn read_clock(State(simulator): State<Simulator>) -> Outcome {
    let now_ms = simulator.now_ms();
    done(&json!({"now": crate::clock::rfc3339(now_ms), "now_ms": now_ms}))
}

async fn notifications(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let policy: NotificationPolicy = order(request).await?;
    simulator.set_notifications(policy);
    done(&json!({}))
}

async fn add_fault(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let fault: Fault = order(request).await?;
    simulator.add_fault(fault).map_err(Refused)?;
    done(&json!({}))
}

async fn pending_faults(State(simulator): State<Simulator>) -> Outcome {
    done(&json!({"faults": simulator.pending_faults()}))
}

async fn clear_faults(State(simulator): State<Simulator>) -> Outcome {
    simulator.clear_faults();
    done(&json!({}))
}

async fn counters(State(simulator): State<Simulator>) -> Outcome {
    done(&json!(simulator.counters()))
}

async fn zero_counters(State(simulator): State<Simulator>) -> Outcome {
    simulator.zero_counters();
    done(&json!({}))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Pages {
    size: Option<usize>,
    empty_every: Option<u64>,
    search_ends_after: Option<usize>,
}

async fn pages(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let pages: Pages = order(request).await?;
    let paging = Paging::new(pages.size, pages.empty_every, pages.search_ends_after);
    simulator.with(|state| state.paging = paging);
    done(&json!({}))
}

async fn quota(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let limits: QuotaLimits = order(request).await?;
    simulator.set_quota_limits(limits);
    done(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDrive {
    name: String,
    #[serde(default)]
    members: Vec<Member>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Member {
    Name(String),
    WithRole { user: String, role: Role },
}

async fn create_drive(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let new: NewDrive = order(request).await?;
    let members: BTreeMap<UserId, Role> = new
        .members
        .into_iter()
        .map(|member| match member {
            Member::Name(name) => (UserId::from_email(&name), Role::Organizer),
            Member::WithRole { user, role } => (UserId::from_email(&user), role),
        })
        .collect();
    let id = simulator.with(|state| state.create_drive(&new.name, members));
    done(&json!({"id": id.as_str(), "name": new.name}))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Invalidation {
    access_tokens: Option<bool>,
    page_tokens: Option<bool>,
    user: Option<String>,
    drive: Option<String>,
}

async fn invalidate_tokens(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let which: Invalidation = order(request).await?;
    let log = match (which.user, which.drive) {
        (None, None) => None,
        (Some(user), None) => Some((UserId::from_email(&user), Log::User)),
        (None, Some(drive)) => Some((
            UserId::from(LIBRARY_OWNER),
            Log::Drive(DriveId::from(drive)),
        )),
        (Some(_), Some(_)) => return Err(Refused("either user or drive".to_owned())),
    };
    if let Some((user, log)) = log {
        if which.access_tokens.is_some() || which.page_tokens == Some(false) {
            return Err(Refused(
                "user and drive name a log, whose page_tokens are invalidated".to_owned(),
            ));
        }
        simulator.with(|state| state.invalidate_log_tokens(&user, &log));
        return done(&json!({"access_tokens": false, "page_tokens": true}));
    }
    let pages = which.page_tokens.unwrap_or(false);
    let access = which.access_tokens.unwrap_or(!pages);
    simulator.invalidate_tokens(access, pages);
    done(&json!({"access_tokens": access, "page_tokens": pages}))
}
