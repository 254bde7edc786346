//! Live readers: who may go on reading, and which frames say what an event log has gained.
//!
//! A frame names the stretch of the log that it covers: everything after its `after` and up to its
//! `head`. A reader applies a frame whose `after` is where it stands, and otherwise reads the log
//! itself. So a frame that is lost, doubled or late costs a reader one read, and never an event.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use crate::event::EventCursor;
use crate::{Access, Role, Timestamp, effective_role};

/// The most events of the frames that one wake sends to a reader. A reader with more to read is
/// `behind`, and reads the log.
pub const EVENTS_MAX: usize = 100;
/// The most events that are looked at for a reader with a filter. A reader with more to read is
/// `behind`.
pub const EXAMINED_MAX: usize = 500;
/// The largest frame that is sent, in bytes: what API Gateway bills as one message.
pub const FRAME_BYTES_MAX: usize = 32 * 1024;
/// The part of a frame that is not events, in bytes.
const ENVELOPE_BYTES: usize = 1_024;
/// The lifetime of a ticket, in milliseconds.
pub const TICKET_MILLIS: i64 = 60_000;
/// The longest that API Gateway keeps a socket, with a margin, in milliseconds.
pub const SOCKET_MILLIS: i64 = (2 * 60 + 10) * 60 * 1_000;
/// The most sockets of a tenant.
pub const SOCKETS_MAX: u64 = 1_000;
/// The most connections that one socket is subscribed to.
pub const SUBSCRIPTIONS_MAX: usize = 20;
/// The longest id of a socket, in bytes.
const SOCKET_ID_BYTES_MAX: usize = 128;

/// The id that API Gateway gives a socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(String);

impl SocketId {
    /// Parses an id: letters, digits and `_ - = + . /`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=+./".contains(&byte);
        let fits = (1..=SOCKET_ID_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The holder of a ticket, and then of a socket: the caller as the token named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The subject of the token.
    pub subject: String,
    /// The role in the tenant.
    pub role: Role,
    /// The groups.
    pub groups: BTreeSet<String>,
    /// The time at which the token expires.
    pub expires_at: Timestamp,
}

/// What a holder may do at a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Reads.
    Reads,
    /// Nothing: the connection does not exist for the holder.
    Outside,
    /// Nothing: the token has expired.
    Expired,
}

impl Holder {
    /// Returns whether the token has expired.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// Returns what the holder may do at a connection with this access. Every role reads.
    #[must_use]
    pub fn standing(&self, access: Option<&Access>, now: Timestamp) -> Standing {
        if self.has_expired(now) {
            return Standing::Expired;
        }
        match effective_role(self.role, &self.subject, &self.groups, access) {
            Some(Role::Viewer | Role::Editor | Role::Operator | Role::Admin) => Standing::Reads,
            None => Standing::Outside,
        }
    }
}

/// Where a reader is in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The head of the last frame that was sent: where the reader stands, if it missed none. `None`
    /// if the log was empty then.
    pub told: Option<EventCursor>,
    /// The event up to which the log was examined for the reader; nothing in between was for it.
    pub examined: Option<EventCursor>,
}

/// An event that was read for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// Its cursor.
    pub cursor: EventCursor,
    /// The bytes that it takes in a frame.
    pub bytes: usize,
    /// Whether the reader's filter selects it.
    pub selected: bool,
}

/// A frame with events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsFrame {
    /// The head of the frame before it.
    pub after: Option<EventCursor>,
    /// The end of the stretch that it covers.
    pub head: EventCursor,
    /// Its events, as a range of those that were examined. It has those that are selected.
    pub range: Range<usize>,
}

/// What is sent to a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: nothing in the log is new, or selected.
    Nothing,
    /// These frames, in order.
    Frames(Vec<EventsFrame>),
    /// Only that there is more to read.
    Behind,
}

/// Returns what is sent to a reader that stands at `told`, of the events that were read after its
/// place. `more` says that the log has more of them than were read.
#[must_use]
pub fn plan(told: Option<EventCursor>, examined: &[Examined], more: bool) -> Plan {
    let selected = examined.iter().filter(|event| event.selected);
    let (count, largest) = selected.fold((0, 0), |(count, largest), event| {
        (count + 1, event.bytes.max(largest))
    });
    if more || count > EVENTS_MAX || largest + ENVELOPE_BYTES > FRAME_BYTES_MAX {
        return Plan::Behind;
    }
    if count == 0 {
        return Plan::Nothing;
    }
    let mut frames: Vec<EventsFrame> = Vec::new();
    let mut bytes = usize::MAX;
    for (at, event) in examined.iter().enumerate() {
        let size = if event.selected { event.bytes + 1 } else { 0 };
        match frames.last_mut() {
            Some(frame) if bytes.saturating_add(size) <= FRAME_BYTES_MAX => {
                bytes += size;
                frame.range.end = at + 1;
                frame.head = event.cursor;
            }
            last => {
                let after = last.map_or(told, |frame| Some(frame.head));
                bytes = ENVELOPE_BYTES + size;
                frames.push(EventsFrame {
                    after,
                    head: event.cursor,
                    range: at..at + 1,
                });
            }
        }
    }
    Plan::Frames(frames)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Principal;
    use crate::event::Epoch;

    fn cursor(number: u64) -> EventCursor {
        EventCursor {
            epoch: Epoch(7),
            number,
            index: 0,
        }
    }

    fn events(count: u64, bytes: usize, selected: impl Fn(u64) -> bool) -> Vec<Examined> {
        let numbers = 1..=count;
        let event = |number| Examined {
            cursor: cursor(number),
            bytes,
            selected: selected(number),
        };
        numbers.map(event).collect()
    }

    #[test]
    fn frames_cover_the_log_without_a_gap_and_within_their_size() {
        for count in 0..=EVENTS_MAX as u64 + 1 {
            for bytes in [1, 300, 900, 5_000, 31_000, 40_000] {
                for every in [1, 2, 7, 1_000] {
                    let read = events(count, bytes, |number| number % every == 0);
                    let selected = read.iter().filter(|event| event.selected).count();
                    let frames = match plan(Some(cursor(0)), &read, false) {
                        Plan::Nothing => {
                            assert_eq!(selected, 0);
                            continue;
                        }
                        Plan::Behind => {
                            assert!(selected > EVENTS_MAX || bytes > 31_744, "{count} {bytes}");
                            continue;
                        }
                        Plan::Frames(frames) => frames,
                    };
                    let mut stands = (Some(cursor(0)), 0);
                    for frame in &frames {
                        assert_eq!((frame.after, frame.range.start), stands);
                        let part = &read[frame.range.clone()];
                        assert_eq!(part.last().unwrap().cursor, frame.head);
                        let sent = part.iter().filter(|event| event.selected);
                        let size: usize = sent.map(|event| event.bytes + 1).sum();
                        assert!(size + ENVELOPE_BYTES <= FRAME_BYTES_MAX + 1, "{size}");
                        stands = (Some(frame.head), frame.range.end);
                    }
                    assert_eq!(stands, (Some(cursor(count)), read.len()));
                }
            }
        }
    }

    #[test]
    fn a_flood_is_one_frame_without_events() {
        let flood = events(EVENTS_MAX as u64 + 1, 300, |_| true);
        assert_eq!(plan(None, &flood, false), Plan::Behind);
        assert_eq!(plan(None, &events(3, 300, |_| true), true), Plan::Behind);
        // What is not known to be for others may be for this reader.
        assert_eq!(plan(None, &events(3, 300, |_| false), true), Plan::Behind);
        assert_eq!(plan(None, &events(3, 300, |_| false), false), Plan::Nothing);
        assert_eq!(plan(None, &[], false), Plan::Nothing);
    }

    #[test]
    fn a_holder_reads_while_the_token_lasts_and_the_connection_is_there_for_it() {
        let holder = Holder {
            subject: "ann".to_owned(),
            role: Role::Viewer,
            groups: BTreeSet::from(["finance".to_owned()]),
            expires_at: Timestamp::from_millis(1_000),
        };
        let access = |principal: &str| Access {
            entries: BTreeMap::from([(Principal::parse(principal).unwrap(), Role::Editor)]),
        };
        let at =
            |access: Option<&Access>, now| holder.standing(access, Timestamp::from_millis(now));
        assert_eq!(at(None, 999), Standing::Reads);
        assert_eq!(at(None, 1_000), Standing::Expired);
        assert_eq!(at(Some(&access("user:ann")), 0), Standing::Reads);
        assert_eq!(at(Some(&access("group:finance")), 0), Standing::Reads);
        assert_eq!(at(Some(&access("user:bob")), 0), Standing::Outside);
        assert_eq!(at(Some(&Access::default()), 0), Standing::Outside);
        assert_eq!(at(Some(&access("user:ann")), 1_000), Standing::Expired);
    }

    #[test]
    fn a_socket_id_is_what_api_gateway_gives() {
        for id in ["L0SM9cOFvHcCIhw=", "a", "A_-=+./9"] {
            assert_eq!(SocketId::parse(id).unwrap().as_str(), id);
        }
        let long = "x".repeat(SOCKET_ID_BYTES_MAX + 1);
        for other in ["", "a b", "a#b", "é", "\0", &long] {
            assert_eq!(SocketId::parse(other), None, "{other:?}");
        }
    }
}
