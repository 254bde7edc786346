//! Orders about when things happen: channels that open too often, entries that appear late.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use super::{Outcome, done, order};
use crate::{Simulator, state::throttle::WatchLimits};

/// Holds `watch` calls to limits from now on.
pub(super) async fn watches(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let limits: WatchLimits = order(request).await?;
    simulator.set_watch_limits(limits);
    done(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Visibility {
    delay_seconds: u32,
}

/// Shows entries of the change logs so many seconds after they were written; 0 shows all at once.
pub(super) async fn visibility(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let visibility: Visibility = order(request).await?;
    simulator.set_visibility_delay(visibility.delay_seconds);
    done(&json!({}))
}
