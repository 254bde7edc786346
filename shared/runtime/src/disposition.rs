//! What becomes of an input whose work did not succeed.

use domain::Jitter;

/// The three ends of a failure. Everything unknown is [`Disposition::Retry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// It may succeed later: the input stays, and comes back after a while.
    Retry {
        /// How long to stay away at least, if the other side said so, in milliseconds.
        after_millis: Option<u64>,
    },
    /// It can never succeed: the input is set aside with its reason.
    Park {
        /// Why, for a person.
        reason: String,
    },
    /// Nothing can succeed now, e.g. because the grant was revoked: the input is let go (what it
    /// stands for is kept elsewhere), and the connection is suspended until someone mends it.
    Halt {
        /// Why, for a person.
        reason: String,
    },
}

/// How long a message that failed stays invisible, in seconds: 1 doubling to 300 with its receives, full jitter,
/// but not sooner than the other side asked for.
#[must_use]
pub fn visibility_seconds(receives: u32, asked_millis: Option<u64>, jitter: Jitter) -> i32 {
    const CAP_SECONDS: u64 = 300;
    let backoff = domain::Backoff {
        base_millis: 1_000,
        cap_millis: 300_000,
        failures_max: u32::MAX,
    };
    let drawn = u64::try_from(backoff.wait_millis(receives.max(1), jitter)).unwrap_or(0);
    let seconds = drawn
        .max(asked_millis.unwrap_or(0))
        .div_ceil(1_000)
        .clamp(1, CAP_SECONDS);
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
        assert_eq!(visibility_seconds(1, Some(9_000_000), Jitter(0.5)), 300);
    }
}
