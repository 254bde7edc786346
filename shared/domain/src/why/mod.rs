//! Why a file, or a connection, is as it is: in plain words, and with the reason by name.
//!
//! The functions here are pure and total. What they are given is stored anyway: the file's record,
//! its content state, the connection, its change log, its rate limiter and its latest operation. A
//! file or a connection may have several reasons; the first one is what a person must act on first.

mod file_reasons;
mod kind;
mod sync_reasons;
mod words;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth_table;

use crate::rate_limit::{Limits, RateLimit};
use crate::{
    Asked, ConflictId, Excluded, Field, FileId, FileRecord, LogId, Operation, OperationId, Rule,
    Skipped, Timestamp, content, operation,
};

pub use file_reasons::{why_file, why_not_stored};
pub use kind::{ReasonGroup, ReasonKind};
pub use sync_reasons::why_connection;

/// The answer: one reason, and all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// What a person must act on first, or else what explains most.
    pub first: Reason,
    /// The others, in the same order.
    pub also: Vec<Reason>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Its name.
    pub kind: ReasonKind,
    /// The reason in one sentence.
    pub sentence: String,
    /// What a person can do about it, if there is anything to do.
    pub what_to_do: Option<&'static str>,
    /// The time since when it is so.
    pub since: Option<Timestamp>,
    /// The time at which it is tried again by itself.
    pub next_try_at: Option<Timestamp>,
    /// The field that it is about, if it is a single one.
    pub field: Option<Field>,
    /// The conflict that it is about.
    pub conflict: Option<ConflictId>,
    /// The rule that it is about.
    pub rule: Option<Rule>,
    /// The operation that it is about.
    pub operation: Option<OperationId>,
    /// The word of Drive, or of this system, that the sentence is based on.
    pub detail: Option<String>,
    /// The number of attempts that failed, or of files or conflicts that it is about.
    pub count: Option<u64>,
}

/// What a file's reasons depend on besides its connection.
#[derive(Debug, Clone, Copy)]
pub struct FileFacts<'a> {
    /// The record.
    pub record: &'a FileRecord,
    /// What of the connection's rules leaves it out.
    pub excluded: Option<Excluded<'a>>,
    /// The file or folder that was put into the trash: the nearest one of the file and the folders
    /// above it.
    pub trashed_by: Option<&'a FileId>,
    /// The content that could not be had.
    pub content: Option<MissingContent<'a>>,
    /// The reason why its content is not stored.
    pub content_left_out: Option<Skipped>,
    /// A change from Drive that was set aside.
    pub parked: Option<Parked<'a>>,
    /// The questions of its conflicts, by field: what their resolvers are asked.
    pub asked: &'a [(Field, Asked)],
    /// The time of its latest change that is in the history.
    pub changed_at: Option<Timestamp>,
}

/// Content that could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingContent<'a> {
    /// What the attempts met.
    pub trouble: &'a content::Trouble,
    /// The number of attempts.
    pub failures: u32,
    /// The time of the next one.
    pub due_at: Option<Timestamp>,
}

/// A dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parked<'a> {
    /// The reason why it was set aside.
    pub reason: &'a str,
    /// The time at which it was.
    pub at: Timestamp,
    /// The time at which it is sent again by itself; `None` if a person must decide.
    pub redrive_at: Option<Timestamp>,
}

/// The numbers of a connection's files that need attention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttentionCounts {
    /// Open conflicts.
    pub conflicts: u64,
    /// Files with something that Drive refused.
    pub refused: u64,
    /// Files that owe something to Drive.
    pub owed: u64,
    /// Files whose content could not be had.
    pub content: u64,
    /// Dead letters that wait for a person.
    pub parked: u64,
}

/// What the reasons of a connection, and of each of its files, depend on.
#[derive(Debug, Clone)]
pub struct SyncFacts<'a> {
    /// Whether it is synced.
    pub state: SyncState<'a>,
    /// What is owed to Drive is held back since it was restored.
    pub owed_held: bool,
    /// Its change logs; for a file, the one that reports it.
    pub logs: Vec<LogFacts<'a>>,
    /// The state of its rate limiter; `None` if it has not been used lately.
    pub rate_limit: Option<&'a RateLimit>,
    /// The limits that the rate limiter keeps.
    pub limits: &'a Limits,
    /// Its latest operation.
    pub operation: Option<&'a Operation>,
    /// The present time.
    pub now: Timestamp,
}

/// Whether a connection is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncState<'a> {
    /// It is.
    Active,
    /// A person paused it.
    Paused,
    /// Nothing could succeed.
    Suspended {
        /// The cause.
        reason: &'a str,
        /// The time of the suspension.
        at: Timestamp,
    },
    /// It was deleted.
    Deleted,
}

/// A change log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFacts<'a> {
    /// Its id.
    pub log: &'a LogId,
    /// What is being read.
    pub reading: LogReading,
    /// It has a notification channel.
    pub has_channel: bool,
    /// The latest time of its next poll.
    pub next_poll_at: Timestamp,
    /// The start of the last complete read of its changes.
    pub read_at: Option<Timestamp>,
    /// The last time that reading was stopped, until its end is reached.
    pub stop: Option<operation::Stop>,
}

/// What is being read of a change log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogReading {
    /// All files are listed, or about to be; changes are read afterwards.
    Listing,
    /// Changes are followed.
    Following,
    /// Nothing: the shared drive can't be accessed.
    Left {
        /// The time since when.
        at: Timestamp,
    },
}

impl Reason {
    fn new(kind: ReasonKind, sentence: impl Into<String>) -> Self {
        Self {
            kind,
            sentence: sentence.into(),
            what_to_do: None,
            since: None,
            next_try_at: None,
            field: None,
            conflict: None,
            rule: None,
            operation: None,
            detail: None,
            count: None,
        }
    }

    fn remedy(self, what: &'static str) -> Self {
        Self {
            what_to_do: Some(what),
            ..self
        }
    }

    fn since(self, at: impl Into<Option<Timestamp>>) -> Self {
        Self {
            since: at.into(),
            ..self
        }
    }

    fn next_try(self, at: impl Into<Option<Timestamp>>) -> Self {
        Self {
            next_try_at: at.into(),
            ..self
        }
    }

    fn about(self, field: &Field) -> Self {
        Self {
            field: Some(field.clone()),
            ..self
        }
    }

    fn detail(self, word: &str) -> Self {
        Self {
            detail: Some(word.to_owned()),
            ..self
        }
    }

    fn count(self, count: impl Into<u64>) -> Self {
        Self {
            count: Some(count.into()),
            ..self
        }
    }
}

impl Why {
    /// Orders the reasons. If none of them says otherwise, both sides are in step.
    fn of(mut reasons: Vec<Reason>, in_step: impl FnOnce() -> Reason) -> Self {
        let stands = |reason: &Reason| reason.kind.group() < ReasonGroup::InStep;
        if !reasons.iter().any(stands) {
            reasons.push(in_step());
        }
        // Stable: of one kind, the fields are in their own order.
        reasons.sort_by_key(|reason| reason.kind);
        let mut reasons = reasons.into_iter();
        let first = reasons.next();
        Self {
            // There is one: what is not in step has a reason, and all else is in step.
            first: first.unwrap_or_else(|| Reason::new(ReasonKind::InStep, words::IN_STEP)),
            also: reasons.collect(),
        }
    }
}
