//! Dead letters: inputs that were set aside, and their history.

use domain::rate_limit::growing_wait_millis;
use domain::{Cause, ConnectionId, ConnectionKey, FileId, Jitter, TenantId, Timestamp};

use crate::StoreError;

/// The number of events that a history keeps: the latest ones. The item stays far below DynamoDB's
/// 400 KB.
const HISTORY_MAX: usize = 20;
/// The name of the dead letter of a file that is too large, and the first word of its reason.
const TOO_LARGE: &str = "too_large";
/// The bytes of a reason that are kept.
const REASON_BYTES_MAX: usize = 2_000;
/// The bytes of a person's reason that the history keeps.
const STATED_BYTES_MAX: usize = 4_000;
/// The bytes of a subject that the history keeps.
const SUBJECT_BYTES_MAX: usize = 500;

/// An input that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id: the same input always has the same id. For a snapshot: `f.<file>.<suffix>`.
    pub id: String,
    /// The connection that it belongs to.
    pub key: ConnectionKey,
    /// The queue that delivered it.
    pub queue: String,
    /// The reason why it can't succeed.
    pub reason: String,
    /// The message's body, unchanged.
    pub body: String,
    /// The time at which the input was first delivered or sent.
    pub first_seen_at: Timestamp,
    /// The time at which it was last set aside.
    pub parked_at: Timestamp,
    /// The number of times it was received before it was last set aside.
    pub receives: u32,
    /// The file that it is about, if known.
    pub file: Option<FileId>,
    /// Its state.
    pub status: DeadLetterStatus,
    /// It was set aside for a reason that can pass, and is sent again by itself.
    pub passes: bool,
    /// The revision: the condition of the next write, and the number that distinguishes one redrive
    /// from the next. 0 before it is stored.
    pub revision: u64,
    /// The number of redrives.
    pub redrives: u32,
    /// Its history, oldest first: the last twenty events.
    pub history: Vec<DeadLetterEvent>,
    /// The cause of the input that was last set aside; `None` before it is stored.
    pub cause: Option<Cause>,
}

/// The state of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterStatus {
    /// It waits to be redriven or dropped.
    Parked,
    /// It was redriven, and has not failed again.
    Redriven,
    /// A person dropped it.
    Dropped,
}

/// An event in a dead letter's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterEvent {
    /// The time of the event.
    pub at: Timestamp,
    /// The event itself.
    pub action: DeadLetterAction,
}

/// An event of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterAction {
    /// It was set aside.
    Parked {
        /// The reason why it can't succeed.
        reason: String,
        /// The number of times it was received.
        receives: u32,
        /// The time at which that message was sent. The same message is not set aside twice.
        sent_at: Timestamp,
    },
    /// It was redriven.
    Redriven {
        /// The subject that requested it.
        by: String,
    },
    /// It was dropped.
    Dropped {
        /// The subject that decided it.
        by: String,
        /// The stated reason.
        reason: String,
    },
}

/// A queue message that failed.
#[derive(Debug, Clone, Copy)]
pub struct FailedMessage<'a> {
    /// The queue's name.
    pub queue: &'a str,
    /// The part of the dead letter's id that the message determines: SQS's message id, or a digest
    /// of the body.
    pub id: &'a str,
    /// The body, unparsed.
    pub body: &'a str,
    /// The time at which it was sent.
    pub sent_at: Timestamp,
    /// The number of times it was received.
    pub receives: u32,
}

impl DeadLetter {
    /// Returns the id of a dead letter for a snapshot of `file`, made unique by `suffix` (a
    /// version, a digest).
    #[must_use]
    pub fn snapshot_id(file: &FileId, suffix: &str) -> String {
        format!("f.{file}.{suffix}")
    }

    /// Returns the id of the dead letter of a file whose state in Drive is too large to be stored:
    /// there is one for each file, whose history tells of its states.
    #[must_use]
    pub fn too_large_id(file: &FileId) -> String {
        Self::snapshot_id(file, TOO_LARGE)
    }

    /// Makes a dead letter of a file whose state in Drive is too large to be stored. `reference` is
    /// the message that has it read again.
    #[must_use]
    pub fn too_large(
        reference: &str,
        (key, file): (ConnectionKey, FileId),
        (sent_at, receives): (Timestamp, u32),
        error: &StoreError,
        now: Timestamp,
    ) -> Self {
        let message = FailedMessage {
            // What is sent again is a request to read the file from Drive.
            queue: "drive",
            id: TOO_LARGE,
            body: reference,
            sent_at,
            receives,
        };
        let reason = format!("{TOO_LARGE}: {error}");
        Self::from_message(message, key, Some(file), &reason, now)
    }

    /// Makes a dead letter of a message that can't be parsed. Its owner is unknown, so it is stored
    /// under the tenant and connection `_unknown`, for the operator of the system.
    #[must_use]
    pub fn unreadable(message: FailedMessage<'_>, reason: &str, now: Timestamp) -> Self {
        Self::from_message(message, unknown_connection(), None, reason, now)
    }

    /// Makes a dead letter of a message whose connection, and perhaps file, is known.
    #[must_use]
    pub fn from_message(
        message: FailedMessage<'_>,
        key: ConnectionKey,
        file: Option<FileId>,
        reason: &str,
        now: Timestamp,
    ) -> Self {
        let id = match &file {
            Some(file) => Self::snapshot_id(file, message.id),
            None => format!("m.{}", message.id),
        };
        Self {
            id,
            key,
            queue: message.queue.to_owned(),
            reason: cut_to(reason, REASON_BYTES_MAX).to_owned(),
            body: cut(message.body),
            first_seen_at: message.sent_at,
            parked_at: now,
            receives: message.receives,
            file,
            status: DeadLetterStatus::Parked,
            passes: false,
            revision: 0,
            redrives: 0,
            history: vec![DeadLetterEvent {
                at: now,
                action: DeadLetterAction::Parked {
                    reason: cut_to(reason, REASON_BYTES_MAX).to_owned(),
                    receives: message.receives,
                    sent_at: message.sent_at,
                },
            }],
            cause: None,
        }
    }

    /// Returns the dead letter as one that was set aside for a reason that can pass.
    #[must_use]
    pub fn passing(self) -> Self {
        Self {
            passes: true,
            ..self
        }
    }

    /// Returns whether it waits to be redriven or dropped.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.status == DeadLetterStatus::Parked
    }

    /// Returns the time at which it is sent again by itself: half a minute after it was set aside,
    /// and at intervals that grow to a day. `None` if a person decides.
    #[must_use]
    pub fn redrive_at(&self) -> Option<Timestamp> {
        let waits = self.passes && self.is_waiting();
        let wait_millis = growing_wait_millis(self.redrives.saturating_add(1), Jitter(0.5));
        waits.then(|| self.parked_at.plus_millis(wait_millis))
    }

    /// Returns the dead letter after a redrive: closed, unless the input fails again.
    #[must_use]
    pub fn redriven(&self, by: &str, at: Timestamp) -> Self {
        let action = DeadLetterAction::Redriven {
            by: cut_to(by, SUBJECT_BYTES_MAX).to_owned(),
        };
        let mut after = self.with_event(DeadLetterEvent { at, action });
        after.status = DeadLetterStatus::Redriven;
        after.redrives = self.redrives.saturating_add(1);
        after
    }

    /// Returns the dead letter after a person's decision to drop it.
    #[must_use]
    pub fn dropped(&self, by: &str, reason: &str, at: Timestamp) -> Self {
        let action = DeadLetterAction::Dropped {
            by: cut_to(by, SUBJECT_BYTES_MAX).to_owned(),
            reason: cut_to(reason, STATED_BYTES_MAX).to_owned(),
        };
        let mut after = self.with_event(DeadLetterEvent { at, action });
        after.status = DeadLetterStatus::Dropped;
        after
    }

    /// Returns the dead letter with `repeat`, which was set aside under the same id, added to its
    /// history; `None` if its history already has that very message.
    pub(crate) fn with_repeat(&self, repeat: &Self) -> Option<Self> {
        let sent_at = |event: &DeadLetterEvent| match &event.action {
            DeadLetterAction::Parked { sent_at, .. } => Some(*sent_at),
            DeadLetterAction::Redriven { .. } | DeadLetterAction::Dropped { .. } => None,
        };
        let event = repeat.history.last()?;
        let known = self.history.iter().filter_map(sent_at);
        if known.into_iter().any(|known| Some(known) == sent_at(event)) {
            return None;
        }
        let mut after = self.with_event(event.clone());
        after.status = DeadLetterStatus::Parked;
        after.reason.clone_from(&repeat.reason);
        after.parked_at = repeat.parked_at;
        after.receives = repeat.receives;
        after.cause = repeat.cause.or(self.cause);
        after.passes = repeat.passes;
        Some(after)
    }

    fn with_event(&self, event: DeadLetterEvent) -> Self {
        let mut after = self.clone();
        after.history.push(event);
        let too_many = after.history.len().saturating_sub(HISTORY_MAX);
        after.history.drain(..too_many);
        after
    }
}

fn cut_to(text: &str, bytes_max: usize) -> &str {
    let fits = text.floor_char_boundary(bytes_max);
    text.split_at(fits).0
}

/// Cuts a body to fit: DynamoDB takes 400 KB in an item, SQS 1 MiB in a message.
fn cut(body: &str) -> String {
    const BYTES_MAX: usize = 300_000;
    let fits = body.floor_char_boundary(BYTES_MAX);
    let (head, rest) = body.split_at(fits);
    if rest.is_empty() {
        return head.to_owned();
    }
    format!("{head} [{} more bytes were not kept]", rest.len())
}

/// The place of messages whose connection is unknown.
fn unknown_connection() -> ConnectionKey {
    #[expect(
        clippy::expect_used,
        reason = "the text is one of the allowed ones, as the test below shows"
    )]
    let key = ConnectionKey {
        tenant: TenantId::parse("_unknown").expect("allowed"),
        connection: ConnectionId::parse("_unknown").expect("allowed"),
    };
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_message_is_stored_under_unknown() {
        let now = Timestamp::from_millis(5);
        let message = FailedMessage {
            queue: "snapshots.fifo",
            id: "m-1",
            body: "{",
            sent_at: Timestamp::from_millis(1),
            receives: 3,
        };
        let letter = DeadLetter::unreadable(message, "not JSON", now);
        assert_eq!(letter.key.to_string(), "_unknown/_unknown");
        assert_eq!(
            (letter.id.as_str(), letter.body.as_str(), letter.receives),
            ("m.m-1", "{", 3)
        );
        let file = FileId::parse("1abc").unwrap();
        let letter = DeadLetter::from_message(message, letter.key, Some(file), "gave up", now);
        assert_eq!(letter.id, "f.1abc.m-1");
        let body = "\u{e4}".repeat(200_000);
        let large = FailedMessage {
            body: &body,
            ..message
        };
        let letter = DeadLetter::unreadable(large, "too much", now);
        assert!(letter.body.len() < 310_000);
        assert!(letter.body.ends_with(" more bytes were not kept]"));
        let mut long = letter;
        for n in 0..100 {
            long = long.redriven("ada", Timestamp::from_millis(n));
        }
        assert_eq!((long.history.len(), long.redrives), (HISTORY_MAX, 100));
    }
}
