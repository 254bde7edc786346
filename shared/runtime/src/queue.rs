//! Sending to our queues: snapshots in batches, and wakes that coalesce.

use std::collections::BTreeSet;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{ConnectionKey, FileId, LogId, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest, Sha256};

use crate::content::{ContentQueues, ContentWake, Lane, WakeCause};
use crate::env::{Settings, SettingsError};
use crate::message::{LogWake, PushWake, SnapshotMessage, Unreadable};

/// The delay of the wake queues, in milliseconds: set on the queues, known here for the buckets.
pub const WAKE_DELAY_MILLIS: i64 = 1_000;
/// Wakes sent within one bucket are one wake. Half the delay: a wake is delivered after its bucket has
/// ended, so it covers everything that was sent in it.
pub const WAKE_BUCKET_MILLIS: i64 = WAKE_DELAY_MILLIS / 2;
/// SQS takes ten messages in a batch.
pub(crate) const BATCH_MAX: usize = 10;
/// SQS takes 1 MiB in a batch; some of it is not body.
const BATCH_BYTES_MAX: usize = 1_000_000;
/// Batches on their way at a time: a page of a thousand changes is a hundred of them, 15 ms or so each.
pub(crate) const BATCHES_AT_ONCE: usize = 8;
/// SQS takes 128 characters in a group id or a deduplication id.
const ID_CHARS_MAX: usize = 128;

/// A message could not be handed to SQS. It may have been taken all the same: send it again.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The call failed.
    #[error("could not send to a queue")]
    Call(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The call succeeded, but not for every message.
    #[error("{refused} of {sent} messages were refused: {reason}")]
    Partial {
        /// How many were refused.
        refused: usize,
        /// Of how many.
        sent: usize,
        /// What SQS says of the first of them.
        reason: String,
    },
}

/// One queue of ours.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    /// The queue whose URL the setting `name` holds.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] where it is not set.
    pub fn of_setting(
        client: &Client,
        settings: &Settings,
        name: &'static str,
    ) -> Result<Self, SettingsError> {
        Ok(Self::new(client.clone(), settings.required(name)?))
    }

    /// The client, for other calls on the same queue.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    async fn send(
        &self,
        body: String,
        group: String,
        deduplication: String,
    ) -> Result<(), QueueError> {
        let request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(body);
        let request = request
            .message_group_id(group)
            .message_deduplication_id(deduplication);
        request
            .send()
            .await
            .map(|_| ())
            .map_err(|error| QueueError::Call(error.into()))
    }
}

/// Sends wakes: "look at this now". They carry no data, so those of one moment are one.
#[derive(Debug, Clone)]
pub struct Wakes {
    /// To `fetch-changes`.
    pub logs: Queue,
    /// To `push-intents`.
    pub pushes: Queue,
}

impl Wakes {
    /// Wakes a log.
    ///
    /// # Errors
    /// [`QueueError`] where SQS did not take it for certain.
    pub async fn log(
        &self,
        key: &ConnectionKey,
        log: &LogId,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        wake_log(&self.logs, key, log, now).await
    }

    /// Wakes the pushing of a connection's intents.
    ///
    /// # Errors
    /// [`QueueError`] where SQS did not take it for certain.
    pub async fn push(&self, key: &ConnectionKey, now: Timestamp) -> Result<(), QueueError> {
        wake_push(&self.pushes, key, now).await
    }
}

/// Wakes a log through its queue.
///
/// # Errors
/// [`QueueError`] where SQS did not take it for certain.
pub async fn wake_log(
    queue: &Queue,
    key: &ConnectionKey,
    log: &LogId,
    now: Timestamp,
) -> Result<(), QueueError> {
    let group = log_group(key, log);
    let body = LogWake {
        key: key.clone(),
        log: log.clone(),
    }
    .to_body();
    queue.send(body, group, bucket(now).to_string()).await
}

/// Wakes the pushing of a connection's intents through its queue.
///
/// # Errors
/// [`QueueError`] where SQS did not take it for certain.
pub async fn wake_push(
    queue: &Queue,
    key: &ConnectionKey,
    now: Timestamp,
) -> Result<(), QueueError> {
    let group = push_group(key);
    queue
        .send(
            PushWake { key: key.clone() }.to_body(),
            group,
            bucket(now).to_string(),
        )
        .await
}

/// The number of the bucket that a moment lies in: the deduplication id of a wake, within its group.
pub(crate) fn bucket(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(WAKE_BUCKET_MILLIS)
}

/// When the bucket ended in which a wake was sent: the wake stands for everything up to then.
#[must_use]
pub fn bucket_end(sent_at: Timestamp) -> Timestamp {
    Timestamp::from_millis((bucket(sent_at) + 1) * WAKE_BUCKET_MILLIS)
}

/// Sends snapshots to `apply-snapshots`: live ones on one queue, listings on another.
#[derive(Debug, Clone)]
pub struct Snapshots {
    /// What the logs told.
    pub live: Queue,
    /// What operations listed: slower, so that one tenant's first sync holds up nobody's live changes.
    pub bulk: Queue,
}

/// Sends snapshots in as few calls as SQS allows. Returning `Ok` means that every one is durably queued.
///
/// # Errors
/// [`QueueError`] as soon as one is not: the caller must not count any of them as sent. Sending all of
/// them again is harmless: the deduplication ids are the same.
pub async fn send_snapshots(queue: &Queue, messages: &[SnapshotMessage]) -> Result<(), QueueError> {
    // Calls that run side by side may arrive in any order, so a file that is there twice forbids them.
    let files: BTreeSet<_> = messages.iter().map(|m| (&m.key, &m.file)).collect();
    let at_once = if files.len() == messages.len() {
        BATCHES_AT_ONCE
    } else {
        1
    };
    stream::iter(batches(messages))
        .map(|batch| send_batch(queue, batch))
        .buffer_unordered(at_once)
        .try_for_each(async |()| Ok(()))
        .await
}

/// A message's body, group and deduplication id.
pub(crate) type Entry = (String, String, String);

fn batches(messages: &[SnapshotMessage]) -> Vec<Vec<Entry>> {
    let mut batches = Vec::with_capacity(messages.len().div_ceil(BATCH_MAX));
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut bytes = 0;
    for message in messages {
        let body = message.to_body();
        if batch.len() == BATCH_MAX || bytes + body.len() > BATCH_BYTES_MAX {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += body.len();
        batch.push((
            body,
            file_group(&message.key, &message.file),
            deduplication(message),
        ));
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

pub(crate) async fn send_batch(queue: &Queue, batch: Vec<Entry>) -> Result<(), QueueError> {
    let sent = batch.len();
    let mut request = queue.client.send_message_batch().queue_url(&queue.url);
    for (at, (body, group, deduplication)) in batch.into_iter().enumerate() {
        let entry = SendMessageBatchRequestEntry::builder()
            .id(at.to_string())
            .message_body(body)
            .message_group_id(group)
            .message_deduplication_id(deduplication)
            .build()
            .map_err(|error| QueueError::Call(error.into()))?;
        request = request.entries(entry);
    }
    let answer = request
        .send()
        .await
        .map_err(|error| QueueError::Call(error.into()))?;
    match answer.failed().first() {
        None if answer.successful().len() == sent => Ok(()),
        None => Err(QueueError::Partial {
            refused: sent - answer.successful().len(),
            sent,
            reason: "not mentioned in the answer".to_owned(),
        }),
        Some(first) => Err(QueueError::Partial {
            refused: answer.failed().len(),
            sent,
            reason: first.code().to_owned(),
        }),
    }
}

/// A message of ours that was set aside, to be sent once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// A snapshot, of a listing or live.
    Snapshot {
        /// It.
        message: Box<SnapshotMessage>,
        /// Whether it came with a listing.
        bulk: bool,
    },
    /// A wake of a log.
    Log(LogWake),
    /// A wake of a connection's intents.
    Push(PushWake),
    /// A wake of a file's content.
    Content {
        /// It.
        wake: ContentWake,
        /// The queue that it came by.
        lane: Lane,
    },
}

impl Again {
    /// What a body is. `bulk`: it came by the slower one of its two queues.
    ///
    /// # Errors
    /// [`Unreadable`] where it is none of ours: nobody could take it the second time either.
    pub fn from_body(body: &str, bulk: bool) -> Result<Self, Unreadable> {
        if let Ok(message) = SnapshotMessage::from_body(body) {
            let message = Box::new(message);
            return Ok(Self::Snapshot { message, bulk });
        }
        if let Ok(wake) = ContentWake::from_body(body) {
            let lane = if bulk { Lane::Bulk } else { Lane::Prompt };
            return Ok(Self::Content { wake, lane });
        }
        // Every wake of a log reads as one of its connection, and not the other way round.
        match LogWake::from_body(body) {
            Ok(wake) => Ok(Self::Log(wake)),
            Err(_) => PushWake::from_body(body).map(Self::Push),
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn key(&self) -> &ConnectionKey {
        match self {
            Self::Snapshot { message, .. } => &message.key,
            Self::Log(wake) => &wake.key,
            Self::Push(wake) => &wake.key,
            Self::Content { wake, .. } => &wake.key,
        }
    }
}

/// Sends a message once more, in the group that it belongs to. `cause` names the journey: the five minutes of
/// deduplication swallow its repetition and nothing else.
///
/// # Errors
/// [`QueueError`] where SQS did not take it for certain.
pub async fn send_again(
    wakes: &Wakes,
    snapshots: &Snapshots,
    contents: &ContentQueues,
    again: &Again,
    cause: &str,
) -> Result<(), QueueError> {
    let (queue, body, group) = match again {
        Again::Snapshot { message, bulk } => {
            let queue = if *bulk {
                &snapshots.bulk
            } else {
                &snapshots.live
            };
            let group = file_group(&message.key, &message.file);
            (queue, message.to_body(), group)
        }
        Again::Log(wake) => (&wakes.logs, wake.to_body(), log_group(&wake.key, &wake.log)),
        Again::Push(wake) => (&wakes.pushes, wake.to_body(), push_group(&wake.key)),
        Again::Content { wake, lane } => {
            let cause = WakeCause::Again(cause.to_owned());
            return contents.send(*lane, &[(wake.clone(), cause)]).await;
        }
    };
    queue.send(body, group, digest(cause)).await
}

/// The message group of a file's snapshots: order per file, parallel across files.
#[must_use]
pub fn file_group(key: &ConnectionKey, file: &FileId) -> String {
    bounded(&format!("{}.{}.{file}", key.tenant, key.connection))
}

fn log_group(key: &ConnectionKey, log: &LogId) -> String {
    bounded(&format!("{}.{}.{log}", key.tenant, key.connection))
}

fn push_group(key: &ConnectionKey) -> String {
    bounded(&format!("{}.{}", key.tenant, key.connection))
}

/// Names one snapshot on one journey: a second edit, a resync and a redrive are other journeys.
fn deduplication(message: &SnapshotMessage) -> String {
    let what = match &message.snapshot {
        Some(snapshot) => format!("v{}.{}", snapshot.version, snapshot.mask.0),
        None => format!("removed.{}", message.at.as_millis()),
    };
    digest(&format!(
        "{}/{}/{what}/{}",
        message.key,
        message.file,
        message.cause.text()
    ))
}

/// Fits a text into SQS's 128 characters: as it is where it fits, for people who read queues; else its digest.
fn bounded(text: &str) -> String {
    if text.len() <= ID_CHARS_MAX {
        text.to_owned()
    } else {
        digest(text)
    }
}

/// A text's SHA-256, in 43 characters that fit into ids: a name for what has none.
#[must_use]
pub fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Cause;
    use domain::{ConnectionId, DriveVersion, FieldMask, Mirror, Snapshot, TenantId};
    use std::collections::BTreeMap;

    fn key(tenant: &str) -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse(tenant).unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        }
    }

    fn message(tenant: &str, version: Option<u64>, at: i64, cause: Cause) -> SnapshotMessage {
        let file = FileId::parse("1abc").unwrap();
        let snapshot = |version| Snapshot {
            file: file.clone(),
            version: DriveVersion(version),
            mask: FieldMask::CURRENT,
            fields: BTreeMap::new(),
            mirror: Mirror::default(),
        };
        SnapshotMessage {
            key: key(tenant),
            cause,
            file: file.clone(),
            at: Timestamp::from_millis(at),
            snapshot: version.map(snapshot),
        }
    }

    #[test]
    fn distinct_journeys_have_distinct_deduplication_ids_and_a_repetition_has_the_same() {
        let run = || Cause::Run("op-1".to_owned());
        let all = [
            message("acme", Some(1), 0, Cause::Live),
            message("acme", Some(2), 0, Cause::Live),
            message("acme", Some(1), 0, run()),
            message("other", Some(1), 0, Cause::Live),
            message("acme", None, 7, Cause::Live),
            message("acme", None, 8, Cause::Live),
        ];
        let ids: std::collections::BTreeSet<String> = all.iter().map(deduplication).collect();
        assert_eq!(ids.len(), all.len());
        // The time of a change is not part of a snapshot's name: Drive's version names the state.
        let again = message("acme", Some(1), 99, Cause::Live);
        assert_eq!(deduplication(&again), deduplication(&all[0]));
    }

    #[test]
    fn what_was_set_aside_reads_as_what_it_was() {
        let key = key("acme");
        let log = LogWake {
            key: key.clone(),
            log: LogId::user(),
        };
        let push = PushWake { key: key.clone() };
        let removed = message("acme", None, 7, Cause::Live);
        let content = ContentWake {
            key: key.clone(),
            file: removed.file.clone(),
        };
        let read = |body: &str| Again::from_body(body, true).unwrap();
        assert_eq!(read(&log.to_body()), Again::Log(log));
        assert_eq!(read(&push.to_body()), Again::Push(push));
        let again = read(&content.to_body());
        let lane = Lane::Bulk;
        let wake = content;
        assert_eq!(again, Again::Content { wake, lane });
        let snapshot = read(&removed.to_body());
        assert_eq!(snapshot.key(), &key);
        let message = Box::new(removed);
        assert_eq!(
            snapshot,
            Again::Snapshot {
                message,
                bulk: true
            }
        );
        assert!(Again::from_body("{\"v\":1", false).is_err());
    }

    #[test]
    fn ids_fit_what_sqs_takes() {
        let long = ConnectionKey {
            tenant: TenantId::parse(&"t".repeat(64)).unwrap(),
            connection: ConnectionId::parse(&"c".repeat(64)).unwrap(),
        };
        let group = file_group(&long, &FileId::parse("1abc").unwrap());
        assert!(group.len() <= 128, "{group}");
        assert!(group.bytes().all(|b| b.is_ascii_graphic()));
    }

    #[test]
    fn a_wake_is_delivered_after_its_bucket_has_ended() {
        for at in [0, 1, 499, 500, 999, 1_763_715_600_123] {
            let sent_at = Timestamp::from_millis(at);
            let delivered_at = sent_at.plus_millis(WAKE_DELAY_MILLIS);
            assert!(bucket_end(sent_at) > sent_at);
            assert!(bucket_end(sent_at) <= delivered_at);
        }
    }
}
