//! Writes that Drive does not answer, and kinds of writes that it limits by themselves.

use crate::Timestamp;
use crate::rate_limit::{
    CircuitBreaker, Limits, RateLimit, Throttled, ThrottledBy, doubled_millis,
};

/// The kind of a write with regard to Google's limits on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// Metadata is written, or a file is created or deleted.
    Edit,
    /// Content is uploaded: at most 750 GB a day (Workspace help, "Storage and upload limits").
    Upload,
    /// A permission is written. Google limits the number of people that an account shares with.
    Share,
}

/// Drive answers no write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritesRefused {
    /// The time of the first write without an answer.
    pub since: Timestamp,
    /// The latest status; `None` without any response.
    pub status: Option<u16>,
    /// The latest file; 0 if there were several.
    pub subject: u32,
}

/// A pause of one kind of writes, which grows while Drive refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pause {
    /// The end of the pause.
    pub until: Timestamp,
    /// The number of refusals since the last success.
    pub times: u32,
}

/// The first pause, in milliseconds.
const PAUSE_MILLIS_MIN: i64 = 60_000;
/// The longest pause, in milliseconds: the limits are those of a day, and lifted gradually.
const PAUSE_MILLIS_MAX: i64 = 3_600_000;

impl Pause {
    /// Returns the pause after one more refusal: a minute, doubling to an hour, and at least what
    /// Drive asked for. A refusal of a write that was sent before the pause began changes nothing.
    pub(crate) fn longer(self, asked_millis: Option<u64>, now: Timestamp) -> Self {
        if now < self.until {
            return self;
        }
        let times = self.times.saturating_add(1);
        let doubled = doubled_millis(PAUSE_MILLIS_MIN, times, PAUSE_MILLIS_MAX);
        let asked = i64::try_from(asked_millis.unwrap_or(0)).unwrap_or(i64::MAX);
        let millis = doubled.max(asked);
        Self {
            until: now.plus_millis(millis),
            times,
        }
    }
}

impl RateLimit {
    /// Checks that a kind of writes is not paused.
    ///
    /// # Errors
    /// [`Throttled`] until the end of its pause.
    pub fn check_pause(&self, kind: WriteKind, now: Timestamp) -> Result<(), Throttled> {
        let pause = match kind {
            WriteKind::Edit => return Ok(()),
            WriteKind::Upload => self.uploads,
            WriteKind::Share => self.sharing,
        };
        if now >= pause.until {
            return Ok(());
        }
        Err(Throttled {
            wait_millis: u64::try_from(pause.until.millis_since(now)).unwrap_or(1),
            by: ThrottledBy::Drive,
        })
    }

    /// Returns the pause of a kind of writes, unless all calls share its limit.
    pub(crate) fn pause_mut(&mut self, kind: WriteKind) -> Option<&mut Pause> {
        match kind {
            WriteKind::Edit => None,
            WriteKind::Upload => Some(&mut self.uploads),
            WriteKind::Share => Some(&mut self.sharing),
        }
    }

    pub(crate) fn write_answered(&mut self) {
        self.breaker = CircuitBreaker::CLOSED;
        self.writes_breaker = CircuitBreaker::CLOSED;
        self.writes_refused = None;
    }

    /// Counts a write without an answer. One file that fails again and again says nothing about
    /// the others, so it counts once.
    pub(crate) fn write_failed(
        &mut self,
        status: Option<u16>,
        subject: u32,
        limits: &Limits,
        now: Timestamp,
    ) {
        let before = self.writes_refused;
        let same_file = subject != 0 && before.is_some_and(|before| before.subject == subject);
        self.writes_refused = Some(WritesRefused {
            since: before.map_or(now, |before| before.since),
            status,
            subject,
        });
        if !same_file || self.writes_breaker.is_open() {
            self.writes_breaker = self.writes_breaker.failed(limits, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::{CallKind, CallOutcome, Cost};

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_795_251_600_000 + millis)
    }

    fn after(rate_limit: RateLimit, outcome: CallOutcome, now: i64) -> RateLimit {
        let next = rate_limit.record_outcome(outcome, false, &Limits::default(), at(now));
        next.unwrap_or(rate_limit)
    }

    fn failed(subject: u32) -> CallOutcome {
        CallOutcome::WriteFailed {
            status: Some(503),
            subject,
        }
    }

    #[test]
    fn writes_that_fail_stop_writes_and_not_reads_and_one_write_tests_them() {
        let limits = Limits::default();
        let mut rate_limit = RateLimit::new(&limits, at(0));
        for subject in 1..=5 {
            rate_limit = after(rate_limit, failed(subject), 0);
            rate_limit = after(rate_limit, CallOutcome::Answered, 0);
        }
        let refused = rate_limit.writes_refused.unwrap();
        assert_eq!((refused.since, refused.status), (at(0), Some(503)));
        let (read, write) = (
            CallKind::Read.cost(1, limits.model),
            CallKind::Edit.cost(1, limits.model),
        );
        let lease = |rate_limit: &RateLimit, ask, now| {
            rate_limit.lease(ask, Cost::default(), false, &limits, at(now))
        };
        assert!(!lease(&rate_limit, read, 1).unwrap().trial);
        assert_eq!(
            lease(&rate_limit, write, 1).unwrap_err().by,
            ThrottledBy::Breaker
        );
        let trial = lease(&rate_limit, write, 60_001).unwrap();
        assert!(trial.trial);
        assert!(lease(&trial.rate_limit, write, 60_002).is_err());
        let again = after(trial.rate_limit, failed(1), 60_003);
        assert!(again.are_writes_blocked());
        assert_eq!(again.writes_refused.unwrap().since, at(0));
        let answered = CallOutcome::WriteAnswered(WriteKind::Edit);
        let well = after(trial.rate_limit, answered, 60_003);
        assert_eq!(well.writes_breaker, CircuitBreaker::CLOSED);
        assert_eq!(well.writes_refused, None);
    }

    #[test]
    fn one_file_that_fails_for_ever_stops_no_other() {
        let mut rate_limit = RateLimit::new(&Limits::default(), at(0));
        for now in 0..100 {
            rate_limit = after(rate_limit, failed(7), now);
        }
        assert!(!rate_limit.are_writes_blocked());
    }

    #[test]
    fn refused_uploads_pause_uploads_and_slow_nothing_else() {
        let limits = Limits::default();
        let mut rate_limit = RateLimit::new(&limits, at(0));
        let before = rate_limit.writes_per_minute;
        let limited = CallOutcome::WriteLimited(WriteKind::Upload, None);
        for (now, until) in [(0, 60_000), (5, 60_000), (60_000, 180_000)] {
            rate_limit = after(rate_limit, limited, now);
            assert_eq!(rate_limit.uploads.until, at(until));
        }
        assert!(!rate_limit.is_blocked(at(60_001)));
        assert_eq!(rate_limit.writes_per_minute, before);
        let paused = rate_limit.check_pause(WriteKind::Upload, at(60_001));
        assert_eq!(paused.unwrap_err().wait_millis, 119_999);
        for kind in [WriteKind::Edit, WriteKind::Share] {
            assert_eq!(rate_limit.check_pause(kind, at(60_001)), Ok(()));
        }
        for times in 3..99 {
            rate_limit = after(rate_limit, limited, times * 3_600_000);
        }
        let pause = rate_limit.uploads.until.millis_since(at(98 * 3_600_000));
        assert_eq!(pause, PAUSE_MILLIS_MAX);
        let answered = CallOutcome::WriteAnswered(WriteKind::Upload);
        let well = after(rate_limit, answered, 99 * 3_600_000);
        assert_eq!(well.uploads, Pause::default());
    }
}
