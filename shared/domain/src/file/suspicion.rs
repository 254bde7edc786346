//! Answers that are believed only once they have been repeated for a while.

use crate::{Gone, Timestamp};

/// The number of equal answers that make a suspicion certain.
const ANSWERS_MIN: u32 = 3;
/// The time over which they are spread at least, in milliseconds.
const SPREAD_MILLIS_MIN: i64 = 600_000;

/// An answer of Drive's that may be wrong, and how often and since when it was given.
///
/// Drive is known to answer 404 to what exists, for seconds, so a single 404 is no fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    /// The time of the first answer.
    pub since: Timestamp,
    /// The number of equal answers.
    pub times: u32,
}

impl Suspicion {
    /// Adds an answer that was given at `now` to the earlier ones, if there are any.
    #[must_use]
    pub fn again(before: Option<Self>, now: Timestamp) -> Self {
        let first = Self {
            since: now,
            times: 0,
        };
        let before = before.unwrap_or(first);
        Self {
            times: before.times.saturating_add(1),
            ..before
        }
    }

    /// Returns whether the answers are enough to be believed: three over at least ten minutes.
    #[must_use]
    pub fn is_certain(self, now: Timestamp) -> bool {
        self.times >= ANSWERS_MIN && now.millis_since(self.since) >= SPREAD_MILLIS_MIN
    }
}

/// A present file that Drive did not find when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The meaning of the answers if they are right.
    pub why: Gone,
    /// How often and since when.
    pub seen: Suspicion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_answers_over_ten_minutes_are_believed_and_nothing_less() {
        let at = |minutes: i64| Timestamp::from_millis(minutes * 60_000);
        for (answers, believed) in [
            (&[0][..], false),
            (&[0, 10], false),
            (&[0, 1, 2, 3, 4, 9], false),
            (&[0, 5, 10], true),
            (&[0, 0, 600], true),
        ] {
            let again = |before, minutes: &i64| Some(Suspicion::again(before, at(*minutes)));
            let seen = answers.iter().fold(None, again).unwrap();
            let now = at(*answers.last().unwrap());
            assert_eq!(seen.is_certain(now), believed, "{answers:?}");
        }
    }
}
