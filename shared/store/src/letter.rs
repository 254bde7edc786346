//! Dead letters: inputs that were set aside, and what became of them.

use domain::{ConnectionId, ConnectionKey, FileId, TenantId, Timestamp};

/// Events that a letter's history keeps: the latest. The item stays far below DynamoDB's 400 KB.
const HISTORY_MAX: usize = 20;
/// Of a reason, what the history keeps, in bytes.
const REASON_BYTES_MAX: usize = 4_000;

/// An input that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Names it: the same input always has the same id. Of a snapshot: `f.<file>.<something>`.
    pub id: String,
    /// The connection.
    pub key: ConnectionKey,
    /// The queue that it came by.
    pub queue: String,
    /// Why it can't succeed.
    pub reason: String,
    /// The message's body, as it came.
    pub body: String,
    /// When the input was first delivered or sent.
    pub first_seen_at: Timestamp,
    /// When it was set aside, the last time.
    pub parked_at: Timestamp,
    /// How often it was received, before it was set aside the last time.
    pub receives: u32,
    /// The file that it is about, if it could be told.
    pub file: Option<FileId>,
    /// Whether it still waits for somebody.
    pub status: ParkedStatus,
    /// The record's revision: the condition of its next write, and what tells one redrive from the next. 0 before
    /// it is stored.
    pub revision: u64,
    /// How often it was sent again.
    pub redrives: u32,
    /// What happened to it, the oldest first: the last twenty events.
    pub history: Vec<ParkedEvent>,
}

/// What a parked input waits for, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedStatus {
    /// It waits for somebody to send it again or to drop it.
    Parked,
    /// It was sent again, and has not come back.
    Redriven,
    /// Somebody decided that it is not wanted.
    Dropped,
}

/// An event of a parked input's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub step: ParkedStep,
}

/// What happens to a parked input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParkedStep {
    /// It was set aside.
    Parked {
        /// Why it can't succeed.
        reason: String,
        /// How often it was received.
        receives: u32,
        /// When that message was sent: the same message is not set aside twice.
        sent_at: Timestamp,
    },
    /// It was sent again.
    Redriven {
        /// Who asked for it.
        by: String,
    },
    /// It was dropped.
    Dropped {
        /// Who decided.
        by: String,
        /// Why.
        reason: String,
    },
}

/// A message of a queue, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// The queue's name.
    pub queue: &'a str,
    /// What names the input beside its file: SQS's id of the message, or a digest of the body.
    pub id: &'a str,
    /// The body, unread.
    pub body: &'a str,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// How often it was received.
    pub receives: u32,
}

impl Parked {
    /// The id of a parked snapshot of `file`, made unique by `suffix` (a version, a digest).
    #[must_use]
    pub fn snapshot_id(file: &FileId, suffix: &str) -> String {
        format!("f.{file}.{suffix}")
    }

    /// A message that can't be read. Nobody knows whose it is, so it is under the tenant and the
    /// connection `_unknown`, for whoever runs the system.
    #[must_use]
    pub fn unreadable(letter: Letter<'_>, reason: &str, now: Timestamp) -> Self {
        Self::letter(letter, unknown(), None, reason, now)
    }

    /// A message whose connection, and perhaps file, is known.
    #[must_use]
    pub fn letter(
        letter: Letter<'_>,
        key: ConnectionKey,
        file: Option<FileId>,
        reason: &str,
        now: Timestamp,
    ) -> Self {
        let id = match &file {
            Some(file) => Self::snapshot_id(file, letter.id),
            None => format!("m.{}", letter.id),
        };
        Self {
            id,
            key,
            queue: letter.queue.to_owned(),
            reason: reason.to_owned(),
            body: cut(letter.body),
            first_seen_at: letter.sent_at,
            parked_at: now,
            receives: letter.receives,
            file,
            status: ParkedStatus::Parked,
            revision: 0,
            redrives: 0,
            history: vec![ParkedEvent {
                at: now,
                step: ParkedStep::Parked {
                    reason: cut_to(reason, REASON_BYTES_MAX).to_owned(),
                    receives: letter.receives,
                    sent_at: letter.sent_at,
                },
            }],
        }
    }

    /// It was sent again: closed, until it comes back.
    #[must_use]
    pub fn redriven(&self, by: &str, at: Timestamp) -> Self {
        let step = ParkedStep::Redriven { by: by.to_owned() };
        let mut after = self.with(ParkedEvent { at, step });
        after.status = ParkedStatus::Redriven;
        after.redrives = self.redrives.saturating_add(1);
        after
    }

    /// Somebody decided that it is not wanted, and why.
    #[must_use]
    pub fn dropped(&self, by: &str, reason: &str, at: Timestamp) -> Self {
        let step = ParkedStep::Dropped {
            by: by.to_owned(),
            reason: cut_to(reason, REASON_BYTES_MAX).to_owned(),
        };
        let mut after = self.with(ParkedEvent { at, step });
        after.status = ParkedStatus::Dropped;
        after
    }

    /// The record with `again`, which was set aside under the same id; `None` where its history has that very
    /// message already.
    pub(crate) fn parked_again(&self, again: &Self) -> Option<Self> {
        let sent_at = |event: &ParkedEvent| match &event.step {
            ParkedStep::Parked { sent_at, .. } => Some(*sent_at),
            ParkedStep::Redriven { .. } | ParkedStep::Dropped { .. } => None,
        };
        let event = again.history.last()?;
        let known = self.history.iter().filter_map(sent_at);
        if known.into_iter().any(|known| Some(known) == sent_at(event)) {
            return None;
        }
        let mut after = self.with(event.clone());
        after.status = ParkedStatus::Parked;
        after.reason.clone_from(&again.reason);
        after.parked_at = again.parked_at;
        after.receives = again.receives;
        Some(after)
    }

    fn with(&self, event: ParkedEvent) -> Self {
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

/// DynamoDB takes 400 KB in an item, SQS 1 MiB in a message: of a body that is larger, the beginning is kept.
fn cut(body: &str) -> String {
    const BYTES_MAX: usize = 300_000;
    let fits = body.floor_char_boundary(BYTES_MAX);
    let (kept, lost) = body.split_at(fits);
    if lost.is_empty() {
        return kept.to_owned();
    }
    format!("{kept} [{} more bytes were not kept]", lost.len())
}

/// Where messages are that don't say whose they are.
fn unknown() -> ConnectionKey {
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
    fn a_letter_that_nobody_can_read_is_kept_under_unknown() {
        let now = Timestamp::from_millis(5);
        let letter = Letter {
            queue: "snapshots.fifo",
            id: "m-1",
            body: "{",
            sent_at: Timestamp::from_millis(1),
            receives: 3,
        };
        let parked = Parked::unreadable(letter, "not JSON", now);
        assert_eq!(parked.key.to_string(), "_unknown/_unknown");
        assert_eq!(
            (parked.id.as_str(), parked.body.as_str(), parked.receives),
            ("m.m-1", "{", 3)
        );
        let file = FileId::parse("1abc").unwrap();
        let parked = Parked::letter(letter, parked.key, Some(file), "gave up", now);
        assert_eq!(parked.id, "f.1abc.m-1");
        let body = "\u{e4}".repeat(200_000);
        let large = Letter {
            body: &body,
            ..letter
        };
        let parked = Parked::unreadable(large, "too much", now);
        assert!(parked.body.len() < 310_000);
        assert!(parked.body.ends_with(" more bytes were not kept]"));
        let mut long = parked;
        for n in 0..100 {
            long = long.redriven("ada", Timestamp::from_millis(n));
        }
        assert_eq!((long.history.len(), long.redrives), (HISTORY_MAX, 100));
    }
}
