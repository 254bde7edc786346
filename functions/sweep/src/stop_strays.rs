//! Channels that no item names are stopped. The function that receives notifications remembers
//! them; when it is time is a rule of [`domain::channel`].

use domain::ChannelId;
use domain::channel::{Stray, StrayFacts, StrayStep};
use domain::rate_limit::CallKind;
use drive::Kind;
use store::{Connection, StrayChannel};
use throttle::{CallError, WaitBudget};
use worker::WorkError;

use crate::Deps;

/// Stops a channel that no item names, if it is time.
pub(crate) async fn process_due(id: &ChannelId, deps: &Deps) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let Some(channel) = deps.store.load_stray(id).await? else {
        return Ok(());
    };
    let connection = deps.store.load_connection(&channel.key).await?;
    let facts = StrayFacts {
        known: deps.store.load_channel(id).await?.is_some(),
        has_connection: connection.is_some(),
    };
    let later = match (channel.stray.next(facts, now), connection) {
        (StrayStep::Forget, _) | (StrayStep::Stop, None) => {
            return Ok(deps.store.forget_stray(id).await?);
        }
        (StrayStep::Wait(until), _) => Stray {
            due_at: until,
            ..channel.stray
        },
        (StrayStep::Stop, Some(connection)) => match stop(&channel, &connection, deps).await {
            Ok(()) => {
                tracing::info!(
                    connection = %channel.key, channel = %id, metric = "stray_channel_stopped",
                    "stopped a channel that no item names"
                );
                return Ok(deps.store.forget_stray(id).await?);
            }
            Err(error) => {
                let error = runtime::telemetry::chain(&error);
                tracing::warn!(
                    connection = %channel.key, channel = %id, error,
                    "could not stop a channel that no item names; will retry"
                );
                channel.stray.not_stopped(now, deps.entropy.jitter())
            }
        },
    };
    deps.store.postpone_stray(id, &later).await?;
    Ok(())
}

async fn stop(
    channel: &StrayChannel,
    connection: &Connection,
    deps: &Deps,
) -> Result<(), CallError> {
    let drive = deps.drives.throttled(connection, WaitBudget::NONE).await?;
    let stop = drive
        .client()
        .stop_channel(&channel.id, &channel.resource_id);
    match drive.call(CallKind::Other, stop).await {
        // Stopped or expired already.
        Err(CallError::Drive(error)) if *error.kind() == Kind::NotFound => Ok(()),
        stopped => stopped,
    }
}
