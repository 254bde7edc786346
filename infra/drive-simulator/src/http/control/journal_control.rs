//! Commands about the edit journal.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use crate::{
    http::control::command::{ControlResult, ok, parse},
    simulator::Simulator,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalCommand {
    #[serde(rename = "kept")]
    recording: bool,
}

/// Starts recording edits, or stops it and discards them.
pub(super) async fn keep(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let command: JournalCommand = parse(request).await?;
    simulator.with_state(|state| state.journal.set_recording(command.recording));
    ok(&json!({}))
}

/// Returns the recorded edits, oldest first.
pub(super) async fn read(State(simulator): State<Simulator>) -> ControlResult {
    ok(&simulator.with_state(|state| json!({"written": state.journal.entries()})))
}
