//! Commands about shared drives, permissions and their logs.

use axum::{
    Router,
    extract::{Request, State},
    routing::post,
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    http::control::command::{ControlError, ControlResult, ok, parse},
    ids::UserId,
    simulator::Simulator,
    state::items::tree_limits::Limits,
};

/// Returns the routes below `/_control`.
pub(crate) fn routes() -> Router<Simulator> {
    Router::new()
        .route("/logs", post(logs))
        .route("/permissions", post(permissions))
        .route("/groups", post(groups))
        .route("/accounts", post(accounts))
        .route("/limits", post(limits))
        .route("/resource_keys", post(resource_keys))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Logs {
    user_log_repeats: f64,
}

async fn logs(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let logs: Logs = parse(request).await?;
    let share = logs.user_log_repeats;
    if !(0.0..=1.0).contains(&share) {
        let message = "user_log_repeats must be between 0 and 1";
        return Err(ControlError(message.to_owned()));
    }
    simulator.set_log_repeats(share);
    ok(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Permissions {
    overlap_ms: i64,
}

async fn permissions(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let permissions: Permissions = parse(request).await?;
    simulator.with_state(|state| state.set_overlap(permissions.overlap_ms));
    ok(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    email: String,
    members: Vec<String>,
}

async fn groups(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let group: Group = parse(request).await?;
    let accounts = group
        .members
        .iter()
        .map(|member| UserId::from_email(member))
        .collect();
    simulator.with_state(|state| state.groups.insert(group.email, accounts));
    ok(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    user: String,
    address: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
}

async fn accounts(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let account: Account = parse(request).await?;
    let user = UserId::from_email(&account.user);
    simulator.with_state(|state| state.addresses.set(&user, account.address, account.aliases));
    ok(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceKey {
    id: String,
    key: Option<String>,
}

async fn resource_keys(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let ResourceKey { id, key } = parse(request).await?;
    if simulator.with_state(|state| state.set_resource_key(&id, key)) {
        ok(&json!({}))
    } else {
        Err(ControlError(format!("no item with the id {id}")))
    }
}

async fn limits(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let limits: Limits = parse(request).await?;
    simulator.with_state(|state| state.limits = limits);
    ok(&json!({}))
}
