//! A delivery as people see it afterwards.

use crate::event::EventCursor;
use crate::labels::labels;
use crate::{ConnectionId, Timestamp};

/// An attempt to deliver something. Nothing of the answer's body is read or kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When it began.
    pub at: Timestamp,
    /// The header `webhook-id`: the same for all attempts at the same events.
    pub message: String,
    /// What it was.
    pub kind: DeliveryKind,
    /// The connection whose events it had; `None` for a test.
    pub connection: Option<ConnectionId>,
    /// The place that it would reach in the connection's log.
    pub head: Option<EventCursor>,
    /// The number of its events.
    pub events: u32,
    /// Which attempt it was, counted from 1.
    pub attempt: u32,
    /// What came of it.
    pub outcome: DeliveryOutcome,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub millis: u32,
}

/// What a delivery was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryKind {
    /// Events.
    Events,
    /// The notice that events are missing.
    Reset,
    /// A test.
    Test,
}

labels!(DeliveryKind {
    Events = "events",
    Reset = "reset",
    Test = "test",
});

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryOutcome {
    /// 2xx.
    Accepted,
    /// Another status, redirects included.
    Refused,
    /// No answer within the time.
    TimedOut,
    /// The host was not found, the connection was not made, or its certificate is not valid.
    Unreachable,
    /// The host has an address that deliveries must not go to.
    Forbidden,
}

labels!(DeliveryOutcome {
    Accepted = "accepted",
    Refused = "refused",
    TimedOut = "timed_out",
    Unreachable = "unreachable",
    Forbidden = "forbidden",
});
