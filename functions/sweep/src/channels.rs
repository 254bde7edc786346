//! Notification channels: opened, renewed with overlap, stopped.
//!
//! Drive has no renewal: a channel is replaced by another with a fresh id, and for a while both
//! send notifications. A channel is stored before Drive is asked for it, because its first
//! notification may arrive before Drive's response does. If the response never arrives, the channel
//! is dropped and another opened. If Drive notifies a channel that was dropped, it is stopped
//! ([`crate::stop_strays`]).

use domain::channel::CHANNEL_LIFE_MILLIS;
use domain::rate_limit::{CallKind, doubled_millis};
use domain::{ChannelId, Timestamp};
use drive::{ChannelRequest, Kind};
use sha2::{Digest, Sha256};
use store::{Channel, ChannelState, Connection, Log, LogPosition, Written};
use throttle::{CallError, WaitBudget};

use worker::WorkError;

use crate::{Deps, INACTIVE_MILLIS, active};

/// The time after which an unconfirmed channel is dropped, in milliseconds.
const PENDING_MILLIS: i64 = 2 * 60_000;
/// The wait after the first rejection of a channel, in milliseconds. It doubles with each
/// consecutive rejection.
const RETRY_MILLIS: i64 = 60_000;
/// The longest such wait, in milliseconds: 64 minutes.
const RETRY_MILLIS_MAX: i64 = 64 * RETRY_MILLIS;
/// The time for which a replaced channel continues beside its successor, in milliseconds.
const OVERLAP_MILLIS: i64 = 10 * 60_000;

/// Opens a channel on a log that has none or whose channel is about to expire.
pub(crate) async fn open(connection: &Connection, log: &Log, deps: &Deps) -> Result<(), WorkError> {
    // Without a cursor there is no position to watch from: the first listing has not started.
    let (Some(address), Some(cursor)) = (&deps.webhook_url, &log.cursor) else {
        return Ok(());
    };
    let drive = deps.drives.throttled(connection, WaitBudget::NONE).await?;
    // Admitted before the channel is stored, so that a throttled call leaves nothing to clean up.
    drive.acquire(&[CallKind::Other], 1).await?;
    let now = deps.clock.now();
    let tokens = deps.store.ensure_channel_tokens(fresh_key(deps)).await?;
    let id = fresh_id(deps);
    let token = tokens.token(&id, &log.key);
    let channel = Channel {
        id,
        key: log.key.clone(),
        log: log.log.clone(),
        token_hash: Sha256::digest(token.as_bytes()).into(),
        resource_id: None,
        state: ChannelState::Pending,
        expires_at: now.plus_millis(CHANNEL_LIFE_MILLIS),
        due_at: now.plus_millis(PENDING_MILLIS),
    };
    deps.store.create_channel(&channel).await?;
    let request = ChannelRequest {
        id: &channel.id,
        token: &token,
        address,
        expires_at: channel.expires_at,
    };
    let watched = drive
        .client()
        .watch_changes(&log.log, cursor, &request)
        .await;
    drive
        .record_outcome(CallKind::Other, watched.as_ref().err())
        .await?;
    let watch = match watched {
        Ok(watch) => watch,
        Err(error) => {
            // If Drive opened the channel nevertheless, its first notification leads to its end.
            deps.store.delete_channel(&channel.id).await?;
            if *error.kind() == Kind::CursorLost || error.gone().is_some() {
                // The cursor is lost or the log inaccessible: the function that reads the log finds
                // out.
                deps.wakes.log(&log.key, &log.log, now).await?;
            } else {
                postpone_watch(log, deps).await?;
            }
            return Err(error.into());
        }
    };
    let renew_at = renewal(now, watch.expires_at);
    deps.store
        .activate_channel(&channel.id, &watch.resource_id, watch.expires_at, renew_at)
        .await?;
    let old = log.channel.as_ref();
    match deps
        .store
        .set_channel(&log.key, &log.log, old, Some(&channel.id))
        .await?
    {
        Written::Done(_) => {
            tracing::info!(
                connection = %log.key, log = %log.log, channel = %channel.id,
                metric = "channel_opened",
                "opened channel"
            );
            if let Some(old) = old {
                deps.store
                    .replace_channel(old, now.plus_millis(OVERLAP_MILLIS))
                    .await?;
            }
        }
        // Another sweep was first: this channel is superfluous and is stopped.
        Written::Stale(_) => {
            deps.store.replace_channel(&channel.id, now).await?;
        }
    }
    Ok(())
}

/// Postpones the next attempt after Drive rejected a channel, longer with each consecutive
/// rejection. Retrying at every sweep would be throttled.
async fn postpone_watch(log: &Log, deps: &Deps) -> Result<(), WorkError> {
    let failures = log.watch_failures.saturating_add(1);
    let doubled = doubled_millis(RETRY_MILLIS, failures, RETRY_MILLIS_MAX);
    let wait_millis = deps.entropy.jitter().around(doubled);
    let again_at = deps.clock.now().plus_millis(wait_millis);
    tracing::warn!(
        connection = %log.key, log = %log.log, failures, wait_millis, metric = "watch_refused",
        "Drive rejected the channel; will retry"
    );
    deps.store
        .postpone_watch(&log.key, &log.log, failures, again_at)
        .await?;
    Ok(())
}

/// Returns the renewal time of a channel: when a quarter of its lifetime is left.
fn renewal(now: Timestamp, expires_at: Timestamp) -> Timestamp {
    expires_at.plus_millis(-expires_at.millis_since(now) / 4)
}

/// Processes a due channel: renews, drops or stops it, depending on its state.
pub(crate) async fn process_due(id: &ChannelId, deps: &Deps) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let Some(channel) = deps
        .store
        .load_channel(id)
        .await?
        .filter(|channel| channel.due_at <= now)
    else {
        return Ok(());
    };
    let log = deps.store.load_log(&channel.key, &channel.log).await?;
    let followed = |log: &Log| match log.position {
        LogPosition::New | LogPosition::Listing(_) | LogPosition::Following => true,
        LogPosition::Left { .. } => false,
    };
    let Some(log) = log.filter(followed) else {
        return stop(&channel, deps).await;
    };
    match channel.state {
        ChannelState::Replaced => stop(&channel, deps).await,
        ChannelState::Pending => {
            detach(&log, &channel, deps).await?;
            stop(&channel, deps).await
        }
        ChannelState::Active if channel.expires_at <= now => {
            detach(&log, &channel, deps).await?;
            stop(&channel, deps).await
        }
        ChannelState::Active => match active(&channel.key, deps).await? {
            Some(connection) if log.channel.as_ref() == Some(id) => {
                match log.watch_again_at.filter(|at| *at > now) {
                    // The old channel works until it expires.
                    Some(at) => {
                        let until = at.min(channel.expires_at);
                        deps.store.postpone_channel(id, until).await?;
                        Ok(())
                    }
                    None => open(&connection, &log, deps).await,
                }
            }
            Some(_) => stop(&channel, deps).await,
            None => {
                let until = now.plus_millis(INACTIVE_MILLIS).min(channel.expires_at);
                deps.store.postpone_channel(id, until).await?;
                Ok(())
            }
        },
    }
}

/// Stops a channel in Drive, if possible, and deletes it.
async fn stop(channel: &Channel, deps: &Deps) -> Result<(), WorkError> {
    let connection = deps.store.load_connection(&channel.key).await?;
    if let (Some(connection), Some(resource)) = (connection, &channel.resource_id) {
        let stopped = async {
            let drive = deps.drives.throttled(&connection, WaitBudget::NONE).await?;
            let stop = drive.client().stop_channel(&channel.id, resource);
            drive.call(CallKind::Other, stop).await
        };
        let stopped: Result<(), CallError> = stopped.await;
        if let Err(error) = stopped {
            // Its next notification leads to another attempt.
            tracing::warn!(
                channel = %channel.id, error = runtime::telemetry::chain(&error),
                "could not stop channel"
            );
        }
    }
    Ok(deps.store.delete_channel(&channel.id).await?)
}

/// Detaches a channel from its log and makes the log due now, so that another is opened.
async fn detach(log: &Log, channel: &Channel, deps: &Deps) -> Result<(), WorkError> {
    if log.channel.as_ref() == Some(&channel.id) {
        deps.store
            .set_channel(&log.key, &log.log, Some(&channel.id), None)
            .await?;
        deps.store
            .postpone_poll(&log.key, &log.log, deps.clock.now())
            .await?;
    }
    Ok(())
}

/// Returns a key of 256 random bits.
fn fresh_key(deps: &Deps) -> [u8; 32] {
    let mut key = [0; 32];
    for part in key.chunks_exact_mut(8) {
        part.copy_from_slice(&deps.entropy.next().to_be_bytes());
    }
    key
}

/// Returns a random channel id: Drive rejects an id that was ever used in the Google project.
fn fresh_id(deps: &Deps) -> ChannelId {
    ChannelId::fresh(deps.entropy.next(), deps.entropy.next())
}
