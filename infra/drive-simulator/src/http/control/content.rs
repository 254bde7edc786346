//! Orders about content: how long exports are, what cannot be downloaded, how long an operation takes.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use super::{Outcome, Refused, done, order};
use crate::Simulator;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentOrder {
    id: String,
    export_bytes: Option<u64>,
    abusive: Option<bool>,
    downloadable: Option<bool>,
}

/// Changes what a file's content is like. No version moves and no log tells of it.
pub(super) async fn content(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let asked: ContentOrder = order(request).await?;
    let known = simulator.with(|state| {
        state.set_rule(&asked.id, |rule| {
            rule.export_bytes = asked.export_bytes.or(rule.export_bytes);
            rule.abusive = asked.abusive.unwrap_or(rule.abusive);
            if let Some(downloadable) = asked.downloadable {
                rule.not_downloadable = !downloadable;
            }
        })
    });
    if known {
        done(&json!({}))
    } else {
        Err(Refused(format!("no item has the id {}", asked.id)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationsOrder {
    seconds: u32,
}

/// How long operations that begin from now on take, in seconds of the simulator's clock.
pub(super) async fn operations(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let asked: OperationsOrder = order(request).await?;
    simulator.with(|state| state.downloads.takes_ms = i64::from(asked.seconds) * 1_000);
    done(&json!({}))
}
