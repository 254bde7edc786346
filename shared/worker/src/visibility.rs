//! The visibility timeout of a failed message.

use domain::Jitter;

/// Returns the visibility timeout of a failed message, in seconds: a cap that doubles from 1 to 300
/// with its receives, with full jitter, but not less than the called service requested for, up to
/// an hour.
#[must_use]
pub fn visibility_seconds(receives: u32, requested_millis: Option<u64>, jitter: Jitter) -> i32 {
    const CAP_SECONDS: u64 = 300;
    // SQS allows at most 12 hours, counted from the receive.
    const REQUESTED_SECONDS_MAX: u64 = 3_600;
    let backoff = domain::Backoff {
        base_millis: 1_000,
        cap_millis: 300_000,
        failures_max: u32::MAX,
    };
    let drawn = u64::try_from(backoff.wait_millis(receives.max(1), jitter)).unwrap_or(0);
    let drawn = drawn.div_ceil(1_000).clamp(1, CAP_SECONDS);
    let requested = requested_millis.unwrap_or(0).div_ceil(1_000);
    let seconds = drawn.max(requested.min(REQUESTED_SECONDS_MAX));
    i32::try_from(seconds).unwrap_or(300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_grows_with_the_receives_and_respects_a_requested_delay() {
        assert_eq!(visibility_seconds(1, None, Jitter(0.0)), 1);
        assert_eq!(visibility_seconds(4, None, Jitter(1.0)), 8);
        assert_eq!(visibility_seconds(50, None, Jitter(1.0)), 300);
        assert_eq!(visibility_seconds(1, Some(29_500), Jitter(0.5)), 30);
        assert_eq!(visibility_seconds(1, Some(9_000_000), Jitter(0.5)), 3_600);
    }
}
