//! The server's handle: sending, receiving, deleting. Every call that changes something is one transaction: first it is
//! committed, then the state in memory follows.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::admin::MoveTask;
use super::error::SqsError;
use super::message::{
    NewMessage, Receipt, Received, Sent, md5_of_attributes, md5_of_text, sequence_text,
};
use super::queue::{Entry, Named, Original, Pick, Queue};
use super::settings::{Attributes, DeduplicationScope, Settings, queue_arn};
use super::storage::{self, Move, SEQUENCE_SHIFT, StoredMessage};
use crate::aws::Clock;

/// Messages, or entries of any other batch, in one request.
pub const BATCH_MAX: usize = 10;
/// Bytes of bodies and attributes in one request.
const REQUEST_BYTES_MAX: usize = 1_048_576;
/// AWS bills each part of a payload of this many bytes as one request.
const BILLED_BYTES: usize = 65_536;

/// A durable SQS FIFO server: a handle, cheap to clone. Queues are named by their name or by any URL that ends in it.
#[derive(Clone)]
pub struct Sqs {
    pub(super) inner: Arc<Inner>,
}

impl std::fmt::Debug for Sqs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sqs")
    }
}

pub(super) struct Inner {
    state: Mutex<State>,
    clock: Clock,
    counters: Mutex<Counters>,
}

pub(super) struct State {
    pub(super) connection: Connection,
    pub(super) queues: HashMap<String, Queue>,
    pub(super) tasks: Vec<MoveTask>,
    last_sequence: i64,
    pruned_at: i64,
}

/// How many requests AWS would have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests by action (`SendMessageBatch`, ...), refused ones included.
    pub requests: BTreeMap<&'static str, u64>,
    /// Requests as AWS bills them: one for each 64 KiB of payload begun, at least one.
    pub billed_requests: u64,
}

/// The last path segment of a queue's URL, or the name itself.
pub(super) fn queue_name(name_or_url: &str) -> &str {
    name_or_url.rsplit('/').next().unwrap_or(name_or_url)
}

impl Sqs {
    /// Opens the queues at a path, or fresh ones in memory without a path. Messages that were in flight are visible at once,
    /// receive counts and the deduplication window are as they were.
    ///
    /// # Errors
    /// The database cannot be opened, or holds what this version cannot read.
    pub fn open(path: Option<&Path>, clock: Clock) -> Result<Self, SqsError> {
        let connection = storage::open(path)?;
        let now = clock();
        let mut names = HashMap::new();
        let mut queues = HashMap::new();
        for row in storage::queues(&connection)? {
            let attributes: Attributes = serde_json::from_str(&row.attributes)?;
            let settings = Settings::default().with(&attributes)?;
            let mut queue = Queue::new(row.id, &row.name, settings, row.created_at);
            queue.modified_at = row.modified_at;
            names.insert(row.id, row.name.clone());
            queues.insert(row.name, queue);
        }
        for row in storage::entries(&connection)? {
            if let Some(queue) = names.get(&row.queue).and_then(|name| queues.get_mut(name)) {
                let mut entry = Entry::new(row.sequence, row.sent_at);
                entry.receive_count = row.receive_count;
                entry.first_received_at = row.first_received_at;
                queue.push(&row.group_id, entry, now);
            }
        }
        for row in storage::originals(&connection)? {
            if let Some(queue) = names.get(&row.queue).and_then(|name| queues.get_mut(name)) {
                let (message_id, sequence, sent_at) = (row.message_id, row.sequence, row.sent_at);
                queue.remember(
                    row.key,
                    Original {
                        message_id,
                        sequence,
                        sent_at,
                    },
                );
            }
        }
        let last_sequence = storage::last_sequence(&connection)?;
        let tasks = Vec::new();
        let state = State {
            connection,
            queues,
            tasks,
            last_sequence,
            pruned_at: now,
        };
        let (state, counters) = (Mutex::new(state), Mutex::default());
        Ok(Self {
            inner: Arc::new(Inner {
                state,
                clock,
                counters,
            }),
        })
    }

    /// The time by this server's clock, in milliseconds of Unix time.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.inner.clock)()
    }

    /// The requests so far, those through the Rust API included.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Counts from zero again.
    pub fn reset_counters(&self) {
        *self
            .inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Counters::default();
    }

    pub(super) fn count(&self, action: &'static str, payload_bytes: usize) {
        let mut counters = self
            .inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *counters.requests.entry(action).or_default() += 1;
        counters.billed_requests += payload_bytes.div_ceil(BILLED_BYTES).max(1) as u64;
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one message (`SendMessage`). A duplicate within five minutes is answered like its original and not delivered.
    ///
    /// # Errors
    /// The message is refused, the queue does not exist, or the database failed.
    pub fn send(&self, queue: &str, message: NewMessage) -> Result<Sent, SqsError> {
        self.count("SendMessage", message.size_bytes());
        let mut sent = self.send_all(queue, vec![message])?;
        sent.pop().unwrap_or(Err(SqsError::EmptyBatchRequest))
    }

    /// Sends up to ten messages (`SendMessageBatch`) in one transaction. Gives one result for each, in their order.
    ///
    /// # Errors
    /// As a whole: the queue does not exist, the batch is empty, has more than ten messages or 1 MiB, or the database failed.
    pub fn send_batch(
        &self,
        queue: &str,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Sent, SqsError>>, SqsError> {
        let bytes = messages.iter().map(NewMessage::size_bytes).sum();
        self.count("SendMessageBatch", bytes);
        check_batch(messages.len())?;
        // A single oversize message is refused by itself, with its own error.
        if bytes > REQUEST_BYTES_MAX && messages.len() > 1 {
            return Err(SqsError::BatchRequestTooLong(bytes));
        }
        self.send_all(queue, messages)
    }

    fn send_all(
        &self,
        queue: &str,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Sent, SqsError>>, SqsError> {
        let now = self.now_ms();
        let mut state = self.state();
        let State {
            connection,
            queues,
            last_sequence,
            pruned_at,
            ..
        } = &mut *state;
        let queue = queues
            .get_mut(queue_name(queue))
            .ok_or(SqsError::QueueDoesNotExist)?;
        let transaction = connection.transaction()?;
        let mut sequence = *last_sequence;
        let mut fresh: Vec<(String, StoredMessage)> = Vec::new();
        let mut results = Vec::with_capacity(messages.len());
        for message in messages {
            let (deduplication_id, key) = match check_message(&queue.settings, &message) {
                Ok(checked) => checked,
                Err(refusal) => {
                    results.push(Err(refusal));
                    continue;
                }
            };
            let digests = (
                md5_of_text(&message.body),
                md5_of_attributes(&message.attributes),
                md5_of_attributes(&message.system_attributes),
            );
            let earlier = fresh.iter().find(|(other, _)| *other == key);
            let (message_id, number) = match (earlier, queue.original(&key, now)) {
                (Some((_, first)), _) => (first.message_id.clone(), first.sequence),
                (None, Some(original)) => (original.message_id.clone(), original.sequence),
                (None, None) => {
                    sequence = next_sequence(sequence, now);
                    let stored =
                        stored_message(&queue.name, message, deduplication_id, sequence, now);
                    storage::insert(&transaction, queue.id, &stored, &key)?;
                    let message_id = stored.message_id.clone();
                    fresh.push((key, stored));
                    (message_id, sequence)
                }
            };
            results.push(Ok(Sent {
                message_id,
                sequence_number: sequence_text(number),
                md5_of_body: digests.0,
                md5_of_attributes: digests.1,
                md5_of_system_attributes: digests.2,
            }));
        }
        if now - *pruned_at >= 1000 {
            storage::forget_originals(&transaction, now)?;
            *pruned_at = now;
        }
        transaction.commit()?;
        *last_sequence = sequence;
        for (key, stored) in fresh {
            queue.push(&stored.group_id, Entry::new(stored.sequence, now), now);
            let StoredMessage {
                message_id,
                sequence,
                ..
            } = stored;
            queue.remember(
                key,
                Original {
                    message_id,
                    sequence,
                    sent_at: now,
                },
            );
        }
        queue.notify.notify_waiters();
        Ok(results)
    }

    /// One look at the queue: what can be received now, at most `max` messages, in flight for `visibility_seconds` (None: as
    /// the queue says). Does not wait and does not count as a request: [`Sqs::receive`] does both.
    pub(super) fn take(
        &self,
        queue: &str,
        max: usize,
        visibility_seconds: Option<i64>,
        attempt_id: Option<&str>,
    ) -> Result<Vec<Received>, SqsError> {
        let now = self.now_ms();
        let mut state = self.state();
        let State {
            connection,
            queues,
            last_sequence,
            ..
        } = &mut *state;
        let name = queue_name(queue);
        let queue = queues.get_mut(name).ok_or(SqsError::QueueDoesNotExist)?;
        let visible_at =
            now + visibility_seconds.unwrap_or(queue.settings.visibility_seconds) * 1000;
        if let Some(receipts) = attempt_id.and_then(|id| queue.attempt(id, now)) {
            for receipt in &receipts {
                queue.set_visible_at(receipt.sequence, visible_at, now);
            }
            let sequences = receipts.iter().map(|r| r.sequence);
            return self.received(connection, queue, sequences.collect());
        }
        let redrive = queue.settings.redrive.clone();
        let target = redrive
            .as_ref()
            .and_then(|r| queues.get(&r.dead_letter_queue))
            .map(|q| q.id);
        let queue = queues.get_mut(name).ok_or(SqsError::QueueDoesNotExist)?;
        let plan = queue.plan(max, target.is_some(), now);
        if plan.is_empty() {
            return Ok(Vec::new());
        }
        let mut sequence = *last_sequence;
        let mut dead = Vec::new();
        let transaction = connection.transaction()?;
        for Pick { entry, .. } in &plan.take {
            let first = if entry.first_received_at == 0 {
                now
            } else {
                entry.first_received_at
            };
            storage::received(&transaction, entry.sequence, entry.receive_count + 1, first)?;
        }
        for Pick { entry, .. } in &plan.expired {
            storage::delete(&transaction, entry.sequence)?;
        }
        for Pick { group, entry } in &plan.dead {
            sequence = next_sequence(sequence, now);
            let (source, queue) = (Some(name), target.unwrap_or_default());
            let to = Move {
                queue,
                sequence,
                source,
                sent_at: now,
                new_message_id: None,
            };
            storage::move_message(&transaction, entry.sequence, &to)?;
            let mut moved = Entry::new(sequence, now);
            moved.receive_count = entry.receive_count;
            moved.first_received_at = entry.first_received_at;
            dead.push((group, moved));
        }
        transaction.commit()?;
        *last_sequence = sequence;
        for Pick { entry, .. } in plan.expired.iter().chain(&plan.dead) {
            queue.remove(entry.sequence, now);
        }
        let taken: Vec<i64> = plan.take.iter().map(|pick| pick.entry.sequence).collect();
        for sequence in &taken {
            queue.take(*sequence, visible_at, now);
        }
        let received = self.received(connection, queue, taken)?;
        if let Some(id) = attempt_id {
            let receipts = received
                .iter()
                .filter_map(|r| Receipt::parse(&r.receipt_handle));
            queue.remember_attempt(id, receipts.collect(), now);
        }
        if let Some(target) = redrive.and_then(|r| queues.get_mut(&r.dead_letter_queue)) {
            for (group, entry) in dead {
                target.push(group, entry, now);
            }
            target.notify.notify_waiters();
        }
        Ok(received)
    }

    fn received(
        &self,
        connection: &Connection,
        queue: &Queue,
        sequences: Vec<i64>,
    ) -> Result<Vec<Received>, SqsError> {
        let mut received = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            let Some(entry) = queue.entry(sequence) else {
                continue;
            };
            let Some(stored) = storage::load(connection, sequence)? else {
                continue;
            };
            let receive_count = entry.receive_count;
            received.push(Received {
                message_id: stored.message_id,
                receipt_handle: Receipt {
                    queue: queue.id,
                    sequence,
                    receive_count,
                }
                .handle(),
                body: stored.body,
                attributes: stored.attributes,
                system_attributes: stored.system_attributes,
                group_id: stored.group_id,
                deduplication_id: stored.deduplication_id,
                sequence_number: sequence_text(sequence),
                sent_at_ms: stored.sent_at,
                first_received_at_ms: entry.first_received_at,
                receive_count,
                dead_letter_source_arn: stored.source.as_deref().map(queue_arn),
            });
        }
        Ok(received)
    }

    /// Deletes messages by their receipt handles: one handle is `DeleteMessage`, several are `DeleteMessageBatch`, in one
    /// transaction. Gives one result for each, in their order. A message that is already gone is deleted.
    ///
    /// A handle whose visibility timeout has passed, or whose message was received again since, is refused on a FIFO queue
    /// (`InvalidParameterValue`, "The receipt handle has expired": AWS re:Post, "receipt handle error").
    ///
    /// # Errors
    /// As a whole: the queue does not exist, not one to ten handles, or the database failed.
    pub fn delete(
        &self,
        queue: &str,
        handles: &[String],
    ) -> Result<Vec<Result<(), SqsError>>, SqsError> {
        self.count(
            if handles.len() == 1 {
                "DeleteMessage"
            } else {
                "DeleteMessageBatch"
            },
            0,
        );
        check_batch(handles.len())?;
        let now = self.now_ms();
        let mut state = self.state();
        let State {
            connection, queues, ..
        } = &mut *state;
        let queue = queues
            .get_mut(queue_name(queue))
            .ok_or(SqsError::QueueDoesNotExist)?;
        let transaction = connection.transaction()?;
        let mut deleted = Vec::with_capacity(handles.len());
        let mut results = Vec::with_capacity(handles.len());
        for handle in handles {
            results.push(match (receipt(queue, handle), handle) {
                (Err(refusal), _) => Err(refusal),
                (Ok(receipt), handle) => match queue.named(receipt, now) {
                    Named::InFlight => {
                        storage::delete(&transaction, receipt.sequence)?;
                        deleted.push(receipt.sequence);
                        Ok(())
                    }
                    Named::Gone => Ok(()),
                    Named::Expired { .. } => Err(SqsError::ReceiptHandleExpired(handle.clone())),
                },
            });
        }
        transaction.commit()?;
        for sequence in deleted {
            queue.remove(sequence, now);
        }
        queue.notify.notify_waiters();
        Ok(results)
    }

    /// Sets for how many seconds from now messages stay in flight, 0 for not at all (`ChangeMessageVisibility`, with several
    /// entries `ChangeMessageVisibilityBatch`). Gives one result for each, in their order.
    ///
    /// # Errors
    /// As a whole: the queue does not exist, or not one to ten entries.
    pub fn change_visibility(
        &self,
        queue: &str,
        changes: &[(String, i64)],
    ) -> Result<Vec<Result<(), SqsError>>, SqsError> {
        let single = changes.len() == 1;
        let actions = ["ChangeMessageVisibilityBatch", "ChangeMessageVisibility"];
        self.count(if single { actions[1] } else { actions[0] }, 0);
        check_batch(changes.len())?;
        let now = self.now_ms();
        let mut state = self.state();
        let queue = state
            .queues
            .get_mut(queue_name(queue))
            .ok_or(SqsError::QueueDoesNotExist)?;
        let results = changes.iter().map(|(handle, seconds)| {
            let receipt = receipt(queue, handle)?;
            if !(0..=43_200).contains(seconds) {
                return Err(SqsError::InvalidParameterValue(format!(
                    "Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
                )));
            }
            match queue.named(receipt, now) {
                Named::InFlight => {
                    queue.forget_attempts_of(receipt.sequence);
                    queue.set_visible_at(receipt.sequence, now + seconds * 1000, now);
                    Ok(())
                }
                Named::Expired { latest: true } => Err(SqsError::MessageNotInflight),
                Named::Expired { latest: false } => {
                    Err(SqsError::ReceiptHandleExpired(handle.clone()))
                }
                Named::Gone => Err(SqsError::InvalidParameterValue(format!(
                    "Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."
                ))),
            }
        });
        let results = results.collect();
        queue.notify.notify_waiters();
        Ok(results)
    }
}

impl State {
    /// A sequence number above all others.
    pub(super) fn next_sequence(&mut self, now: i64) -> i64 {
        self.last_sequence = next_sequence(self.last_sequence, now);
        self.last_sequence
    }
}

fn next_sequence(last: i64, now: i64) -> i64 {
    (last + 1).max(now << SEQUENCE_SHIFT)
}

/// Refuses a batch of no entries or of more than ten.
pub(super) fn check_batch(entries: usize) -> Result<(), SqsError> {
    match entries {
        0 => Err(SqsError::EmptyBatchRequest),
        1..=BATCH_MAX => Ok(()),
        _ => Err(SqsError::TooManyEntriesInBatchRequest(entries)),
    }
}

fn receipt(queue: &Queue, handle: &str) -> Result<Receipt, SqsError> {
    Receipt::parse(handle)
        .filter(|receipt| receipt.queue == queue.id)
        .ok_or_else(|| SqsError::ReceiptHandleIsInvalid(handle.to_owned()))
}

/// A message's id: a function of its queue and sequence number, so that a run with virtual time repeats exactly.
pub(super) fn message_id(queue: &str, sequence: i64) -> String {
    use md5::Md5;
    let digest = Md5::digest(format!("{queue}/{sequence}").as_bytes());
    uuid::Builder::from_md5_bytes(digest.into())
        .into_uuid()
        .to_string()
}

fn stored_message(
    queue: &str,
    message: NewMessage,
    deduplication_id: String,
    sequence: i64,
    now: i64,
) -> StoredMessage {
    StoredMessage {
        sequence,
        message_id: message_id(queue, sequence),
        group_id: message.group_id,
        deduplication_id,
        sent_at: now,
        source: None,
        attributes: message.attributes,
        system_attributes: message.system_attributes,
        body: message.body,
    }
}

/// The message's deduplication id, and the key under which the window knows it.
fn check_message(settings: &Settings, message: &NewMessage) -> Result<(String, String), SqsError> {
    check_identifier("MessageGroupId", &message.group_id)?;
    if message.body.is_empty() {
        return Err(SqsError::MissingParameter("MessageBody"));
    }
    if message.size_bytes() > settings.message_bytes_max {
        return Err(SqsError::InvalidParameterValue(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
            settings.message_bytes_max
        )));
    }
    let refused = |c: char| matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if message.body.contains(refused) {
        return Err(SqsError::InvalidMessageContents);
    }
    let mut attributes = message
        .attributes
        .values()
        .chain(message.system_attributes.values());
    if message.attributes.len() > 10 || !attributes.all(super::message::MessageAttribute::is_valid)
    {
        let reason = "One or more message attributes are invalid.";
        return Err(SqsError::InvalidParameterValue(reason.into()));
    }
    let id = match &message.deduplication_id {
        Some(id) => {
            check_identifier("MessageDeduplicationId", id)?;
            id.clone()
        }
        None if settings.content_based_deduplication => {
            hex::encode(Sha256::digest(message.body.as_bytes()))
        }
        None => {
            let reason = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly";
            return Err(SqsError::InvalidParameterValue(reason.into()));
        }
    };
    // Neither identifier can contain a space.
    let key = match settings.deduplication_scope {
        DeduplicationScope::Queue => id.clone(),
        DeduplicationScope::MessageGroup => format!("{} {id}", message.group_id),
    };
    Ok((id, key))
}

/// Group and deduplication ids: 1 to 128 letters, digits and ASCII punctuation.
fn check_identifier(parameter: &'static str, value: &str) -> Result<(), SqsError> {
    if value.is_empty() {
        return Err(SqsError::MissingParameter(parameter));
    }
    if value.len() <= 128 && value.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(SqsError::InvalidParameterValue(format!(
        "Value {value} for parameter {parameter} is invalid. Reason: {parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
    )))
}
