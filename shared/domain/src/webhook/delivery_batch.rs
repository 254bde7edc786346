//! What one delivery contains.

use std::ops::Range;

use crate::event::EventCursor;
use crate::live::Examined;

/// The most events of a delivery.
pub const EVENTS_MAX: usize = 25;
/// The largest body of a delivery, in bytes, unless one event is larger: Standard Webhooks asks for
/// less than 20 KB.
pub const BODY_BYTES_MAX: usize = 20_000;
/// The part of a body that is not events, in bytes.
const ENVELOPE_BYTES: usize = 512;

/// What is done with the events that were read after an endpoint's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// None of them is for it. Its place may move to the last of them; `None` if there are none.
    Nothing(Option<EventCursor>),
    /// They are delivered.
    Events {
        /// Which, as a range of those that were read. The delivery has those that are selected.
        range: Range<usize>,
        /// The place that the delivery reaches.
        head: EventCursor,
    },
}

/// Returns what one delivery has of the events that were read. An attempt that follows another
/// contains the same events: `until` is the place that the first one would have reached.
#[must_use]
pub fn batch(examined: &[Examined], until: Option<&EventCursor>) -> Batch {
    let (mut count, mut bytes) = (0, ENVELOPE_BYTES);
    let mut end = 0_usize;
    let within = examined
        .iter()
        .take_while(|event| until.is_none_or(|until| event.cursor <= *until));
    for event in within {
        if event.selected {
            bytes = bytes.saturating_add(event.bytes + 1);
            if count == EVENTS_MAX || (count > 0 && bytes > BODY_BYTES_MAX) {
                break;
            }
            count += 1;
        }
        end += 1;
    }
    let last = end.checked_sub(1).and_then(|last| examined.get(last));
    match last {
        Some(last) if count > 0 => Batch::Events {
            range: 0..end,
            head: last.cursor,
        },
        Some(last) => Batch::Nothing(Some(last.cursor)),
        None => Batch::Nothing(None),
    }
}

/// Returns whether events may have expired before those that were read, the first of which is
/// `first`: an endpoint that has no place yet begins with the first event of a log, and only an
/// item with the number 1 has it. One that has a place learns it from the log itself.
#[must_use]
pub fn misses_events(after: Option<&EventCursor>, first: Option<&EventCursor>) -> bool {
    after.is_none() && first.is_some_and(|first| first.number > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Epoch;

    fn cursor(number: u64) -> EventCursor {
        EventCursor {
            epoch: Epoch(1),
            number,
            index: 0,
        }
    }

    fn events(sizes: &[(usize, bool)]) -> Vec<Examined> {
        let numbered = (1..).zip(sizes);
        numbered
            .map(|(number, (bytes, selected))| Examined {
                cursor: cursor(number),
                bytes: *bytes,
                selected: *selected,
            })
            .collect()
    }

    #[test]
    fn a_delivery_is_bounded_by_events_and_by_bytes() {
        let reached = |sizes: &[(usize, bool)]| match batch(&events(sizes), None) {
            Batch::Events { range, head } => {
                assert_eq!(head, cursor(range.end as u64));
                range.end
            }
            Batch::Nothing(_) => 0,
        };
        assert_eq!(reached(&[(1, true); 25]), 25);
        assert_eq!(reached(&[(1, true); 60]), 25);
        assert_eq!(reached(&[(9_000, true); 5]), 2);
        assert_eq!(reached(&[(90_000, true), (1, true)]), 1);
        assert_eq!(reached(&[(90_000, false), (1, true)]), 2);
        assert_eq!(reached(&[(19_000, true), (90_000, false), (900, true)]), 2);
    }

    #[test]
    fn what_is_not_for_the_endpoint_is_passed() {
        assert_eq!(batch(&[], None), Batch::Nothing(None));
        let others = events(&[(1, false); 30]);
        assert_eq!(batch(&others, None), Batch::Nothing(Some(cursor(30))));
    }

    #[test]
    fn a_log_whose_first_events_have_expired_is_not_read_as_a_whole() {
        assert!(!misses_events(None, None));
        assert!(!misses_events(None, Some(&cursor(1))));
        assert!(misses_events(None, Some(&cursor(2))));
        assert!(!misses_events(Some(&cursor(1)), Some(&cursor(3))));
    }

    #[test]
    fn a_further_attempt_has_the_same_events() {
        let mut read = events(&[(1, true), (1, false), (1, true)]);
        let first = batch(&read, None);
        let Batch::Events { head, .. } = &first else {
            panic!("there are events");
        };
        read.extend(events(&[(1, true); 5]).into_iter().map(|event| Examined {
            cursor: cursor(event.cursor.number + 3),
            ..event
        }));
        assert_eq!(batch(&read, Some(head)), first);
        assert_ne!(batch(&read, None), first);
    }
}
