//! `/_control/`: the control interface, with command tests and people change the simulator's
//! behavior.

mod command;
mod content_control;
mod grant_control;
mod journal_control;
mod label_control;
mod sharing_control;
mod timing_control;

use std::{collections::BTreeMap, path::PathBuf};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::{
    clock::rfc3339,
    fault_injection::Fault,
    http::{
        control::command::{ControlError, ControlResult, ok, parse},
        response,
    },
    ids::{DriveId, UserId},
    notify::NotificationPolicy,
    quota::QuotaLimits,
    simulator::Simulator,
    state::{LIBRARY_OWNER, Paging, change_logs::change_feed::Log, sharing::permission::Role},
};

/// Returns the routes below `/_control`.
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
        .route(
            "/journal",
            get(journal_control::read).post(journal_control::keep),
        )
        .route("/labels", post(label_control::labels))
        .route("/pages", post(pages))
        .route("/quota", post(quota))
        .route("/grants", post(grant_control::grants))
        .route("/content", post(content_control::content))
        .route("/operations", post(content_control::operations))
        .route("/generated", post(content_control::generated))
        .route("/uploads", post(content_control::uploads))
        .route("/versions", post(content_control::versions))
        .route("/breaches", post(content_control::breaches))
        .route("/parents", post(content_control::parents))
        .route("/watches", post(timing_control::watches))
        .route("/visibility", post(timing_control::visibility))
        .route("/drives", post(create_drive))
        .merge(sharing_control::routes())
        .route("/invalidate_tokens", post(invalidate_tokens))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(simulator.clone())
}

async fn unknown() -> Response {
    response::json(StatusCode::NOT_FOUND, &json!({"error": "unknown command"}))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct LoadCommand {
    path: Option<PathBuf>,
    files: Option<usize>,
    folders: Option<usize>,
}

async fn load(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let command: LoadCommand = parse(request).await?;
    let report = match (command.path, command.files.or(command.folders)) {
        (Some(path), None) => {
            let loading = tokio::task::spawn_blocking(move || simulator.load_below_library(&path));
            loading
                .await
                .map_err(|error| ControlError(error.to_string()))?
                .map_err(|error| ControlError(error.to_string()))?
        }
        (None, Some(_)) => {
            simulator.load_synthetic(command.files.unwrap_or(0), command.folders.unwrap_or(0))
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(ControlError(
                "expected either path, or files and folders".to_owned(),
            ));
        }
    };
    ok(&json!({
        "files": report.files, "folders": report.folders, "skipped": report.skipped,
        "root": report.root,
    }))
}

async fn reset(State(simulator): State<Simulator>) -> ControlResult {
    simulator.reset();
    ok(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockCommand {
    advance_seconds: u64,
}

async fn move_clock(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let command: ClockCommand = parse(request).await?;
    simulator.advance_clock(command.advance_seconds);
    read_clock(State(simulator)).await
}

async fn read_clock(State(simulator): State<Simulator>) -> ControlResult {
    let now_ms = simulator.now_ms();
    ok(&json!({"now": rfc3339(now_ms), "now_ms": now_ms}))
}

async fn notifications(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let policy: NotificationPolicy = parse(request).await?;
    simulator.set_notifications(policy);
    ok(&json!({}))
}

async fn add_fault(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let fault: Fault = parse(request).await?;
    simulator.add_fault(fault).map_err(ControlError)?;
    ok(&json!({}))
}

async fn pending_faults(State(simulator): State<Simulator>) -> ControlResult {
    ok(&json!({"faults": simulator.pending_faults()}))
}

async fn clear_faults(State(simulator): State<Simulator>) -> ControlResult {
    simulator.clear_faults();
    ok(&json!({}))
}

async fn counters(State(simulator): State<Simulator>) -> ControlResult {
    ok(&json!(simulator.counters()))
}

async fn zero_counters(State(simulator): State<Simulator>) -> ControlResult {
    simulator.zero_counters();
    ok(&json!({}))
}

async fn pages(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let paging: Paging = parse(request).await?;
    paging.check().map_err(ControlError)?;
    simulator.with_state(|state| state.paging = paging.beginning_at(state.now_ms));
    ok(&json!({}))
}

async fn quota(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let limits: QuotaLimits = parse(request).await?;
    simulator.set_quota_limits(limits);
    ok(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateDriveCommand {
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

async fn create_drive(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let command: CreateDriveCommand = parse(request).await?;
    let members: BTreeMap<UserId, Role> = command
        .members
        .into_iter()
        .map(|member| match member {
            Member::Name(name) => (UserId::from_email(&name), Role::Organizer),
            Member::WithRole { user, role } => (UserId::from_email(&user), role),
        })
        .collect();
    let id = simulator.with_state(|state| state.create_drive(&command.name, members));
    ok(&json!({"id": id.as_str(), "name": command.name}))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct InvalidateTokensCommand {
    access_tokens: Option<bool>,
    page_tokens: Option<bool>,
    user: Option<String>,
    drive: Option<String>,
}

async fn invalidate_tokens(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let command: InvalidateTokensCommand = parse(request).await?;
    let log = match (command.user, command.drive) {
        (None, None) => None,
        (Some(user), None) => Some((UserId::from_email(&user), Log::User)),
        (None, Some(drive)) => Some((
            UserId::from(LIBRARY_OWNER),
            Log::Drive(DriveId::from(drive)),
        )),
        (Some(_), Some(_)) => return Err(ControlError("expected either user or drive".to_owned())),
    };
    if let Some((user, log)) = log {
        if command.access_tokens.is_some() || command.page_tokens == Some(false) {
            return Err(ControlError(
                "user and drive invalidate the page tokens of one log only".to_owned(),
            ));
        }
        simulator.with_state(|state| state.invalidate_log_tokens(&user, &log));
        return ok(&json!({"access_tokens": false, "page_tokens": true}));
    }
    let pages = command.page_tokens.unwrap_or(false);
    let access = command.access_tokens.unwrap_or(!pages);
    simulator.invalidate_tokens(access, pages);
    ok(&json!({"access_tokens": access, "page_tokens": pages}))
}
