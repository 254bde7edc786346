//! Notification channels that nobody knows any more: Drive notifies one, and no item names it.
//!
//! It was opened by this system, which its token proves, and its item is gone: the opener ended
//! between Drive's answer and its own write, Drive did not answer when it was asked to stop it, or
//! the table was restored to a time before it was opened. Drive goes on notifying it for up to a
//! week.

use crate::rate_limit::growing_wait_millis;
use crate::{Jitter, Timestamp};

/// The longest life of a channel on a change log, in milliseconds: 604,800 s (Drive v3 reference,
/// `changes.watch`).
pub const CHANNEL_LIFE_MILLIS: i64 = 604_800_000;

/// The time for which a channel that no item names is only remembered, in milliseconds. It is
/// longer than any function runs, so an item that is still to be written is written by then; and
/// longer than a notification of a channel that was stopped just now is under way.
pub const STRAY_GRACE_MILLIS: i64 = 600_000;

/// A channel that no item names, since its first notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    /// The time of the first notification.
    pub first_seen: Timestamp,
    /// The number of attempts to stop it that failed.
    pub failures: u32,
    /// The time of the next attempt.
    pub due_at: Timestamp,
}

/// What else is known when a stray channel is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrayFacts {
    /// Whether an item names the channel after all.
    pub known: bool,
    /// Whether its connection exists: with its credentials the channel was opened, and with no
    /// others it can be stopped.
    pub has_connection: bool,
}

/// What is done about a stray channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrayStep {
    /// It is looked at again at this time.
    Wait(Timestamp),
    /// It is stopped in Drive.
    Stop,
    /// It is not a stray any more, or has expired, or can't be stopped: it is left alone.
    Forget,
}

impl Stray {
    /// Returns a channel that was notified just now for the first time.
    #[must_use]
    pub const fn seen(now: Timestamp) -> Self {
        Self {
            first_seen: now,
            failures: 0,
            due_at: now.plus_millis(STRAY_GRACE_MILLIS),
        }
    }

    /// Returns the time by which Drive has let it expire: it was open when it was first seen.
    #[must_use]
    pub const fn expires_at(self) -> Timestamp {
        self.first_seen.plus_millis(CHANNEL_LIFE_MILLIS)
    }

    /// Returns the time of the next attempt to stop it: never within the time for which it is only
    /// remembered.
    #[must_use]
    pub fn stops_at(self) -> Timestamp {
        let grace_ends = self.first_seen.plus_millis(STRAY_GRACE_MILLIS);
        self.due_at.max(grace_ends)
    }

    /// Returns what is done about it now.
    #[must_use]
    pub fn next(self, facts: StrayFacts, now: Timestamp) -> StrayStep {
        let stops_at = self.stops_at();
        if facts.known || !facts.has_connection || now >= self.expires_at() {
            StrayStep::Forget
        } else if now < stops_at {
            StrayStep::Wait(stops_at)
        } else {
            StrayStep::Stop
        }
    }

    /// Returns it after an attempt to stop it failed: it is tried again, at intervals that grow to
    /// a day.
    #[must_use]
    pub fn not_stopped(self, now: Timestamp, jitter: Jitter) -> Self {
        let failures = self.failures.saturating_add(1);
        Self {
            failures,
            due_at: now.plus_millis(growing_wait_millis(failures, jitter)),
            ..self
        }
    }

    /// Returns it after a person asked to stop it: no wait after a failure counts any more. The
    /// time for which it is only remembered does.
    #[must_use]
    pub fn hurried(self, now: Timestamp) -> Self {
        Self {
            due_at: self.due_at.min(now),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * MINUTE)
    }

    const ALONE: StrayFacts = StrayFacts {
        known: false,
        has_connection: true,
    };

    #[test]
    fn a_stray_is_stopped_only_after_its_grace_while_open_and_by_its_owner() {
        let week = CHANNEL_LIFE_MILLIS / MINUTE;
        let grace = STRAY_GRACE_MILLIS / MINUTE;
        for due in [-5, 0, 5, grace, grace + 5, week, week + 5] {
            for now in [
                -5,
                0,
                5,
                grace - 1,
                grace,
                grace + 5,
                week - 1,
                week,
                week + 5,
            ] {
                for known in [false, true] {
                    for has_connection in [false, true] {
                        let stray = Stray {
                            due_at: at(due),
                            ..Stray::seen(at(0))
                        };
                        let facts = StrayFacts {
                            known,
                            has_connection,
                        };
                        let step = stray.next(facts, at(now));
                        let stops = step == StrayStep::Stop;
                        let may = !known && has_connection && now >= grace && now < week;
                        assert_eq!(stops, may && now >= due, "{stray:?} {facts:?} {now}");
                        // It is left alone for good, or looked at later: never at once again.
                        if let StrayStep::Wait(until) = step {
                            assert!(until > at(now) && now < week, "{stray:?} {now}");
                        }
                        let ends = known || !has_connection || now >= week;
                        assert_eq!(step == StrayStep::Forget, ends, "{stray:?} {facts:?} {now}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_stop_that_fails_is_repeated_ever_later_and_at_once_when_a_person_asks() {
        let mut stray = Stray::seen(at(0));
        let mut now = stray.due_at;
        let mut last = 0;
        while now < stray.expires_at() {
            assert_eq!(stray.next(ALONE, now), StrayStep::Stop);
            stray = stray.not_stopped(now, Jitter(0.5));
            let wait = stray.due_at.millis_since(now);
            assert!(wait >= last && wait <= 86_400_000, "{wait}");
            assert_eq!(stray.hurried(now).next(ALONE, now), StrayStep::Stop);
            (now, last) = (stray.due_at, wait);
        }
        assert!((12..30).contains(&stray.failures), "{}", stray.failures);
        assert_eq!(stray.next(ALONE, now), StrayStep::Forget);
    }

    #[test]
    fn a_person_does_not_shorten_the_grace() {
        let stray = Stray::seen(at(0)).hurried(at(1));
        let grace = Timestamp::from_millis(STRAY_GRACE_MILLIS);
        assert_eq!(stray.next(ALONE, at(1)), StrayStep::Wait(grace));
        assert_eq!(stray.next(ALONE, grace), StrayStep::Stop);
    }
}
