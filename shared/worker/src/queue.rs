//! Sends to the queues: snapshots in batches, and wakes that coalesce.

mod redrive;

use std::collections::BTreeSet;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::event::LogEnd;
use domain::{
    Cause, ConflictId, ConnectionKey, EndpointId, FileId, LogId, OperationId, TenantId, Timestamp,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest, Sha256};

use crate::message::{LogWake, PushWake, SnapshotMessage, with_cause};
use crate::{DeliveryWake, LiveWake, OperationWake};
use runtime::{Settings, SettingsError, telemetry};

pub use redrive::{Redrive, redrive};

/// The delay of the wake queues, in milliseconds. It is configured on the queues; the coalescing
/// window depends on it.
pub const WAKE_DELAY_MILLIS: i64 = 1_000;
/// The coalescing window of wakes, in milliseconds: all wakes sent within one window are one. It is
/// half the delay, so a wake is delivered after its window has ended and covers all of it.
pub const COALESCING_WINDOW_MILLIS: i64 = WAKE_DELAY_MILLIS / 2;
/// The most messages in a batch of SQS.
pub(crate) const BATCH_MAX: usize = 10;
/// The most body bytes in a batch. SQS allows 1 MiB, part of which is not body.
const BATCH_BYTES_MAX: usize = 1_000_000;
/// The largest body of a snapshot that is sent, in bytes. A larger one is sent by reference. SQS
/// takes 1 MiB; a dead letter keeps a body of this size whole.
const SNAPSHOT_BYTES_MAX: usize = 200_000;
/// The number of batches in flight at a time. A page of a thousand changes is a hundred batches of
/// about 15 ms each.
pub(crate) const BATCHES_AT_ONCE: usize = 8;
/// The most characters in a group id or a deduplication id of SQS.
const ID_CHARS_MAX: usize = 128;

/// SQS did not confirm a message. It may have accepted it nevertheless, so it must be sent again.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The request failed.
    #[error("SQS request failed")]
    Call(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request succeeded, but not for every message.
    #[error("SQS rejected {refused} of {sent} messages: {reason}")]
    Partial {
        /// The number of rejected messages.
        refused: usize,
        /// The number of messages in the request.
        sent: usize,
        /// The error code of the first rejected message.
        reason: String,
    },
}

/// A queue, on behalf of a cause: what is sent through it carries that cause.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
    cause: Option<Cause>,
}

impl Queue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
            cause: None,
        }
    }

    /// Returns the same queue on behalf of this cause.
    #[must_use]
    pub fn caused_by(&self, cause: Cause) -> Self {
        Self {
            cause: Some(cause),
            ..self.clone()
        }
    }

    /// Returns a body with the cause that it is sent with.
    fn caused(&self, body: String) -> String {
        match self.cause {
            Some(cause) => with_cause(body, cause),
            None => body,
        }
    }

    /// Opens the queue whose URL is in the setting `name`.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if it is not set.
    pub fn from_setting(
        client: &Client,
        settings: &Settings,
        name: &'static str,
    ) -> Result<Self, SettingsError> {
        Ok(Self::new(client.clone(), settings.required(name)?))
    }

    /// Returns whether this function may send to the queue, and sends nothing: a message without a
    /// group is refused for that by a FIFO queue, after who sends it was checked.
    ///
    /// # Errors
    /// [`QueueError::Call`] if the queue is not there, or it may not.
    pub async fn may_send(&self) -> Result<(), QueueError> {
        let request = self.client.send_message().queue_url(&self.url);
        let request = request.message_body("a version-check");
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("MissingParameter") => Ok(()),
            Err(error) => Err(QueueError::Call(error.into())),
        }
    }

    /// Returns whether this function may read the queue.
    ///
    /// # Errors
    /// [`QueueError::Call`] if the queue is not there, or it may not.
    pub async fn may_receive(&self) -> Result<(), QueueError> {
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let request = request.attribute_names(QueueAttributeName::QueueArn);
        let answer = request.send().await;
        answer
            .map(|_| ())
            .map_err(|error| QueueError::Call(error.into()))
    }

    /// Returns the client, for other requests to the same queue.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the URL.
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
            .message_body(self.caused(body));
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

/// The queues of wakes. A wake carries no data, so all wakes of one coalescing window are one.
#[derive(Debug, Clone)]
pub struct WakeQueues {
    /// The queue that `fetch-changes` consumes.
    pub logs: Queue,
    /// The queue that `push-intents` consumes.
    pub pushes: Queue,
    /// The queue that `run-operations` consumes.
    pub operations: Queue,
    /// The queue of live readers, which `live` consumes.
    pub live: Queue,
    /// The queue of webhook endpoints, which `live` consumes as well.
    pub deliver: Queue,
}

impl WakeQueues {
    /// Opens the queues whose URLs are in the settings `LOG_WAKES_QUEUE_URL`,
    /// `PUSH_WAKES_QUEUE_URL`, `OPERATIONS_QUEUE_URL`, `LIVE_QUEUE_URL` and `DELIVER_QUEUE_URL`.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if one is not set.
    pub fn from_settings(client: &Client, settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            logs: Queue::from_setting(client, settings, "LOG_WAKES_QUEUE_URL")?,
            pushes: Queue::from_setting(client, settings, "PUSH_WAKES_QUEUE_URL")?,
            operations: Queue::from_setting(client, settings, "OPERATIONS_QUEUE_URL")?,
            live: Queue::from_setting(client, settings, "LIVE_QUEUE_URL")?,
            deliver: Queue::from_setting(client, settings, "DELIVER_QUEUE_URL")?,
        })
    }

    /// Returns the same queues on behalf of this cause.
    #[must_use]
    pub fn caused_by(&self, cause: Cause) -> Self {
        Self {
            logs: self.logs.caused_by(cause),
            pushes: self.pushes.caused_by(cause),
            operations: self.operations.caused_by(cause),
            live: self.live.caused_by(cause),
            deliver: self.deliver.caused_by(cause),
        }
    }

    /// Wakes a log.
    ///
    /// # Errors
    /// [`QueueError`] if SQS did not confirm it.
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
    /// [`QueueError`] if SQS did not confirm it.
    pub async fn push(&self, key: &ConnectionKey, now: Timestamp) -> Result<(), QueueError> {
        wake_push(&self.pushes, key, now).await
    }

    /// Wakes an operation.
    ///
    /// # Errors
    /// [`QueueError`] if SQS did not confirm it.
    pub async fn operation(
        &self,
        key: &ConnectionKey,
        operation: &OperationId,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let group = operation_group(key, operation);
        let body = OperationWake {
            key: key.clone(),
            operation: operation.clone(),
        }
        .to_body();
        self.operations
            .send(body, group, coalescing_window(now).to_string())
            .await
    }
}

/// Wakes a log through a given queue.
///
/// # Errors
/// [`QueueError`] if SQS did not confirm it.
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
    queue
        .send(body, group, coalescing_window(now).to_string())
        .await
}

/// Wakes the pushing of a connection's intents through a given queue.
///
/// # Errors
/// [`QueueError`] if SQS did not confirm it.
pub async fn wake_push(
    queue: &Queue,
    key: &ConnectionKey,
    now: Timestamp,
) -> Result<(), QueueError> {
    let group = connection_group(key);
    queue
        .send(
            PushWake { key: key.clone() }.to_body(),
            group,
            coalescing_window(now).to_string(),
        )
        .await
}

/// Wakes the live readers of a connection's event log, which ends with `end` now. The queue has no
/// delay, so that only wakes about the same end are one. A wake that is lost is only logged:
/// readers follow the log.
pub async fn wake_readers(queue: &Queue, key: &ConnectionKey, end: &LogEnd) {
    let body = LiveWake { key: key.clone() }.to_body();
    let id = digest(&end.cursor().to_string());
    if let Err(error) = queue.send(body, connection_group(key), id).await {
        let error = telemetry::chain(&error);
        tracing::warn!(
            connection = %key, error, metric = "live_wake_failed",
            "could not wake live readers"
        );
    }
}

/// Wakes a webhook endpoint through a given queue: it is delivered what it is owed.
///
/// # Errors
/// [`QueueError`] if SQS did not confirm it. The index of due items has the endpoint in any case.
pub async fn wake_endpoint(
    queue: &Queue,
    tenant: &TenantId,
    endpoint: &EndpointId,
    now: Timestamp,
) -> Result<(), QueueError> {
    let body = DeliveryWake {
        tenant: tenant.clone(),
        endpoint: endpoint.clone(),
        conflict: None,
    };
    let group = endpoint_group(tenant, endpoint);
    let window = coalescing_window(now).to_string();
    queue.send(body.to_body(), group, window).await
}

/// Wakes the resolver of a conflict through a given queue: it is asked.
///
/// # Errors
/// [`QueueError`] if SQS did not confirm it. The index of due items has the conflict in any case.
pub async fn wake_resolver(
    queue: &Queue,
    key: &ConnectionKey,
    conflict: &ConflictId,
    endpoint: &EndpointId,
    now: Timestamp,
) -> Result<(), QueueError> {
    let body = DeliveryWake {
        tenant: key.tenant.clone(),
        endpoint: endpoint.clone(),
        conflict: Some((key.connection.clone(), conflict.clone())),
    };
    // One question at a time for each resolver, so that a slow one delays nobody else.
    let group = bounded(&format!("{}.{endpoint}.resolver", key.tenant));
    let body = body.to_body();
    let id = digest(&format!("{body}/{}", coalescing_window(now)));
    queue.send(body, group, id).await
}

/// Returns the number of the coalescing window that contains a time: the deduplication id of a wake
/// within its group.
pub(crate) fn coalescing_window(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(COALESCING_WINDOW_MILLIS)
}

/// Returns the end of the coalescing window in which a wake was sent: the wake covers everything up
/// to then.
#[must_use]
pub fn coalescing_window_end(sent_at: Timestamp) -> Timestamp {
    Timestamp::from_millis((coalescing_window(sent_at) + 1) * COALESCING_WINDOW_MILLIS)
}

/// The queues of snapshots, which `apply-snapshots` consumes.
#[derive(Debug, Clone)]
pub struct SnapshotQueues {
    /// Live changes from the change logs.
    pub live: Queue,
    /// Listings of operations. Processed with lower concurrency, so that one tenant's first sync
    /// does not delay live changes.
    pub bulk: Queue,
}

impl SnapshotQueues {
    /// Opens the queues whose URLs are in the settings `SNAPSHOTS_QUEUE_URL` and
    /// `SNAPSHOTS_BULK_QUEUE_URL`.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] if one is not set.
    pub fn from_settings(client: &Client, settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            live: Queue::from_setting(client, settings, "SNAPSHOTS_QUEUE_URL")?,
            bulk: Queue::from_setting(client, settings, "SNAPSHOTS_BULK_QUEUE_URL")?,
        })
    }

    /// Returns the same queues on behalf of this cause.
    #[must_use]
    pub fn caused_by(&self, cause: Cause) -> Self {
        Self {
            live: self.live.caused_by(cause),
            bulk: self.bulk.caused_by(cause),
        }
    }
}

/// Sends snapshots in as few requests as SQS allows. `Ok` means that every snapshot is durably
/// queued.
///
/// # Errors
/// [`QueueError`] as soon as one is not: the caller must treat all of them as not sent. Sending all
/// of them again is harmless: the deduplication ids are the same.
pub async fn send_snapshots(queue: &Queue, messages: &[SnapshotMessage]) -> Result<(), QueueError> {
    // Concurrent requests may arrive in any order, which a file with two messages does not allow.
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
        let (body, deduplication) = sendable(message);
        if batch.len() == BATCH_MAX || bytes + body.len() > BATCH_BYTES_MAX {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += body.len();
        batch.push((body, file_group(&message.key, &message.file), deduplication));
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// Returns the body of a message and its deduplication id: by reference if the snapshot is too
/// large for a message.
fn sendable(message: &SnapshotMessage) -> (String, String) {
    let body = message.to_body();
    match &message.snapshot {
        Some(snapshot) if body.len() > SNAPSHOT_BYTES_MAX => {
            tracing::info!(
                connection = %message.key, file = %message.file, bytes = body.len(),
                metric = "sent_by_reference",
                "the snapshot is too large for a message; it is read again where it is applied"
            );
            let reference = message.by_reference(snapshot.version);
            (reference.to_body(), deduplication(&reference))
        }
        Some(_) | None => (body, deduplication(message)),
    }
}

pub(crate) async fn send_batch(queue: &Queue, batch: Vec<Entry>) -> Result<(), QueueError> {
    let sent = batch.len();
    let mut request = queue.client.send_message_batch().queue_url(&queue.url);
    for (at, (body, group, deduplication)) in batch.into_iter().enumerate() {
        let entry = SendMessageBatchRequestEntry::builder()
            .id(at.to_string())
            .message_body(queue.caused(body))
            .message_group_id(group)
            .message_deduplication_id(deduplication)
            .build()
            .map_err(|error| QueueError::Call(error.into()))?;
        request = request.entries(entry);
    }
    let response = request
        .send()
        .await
        .map_err(|error| QueueError::Call(error.into()))?;
    match response.failed().first() {
        None if response.successful().len() == sent => Ok(()),
        None => Err(QueueError::Partial {
            refused: sent - response.successful().len(),
            sent,
            reason: "missing in the response".to_owned(),
        }),
        Some(first) => Err(QueueError::Partial {
            refused: response.failed().len(),
            sent,
            reason: first.code().to_owned(),
        }),
    }
}

/// Returns the message group of a file: ordered per file, parallel across files.
#[must_use]
pub fn file_group(key: &ConnectionKey, file: &FileId) -> String {
    bounded(&format!("{}.{}.{file}", key.tenant, key.connection))
}

fn log_group(key: &ConnectionKey, log: &LogId) -> String {
    bounded(&format!("{}.{}.{log}", key.tenant, key.connection))
}

fn operation_group(key: &ConnectionKey, operation: &OperationId) -> String {
    bounded(&format!("{}.{}.{operation}", key.tenant, key.connection))
}

/// Returns the message group of a connection.
fn connection_group(key: &ConnectionKey) -> String {
    bounded(&format!("{}.{}", key.tenant, key.connection))
}

/// Returns the message group of a webhook endpoint.
fn endpoint_group(tenant: &TenantId, endpoint: &EndpointId) -> String {
    bounded(&format!("{tenant}.{endpoint}"))
}

/// Returns the deduplication id of a snapshot: distinct for a second edit, a resync and a redrive.
fn deduplication(message: &SnapshotMessage) -> String {
    let state = match &message.snapshot {
        Some(snapshot) => format!("v{}.{}", snapshot.version, snapshot.field_set.0),
        None => format!("removed.{}", message.at.as_millis()),
    };
    digest(&format!(
        "{}/{}/{state}/{}",
        message.key,
        message.file,
        message.origin.text()
    ))
}

/// Returns the text itself if it fits into an id of SQS, which keeps queues readable, or else its
/// digest.
fn bounded(text: &str) -> String {
    if text.len() <= ID_CHARS_MAX {
        text.to_owned()
    } else {
        digest(text)
    }
}

/// Returns the SHA-256 of a text in 43 characters that are valid in ids.
#[must_use]
pub fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests;
