//! Content wakes: requests to process the content of one file.

use std::fmt;

use domain::{Cause, ConnectionKey, FileId, OperationId, Revision, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::message::{FORMAT, Unreadable, key, to_json, with_cause};
use crate::queue::{
    BATCH_MAX, BATCHES_AT_ONCE, Entry, Queue, QueueError, coalescing_window, digest, file_group,
    send_batch,
};
use runtime::{Settings, SettingsError};

/// Requests processing of a file's content. The file's record says what to download, upload or
/// delete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentWake {
    /// The connection of the file.
    pub key: ConnectionKey,
    /// The file.
    pub file: FileId,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    tenant: String,
    connection: String,
    content_of: String,
}

impl ContentWake {
    /// Returns the message body.
    #[must_use]
    pub fn to_body(&self) -> String {
        to_json(&Body {
            v: FORMAT,
            tenant: self.key.tenant.to_string(),
            connection: self.key.connection.to_string(),
            content_of: self.file.to_string(),
        })
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// [`Unreadable`] if it is not a content wake.
    pub fn from_body(body: &str) -> Result<Self, Unreadable> {
        // The format is checked first: a newer body may have any other shape.
        crate::message::check_body_format(body)?;
        let wake: Body = serde_json::from_str(body)?;
        Ok(Self {
            key: key(wake.v, &wake.tenant, &wake.connection)?,
            file: FileId::parse(&wake.content_of).map_err(|_| Unreadable::Member("content_of"))?,
        })
    }
}

/// The priority of a content wake: each has a queue of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Deletions, uploads and changes, which a user waits for.
    High,
    /// First downloads: a library of terabytes must not delay an edit.
    Bulk,
}

/// The deduplication key of a content wake, within its file's group. Two wakes with the same key
/// within SQS's five minutes are one, so it must change whenever new work appears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DedupKey {
    /// The revision that the record was saved with.
    Record(Revision),
    /// The revision of the content's progress, after which work continues.
    Progress(u64),
    /// The content scan that reached the file.
    Operation(OperationId),
    /// The time at which owed work became due. All wakes of one coalescing window are one, since a
    /// due file is woken repeatedly until the work is done.
    Due(Timestamp),
    /// The attempt to redrive a dead letter.
    Redrive(String),
}

impl fmt::Display for DedupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(revision) => write!(f, "r{}", revision.0),
            Self::Progress(revision) => write!(f, "p{revision}"),
            Self::Operation(operation) => write!(f, "o{operation}"),
            Self::Due(at) => write!(f, "d{}", coalescing_window(*at)),
            Self::Redrive(attempt) => write!(f, "a{attempt}"),
        }
    }
}

/// The queues of content wakes, which `mirror-content` consumes.
#[derive(Debug, Clone)]
pub struct ContentQueues {
    /// The queue for [`Priority::High`].
    pub high: Queue,
    /// The queue for [`Priority::Bulk`].
    pub bulk: Queue,
}

impl ContentQueues {
    /// Opens the queues whose URLs are in the settings `CONTENT_QUEUE_URL` and
    /// `CONTENT_BULK_QUEUE_URL`.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if one is not set.
    pub fn from_settings(
        client: &aws_sdk_sqs::Client,
        settings: &Settings,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            high: Queue::from_setting(client, settings, "CONTENT_QUEUE_URL")?,
            bulk: Queue::from_setting(client, settings, "CONTENT_BULK_QUEUE_URL")?,
        })
    }

    /// Returns the same queues on behalf of this cause.
    #[must_use]
    pub fn caused_by(&self, cause: Cause) -> Self {
        Self {
            high: self.high.caused_by(cause),
            bulk: self.bulk.caused_by(cause),
        }
    }

    /// Returns both queues.
    #[must_use]
    pub fn all(&self) -> [Queue; 2] {
        [self.high.clone(), self.bulk.clone()]
    }

    /// Returns the queue of a priority.
    #[must_use]
    pub fn queue(&self, priority: Priority) -> &Queue {
        match priority {
            Priority::High => &self.high,
            Priority::Bulk => &self.bulk,
        }
    }

    /// Returns the priority of the messages of a queue, by the queue's name.
    #[must_use]
    pub fn priority_of(&self, queue: &str) -> Priority {
        if self.bulk.url().rsplit('/').next() == Some(queue) {
            Priority::Bulk
        } else {
            Priority::High
        }
    }

    /// Sends wakes in as few requests as SQS allows. `Ok` means that every wake is durably queued.
    ///
    /// # Errors
    /// [`QueueError`] as soon as one is not: the caller must treat all of them as not sent. Sending
    /// all of them again is harmless.
    pub async fn send(
        &self,
        priority: Priority,
        wakes: &[(ContentWake, DedupKey)],
    ) -> Result<(), QueueError> {
        let entries = wakes.iter().map(entry).collect();
        self.send_entries(priority, entries).await
    }

    /// Sends wakes as [`ContentQueues::send`] does, each with a cause of its own if it has one.
    ///
    /// # Errors
    /// As [`ContentQueues::send`].
    pub async fn send_caused(
        &self,
        priority: Priority,
        wakes: &[(ContentWake, DedupKey, Option<Cause>)],
    ) -> Result<(), QueueError> {
        let caused = |(wake, dedup_key, cause): &(ContentWake, DedupKey, Option<Cause>)| {
            let (body, group, deduplication) = entry(&(wake.clone(), dedup_key.clone()));
            let body = match cause {
                Some(cause) => with_cause(body, *cause),
                None => body,
            };
            (body, group, deduplication)
        };
        let entries = wakes.iter().map(caused).collect();
        self.send_entries(priority, entries).await
    }

    async fn send_entries(
        &self,
        priority: Priority,
        entries: Vec<Entry>,
    ) -> Result<(), QueueError> {
        let queue = self.queue(priority);
        // Concurrent requests arrive in any order, which is fine: no wake depends on another.
        let batches: Vec<Vec<Entry>> = entries.chunks(BATCH_MAX).map(<[Entry]>::to_vec).collect();
        stream::iter(batches)
            .map(|batch| send_batch(queue, batch))
            .buffer_unordered(BATCHES_AT_ONCE)
            .try_for_each(async |()| Ok(()))
            .await
    }
}

fn entry((wake, dedup_key): &(ContentWake, DedupKey)) -> Entry {
    let deduplication = digest(&format!("content/{}/{}/{dedup_key}", wake.key, wake.file));
    (
        wake.to_body(),
        file_group(&wake.key, &wake.file),
        deduplication,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{LogWake, PushWake, SnapshotMessage};
    use domain::{ConnectionId, TenantId};
    use std::collections::BTreeSet;

    fn wake(file: &str) -> ContentWake {
        ContentWake {
            key: ConnectionKey {
                tenant: TenantId::parse("acme").unwrap(),
                connection: ConnectionId::parse("c_01").unwrap(),
            },
            file: FileId::parse(file).unwrap(),
        }
    }

    #[test]
    fn a_content_wake_names_its_file_and_nothing_else() {
        let wake = wake("1abc");
        assert_eq!(
            wake.to_body(),
            r#"{"v":1,"tenant":"acme","connection":"c_01","content_of":"1abc"}"#
        );
        assert_eq!(ContentWake::from_body(&wake.to_body()).unwrap(), wake);
    }

    #[test]
    fn a_content_wake_and_other_messages_do_not_read_as_each_other() {
        let wake = wake("1abc");
        let push = PushWake {
            key: wake.key.clone(),
        };
        let log = LogWake {
            key: wake.key.clone(),
            log: domain::LogId::user(),
        };
        for body in [push.to_body(), log.to_body()] {
            assert!(ContentWake::from_body(&body).is_err(), "{body}");
        }
        assert!(LogWake::from_body(&wake.to_body()).is_err());
        assert!(SnapshotMessage::from_body(&wake.to_body()).is_err());
    }

    #[test]
    fn an_unreadable_content_wake_names_the_reason() {
        let good = wake("1abc").to_body();
        for (body, why) in [
            (r#"{"v":2,"shape":"unknown"}"#.to_owned(), "newer"),
            (good.replace("1abc", "a/b"), "content_of"),
            (good.replace("acme", ""), "tenant"),
            (good.replace("c_01", "c#1"), "connection"),
            ("[]".to_owned(), "not a valid message"),
        ] {
            let error = ContentWake::from_body(&body).unwrap_err().to_string();
            assert!(error.contains(why), "{body}: {error}");
        }
    }

    #[test]
    fn wakes_with_distinct_keys_are_distinct_and_a_repetition_is_not() {
        let operation = |id: &str| DedupKey::Operation(OperationId::parse(id).unwrap());
        let all = [
            (wake("1abc"), DedupKey::Record(Revision(1))),
            (wake("1abc"), DedupKey::Record(Revision(2))),
            (wake("2abc"), DedupKey::Record(Revision(1))),
            (wake("1abc"), DedupKey::Progress(1)),
            (wake("1abc"), operation("1")),
            (wake("1abc"), DedupKey::Due(Timestamp::from_millis(500))),
            (wake("1abc"), DedupKey::Due(Timestamp::from_millis(1_000))),
            (wake("1abc"), DedupKey::Redrive("1".to_owned())),
        ];
        let ids: BTreeSet<String> = all.iter().map(|one| entry(one).2).collect();
        assert_eq!(ids.len(), all.len());
        let repeated = (wake("1abc"), DedupKey::Due(Timestamp::from_millis(999)));
        assert!(ids.contains(&entry(&repeated).2));
    }
}
