//! Orders about content: how long exports are, what cannot be downloaded, how long an operation takes.

use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::json;

use super::{Outcome, Refused, done, order};
use crate::{Generated, Simulator, UploadCondition};

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GeneratedOrder {
    /// The file whose content is replaced; without it a new one is made.
    id: Option<String>,
    name: Option<String>,
    parent: Option<String>,
    mime_type: Option<String>,
    #[serde(default)]
    seed: u64,
    size_bytes: u64,
}

/// Makes a file of so many made-up bytes, or replaces one's content by them. None of them is kept in memory.
pub(super) async fn generated(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let asked: GeneratedOrder = order(request).await?;
    let owner = Simulator::library_owner();
    let refused = |error: crate::DriveError| Refused(error.to_string());
    let id = match asked.id {
        Some(id) => {
            simulator
                .replace_generated(owner, &id, asked.seed, asked.size_bytes)
                .map_err(refused)?;
            id
        }
        None => {
            let file = Generated {
                name: asked.name.unwrap_or_else(|| "generated.txt".to_owned()),
                mime_type: asked.mime_type.unwrap_or_else(|| "text/plain".to_owned()),
                seed: asked.seed,
                size_bytes: asked.size_bytes,
            };
            simulator
                .create_generated(owner, asked.parent.as_deref(), file)
                .map_err(refused)?
        }
    };
    done(&json!({"id": id}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadsOrder {
    condition: UploadCondition,
}

/// When uploads that name an etag are held to it.
pub(super) async fn uploads(State(simulator): State<Simulator>, request: Request) -> Outcome {
    let asked: UploadsOrder = order(request).await?;
    simulator.set_upload_condition(asked.condition);
    done(&json!({}))
}
