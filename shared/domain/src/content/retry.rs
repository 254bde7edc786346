//! Content that could not be had: when it is asked for again.
//!
//! What can pass is asked again at waits that double to a day, for as long as it lasts. What Drive
//! itself forbids waits for a change of the file, and is looked at once a month, since Drive does
//! not report every end of such a state. A person, a sync and an audit ask at once.
//!
//! All of it takes at most one hundredth of a connection's quota: each attempt takes a slot of
//! [`ContentRetries`], and slots are apart far enough ([`slot_millis`]).

use super::ContentState;
use crate::rate_limit::{CallKind, Limits, doubled_millis};
use crate::{Jitter, Timestamp};

/// The ceiling of the first wait, in milliseconds.
const WAIT_MILLIS: i64 = 20_000;
/// The highest ceiling: a day.
const WAIT_MILLIS_MAX: i64 = 24 * 3_600 * 1_000;
/// The wait for what Drive itself forbids: 30 days.
const FORBIDDEN_MILLIS: i64 = 30 * WAIT_MILLIS_MAX;
/// The time after which trouble is shown as a state that lasts: an hour.
const LASTS_MILLIS: i64 = 3_600_000;
/// The share of the quota that all attempts take together: one hundredth.
const QUOTA_SHARE: u64 = 100;

/// Content that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What was asked for. Something else is asked for at once.
    pub of: String,
    /// The reason of the last attempt, for a person.
    pub reason: String,
    /// What the reason says about the next attempt.
    pub verdict: Verdict,
    /// The time of the first attempt that failed.
    pub since: Timestamp,
    /// The time of the last attempt.
    pub asked_at: Timestamp,
}

/// What the reason of a failure says about the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass: a failure, damaged bytes, a limit, or a reason that is not known.
    Passing,
    /// Drive refuses the content for a known reason, which may pass nevertheless.
    Refused,
    /// Drive itself says that the content is not to be downloaded.
    Forbidden,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was asked for.
    pub of: String,
    /// The reason, for a person.
    pub reason: String,
    /// What the reason says about the next attempt.
    pub verdict: Verdict,
}

impl Trouble {
    /// Returns whether it is shown as a state that lasts: Drive gave a known reason, or it has been
    /// so for an hour.
    #[must_use]
    pub fn lasts(&self, now: Timestamp) -> bool {
        match self.verdict {
            Verdict::Passing => now.millis_since(self.since) >= LASTS_MILLIS,
            Verdict::Refused | Verdict::Forbidden => true,
        }
    }
}

impl ContentState {
    /// Returns the state after an attempt at `now` that failed. What is in progress is kept.
    #[must_use]
    pub fn with_trouble(&self, failure: Failure, due_at: Timestamp, now: Timestamp) -> Self {
        let earlier = self.trouble.as_ref().filter(|known| known.of == failure.of);
        let failures = earlier.map_or(0, |_| self.failures);
        Self {
            failures: failures.saturating_add(1),
            due_at: Some(due_at),
            trouble: Some(Trouble {
                of: failure.of,
                reason: failure.reason,
                verdict: failure.verdict,
                since: earlier.map_or(now, |known| known.since),
                asked_at: now,
            }),
            ..self.clone()
        }
    }

    /// Returns the number of attempts for `of` that failed one after the other.
    #[must_use]
    pub fn failures_of(&self, of: &str) -> u32 {
        let known = self.trouble.as_ref().filter(|known| known.of == of);
        known.map_or(0, |_| self.failures)
    }

    /// Returns whether `of` could not be had and is not asked for again yet. `asked_at` is the time
    /// at which a person, a sync or an audit last asked for everything.
    #[must_use]
    pub fn waits_for(&self, of: &str, now: Timestamp, asked_at: Timestamp) -> bool {
        let Some(trouble) = self.trouble.as_ref().filter(|known| known.of == of) else {
            return false;
        };
        self.due_at.is_some_and(|due| due > now) && trouble.asked_at >= asked_at
    }
}

/// Returns the wait after this many failed attempts, in milliseconds: drawn evenly from the upper
/// third of a ceiling that doubles from 20 seconds to a day.
#[must_use]
pub fn retry_wait_millis(failures: u32, verdict: Verdict, jitter: Jitter) -> i64 {
    let ceiling = match verdict {
        Verdict::Forbidden => FORBIDDEN_MILLIS,
        Verdict::Passing | Verdict::Refused => {
            doubled_millis(WAIT_MILLIS, failures, WAIT_MILLIS_MAX)
        }
    };
    // 80 % to 120 % of five sixths.
    jitter.around(ceiling) * 5 / 6
}

/// The attempts of a connection at content that could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContentRetries {
    /// This system's revision: the condition of every write. 0 if it was never stored.
    pub revision: u64,
    /// The next free slot.
    pub slot_at: Timestamp,
    /// The time at which a person, a sync or an audit last asked for everything that could not be
    /// had.
    pub asked_at: Timestamp,
    /// The version of the rules by which all files were last scanned: [`CONTENT_RULES`].
    pub scanned: u32,
}

/// The version of the rules that decide which content is wanted. If it is raised, the files of
/// every connection are scanned once, since nothing else reports what older rules left out.
///
/// 1: content that could not be had, or of which Drive states no SHA-256, was given up.
pub const CONTENT_RULES: u32 = 1;

impl ContentRetries {
    /// Takes a slot at or after `from`. Returns its time, and the retries after that.
    ///
    /// A slot is taken when an attempt failed at `now`, and is never later than the attempt that it
    /// is for. So up to any time no more attempts are made than slots have passed, and a slot
    /// passes every `slot_millis`, however many files are in trouble.
    #[must_use]
    pub fn take_slot(
        &self,
        from: Timestamp,
        now: Timestamp,
        slot_millis: i64,
    ) -> (Timestamp, Self) {
        let slot = self.slot_at.max(now);
        let taken = Self {
            slot_at: slot.plus_millis(slot_millis),
            ..*self
        };
        (slot.max(from), taken)
    }
}

/// Returns the time from one slot to the next, in milliseconds.
///
/// An attempt reads the file and downloads it, or reads it and prepares and downloads an export:
/// 5 + 200 + 200 = 405 units at most. One hundredth of a user's 325,000 units a minute is 3,250
/// units, which is 8 attempts a minute: one every 7.5 seconds, 11,500 a day. So 11,500 files are
/// asked for daily, and more than that in turn.
#[must_use]
pub fn slot_millis(limits: &Limits) -> i64 {
    let cost =
        CallKind::Read.cost(1, limits.model).quota + CallKind::Download.cost(2, limits.model).quota;
    let quota = u64::from(limits.quota_per_minute.max(1));
    let millis = u64::from(cost) * 60_000 * QUOTA_SHARE / quota;
    i64::try_from(millis).unwrap_or(WAIT_MILLIS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Jitter = Jitter(0.5);
    const DAY: i64 = WAIT_MILLIS_MAX;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn failure(of: &str, verdict: Verdict) -> Failure {
        Failure {
            of: of.to_owned(),
            reason: "downloadQuotaExceeded".to_owned(),
            verdict,
        }
    }

    #[test]
    fn the_waits_grow_to_a_day_and_are_a_month_for_what_is_forbidden() {
        let wait = |failures| retry_wait_millis(failures, Verdict::Passing, Jitter(1.0));
        assert_eq!(wait(1), 20_000);
        assert_eq!(wait(2), 40_000);
        assert_eq!(wait(13), 20_000 << 12);
        assert_eq!(wait(14), DAY);
        assert_eq!(wait(u32::MAX), DAY);
        for failures in [1, 2, 7, 14, 99] {
            let drawn = |jitter| retry_wait_millis(failures, Verdict::Refused, Jitter(jitter));
            assert!(drawn(0.0) >= wait(failures) / 2 && drawn(0.0) < drawn(1.0));
            assert!(drawn(1.0) <= wait(failures));
        }
        let forbidden = retry_wait_millis(1, Verdict::Forbidden, Jitter(1.0));
        assert_eq!(forbidden, 30 * DAY);
        let first_day = (1..).scan(0, |passed, failures| {
            *passed += retry_wait_millis(failures, Verdict::Passing, HALF);
            (*passed < DAY).then_some(failures)
        });
        assert_eq!(first_day.last(), Some(12), "attempts on the first day");
    }

    #[test]
    fn trouble_waits_until_it_is_due_or_asked_for_or_something_else_is_wanted() {
        let state = ContentState::default();
        let once = state.with_trouble(failure("a", Verdict::Passing), at(50), at(10));
        assert!(once.waits_for("a", at(49), at(10)));
        assert!(!once.waits_for("a", at(50), at(10)), "due");
        assert!(!once.waits_for("a", at(49), at(11)), "asked for");
        assert!(!once.waits_for("b", at(49), at(10)), "another content");
        assert!(!state.waits_for("a", at(0), at(0)));

        let twice = once.with_trouble(failure("a", Verdict::Passing), at(90), at(50));
        let trouble = twice.trouble.clone().unwrap();
        assert_eq!((twice.failures, trouble.since), (2, at(10)));
        let other = twice.with_trouble(failure("b", Verdict::Passing), at(99), at(60));
        assert_eq!((other.failures, other.trouble.unwrap().since), (1, at(60)));
        assert_eq!((twice.failures_of("a"), twice.failures_of("b")), (2, 0));
    }

    #[test]
    fn only_a_reason_that_is_not_known_must_be_seen_for_long() {
        for (verdict, at_once) in [
            (Verdict::Passing, false),
            (Verdict::Refused, true),
            (Verdict::Forbidden, true),
        ] {
            let state = ContentState::default();
            let state = state.with_trouble(failure("a", verdict), at(0), at(0));
            let trouble = state.trouble.unwrap();
            assert_eq!(trouble.lasts(at(LASTS_MILLIS - 1)), at_once);
            assert!(trouble.lasts(at(LASTS_MILLIS)));
        }
    }

    #[test]
    fn all_attempts_together_take_at_most_one_hundredth_of_the_quota() {
        let limits = Limits::default();
        let slot = slot_millis(&limits);
        let mut retries = ContentRetries::default();
        let mut due = Vec::new();
        // 10,000 files fail within ten seconds.
        for number in 0..10_000_u32 {
            let now = at(i64::from(number));
            let wait = retry_wait_millis(1, Verdict::Passing, HALF);
            let (at, taken) = retries.take_slot(now.plus_millis(wait), now, slot);
            retries = taken;
            due.push(at.as_millis());
        }
        due.sort_unstable();
        let (minutes, units) = (due[9_999] / 60_000 + 1, 10_000 * 405);
        assert!(units / minutes <= i64::from(limits.quota_per_minute) / 100);
        let few = ContentRetries::default();
        assert_eq!(few.take_slot(at(500), at(100), slot).0, at(500));
    }
}
