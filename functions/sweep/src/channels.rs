//! Notification channels: opened, renewed with overlap, stopped.
//!
//! Drive has no renewal: a channel is replaced by another with a fresh id, and for a while both tell.
//! A channel is written down before Drive is asked for it, because its first notification may arrive
//! before Drive's answer does; where the answer never comes, the channel is dropped and another opened.

use domain::pace::CallKind;
use domain::{ChannelId, Timestamp};
use drive::{ChannelRequest, Kind};
use gate::{GateError, Patience};
use sha2::{Digest, Sha256};
use store::{Channel, ChannelState, Connection, Log, Position, Written};

use crate::{Deps, INACTIVE_MILLIS, Stopped, active};

/// As long as Drive grants for change logs: 604,800 s.
const LIFE_MILLIS: i64 = 7 * 24 * 3_600_000;
/// A channel that Drive has not confirmed by then is dropped, in milliseconds.
const PENDING_MILLIS: i64 = 2 * 60_000;
/// The wait after a first refusal of a channel, in milliseconds; it doubles with each one in a row.
const RETRY_MILLIS: i64 = 60_000;
/// How often it doubles: up to 64 minutes.
const RETRY_DOUBLINGS: u32 = 6;
/// How long the replaced channel goes on beside its successor, in milliseconds.
const OVERLAP_MILLIS: i64 = 10 * 60_000;

/// Opens a channel on a log that has none, or whose channel nears its end.
pub(crate) async fn open(connection: &Connection, log: &Log, deps: &Deps) -> Result<(), Stopped> {
    // Without a cursor there is nothing to watch from: the first listing has not begun.
    let (Some(address), Some(cursor)) = (&deps.webhook_url, &log.cursor) else {
        return Ok(());
    };
    let drive = deps.gate.pass(connection, Patience::NONE).await?;
    // Before anything is written down: a channel that is not asked for need not be dropped again.
    drive.admit(&[CallKind::Other], 1).await?;
    let now = deps.clock.now();
    let token = secret(deps);
    let channel = Channel {
        id: fresh_id(deps),
        key: log.key.clone(),
        log: log.log.clone(),
        token_hash: Sha256::digest(token.as_bytes()).into(),
        resource_id: None,
        state: ChannelState::Pending,
        expires_at: now.plus_millis(LIFE_MILLIS),
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
        .drive()
        .watch_changes(&log.log, cursor, &request)
        .await;
    drive.tell(CallKind::Other, watched.as_ref().err()).await?;
    let watch = match watched {
        Ok(watch) => watch,
        Err(error) => {
            // Where Drive did open it after all, it tells of changes until it ends, and is not believed.
            deps.store.delete_channel(&channel.id).await?;
            if *error.kind() == Kind::CursorLost || error.gone().is_some() {
                // The cursor is lost, or the log itself is out of reach: whoever reads it finds out.
                deps.wakes.log(&log.key, &log.log, now).await?;
            } else {
                put_off(log, deps).await?;
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
            tracing::info!(connection = %log.key, log = %log.log, channel = %channel.id, metric = "channel_opened", "opened");
            if let Some(old) = old {
                deps.store
                    .replace_channel(old, now.plus_millis(OVERLAP_MILLIS))
                    .await?;
            }
        }
        // Another sweep was faster: this one is the spare, and goes.
        Written::Stale(_) => {
            deps.store.replace_channel(&channel.id, now).await?;
        }
    }
    Ok(())
}

/// Drive did not let the log be watched: it is asked again later, and each time in a row later still. Asking on at every
/// sweep is what Drive throttles.
async fn put_off(log: &Log, deps: &Deps) -> Result<(), Stopped> {
    let failures = log.watch_failures.saturating_add(1);
    let doubled = RETRY_MILLIS << log.watch_failures.min(RETRY_DOUBLINGS);
    let wait_millis = deps.entropy.jitter().around(doubled);
    let again_at = deps.clock.now().plus_millis(wait_millis);
    tracing::warn!(
        connection = %log.key, log = %log.log, failures, wait_millis, metric = "watch_refused",
        "Drive does not let the log be watched"
    );
    deps.store
        .put_off_watch(&log.key, &log.log, failures, again_at)
        .await?;
    Ok(())
}

/// When a channel is replaced: with a quarter of its life left.
fn renewal(now: Timestamp, expires_at: Timestamp) -> Timestamp {
    expires_at.plus_millis(-expires_at.millis_since(now) / 4)
}

/// A channel is due: renewed, dropped or stopped, as its state says.
pub(crate) async fn look_at(id: &ChannelId, deps: &Deps) -> Result<(), Stopped> {
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
        Position::New | Position::Listing(_) | Position::Following => true,
        Position::Left { .. } => false,
    };
    let Some(log) = log.filter(followed) else {
        return stop(&channel, deps).await;
    };
    match channel.state {
        ChannelState::Replaced => stop(&channel, deps).await,
        ChannelState::Pending => {
            forget(&log, &channel, deps).await?;
            stop(&channel, deps).await
        }
        ChannelState::Active if channel.expires_at <= now => {
            forget(&log, &channel, deps).await?;
            stop(&channel, deps).await
        }
        ChannelState::Active => match active(&channel.key, deps).await? {
            Some(connection) if log.channel.as_ref() == Some(id) => {
                match log.watch_again_at.filter(|at| *at > now) {
                    // The old channel tells as long as it lives.
                    Some(at) => {
                        let again = at.min(channel.expires_at);
                        deps.store.postpone_channel(id, again).await?;
                        Ok(())
                    }
                    None => open(&connection, &log, deps).await,
                }
            }
            Some(_) => stop(&channel, deps).await,
            None => {
                let again = now.plus_millis(INACTIVE_MILLIS).min(channel.expires_at);
                deps.store.postpone_channel(id, again).await?;
                Ok(())
            }
        },
    }
}

/// Ends a channel at Drive as far as that is possible, and drops it.
async fn stop(channel: &Channel, deps: &Deps) -> Result<(), Stopped> {
    let connection = deps.store.load_connection(&channel.key).await?;
    if let (Some(connection), Some(resource)) = (connection, &channel.resource_id) {
        let stopped = async {
            let pass = deps.gate.pass(&connection, Patience::NONE).await?;
            let stop = pass.drive().stop_channel(&channel.id, resource);
            pass.call(CallKind::Other, stop).await
        };
        let stopped: Result<(), GateError> = stopped.await;
        if let Err(error) = stopped {
            // It ends by itself, and what it still tells is not believed once it is dropped.
            tracing::warn!(channel = %channel.id, error = runtime::telemetry::chain(&error), "could not stop a channel");
        }
    }
    Ok(deps.store.delete_channel(&channel.id).await?)
}

/// The log has no channel any more, so that another is opened at its next poll, which is now.
async fn forget(log: &Log, channel: &Channel, deps: &Deps) -> Result<(), Stopped> {
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

/// 256 random bits: what a stranger would have to guess.
fn secret(deps: &Deps) -> String {
    (0..4)
        .map(|_| format!("{:016x}", deps.entropy.next()))
        .collect()
}

/// Drive refuses an id that was ever used in the Google project, so it is random.
fn fresh_id(deps: &Deps) -> ChannelId {
    ChannelId::fresh(deps.entropy.next(), deps.entropy.next())
}
