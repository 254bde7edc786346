//! `/_control/` of what concerns shared drives, permissions and their logs.

use axum::{
    Router,
    extract::{Request, State},
    routing::post,
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    Simulator,
    http::control::{Outcome, Refused, done, order},
    ids::UserId,
    state::limits::Limits,
};

/// The routes below `/_control`.
pub(crate) fn routes() -> Router<Simulator> {
    Router::new()
        .route("/logs", post(logs))
        .route("/permissions", post(permissions))
        .route("/groups", post(groups))
        .route("/limits", post(limits))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Logs {
    user_log_repeats: f64,
}

async fn logs(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let logs: Logs = order(request).await?;
    let share = logs.user_log_repeats;
    if !(0.0..=1.0).contains(&share) {
        let message = "user_log_repeats is a share from 0 to 1";
        return Err(Refused(message.to_owned()));
    }
    simulator.set_log_repeats(share);
    done(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Permissions {
    overlap_ms: i64,
}

async fn permissions(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let permissions: Permissions = order(request).await?;
    simulator.with(|state| state.set_overlap(permissions.overlap_ms));
    done(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    email: String,
    members: Vec<String>,
}

async fn groups(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let group: Group = order(request).await?;
    let accounts = group
        .members
        .iter()
        .map(|member| UserId::from_email(member))
        .collect();
    simulator.with(|state| state.groups.insert(group.email, accounts));
    done(&json!({}))
}

async fn limits(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let limits: Limits = order(request).await?;
    simulator.with(|state| state.limits = limits);
    done(&json!({}))
}
