//! Waiting without sleeping for a fixed time: a condition, polled, with a bound that only a broken system reaches.

use std::time::Duration;

use tokio::time::Instant;

/// What a machine under heavy load may take; a system that works waits for none of it.
pub const BOUND: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(25);

/// Asks again until there is an answer.
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

/// Watches that something does not happen for a while: there is no event to wait for.
pub async fn never_within(what: &str, span: Duration, mut happened: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(!happened().await, "happened: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
