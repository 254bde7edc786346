//! Turns messages of SQS dead-letter queues into records like every other dead letter, with reason,
//! body and history, listed by the API.

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use domain::{ConnectionKey, Timestamp};
use runtime::{Deadline, telemetry};
use store::{DeadLetter, FailedMessage};
use tracing::Instrument as _;
use worker::{
    ContentWake, LiveWake, LogWake, OperationWake, PushWake, Queue, QueueError, SnapshotMessage,
    WorkError, message, queue,
};

use crate::Deps;

/// The number of batches received from one queue per sweep.
const BATCHES_MAX: usize = 10;

/// Moves the messages of every dead-letter queue into records. A message is deleted only after its
/// record is stored: a duplicate is acceptable, a loss is not.
pub(crate) async fn drain(deadline: Deadline, deps: &Deps) {
    for queue in &deps.dead_letters {
        for _ in 0..BATCHES_MAX {
            if deadline.passed(deps.clock.now()) {
                return;
            }
            match drain_batch(queue, deps).await {
                Ok(0) => break,
                Ok(_) => {}
                // The other queues are drained nevertheless.
                Err(error) => {
                    crate::report("dead_letters", &error);
                    break;
                }
            }
        }
    }
}

async fn drain_batch(queue: &Queue, deps: &Deps) -> Result<usize, WorkError> {
    let received = queue
        .client()
        .receive_message()
        .queue_url(queue.url())
        .max_number_of_messages(10)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .send()
        .await
        .map_err(|error| QueueError::Call(error.into()))?;
    let messages = received.messages.unwrap_or_default();
    for message in &messages {
        // The story of the message goes on here.
        let cause = message.body().and_then(message::cause_of);
        let cause = cause.unwrap_or_else(|| deps.entropy.cause());
        let store = deps.store.caused_by(cause);
        let letter = dead_letter(queue, message, deps);
        let recorded = async {
            Ok::<_, WorkError>(match connection_of_wake(&letter.body) {
                Some(key) if store.was_deleted(&key).await? => false,
                Some(_) | None => store.record_dead_letter(&letter).await?,
            })
        };
        let recorded = recorded.instrument(telemetry::span(cause)).await?;
        telemetry::span(cause).in_scope(|| {
            if !recorded {
                return worker::log_of_deleted(&letter);
            }
            tracing::error!(
                message_id = message.message_id(),
                metric = "dead_letter",
                "SQS moved a message to a dead-letter queue"
            );
        });
        let delete = queue.client().delete_message().queue_url(queue.url());
        let delete = delete
            .set_receipt_handle(message.receipt_handle.clone())
            .send()
            .await;
        delete.map_err(|error| QueueError::Call(error.into()))?;
    }
    Ok(messages.len())
}

/// Returns the connection of a wake that is kept for the operator, since nobody sends it again.
fn connection_of_wake(body: &str) -> Option<ConnectionKey> {
    let log = LogWake::from_body(body).map(|wake| wake.key);
    let operation = || OperationWake::from_body(body).map(|wake| wake.key);
    let live = || LiveWake::from_body(body).map(|wake| wake.key);
    log.or_else(|_| operation()).or_else(|_| live()).ok()
}

fn dead_letter(queue: &Queue, message: &Message, deps: &Deps) -> DeadLetter {
    let attribute = |name: MessageSystemAttributeName| {
        let attributes = message.attributes.as_ref()?;
        attributes.get(&name)?.parse::<i64>().ok()
    };
    let receives = attribute(MessageSystemAttributeName::ApproximateReceiveCount).unwrap_or(0);
    let sent_at = attribute(MessageSystemAttributeName::SentTimestamp).unwrap_or(0);
    let body = message.body().unwrap_or_default();
    let message = FailedMessage {
        queue: queue.url().rsplit('/').next().unwrap_or_default(),
        id: message.message_id().unwrap_or_default(),
        body,
        sent_at: Timestamp::from_millis(sent_at),
        receives: u32::try_from(receives).unwrap_or(0),
    };
    // The id is derived from the message without its cause, so that a redriven message that returns
    // extends the history of its record.
    let digest = queue::digest(&message::without_cause(body));
    let reason = "received too often without success";
    let now = deps.clock.now();
    if let Ok(snapshot) = SnapshotMessage::from_body(body) {
        let id = snapshot.origin.dead_letter_name().unwrap_or(&digest);
        let message = FailedMessage { id, ..message };
        let (key, file) = (snapshot.key, Some(snapshot.file));
        return DeadLetter::from_message(message, key, file, reason, now).passing();
    }
    let named = FailedMessage {
        id: &digest,
        ..message
    };
    if let Ok(wake) = ContentWake::from_body(body) {
        let file = Some(wake.file);
        return DeadLetter::from_message(named, wake.key, file, reason, now).passing();
    }
    match PushWake::from_body(body) {
        Ok(wake) => DeadLetter::from_message(named, wake.key, None, reason, now).passing(),
        Err(_) => DeadLetter::unreadable(message, reason, now),
    }
}
