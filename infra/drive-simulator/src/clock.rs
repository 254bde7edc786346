//! The simulator's clock: the machine's time, or a time source of the embedder, plus an offset that
//! tests advance.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Returns the time, in milliseconds since 1970.
pub type TimeSource = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A time source plus an offset, which only moves forward.
pub(crate) struct Clock {
    now: TimeSource,
    offset_ms: AtomicI64,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Clock {
    /// Creates a clock on a time source; `None` is the machine's time.
    pub(crate) fn new(now: Option<TimeSource>) -> Self {
        Self {
            now: now.unwrap_or_else(|| Arc::new(machine_ms)),
            offset_ms: AtomicI64::default(),
        }
    }

    /// Returns the time, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        (self.now)().saturating_add(self.offset_ms.load(Ordering::Relaxed))
    }

    /// Moves the clock forward.
    pub(crate) fn advance(&self, milliseconds: u64) {
        self.offset_ms.fetch_add(
            i64::try_from(milliseconds).unwrap_or(i64::MAX),
            Ordering::Relaxed,
        );
    }

    /// Sets the offset back to zero.
    pub(crate) fn reset(&self) {
        self.offset_ms.store(0, Ordering::Relaxed);
    }
}

fn machine_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else in the crate takes as an argument"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |elapsed| {
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Formats milliseconds since 1970 as Drive does: `2026-11-21T08:57:00.123Z`.
pub(crate) fn rfc3339(ms: i64) -> String {
    let Some(time) = date_time(ms) else {
        return String::from("1970-01-01T00:00:00.000Z");
    };
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond()
    )
}

/// Formats milliseconds since 1970 as an HTTP date, for `X-Goog-Channel-Expiration`: `Tue, 19 Nov
/// 2013 01:13:52 GMT`.
pub(crate) fn http_date(ms: i64) -> String {
    let Some(time) = date_time(ms) else {
        return String::from("Thu, 01 Jan 1970 00:00:00 GMT");
    };
    let (weekday, month) = (time.weekday().to_string(), time.month().to_string());
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        weekday.get(..3).unwrap_or_default(),
        time.day(),
        month.get(..3).unwrap_or_default(),
        time.year(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn date_time(ms: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()
}

/// Parses a time as Drive accepts it: RFC 3339, in UTC if it has no offset. `None` for any other
/// text.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let nanos = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
        .or_else(|_| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339))
        .ok()?
        .unix_timestamp_nanos();
    i64::try_from(nanos / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_with_milliseconds_and_read_back() {
        assert_eq!(rfc3339(1_384_823_632_123), "2013-11-19T01:13:52.123Z");
        assert_eq!(
            parse_time("2013-11-19T01:13:52.123Z"),
            Some(1_384_823_632_123)
        );
        assert_eq!(
            parse_time("2013-11-19T03:13:52.123+02:00"),
            Some(1_384_823_632_123)
        );
    }

    #[test]
    fn a_time_without_an_offset_is_utc_and_other_text_is_refused() {
        assert_eq!(
            parse_time("2012-06-04T12:00:00"),
            parse_time("2012-06-04T12:00:00Z")
        );
        assert_eq!(parse_time("2012-06-04"), parse_time("2012-06-04T00:00:00Z"));
        assert_eq!(parse_time("yesterday"), None);
    }

    #[test]
    fn a_channels_expiration_header_is_an_http_date() {
        assert_eq!(
            http_date(1_384_823_632_000),
            "Tue, 19 Nov 2013 01:13:52 GMT"
        );
    }
}
