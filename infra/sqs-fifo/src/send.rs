//! Sending: validation, deduplication, and one transaction for a batch.

use sha2::{Digest as _, Sha256};

use super::engine::{Sqs, State, check_batch, message_id, next_sequence, queue_name};
use super::error::SqsError;
use super::message::{
    MessageAttribute, NewMessage, Sent, md5_of_attributes, md5_of_text, sequence_text,
};
use super::queue::{Entry, Original, Queue};
use super::settings::{DeduplicationScope, Settings};
use super::storage::{self, StoredMessage};

/// The most bytes of bodies and attributes in one request.
const REQUEST_BYTES_MAX: usize = 1_048_576;

impl Sqs {
    /// Sends one message (`SendMessage`). A duplicate within five minutes is answered like its
    /// original and not delivered.
    ///
    /// # Errors
    /// The message is refused, the queue does not exist, or the database failed.
    pub fn send(&self, queue: &str, message: NewMessage) -> Result<Sent, SqsError> {
        self.count("SendMessage", message.size_bytes());
        let mut sent = self.send_all(queue, vec![message])?;
        sent.pop().unwrap_or(Err(SqsError::EmptyBatchRequest))
    }

    /// Sends up to ten messages (`SendMessageBatch`) in one transaction. Returns one result for
    /// each, in their order.
    ///
    /// # Errors
    /// As a whole: the queue does not exist, the batch is empty or has more than ten messages or 1
    /// MiB, or the database failed.
    pub fn send_batch(
        &self,
        queue: &str,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Sent, SqsError>>, SqsError> {
        let bytes = messages.iter().map(NewMessage::size_bytes).sum();
        self.count("SendMessageBatch", bytes);
        check_batch(messages.len())?;
        // A single oversize message is refused with its own error.
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
        let mut fresh: Vec<(Option<String>, StoredMessage)> = Vec::new();
        let mut results = Vec::with_capacity(messages.len());
        for message in messages {
            let deduplication = match check_message(&queue.settings, &message) {
                Ok(checked) => checked,
                Err(refusal) => {
                    results.push(Err(refusal));
                    continue;
                }
            };
            let mut sent = unnumbered_response(&message);
            let key = deduplication.as_ref().map(|(_, key)| key.clone());
            let mut sent_before = fresh.iter().filter(|_| key.is_some());
            let earlier = sent_before.find(|(other, _)| *other == key);
            let original = key.as_deref().and_then(|key| queue.original(key, now));
            let (message_id, number) = match (earlier, original) {
                (Some((_, first)), _) => (first.message_id.clone(), first.sequence),
                (None, Some(original)) => (original.message_id.clone(), original.sequence),
                (None, None) => {
                    sequence = next_sequence(sequence, now);
                    let id = deduplication.map(|(id, _)| id).unwrap_or_default();
                    let stored = stored_message(queue, message, id, sequence, now);
                    storage::insert(&transaction, queue.id, &stored, key.as_deref())?;
                    let message_id = stored.message_id.clone();
                    fresh.push((key, stored));
                    (message_id, sequence)
                }
            };
            sent.message_id = message_id;
            sent.sequence_number = queue.settings.fifo.then(|| sequence_text(number));
            results.push(Ok(sent));
        }
        if now - *pruned_at >= 1000 {
            storage::delete_expired_originals(&transaction, now)?;
            *pruned_at = now;
        }
        transaction.commit()?;
        *last_sequence = sequence;
        for (key, stored) in fresh {
            let mut entry = Entry::new(stored.sequence, now);
            entry.available_at = stored.available_at;
            queue.push(&stored.group_id, entry, now);
            let Some(key) = key else { continue };
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
}

/// Returns the response to a message, without its id and sequence number.
fn unnumbered_response(message: &NewMessage) -> Sent {
    Sent {
        message_id: String::new(),
        sequence_number: None,
        md5_of_body: md5_of_text(&message.body),
        md5_of_attributes: md5_of_attributes(&message.attributes),
        md5_of_system_attributes: md5_of_attributes(&message.system_attributes),
    }
}

fn stored_message(
    queue: &Queue,
    message: NewMessage,
    deduplication_id: String,
    sequence: i64,
    now: i64,
) -> StoredMessage {
    let seconds = message
        .delay_seconds
        .unwrap_or(queue.settings.delay_seconds);
    StoredMessage {
        sequence,
        message_id: message_id(&queue.name, sequence),
        available_at: (!queue.settings.fifo && seconds > 0).then_some(now + seconds * 1000),
        group_id: message.group_id,
        deduplication_id,
        sent_at: now,
        source: None,
        attributes: message.attributes,
        system_attributes: message.system_attributes,
        body: message.body,
    }
}

/// Validates a message. Returns its deduplication id and its key in the deduplication window;
/// `None` on a standard queue, which does not deduplicate.
fn check_message(
    settings: &Settings,
    message: &NewMessage,
) -> Result<Option<(String, String)>, SqsError> {
    // On a standard queue a group only balances tenants (developer guide, "fair queues").
    if settings.fifo || !message.group_id.is_empty() {
        check_identifier("MessageGroupId", &message.group_id)?;
    }
    check_delay(settings, message.delay_seconds)?;
    if message.body.is_empty() {
        return Err(SqsError::MissingParameter("MessageBody"));
    }
    if message.size_bytes() > settings.message_bytes_max {
        return Err(SqsError::InvalidParameterValue(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
            settings.message_bytes_max
        )));
    }
    if message.body.contains(is_refused) {
        return Err(SqsError::InvalidMessageContents);
    }
    let mut attributes = message
        .attributes
        .values()
        .chain(message.system_attributes.values());
    if message.attributes.len() > 10 || !attributes.all(MessageAttribute::is_valid) {
        let reason = "One or more message attributes are invalid.";
        return Err(SqsError::InvalidParameterValue(reason.into()));
    }
    if !settings.fifo {
        return match &message.deduplication_id {
            None => Ok(None),
            Some(id) => Err(not_for_this_type("MessageDeduplicationId", id)),
        };
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
            let reason = "The queue should either have ContentBasedDeduplication enabled or \
                          MessageDeduplicationId provided explicitly";
            return Err(SqsError::InvalidParameterValue(reason.into()));
        }
    };
    // Neither identifier contains a space, so the key is unambiguous.
    let key = match settings.deduplication_scope {
        DeduplicationScope::Queue => id.clone(),
        DeduplicationScope::MessageGroup => format!("{} {id}", message.group_id),
    };
    Ok(Some((id, key)))
}

/// Refuses a delay out of range. A FIFO queue has one delay for all of its messages.
fn check_delay(settings: &Settings, seconds: Option<i64>) -> Result<(), SqsError> {
    match seconds {
        None | Some(0) => Ok(()),
        Some(seconds) if settings.fifo => {
            Err(not_for_this_type("DelaySeconds", &seconds.to_string()))
        }
        Some(1..=900) => Ok(()),
        Some(seconds) => Err(SqsError::InvalidParameterValue(format!(
            "Value {seconds} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be \
             >= 0 and <= 900."
        ))),
    }
}

fn not_for_this_type(parameter: &str, value: &str) -> SqsError {
    SqsError::InvalidParameterValue(format!(
        "Value {value} for parameter {parameter} is invalid. Reason: The request include parameter \
         that is not valid for this queue type"
    ))
}

/// Returns whether a body may not contain this character: XML 1.0 does not allow it.
fn is_refused(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}') && !matches!(c, '\t' | '\n' | '\r')
}

/// Checks a group or deduplication id: 1 to 128 letters, digits and ASCII punctuation.
fn check_identifier(parameter: &'static str, value: &str) -> Result<(), SqsError> {
    if value.is_empty() {
        return Err(SqsError::MissingParameter(parameter));
    }
    if value.len() <= 128 && value.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(SqsError::InvalidParameterValue(format!(
        "Value {value} for parameter {parameter} is invalid. Reason: {parameter} can only include \
         alphanumeric and punctuation characters. 1 to 128 in length."
    )))
}
