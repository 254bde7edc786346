//! What a log needs although nothing happens.

use super::LogEnd;
use crate::{DAY_MILLIS, Timestamp};

/// The days that events are kept unless the deployment says otherwise.
pub const EVENT_DAYS: u32 = 7;

/// What is stored of a log besides its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventLogState {
    /// Events could not be appended: readers must be told to reload.
    pub reset_owed: bool,
}

/// What a log needs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Upkeep {
    /// To append `sync:reset`.
    Reset,
    /// To append `sync:heartbeat`: the newest item would expire.
    Heartbeat,
    /// Nothing until this time.
    Wait(Timestamp),
}

/// Returns what a log needs. The newest item is followed by another one two days before it expires
/// (half of the time, if events are kept for less than four days), so that it never does while the
/// schedule runs.
#[must_use]
pub fn upkeep(
    state: EventLogState,
    end: Option<&LogEnd>,
    event_days: u32,
    now: Timestamp,
) -> Upkeep {
    if state.reset_owed {
        return Upkeep::Reset;
    }
    let kept_millis = i64::from(event_days) * DAY_MILLIS;
    let quiet_millis = (kept_millis - 2 * DAY_MILLIS).max(kept_millis / 2);
    match end {
        None => Upkeep::Heartbeat,
        Some(end) => {
            let at = end.at.plus_millis(quiet_millis);
            if at <= now {
                Upkeep::Heartbeat
            } else {
                Upkeep::Wait(at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Epoch;

    fn end(at: i64) -> LogEnd {
        LogEnd {
            epoch: Epoch(1),
            first: 1,
            number: 1,
            last: 0,
            at: Timestamp::from_millis(at),
            expires_at: Timestamp::from_millis(i64::MAX),
            table: None,
        }
    }

    #[test]
    fn a_quiet_log_is_continued_before_its_newest_item_expires() {
        let at = |state, days, now| upkeep(state, Some(&end(0)), days, Timestamp::from_millis(now));
        let calm = EventLogState::default();
        for days in [1, 2, 3, 7, 30] {
            let Upkeep::Wait(due) = at(calm, days, 0) else {
                panic!("nothing is due at once");
            };
            assert!(due.as_millis() < i64::from(days) * DAY_MILLIS);
            assert_eq!(at(calm, days, due.as_millis()), Upkeep::Heartbeat);
            assert_eq!(at(calm, days, due.as_millis() - 1), Upkeep::Wait(due));
        }
        let owed = EventLogState { reset_owed: true };
        assert_eq!(at(owed, 7, 0), Upkeep::Reset);
        assert_eq!(upkeep(calm, None, 7, end(0).at), Upkeep::Heartbeat);
    }
}
