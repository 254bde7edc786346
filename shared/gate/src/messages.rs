//! Messages that can never be taken, and connections that Drive lets in no more: set aside, each with its reason.

use std::error::Error;

use domain::{ConnectionKey, Timestamp};
use runtime::{Delivery, Group, Unreadable, telemetry};
use store::{Letter, Parked, Store, StoreError};

/// A message could be neither read nor parked: it, and what stands behind it, must come back.
#[derive(Debug, thiserror::Error)]
#[error("the table did not take what can't be read")]
pub struct NotParked {
    /// How many messages before it were dealt with.
    pub done: usize,
    /// Why it was not parked.
    #[source]
    pub error: StoreError,
}

/// The messages of a group, each with its delivery, in their order. One that can't be read never can be, so it is parked,
/// and the others go on.
///
/// # Errors
/// [`NotParked`]
pub async fn read_group<'g, M>(
    group: &'g Group,
    read: impl Fn(&str) -> Result<M, Unreadable>,
    store: &Store,
    now: Timestamp,
) -> Result<Vec<(&'g Delivery, M)>, NotParked> {
    let mut messages = Vec::with_capacity(group.deliveries.len());
    for (done, delivery) in group.deliveries.iter().enumerate() {
        match read(&delivery.body) {
            Ok(message) => messages.push((delivery, message)),
            Err(why) => {
                let parked = Parked::unreadable(letter(delivery), &why.to_string(), now);
                let parked = park(&parked, store).await;
                parked.map_err(|error| NotParked { done, error })?;
            }
        }
    }
    Ok(messages)
}

/// A message as its record keeps it.
#[must_use]
pub fn letter(delivery: &Delivery) -> Letter<'_> {
    Letter {
        queue: &delivery.queue,
        id: &delivery.id,
        body: &delivery.body,
        sent_at: delivery.sent_at,
        receives: delivery.receives,
    }
}

/// Parks a message: its record stands when this is done, so it may be acknowledged.
///
/// # Errors
/// [`StoreError`]
pub async fn park(parked: &Parked, store: &Store) -> Result<(), StoreError> {
    tracing::warn!(
        message = parked.id,
        reason = parked.reason,
        metric = "parked",
        "parked a message"
    );
    store.park(parked).await
}

/// Suspends a connection that waits for a person, as nothing of it can succeed: `why` is what Drive said, and `reason`
/// what the person is told.
///
/// # Errors
/// [`StoreError`]
pub async fn suspend(
    key: &ConnectionKey,
    reason: &str,
    why: &(dyn Error + Sync),
    store: &Store,
    now: Timestamp,
) -> Result<(), StoreError> {
    let error = telemetry::chain(why);
    tracing::error!(connection = %key, error, metric = "connection_suspended", "suspending");
    store.suspend(key, reason, now).await
}
