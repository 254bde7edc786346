//! Conflict records: the three sides of a conflict, and its resolution.

use std::collections::BTreeMap;
use std::fmt;

use crate::conflict::Asked;
use crate::{Cause, Choice, Field, FileId, Keeping, Timestamp, Value};

/// The identifier of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConflictId {
    /// The file.
    pub file: FileId,
    /// The field in conflict.
    pub field: Field,
    /// The number of the conflict within the file, counted from 1.
    pub number: u32,
}

/// A complete conflict. It is kept after it is closed, so that no value is ever lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictRecord {
    /// The identifier.
    pub id: ConflictId,
    /// The number of times that its sides moved while it was open. A decision that names another
    /// number read other sides.
    pub moves: u32,
    /// The last value that both sides agreed on.
    pub base: Value,
    /// The application's value.
    pub app: Value,
    /// Drive's value.
    pub drive: Value,
    /// True if it was opened because the outcome of one of our writes can't be determined.
    pub unsure: bool,
    /// For a conflict on `existence`: the application's values that Drive never received.
    pub owed: BTreeMap<Field, Value>,
    /// The time at which it was opened.
    pub opened_at: Timestamp,
    /// While it is open: the decision to keep both contents, which is being carried out.
    pub keeping: Option<Keeping>,
    /// The resolver that is asked to decide it, and what came of that; `None` if none was asked, or
    /// somebody else has decided.
    pub asked: Option<Asked>,
    /// The status: open, or the way in which it ended.
    pub status: ConflictStatus,
    /// The cause of its last write; `None` before the first one.
    pub cause: Option<Cause>,
}

/// The status of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConflictStatus {
    /// Both values are kept, and the field's intent is held.
    Open,
    /// A person or a policy decided.
    Resolved(Resolution),
    /// It ended without a decision: the sides agree again, or Drive returned to the base.
    Closed {
        /// The time at which it closed.
        at: Timestamp,
    },
}

/// A decision and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The choice.
    pub choice: Choice,
    /// The application's value after the decision.
    pub value: Value,
    /// The person or policy that decided.
    pub by: Decider,
    /// The time of the decision.
    pub at: Timestamp,
}

/// The person or policy that decided a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decider {
    /// A person, by the subject of the access token.
    Person(String),
    /// The connection's policy for the field.
    Policy,
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(subject) => f.write_str(subject),
            Self::Policy => f.write_str("policy"),
        }
    }
}
