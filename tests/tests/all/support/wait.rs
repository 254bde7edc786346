//! Waiting for a condition that is polled, with a time limit that only a broken system reaches.

use std::time::Duration;

use tokio::time::Instant;

/// The time limit, for a machine under heavy load.
pub const BOUND: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(25);

/// Polls until there is a result.
///
/// # Panics
/// After [`BOUND`].
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            Instant::now() < end,
            "not within {} s: {what}",
            BOUND.as_secs()
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asserts that something does not happen for a while.
pub async fn never_within(what: &str, span: Duration, mut happened: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(!happened().await, "happened: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
