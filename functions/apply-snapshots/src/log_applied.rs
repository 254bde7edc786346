//! The log line about applied snapshots.

use domain::{FileRecord, Timestamp, Transition};
use worker::{Origin, SnapshotMessage};

/// Logs that snapshots were applied, and whether more than Drive's version has moved.
pub(crate) fn log_applied(
    before: Option<&FileRecord>,
    transition: &Transition,
    messages: &[SnapshotMessage],
    now: Timestamp,
) {
    let strange = transition.record.metadata.unknown_permissions();
    if strange > 0 {
        tracing::warn!(
            file = %transition.record.file, strange, metric = "strange_permissions",
            "unknown permission roles or types kept unchanged"
        );
    }
    // What an operation lists was not changed now.
    let live = messages
        .iter()
        .rfind(|message| message.origin == Origin::Live);
    let lag_millis = live.map(|message| now.millis_since(message.at));
    if before.is_some_and(|before| transition.record.is_version_only_change(before)) {
        tracing::info!(
            file = %transition.record.file, version = %transition.record.version, lag_millis,
            metric = "noise",
            "version-only change applied"
        );
        return;
    }
    tracing::info!(
        file = %transition.record.file, version = %transition.record.version,
        conflicts = transition.conflicts.len(), lag_millis, metric = "applied",
        "applied snapshots"
    );
}
