//! Points in time. They are recorded and shown, and never decide the order of two changes.

use std::fmt;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A day, in milliseconds.
pub const DAY_MILLIS: i64 = 24 * 3_600_000;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates a timestamp from milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns whole seconds since the Unix epoch, rounded up: the unit of DynamoDB's time to live.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000) + if self.0.rem_euclid(1000) > 0 { 1 } else { 0 }
    }

    /// Returns this time plus `millis`.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Returns the milliseconds from `earlier` to this time; negative if `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Parses a time as Drive and the API write it, e.g. `2026-11-21T09:00:00.000Z`. Returns `None`
    /// if it is not RFC 3339. Fractions of a millisecond are cut off.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000))
            .ok()
            .map(Self)
    }
}

/// RFC 3339 in UTC with milliseconds, e.g. `2026-11-21T09:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No time from Drive or this system is outside the calendar of `time` (year 9999).
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_round_trips_through_text() {
        for millis in [0, 1, 1_763_715_600_123, 4_102_444_800_000] {
            let at = Timestamp::from_millis(millis);
            assert_eq!(Timestamp::parse_rfc3339(&at.to_string()), Some(at));
        }
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn seconds_are_rounded_up_so_that_nothing_expires_early() {
        assert_eq!(Timestamp::from_millis(1001).as_seconds(), 2);
        assert_eq!(Timestamp::from_millis(1000).as_seconds(), 1);
    }
}
