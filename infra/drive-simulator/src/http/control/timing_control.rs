//! Commands about timing: limits on opening channels, delayed change log entries.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use crate::{
    http::control::command::{ControlResult, ok, parse},
    simulator::Simulator,
    state::change_logs::watch_limits::WatchLimits,
};

/// Sets the limits on `watch` calls from now on.
pub(super) async fn watches(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let limits: WatchLimits = parse(request).await?;
    simulator.set_watch_limits(limits);
    ok(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Visibility {
    delay_seconds: u32,
}

/// Delays the visibility of change log entries, in seconds; 0 shows all at once.
pub(super) async fn visibility(
    State(simulator): State<Simulator>,
    request: Request,
) -> ControlResult {
    let visibility: Visibility = parse(request).await?;
    simulator.set_visibility_delay(visibility.delay_seconds);
    ok(&json!({}))
}
