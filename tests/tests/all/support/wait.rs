//! Waiting for a condition that is polled, with a time limit that only a broken system reaches.

use std::time::Duration;

use tokio::time::Instant;

/// The time limit, for a machine under heavy load.
pub const BOUND: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(25);

/// Polls until there is a result.
///
/// # Panics
/// After [`BOUND`].
pub async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = within_bound(ask).await;
    answer.unwrap_or_else(|| panic!("not within {} s: {what}", BOUND.as_secs()))
}

/// Polls until there is a result, and returns it; `None` after [`BOUND`].
pub async fn within_bound<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + BOUND;
    loop {
        let answer = ask().await;
        if answer.is_some() || Instant::now() >= end {
            return answer;
        }
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
