//! Events: what a committed change means to others, and the log that they are read from.
//!
//! A connection has one log. Its items are numbered without a gap, so that a reader that knows
//! everything up to a number and asks for what comes after it misses nothing. The log is the
//! guarantee; whatever is sent at once only says that there is more to read.

mod cursor;
mod event_type;
mod file_events;
mod filter;
mod item_events;
mod numbering;
#[cfg(test)]
mod search;
#[cfg(test)]
mod tests;
mod upkeep;

pub use cursor::{Epoch, EventCursor, InvalidEventCursor};
pub use event_type::EventType;
pub use file_events::file_events;
pub use filter::EventFilter;
pub use item_events::{
    ConnectionSync, conflict_events, connection_events, content_events, operation_events,
    parked_event,
};
pub use numbering::{
    LogEnd, NextItem, Read, ReadItem, Start, TableMark, continued, next_item, start,
};
pub use upkeep::{EVENT_DAYS, EventLogState, Upkeep, upkeep};

use std::fmt;

use crate::{Cause, ConflictId, EndpointId, FileId, OperationId, OperationKind, Timestamp};

/// One event, as it is stored. It names ids and fields, never names of files or values: a reader
/// asks for those with its own rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The type.
    pub kind: EventType,
    /// What it is about.
    pub subject: Subject,
    /// The state of the subject that it tells: with subject and type, the event's id. The same
    /// change always has the same.
    pub state: String,
    /// The time of the change, in whole seconds.
    pub at: Timestamp,
    /// Who made the change.
    pub by: Author,
    /// The cause of the change.
    pub cause: Option<Cause>,
    /// The details.
    pub details: Details,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A file.
    File(FileId),
    /// An operation.
    Operation(OperationId),
    /// A dead letter, by its id.
    DeadLetter(String),
    /// A webhook endpoint.
    Webhook(EndpointId),
    /// The connection.
    Connection,
}

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// Somebody in Drive.
    Drive,
    /// The application, where no person is known.
    App,
    /// A policy of the connection.
    Policy,
    /// A person, by the subject of the access token.
    User(String),
}

/// The details of an event; each type has its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// The revision of the file.
    pub revision: Option<u64>,
    /// The fields that have changed, by name. All roles are `permissions`.
    pub fields: Vec<String>,
    /// The folder that the file is in.
    pub folder: Option<FileId>,
    /// The folder that it was in before.
    pub folder_before: Option<FileId>,
    /// The conflict.
    pub conflict: Option<ConflictId>,
    /// The number of the content's version.
    pub version: Option<u32>,
    /// The kind of the operation.
    pub operation: Option<OperationKind>,
    /// The number of files that were listed.
    pub listed: Option<u64>,
    /// The reason: of a deletion, a failure, a suspension.
    pub reason: Option<String>,
}

impl Event {
    /// Returns its id: the same change has the same id however often it is reported.
    #[must_use]
    pub fn id(&self) -> String {
        let Self {
            subject,
            state,
            kind,
            ..
        } = self;
        match subject {
            Subject::File(file) => format!("{file}.{state}.{kind}"),
            Subject::Operation(operation) => format!("{operation}.{state}.{kind}"),
            Subject::DeadLetter(id) => format!("{id}.{state}.{kind}"),
            Subject::Webhook(id) => format!("{id}.{state}.{kind}"),
            Subject::Connection => format!("{state}.{kind}"),
        }
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drive => f.write_str("drive"),
            Self::App => f.write_str("app"),
            Self::Policy => f.write_str("policy"),
            Self::User(subject) => write!(f, "user:{subject}"),
        }
    }
}

impl Author {
    /// Parses what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "drive" => Some(Self::Drive),
            "app" => Some(Self::App),
            "policy" => Some(Self::Policy),
            _ => Some(Self::User(text.strip_prefix("user:")?.to_owned())),
        }
    }
}
