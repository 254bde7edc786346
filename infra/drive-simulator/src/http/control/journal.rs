//! Orders about the journal: what was written, in order.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use super::{Outcome, done, order};
use crate::Simulator;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalOrder {
    kept: bool,
}

/// Keeps what is written from now on, or forgets everything.
pub(super) async fn keep(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let journal: JournalOrder = order(request).await?;
    simulator.with(|state| state.journal.keep(journal.kept));
    done(&json!({}))
}

/// What was kept, the oldest first.
pub(super) async fn read(State(simulator): State<Simulator>) -> Outcome {
    done(&simulator.with(|state| json!({"written": state.journal.written()})))
}
