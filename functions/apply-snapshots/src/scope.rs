//! What a move in Drive means for other files: a folder that comes into scope brings what lies in it along.

use domain::{FileRecord, Step};
use runtime::{queue, telemetry};
use store::{Connection, Nonce};

use crate::Deps;

/// Lets go on what was held for being out of scope, where a folder, or a file that is held itself, has another name or
/// place in Drive now. A rule is about nothing else that changes. That this could not be done holds up no snapshot: what
/// is held is looked at within five minutes anyway.
pub(crate) async fn release(
    connection: &Connection,
    before: Option<&FileRecord>,
    step: &Step,
    deps: &Deps,
) {
    let now = &step.record;
    let concerned = now.mirror.mime_type == drive::FOLDER || now.push.held;
    let moved = before.is_none_or(|before| now.moved_in_drive_since(before));
    if connection.rules.is_empty() || !concerned || !moved {
        return;
    }
    let key = &connection.key;
    let nonce = || Nonce(deps.entropy.next());
    let at = deps.clock.now();
    let released = match deps.store.release_held(key, at, nonce).await {
        Ok(0) => return,
        Ok(released) => released,
        Err(error) => {
            let error = telemetry::chain(&error);
            tracing::warn!(connection = %key, error, metric = "release_failed", "what is held comes by itself");
            return;
        }
    };
    tracing::info!(connection = %key, file = %now.file, released, metric = "released", "looked at again");
    if let Err(error) = queue::wake_push(&deps.push_wakes, key, at).await {
        let error = telemetry::chain(&error);
        tracing::warn!(connection = %key, error, metric = "wake_failed", "the sweep will push");
    }
}
