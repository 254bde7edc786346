//! Positions in an event log.

use std::fmt;

/// One life of an event log: drawn when the log is begun or found empty, and when its table was
/// restored. Numbers of different epochs can't be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The position of an event in its log, `<epoch>.<number>.<index>`. As a cursor: everything up to
/// this event was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventCursor {
    /// The epoch.
    pub epoch: Epoch,
    /// The number of the item, counted from 1 in a new log. Numbers are dense.
    pub number: u64,
    /// The index of the event within its item, counted from 0.
    pub index: u32,
}

/// The text is not a cursor of an event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidEventCursor;

impl fmt::Display for InvalidEventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a cursor of an event log: <epoch>.<number>.<index>")
    }
}

impl std::error::Error for InvalidEventCursor {}

impl EventCursor {
    /// Parses what `Display` writes; a position has exactly one text.
    ///
    /// # Errors
    /// [`InvalidEventCursor`]
    pub fn parse(text: &str) -> Result<Self, InvalidEventCursor> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(InvalidEventCursor);
        let (epoch, number, index) = (part()?, part()?, part()?);
        let cursor = Self {
            epoch: Epoch(u64::from_str_radix(epoch, 16).map_err(|_| InvalidEventCursor)?),
            number: number.parse().map_err(|_| InvalidEventCursor)?,
            index: index.parse().map_err(|_| InvalidEventCursor)?,
        };
        if cursor.to_string() == text {
            Ok(cursor)
        } else {
            Err(InvalidEventCursor)
        }
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            epoch,
            number,
            index,
        } = self;
        write!(f, "{epoch}.{number}.{index}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_from_its_text_and_no_other() {
        let cursor = EventCursor {
            epoch: Epoch(0xab),
            number: 12,
            index: 3,
        };
        let text = "00000000000000ab.12.3";
        assert_eq!(cursor.to_string(), text);
        assert_eq!(EventCursor::parse(text), Ok(cursor));
        for other in [
            "",
            "12",
            "ab.12.3",
            "00000000000000AB.12.3",
            "00000000000000ab.+12.3",
            "00000000000000ab.012.3",
            "00000000000000ab.12",
            "00000000000000ab.12.3.4",
            "00000000000000ab.12.-1",
            "00000000000000ab.99999999999999999999.0",
            "00000000000000ab.12.4294967296",
            "latest",
        ] {
            assert_eq!(
                EventCursor::parse(other),
                Err(InvalidEventCursor),
                "{other}"
            );
        }
    }
}
