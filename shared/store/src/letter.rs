//! Messages that nobody can read: parked as they came.

use domain::{ConnectionId, ConnectionKey, FileId, TenantId, Timestamp};

use crate::Parked;

/// A message of a queue, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// The queue's name.
    pub queue: &'a str,
    /// SQS's id of the message.
    pub id: &'a str,
    /// The body, unread.
    pub body: &'a str,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// How often it was received.
    pub receives: u32,
}

impl Parked {
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
        }
    }
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
    }
}
