//! Backoff: the wait before the next attempt.

/// A random number in `0.0..1.0`, drawn by the caller: this crate has no source of randomness.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter(pub f64);

impl Jitter {
    /// Returns `millis`, varied by up to 20 % in either direction.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 1.2 times what came in"
    )]
    #[expect(clippy::cast_precision_loss, reason = "a wait, not a sum of money")]
    pub fn around(self, millis: i64) -> i64 {
        (millis as f64 * (0.8 + 0.4 * self.0.clamp(0.0, 1.0))) as i64
    }
}

/// Exponential backoff with full jitter: a wait drawn evenly from zero to `base * 2^(attempts -
/// 1)`, capped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The ceiling of the first wait, in milliseconds.
    pub base_millis: u32,
    /// The highest ceiling, in milliseconds.
    pub cap_millis: u32,
    /// The number of failures after which a file's pushes are given up, until it is retried or
    /// edited.
    pub failures_max: u32,
}

impl Backoff {
    /// One second, doubling to five minutes. Only attempts whose worker ended before it recorded an
    /// outcome count as failures.
    pub const PUSH: Self = Self {
        base_millis: 1_000,
        cap_millis: 300_000,
        failures_max: 5,
    };

    /// Returns the milliseconds to wait after `attempts` attempts that did not succeed.
    #[must_use]
    pub fn wait_millis(self, attempts: u32, jitter: Jitter) -> i64 {
        let (base, cap) = (i64::from(self.base_millis), i64::from(self.cap_millis));
        let ceiling = doubled_millis(base, attempts, cap);
        // At most 300,000, which a float represents exactly.
        #[expect(clippy::cast_possible_truncation, reason = "between 0 and the cap")]
        #[expect(clippy::cast_precision_loss, reason = "at most the cap")]
        let wait = (ceiling as f64 * jitter.0.clamp(0.0, 1.0)) as i64;
        wait
    }
}

/// The first wait before something that did not succeed is tried again, in milliseconds.
const GROWING_MILLIS_MIN: i64 = 30_000;
/// The longest such wait, in milliseconds: a day.
const GROWING_MILLIS_MAX: i64 = 86_400_000;

/// Returns the wait, in milliseconds, before what has failed `times` times for a reason that can
/// pass is tried again: half a minute, doubling to a day, with 20 % of jitter.
#[must_use]
pub fn growing_wait_millis(times: u32, jitter: Jitter) -> i64 {
    jitter.around(doubled_millis(
        GROWING_MILLIS_MIN,
        times,
        GROWING_MILLIS_MAX,
    ))
}

/// Returns the wait after `times` attempts, in milliseconds, without jitter: `first_millis` after
/// the first, doubling up to `max_millis`.
#[must_use]
pub fn doubled_millis(first_millis: i64, times: u32, max_millis: i64) -> i64 {
    let doublings = times.saturating_sub(1).min(30);
    first_millis.saturating_mul(1 << doublings).min(max_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_pass_is_tried_again_at_intervals_that_grow_to_a_day() {
        let wait = |times| growing_wait_millis(times, Jitter(0.5));
        assert_eq!((wait(1), wait(2), wait(3)), (30_000, 60_000, 120_000));
        assert_eq!((wait(12), wait(13)), (61_440_000, 86_400_000));
        assert_eq!(wait(u32::MAX), 86_400_000);
        assert_eq!(growing_wait_millis(99, Jitter(1.0)), 103_680_000);
    }

    #[test]
    fn the_wait_doubles_up_to_its_cap_and_is_spread_from_zero() {
        let wait = |attempts, jitter| Backoff::PUSH.wait_millis(attempts, Jitter(jitter));
        assert_eq!(wait(1, 1.0), 1_000);
        assert_eq!(wait(2, 1.0), 2_000);
        assert_eq!(wait(9, 1.0), 256_000);
        assert_eq!(wait(10, 1.0), 300_000);
        assert_eq!(wait(u32::MAX, 1.0), 300_000);
        assert_eq!(wait(5, 0.0), 0);
        assert_eq!(wait(5, 0.5), 8_000);
    }
}
