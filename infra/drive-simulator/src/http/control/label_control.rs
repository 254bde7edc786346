//! The command that defines a label, for which Google has an API of its own.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use crate::{
    http::control::command::{ControlError, ControlResult, ok, parse},
    ids::UserId,
    simulator::Simulator,
    state::items::item_labels::{LabelDefinition, LabelField},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelCommand {
    id: String,
    #[serde(default)]
    fields: BTreeMap<String, LabelField>,
    #[serde(default)]
    hidden_from: BTreeSet<String>,
}

pub(super) async fn labels(State(simulator): State<Simulator>, request: Request) -> ControlResult {
    let command: LabelCommand = parse(request).await?;
    if command.id.is_empty() {
        return Err(ControlError("id must not be empty".to_owned()));
    }
    let hidden_from = command.hidden_from.iter();
    let label = LabelDefinition {
        fields: command.fields,
        hidden_from: hidden_from.map(|user| UserId::from_email(user)).collect(),
    };
    simulator.with_state(|state| state.define_label(command.id, label));
    ok(&json!({}))
}
