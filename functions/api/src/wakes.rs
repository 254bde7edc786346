//! Wakes that are sent after a write. What they point to is stored: a lost wake only delays it
//! until the sweep finds it, so a failure to send one is logged and not reported to the caller.

use domain::{ConnectionKey, EndpointId, FileRecord, LogId, TenantId};
use store::{Connection, Nonce, StoreError};

use crate::Deps;

/// Wakes the pusher of a connection if the file may have an intent due.
pub(crate) async fn wake_push_if_due(deps: &Deps, key: &ConnectionKey, record: &FileRecord) {
    if record.due().is_some() {
        wake_push(deps, key).await;
    }
}

/// Wakes the pusher of a connection.
pub(crate) async fn wake_push(deps: &Deps, key: &ConnectionKey) {
    if let Err(error) = deps.wakes.push(key, deps.clock.now()).await {
        let error = runtime::telemetry::chain(&error);
        let metric = "wake_failed";
        tracing::warn!(connection = %key, error, metric, "could not wake the pusher");
    }
}

/// Wakes the reader of a log.
pub(crate) async fn wake_log(deps: &Deps, key: &ConnectionKey, log: &LogId) {
    if let Err(error) = deps.wakes.log(key, log, deps.clock.now()).await {
        let error = runtime::telemetry::chain(&error);
        let metric = "wake_failed";
        tracing::warn!(connection = %key, error, metric, "could not wake the log reader");
    }
}

/// Wakes the worker that delivers to a webhook endpoint.
pub(crate) async fn wake_endpoint(deps: &Deps, tenant: &TenantId, id: &EndpointId) {
    let woken = worker::queue::wake_endpoint(&deps.wakes.deliver, tenant, id, deps.clock.now());
    if let Err(error) = woken.await {
        let error = runtime::telemetry::chain(&error);
        let metric = "wake_failed";
        tracing::warn!(webhook = %id, error, metric, "could not wake the deliveries");
    }
}

/// Reschedules the intents of out-of-scope files at once after the rules have changed. If this
/// fails, they are retried within five minutes.
pub(crate) async fn reschedule_out_of_scope(deps: &Deps, before: &Connection, now: &Connection) {
    if before.rules == now.rules {
        return;
    }
    let nonce = || Nonce(deps.entropy.next());
    let key = &now.key;
    let rescheduled = deps
        .store
        .reschedule_out_of_scope(key, deps.clock.now(), nonce)
        .await;
    let failed = "could not reschedule out-of-scope files; they are retried within 5 minutes";
    wake_rescheduled(deps, key, rescheduled, failed).await;
}

/// Tries at once what failed, or was set aside, for a reason that can pass, after something may
/// have ended it. If this fails, it is tried at its own time.
pub(crate) async fn hasten_failed(deps: &Deps, key: &ConnectionKey) {
    let now = deps.clock.now();
    if let Err(error) = deps.store.hasten_redrive(key, now).await {
        let failed = "could not hasten dead letters; they are sent again at their own time";
        warn_release_failed(key, &error, failed);
    }
    let nonce = || Nonce(deps.entropy.next());
    let rescheduled = deps.store.hasten_failed(key, now, nonce).await;
    let failed = "could not hasten failed intents; they are tried at their own time";
    wake_rescheduled(deps, key, rescheduled, failed).await;
}

/// Wakes the pusher if files were made due, or logs that this failed.
async fn wake_rescheduled(
    deps: &Deps,
    key: &ConnectionKey,
    rescheduled: Result<u32, StoreError>,
    failed: &'static str,
) {
    match rescheduled {
        Ok(0) => {}
        Ok(_) => wake_push(deps, key).await,
        Err(error) => warn_release_failed(key, &error, failed),
    }
}

fn warn_release_failed(key: &ConnectionKey, error: &StoreError, failed: &'static str) {
    let error = runtime::telemetry::chain(error);
    tracing::warn!(connection = %key, error, metric = "release_failed", "{failed}");
}
