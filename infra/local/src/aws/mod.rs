//! The AWS side of the system in one process: queues, table, bucket and secrets, behind the SDKs' real clients.

use std::sync::Arc;

pub mod clients;
pub mod in_process;
pub mod sqs;

/// The time in milliseconds of Unix time.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A clock that begins at `epoch_ms` now and follows tokio's time, which tests can pause and advance. Must be called in a
/// tokio runtime when its time is paused.
#[must_use]
pub fn tokio_clock(epoch_ms: i64) -> Clock {
    let start = tokio::time::Instant::now();
    Arc::new(move || {
        epoch_ms.saturating_add(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX))
    })
}

/// The machine's clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this package where time comes from"
)]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    })
}
