//! Wakes for content: "look at what is stored of this file now".

use std::fmt;

use domain::{ConnectionKey, FileId, OperationId, Revision, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::env::{Settings, SettingsError};
use crate::message::{FORMAT, Unreadable, key, to_json};
use crate::queue::{
    BATCH_MAX, BATCHES_AT_ONCE, Entry, Queue, QueueError, bucket, digest, file_group, send_batch,
};

/// "Look at this file's content now": what is to be fetched, uploaded or let go is in its record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentWake {
    /// Whose file.
    pub key: ConnectionKey,
    /// Which file.
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
    /// The message's body.
    #[must_use]
    pub fn to_body(&self) -> String {
        to_json(&Body {
            v: FORMAT,
            tenant: self.key.tenant.to_string(),
            connection: self.key.connection.to_string(),
            content_of: self.file.to_string(),
        })
    }

    /// Reads a message's body.
    ///
    /// # Errors
    /// [`Unreadable`] where it is not one of ours.
    pub fn from_body(body: &str) -> Result<Self, Unreadable> {
        // The number first: a newer body need not look like ours otherwise.
        crate::message::known_body(body)?;
        let wake: Body = serde_json::from_str(body)?;
        Ok(Self {
            key: key(wake.v, &wake.tenant, &wake.connection)?,
            file: FileId::parse(&wake.content_of).map_err(|_| Unreadable::Member("content_of"))?,
        })
    }
}

/// Which of the two queues a content wake goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Deletions, uploads and changes: what somebody waits for.
    Prompt,
    /// What was never mirrored: a library of terabytes must not stand before one edit.
    Bulk,
}

/// Why a content wake is sent: its deduplication id, within its file's group. A cause that is sent twice within SQS's five
/// minutes is one wake, so it must name a moment after which there is something new to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WakeCause {
    /// The record was written with this revision.
    Record(Revision),
    /// Work on the content has come so far, and goes on.
    Progress(u64),
    /// An operation walks through all files.
    Run(OperationId),
    /// What was owed is due again: one wake for half a second, since more of them come until it is done.
    Due(Timestamp),
    /// A dead letter is sent again, on this journey.
    Again(String),
}

impl fmt::Display for WakeCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(revision) => write!(f, "r{}", revision.0),
            Self::Progress(revision) => write!(f, "p{revision}"),
            Self::Run(operation) => write!(f, "o{operation}"),
            Self::Due(at) => write!(f, "d{}", bucket(*at)),
            Self::Again(journey) => write!(f, "a{journey}"),
        }
    }
}

/// The queues of content wakes, which `mirror-content` consumes.
#[derive(Debug, Clone)]
pub struct ContentQueues {
    /// [`Lane::Prompt`].
    pub prompt: Queue,
    /// [`Lane::Bulk`].
    pub bulk: Queue,
}

impl ContentQueues {
    /// The queues whose URLs the settings `CONTENT_QUEUE_URL` and `CONTENT_BULK_QUEUE_URL` hold.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] where one is not set.
    pub fn of_settings(
        client: &aws_sdk_sqs::Client,
        settings: &Settings,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            prompt: Queue::of_setting(client, settings, "CONTENT_QUEUE_URL")?,
            bulk: Queue::of_setting(client, settings, "CONTENT_BULK_QUEUE_URL")?,
        })
    }

    /// Both.
    #[must_use]
    pub fn all(&self) -> [Queue; 2] {
        [self.prompt.clone(), self.bulk.clone()]
    }

    /// The queue of a lane.
    #[must_use]
    pub fn lane(&self, lane: Lane) -> &Queue {
        match lane {
            Lane::Prompt => &self.prompt,
            Lane::Bulk => &self.bulk,
        }
    }

    /// The lane that a delivery came by, by the name of its queue.
    #[must_use]
    pub fn lane_of(&self, queue: &str) -> Lane {
        if self.bulk.url().rsplit('/').next() == Some(queue) {
            Lane::Bulk
        } else {
            Lane::Prompt
        }
    }

    /// Sends wakes in as few calls as SQS allows. Returning `Ok` means that every one is durably queued.
    ///
    /// # Errors
    /// [`QueueError`] as soon as one is not: the caller must count none of them as sent. Sending all of them again is
    /// harmless.
    pub async fn send(
        &self,
        lane: Lane,
        wakes: &[(ContentWake, WakeCause)],
    ) -> Result<(), QueueError> {
        let queue = self.lane(lane);
        // Calls that run side by side arrive in any order, and no wake depends on another.
        let batches = wakes.chunks(BATCH_MAX);
        let batches: Vec<Vec<Entry>> = batches
            .map(|batch| batch.iter().map(entry).collect())
            .collect();
        stream::iter(batches)
            .map(|batch| send_batch(queue, batch))
            .buffer_unordered(BATCHES_AT_ONCE)
            .try_for_each(async |()| Ok(()))
            .await
    }
}

fn entry((wake, cause): &(ContentWake, WakeCause)) -> Entry {
    let deduplication = digest(&format!("content/{}/{}/{cause}", wake.key, wake.file));
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
    fn no_other_message_reads_as_a_content_wake_nor_a_content_wake_as_one_of_a_log_or_a_file() {
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
    fn what_is_no_content_wake_says_why() {
        let good = wake("1abc").to_body();
        for (body, why) in [
            (r#"{"v":2,"shape":"unknown"}"#.to_owned(), "newer"),
            (good.replace("1abc", "a/b"), "content_of"),
            (good.replace("acme", ""), "tenant"),
            (good.replace("c_01", "c#1"), "connection"),
            ("[]".to_owned(), "not a message"),
        ] {
            let said = ContentWake::from_body(&body).unwrap_err().to_string();
            assert!(said.contains(why), "{body}: {said}");
        }
    }

    #[test]
    fn distinct_causes_are_distinct_wakes_and_a_repetition_is_the_same() {
        let run = |id: &str| WakeCause::Run(OperationId::parse(id).unwrap());
        let all = [
            (wake("1abc"), WakeCause::Record(Revision(1))),
            (wake("1abc"), WakeCause::Record(Revision(2))),
            (wake("2abc"), WakeCause::Record(Revision(1))),
            (wake("1abc"), WakeCause::Progress(1)),
            (wake("1abc"), run("1")),
            (wake("1abc"), WakeCause::Due(Timestamp::from_millis(500))),
            (wake("1abc"), WakeCause::Due(Timestamp::from_millis(1_000))),
            (wake("1abc"), WakeCause::Again("1".to_owned())),
        ];
        let ids: BTreeSet<String> = all.iter().map(|one| entry(one).2).collect();
        assert_eq!(ids.len(), all.len());
        let again = (wake("1abc"), WakeCause::Due(Timestamp::from_millis(999)));
        assert!(ids.contains(&entry(&again).2));
    }
}
