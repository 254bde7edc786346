//! Conflicts as records: what the three sides were, and who decided what.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Choice, Field, FileId, Timestamp, Value};

/// Names one conflict: the `number`-th that the file has had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConflictId {
    /// The file.
    pub file: FileId,
    /// The field in conflict.
    pub field: Field,
    /// Counts the file's conflicts from 1.
    pub number: u32,
}

/// A conflict, whole: kept when it is closed, so that nobody's value is ever lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictRecord {
    /// Its name.
    pub id: ConflictId,
    /// How often its sides have moved while it was open; an answer that saw another number saw other sides.
    pub moves: u32,
    /// The last value that both sides agreed on.
    pub base: Value,
    /// The application's value.
    pub app: Value,
    /// Drive's value.
    pub drive: Value,
    /// Whether it was opened because the fate of our own write can't be told.
    pub unsure: bool,
    /// For a conflict on `existence`: the application's values that Drive never got.
    pub owed: BTreeMap<Field, Value>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Open, or how it ended.
    pub status: ConflictStatus,
}

/// Whether a conflict stands, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConflictStatus {
    /// Both values stand; the intent for the field is held.
    Open,
    /// Somebody, or a policy, decided.
    Resolved(Resolution),
    /// The sides came together without a decision: they agree again, or Drive returned to the base.
    Closed {
        /// When.
        at: Timestamp,
    },
}

/// A decision, and what it made of the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// What was chosen.
    pub choice: Choice,
    /// The value that the application has since.
    pub value: Value,
    /// Who decided.
    pub by: Decider,
    /// When.
    pub at: Timestamp,
}

/// Who decided a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decider {
    /// A person, by the subject of their token.
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
