//! When a delivery that was not accepted is attempted again: the schedule that Standard Webhooks
//! 1.0.0 proposes, of ten attempts over three days.

use crate::rate_limit::Jitter;

/// The waits between the attempts, in milliseconds.
const WAITS_MILLIS: [i64; 9] = [
    5_000,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
];
/// The attempts at one delivery.
pub const ATTEMPTS_MAX: u32 = 10;
/// The longest wait that an answer may ask for, in milliseconds.
pub const RETRY_AFTER_MILLIS_MAX: i64 = 24 * HOUR;
/// How long an endpoint may accept nothing, in milliseconds, however long it asks to wait.
pub const FAILING_MILLIS_MAX: i64 = 5 * 24 * HOUR;
/// A wait is longer by up to one part in so many, at random.
const JITTER_PART: i64 = 10;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Returns the wait after this many attempts failed, in milliseconds: that of the schedule, or the
/// one that the answer asks for, if it is longer. `None` if there is no further attempt.
#[must_use]
pub(super) fn wait_millis(
    failures: u32,
    retry_after_millis: Option<i64>,
    jitter: Jitter,
) -> Option<i64> {
    let at = usize::try_from(failures.checked_sub(1)?).ok()?;
    let wait = *WAITS_MILLIS.get(at)?;
    let asked = retry_after_millis.unwrap_or(0).min(RETRY_AFTER_MILLIS_MAX);
    let wait = wait.max(asked);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a tenth of a day in milliseconds is far below 2^52"
    )]
    let more = ((wait / JITTER_PART) as f64 * jitter.0.clamp(0.0, 1.0)) as i64;
    Some(wait + more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_attempts_take_three_days() {
        let waits = |jitter| (1..=ATTEMPTS_MAX).map_while(move |n| wait_millis(n, None, jitter));
        assert_eq!(waits(Jitter(0.0)).count() + 1, ATTEMPTS_MAX as usize);
        let sum: i64 = waits(Jitter(0.0)).sum();
        assert_eq!(sum, 75 * HOUR + 35 * MINUTE + 5_000);
        let longest: i64 = waits(Jitter(1.0)).sum();
        assert_eq!(longest, sum + sum / 10);
        assert!(longest < FAILING_MILLIS_MAX);
        assert_eq!(wait_millis(0, None, Jitter(0.0)), None);
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_within_a_day() {
        let wait = |failures, asked| wait_millis(failures, Some(asked), Jitter(0.0));
        assert_eq!(wait(1, 60_000), Some(60_000));
        assert_eq!(wait(3, 60_000), Some(30 * MINUTE));
        assert_eq!(wait(1, -5), Some(5_000));
        assert_eq!(wait(1, i64::MAX), Some(24 * HOUR));
    }
}
