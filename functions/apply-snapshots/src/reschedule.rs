//! Reschedules out-of-scope files after a move in Drive: a folder that enters the scope brings its
//! contents along.

use domain::{FileRecord, Transition};
use runtime::telemetry;
use store::{Connection, Nonce};
use worker::queue;

use crate::Deps;

/// Reschedules the pushes of out-of-scope files if a folder, or an out-of-scope file itself, was
/// renamed or moved in Drive. Rules depend on nothing else that changes. A failure does not block
/// the snapshot: out-of-scope files are checked again within five minutes.
pub(crate) async fn reschedule_out_of_scope(
    connection: &Connection,
    before: Option<&FileRecord>,
    transition: &Transition,
    deps: &Deps,
) {
    let now = &transition.record;
    let concerned = now.metadata.mime_type == drive::FOLDER || now.push.out_of_scope;
    let moved = before.is_none_or(|before| now.moved_in_drive_since(before));
    if connection.rules.is_empty() || !concerned || !moved {
        return;
    }
    let key = &connection.key;
    let nonce = || Nonce(deps.entropy.next());
    let at = deps.clock.now();
    let rescheduled = match deps.store.reschedule_out_of_scope(key, at, nonce).await {
        Ok(0) => return,
        Ok(rescheduled) => rescheduled,
        Err(error) => {
            let error = telemetry::chain(&error);
            tracing::warn!(
                connection = %key, error, metric = "release_failed",
                "could not reschedule out-of-scope files; they retry within 5 minutes"
            );
            return;
        }
    };
    tracing::info!(
        connection = %key, file = %now.file, released = rescheduled, metric = "released",
        "rescheduled out-of-scope files"
    );
    if let Err(error) = queue::wake_push(&deps.push_wakes, key, at).await {
        let error = telemetry::chain(&error);
        tracing::warn!(
            connection = %key, error, metric = "wake_failed",
            "could not wake push-intents; the next sweep will"
        );
    }
}
