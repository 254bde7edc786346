//! What SQS gave up becomes a record like everything else that is parked: with its reason, its body and
//! its history, listed by the API.

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use domain::Timestamp;
use runtime::{ContentWake, Deadline, PushWake, Queue, QueueError, SnapshotMessage, queue};
use store::{Letter, Parked};

use crate::{Deps, Stopped};

/// Batches taken from one queue by one sweep.
const BATCHES_MAX: usize = 10;

/// Moves the messages of every dead-letter queue into records. A message is deleted only after its
/// record is written, so that it is there twice rather than not at all.
pub(crate) async fn drain(deadline: Deadline, deps: &Deps) {
    for queue in &deps.dead_letters {
        for _ in 0..BATCHES_MAX {
            if deadline.passed(deps.clock.now()) {
                return;
            }
            match drain_batch(queue, deps).await {
                Ok(0) => break,
                Ok(_) => {}
                // The other queues are drained all the same.
                Err(stopped) => {
                    crate::report("dead_letters", &stopped);
                    break;
                }
            }
        }
    }
}

async fn drain_batch(queue: &Queue, deps: &Deps) -> Result<usize, Stopped> {
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
        deps.store.park(&parked(queue, message, deps)).await?;
        tracing::error!(
            message = message.message_id(),
            metric = "dead_letter",
            "SQS gave a message up"
        );
        let delete = queue.client().delete_message().queue_url(queue.url());
        let delete = delete
            .set_receipt_handle(message.receipt_handle.clone())
            .send()
            .await;
        delete.map_err(|error| QueueError::Call(error.into()))?;
    }
    Ok(messages.len())
}

fn parked(queue: &Queue, message: &Message, deps: &Deps) -> Parked {
    let attribute = |name: MessageSystemAttributeName| {
        let attributes = message.attributes.as_ref()?;
        attributes.get(&name)?.parse::<i64>().ok()
    };
    let receives = attribute(MessageSystemAttributeName::ApproximateReceiveCount).unwrap_or(0);
    let sent_at = attribute(MessageSystemAttributeName::SentTimestamp).unwrap_or(0);
    let body = message.body().unwrap_or_default();
    let letter = Letter {
        queue: queue.url().rsplit('/').next().unwrap_or_default(),
        id: message.message_id().unwrap_or_default(),
        body,
        sent_at: Timestamp::from_millis(sent_at),
        receives: u32::try_from(receives).unwrap_or(0),
    };
    // The same message has the same record, however often it is sent: so one that was sent again and came here
    // again is found in its history.
    let digest = queue::digest(body);
    let reason = "received too often without success";
    let now = deps.clock.now();
    if let Ok(snapshot) = SnapshotMessage::from_body(body) {
        let id = snapshot.cause.letter_name().unwrap_or(&digest);
        let letter = Letter { id, ..letter };
        return Parked::letter(letter, snapshot.key, Some(snapshot.file), reason, now);
    }
    let named = Letter {
        id: &digest,
        ..letter
    };
    if let Ok(wake) = ContentWake::from_body(body) {
        return Parked::letter(named, wake.key, Some(wake.file), reason, now);
    }
    match PushWake::from_body(body) {
        Ok(wake) => Parked::letter(named, wake.key, None, reason, now),
        Err(_) => Parked::unreadable(letter, reason, now),
    }
}
