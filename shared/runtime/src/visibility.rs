//! How long an input that failed stays away.

use domain::Jitter;

/// How long a message that failed stays invisible, in seconds: 1 doubling to 300 with its receives, full jitter,
/// but not sooner than the other side asked for, up to an hour.
#[must_use]
pub fn visibility_seconds(receives: u32, asked_millis: Option<u64>, jitter: Jitter) -> i32 {
    const CAP_SECONDS: u64 = 300;
    // SQS hides a message for 12 hours at most, all its receives' waits counted from the last one.
    const ASKED_SECONDS_MAX: u64 = 3_600;
    let backoff = domain::Backoff {
        base_millis: 1_000,
        cap_millis: 300_000,
        failures_max: u32::MAX,
    };
    let drawn = u64::try_from(backoff.wait_millis(receives.max(1), jitter)).unwrap_or(0);
    let drawn = drawn.div_ceil(1_000).clamp(1, CAP_SECONDS);
    let asked = asked_millis.unwrap_or(0).div_ceil(1_000);
    let seconds = drawn.max(asked.min(ASKED_SECONDS_MAX));
    i32::try_from(seconds).unwrap_or(300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_grows_with_the_receives_and_honours_what_was_asked() {
        assert_eq!(visibility_seconds(1, None, Jitter(0.0)), 1);
        assert_eq!(visibility_seconds(4, None, Jitter(1.0)), 8);
        assert_eq!(visibility_seconds(50, None, Jitter(1.0)), 300);
        assert_eq!(visibility_seconds(1, Some(29_500), Jitter(0.5)), 30);
        assert_eq!(visibility_seconds(1, Some(9_000_000), Jitter(0.5)), 3_600);
    }
}
