//! Sends dead letters again that were set aside for a reason that can pass.

use domain::{ConnectionKey, Timestamp};
use runtime::telemetry;
use store::{ConnectionState, DeadLetter, PageRequest, RedriveSchedule, Written};
use worker::{WorkError, queue};

use crate::{Deps, INACTIVE_MILLIS};

/// The number of dead letters that one sweep looks at.
const LETTERS_MAX: u32 = 100;
/// The wait before the rest is looked at, in milliseconds.
const REST_MILLIS: i64 = 1_000;
/// The author of the redrives.
const BY: &str = "drivesync";

/// Looks through a connection's dead letters, a page at a time, and sends those that are due.
/// Nothing is sent while the connection is not active.
pub(crate) async fn redrive_due(key: &ConnectionKey, deps: &Deps) -> Result<(), WorkError> {
    let now = deps.clock.now();
    let schedule = deps.store.load_redrive_schedule(key).await?;
    let Some(schedule) = schedule.filter(|schedule| schedule.at <= now) else {
        return Ok(());
    };
    let connection = deps.store.load_any_connection(key).await?;
    let next = match connection.map(|connection| connection.state) {
        None | Some(ConnectionState::Deleting) => None,
        Some(ConnectionState::Paused | ConnectionState::Suspended { .. }) => {
            Some(RedriveSchedule {
                at: now.plus_millis(INACTIVE_MILLIS),
                ..schedule
            })
        }
        Some(ConnectionState::Active) => redrive_page(key, schedule, now, deps).await?,
    };
    Ok(deps.store.save_redrive_schedule(key, next.as_ref()).await?)
}

async fn redrive_page(
    key: &ConnectionKey,
    schedule: RedriveSchedule,
    now: Timestamp,
    deps: &Deps,
) -> Result<Option<RedriveSchedule>, WorkError> {
    let request = PageRequest {
        limit: LETTERS_MAX,
        cursor: schedule.cursor.clone(),
    };
    let page = deps.store.list_dead_letters(key, &request).await?;
    let mut next_at = schedule.next_at;
    for letter in page.items {
        let Some(due_at) = letter.redrive_at() else {
            continue;
        };
        if schedule.all || due_at <= now {
            // The story of the message goes on.
            match letter.cause {
                Some(cause) => send(&letter, now, &deps.caused_by(cause)).await?,
                None => send(&letter, now, deps).await?,
            }
        } else {
            next_at = Some(next_at.map_or(due_at, |at| at.min(due_at)));
        }
    }
    if page.next_cursor.is_some() {
        return Ok(Some(RedriveSchedule {
            at: now.plus_millis(REST_MILLIS),
            cursor: page.next_cursor,
            next_at,
            ..schedule
        }));
    }
    Ok(next_at.map(RedriveSchedule::at))
}

/// Sends a dead letter again, then records it. One that can't be sent waits for a person.
async fn send(letter: &DeadLetter, now: Timestamp, deps: &Deps) -> Result<(), WorkError> {
    let message = match worker::redrive_message(letter) {
        Ok(message) => message,
        Err(why) => {
            tracing::warn!(
                connection = %letter.key, error = telemetry::chain(&why),
                metric = "redrive_refused", "a dead letter can't be sent again"
            );
            return Ok(());
        }
    };
    let attempt = format!("redrive/{}/{}/{}", letter.key, letter.id, letter.revision);
    let (wakes, snapshots) = (&deps.wakes, &deps.snapshots);
    queue::redrive(wakes, snapshots, &deps.contents, &message, &attempt).await?;
    // A person who was faster has sent or dropped it.
    let saved = deps
        .store
        .save_dead_letter(&letter.redriven(BY, now))
        .await?;
    if let Written::Done(after) = saved {
        let (redrives, metric) = (after.redrives, "dead_letter_redriven");
        tracing::info!(connection = %after.key, redrives, metric, "dead letter redriven");
    }
    Ok(())
}
