//! Suspends connections that Drive rejects.

use std::error::Error;

use domain::{ConnectionKey, Timestamp};
use runtime::telemetry;
use store::{Store, StoreError};

/// Suspends a connection for which nothing can succeed until a person acts. `why` is Drive's
/// error; `reason` is shown to the person.
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
    tracing::error!(
        connection = %key,
        error,
        metric = "connection_suspended",
        "connection suspended"
    );
    store.suspend(key, reason, now).await
}
