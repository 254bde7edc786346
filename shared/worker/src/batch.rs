//! FIFO batches: ordered groups and partial failures.
//!
//! Once a message of a FIFO group fails, all later messages of the group are returned unprocessed
//! too, or their order would be lost. Other groups go on. Returned messages become visible again
//! after a short backoff instead of the queue's whole visibility timeout.

use std::collections::{BTreeMap, BTreeSet};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use domain::{Cause, Timestamp};

use crate::message::cause_of;
use crate::queue::{Queue, digest};
use crate::visibility::visibility_seconds;
use runtime::Entropy;

/// A message as received from SQS through Lambda.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The message id of SQS, which the batch response refers to.
    pub id: String,
    /// The handle for deleting it and for changing its visibility timeout.
    pub receipt_handle: String,
    /// The message body.
    pub body: String,
    /// The time at which it was sent.
    pub sent_at: Timestamp,
    /// The number of times it was received, including this one.
    pub receives: u32,
    /// The name of its queue: the last part of the ARN.
    pub queue: String,
    /// The cause that it was sent with, if it has one.
    pub cause: Option<Cause>,
}

/// The messages of one group, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageGroup {
    /// The message group id.
    pub id: String,
    /// Its messages, in order.
    pub messages: Vec<ReceivedMessage>,
}

/// The result of processing a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupResult {
    /// All messages were processed.
    Processed,
    /// The first `processed` messages were processed. The next one failed: it and the rest are
    /// returned to the queue.
    Failed {
        /// The number of processed messages.
        processed: usize,
        /// The shortest delay before a retry, in milliseconds, if the called service named one.
        after_millis: Option<u64>,
    },
}

/// Splits a batch into its message groups, in order of their first messages. Each group keeps the
/// order of the batch.
#[must_use]
pub fn message_groups(event: SqsEvent) -> Vec<MessageGroup> {
    let mut groups: Vec<MessageGroup> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for message in event.records {
        let id = attribute(&message, "MessageGroupId")
            .unwrap_or_default()
            .to_owned();
        let place = *places.entry(id.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push(MessageGroup {
                id,
                messages: Vec::new(),
            });
        }
        if let Some(group) = groups.get_mut(place) {
            group.messages.push(received(message));
        }
    }
    groups
}

fn attribute<'m>(message: &'m SqsMessage, name: &str) -> Option<&'m str> {
    message.attributes.get(name).map(String::as_str)
}

fn received(message: SqsMessage) -> ReceivedMessage {
    let number = |name| attribute(&message, name).and_then(|text| text.parse::<i64>().ok());
    let sent_at = Timestamp::from_millis(number("SentTimestamp").unwrap_or(0));
    let receives = number("ApproximateReceiveCount")
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(1);
    let arn = message.event_source_arn.unwrap_or_default();
    let body = message.body.unwrap_or_default();
    ReceivedMessage {
        id: message.message_id.unwrap_or_default(),
        receipt_handle: message.receipt_handle.unwrap_or_default(),
        cause: cause_of(&body),
        body,
        sent_at,
        receives,
        queue: arn.rsplit(':').next().unwrap_or_default().to_owned(),
    }
}

/// The number of receives after which the groups of a batch are handled one by one.
const ISOLATE_AFTER_RECEIVES: u32 = 2;

/// Handles a batch as a whole, or group by group if one of its messages was received more than
/// twice.
///
/// A message that kills the process (a poison message) returns the whole batch to the queue, and
/// nothing tells which message it was. Therefore groups are handled one by one, and each is deleted
/// before the next begins, so that a later crash can't return it. The order of the groups is
/// pseudo-random, and reversed at every second receive: a group behind the poison message is before
/// it then. With one poison message, no other message is received more than four times; with
/// several, every group eventually comes before all of them.
pub async fn isolate_poison_message<F>(
    event: SqsEvent,
    queues: &[Queue],
    handle: impl Fn(SqsEvent) -> F,
) -> SqsBatchResponse
where
    F: Future<Output = SqsBatchResponse>,
{
    let mut parts = isolate(event);
    let last = parts.pop();
    let mut response = SqsBatchResponse::default();
    for part in parts {
        let records = part.records.clone();
        let partial = handle(part).await;
        let returned: BTreeSet<&str> = partial
            .batch_item_failures
            .iter()
            .map(|failure| failure.item_identifier.as_str())
            .collect();
        let processed: Vec<ReceivedMessage> = records
            .into_iter()
            .map(received)
            .filter(|message| !returned.contains(message.id.as_str()))
            .collect();
        acknowledge(&processed, queues).await;
        response
            .batch_item_failures
            .extend(partial.batch_item_failures);
    }
    if let Some(last) = last {
        let partial = handle(last).await;
        response
            .batch_item_failures
            .extend(partial.batch_item_failures);
    }
    response
}

/// Returns the batch as it is, or each of its groups as a batch of its own, in the order in which
/// they are handled.
fn isolate(event: SqsEvent) -> Vec<SqsEvent> {
    let receives = |message: &SqsMessage| {
        let text = attribute(message, "ApproximateReceiveCount");
        text.and_then(|text| text.parse().ok()).unwrap_or(1)
    };
    let round: u32 = event.records.iter().map(receives).max().unwrap_or(1);
    if round <= ISOLATE_AFTER_RECEIVES {
        return vec![event];
    }
    // Two consecutive rounds share one order: forward, then reversed.
    let order = round.div_ceil(2);
    let mut groups: BTreeMap<(String, String), Vec<SqsMessage>> = BTreeMap::new();
    for message in event.records {
        let id = attribute(&message, "MessageGroupId").unwrap_or_default();
        let place = (digest(&format!("{order}/{id}")), id.to_owned());
        groups.entry(place).or_default().push(message);
    }
    let mut parts: Vec<SqsEvent> = groups
        .into_values()
        .map(|records| {
            let mut part = SqsEvent::default();
            part.records = records;
            part
        })
        .collect();
    if round.is_multiple_of(2) {
        parts.reverse();
    }
    parts
}

/// Deletes processed messages before the batch ends, which releases their groups. A message that
/// can't be deleted is acknowledged with the batch, or received again.
pub async fn acknowledge(processed: &[ReceivedMessage], queues: &[Queue]) {
    for queue in queues {
        let name = queue.url().rsplit('/').next();
        let mine: Vec<&ReceivedMessage> = processed
            .iter()
            .filter(|message| name == Some(message.queue.as_str()))
            .collect();
        for chunk in mine.chunks(10) {
            let mut request = queue.client().delete_message_batch().queue_url(queue.url());
            for (at, message) in chunk.iter().enumerate() {
                let entry = DeleteMessageBatchRequestEntry::builder()
                    .id(at.to_string())
                    .receipt_handle(&message.receipt_handle)
                    .build();
                if let Ok(entry) = entry {
                    request = request.entries(entry);
                }
            }
            if let Err(error) = request.send().await {
                let error = runtime::telemetry::chain(&error);
                tracing::warn!(queue = name, error, "could not delete processed messages");
            }
        }
    }
}

/// Builds the partial batch response, and sets a short visibility timeout on the failed messages.
///
/// `queues` are the queues that the function consumes; each message is matched by its queue's name.
/// If the timeout can't be set, the message returns after the queue's own, longer timeout.
pub async fn respond(
    results: Vec<(MessageGroup, GroupResult)>,
    queues: &[Queue],
    entropy: &Entropy,
) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    let mut returned: Vec<(ReceivedMessage, i32)> = Vec::new();
    for (group, result) in results {
        let GroupResult::Failed {
            processed,
            after_millis,
        } = result
        else {
            continue;
        };
        let mut failed = group.messages.into_iter().skip(processed).peekable();
        let receives = failed.peek().map_or(1, |first| first.receives);
        let seconds = visibility_seconds(receives, after_millis, entropy.jitter());
        for message in failed {
            response.add_failure(message.id.clone());
            returned.push((message, seconds));
        }
    }
    set_visibility(returned, queues).await;
    response
}

async fn set_visibility(returned: Vec<(ReceivedMessage, i32)>, queues: &[Queue]) {
    let names: BTreeSet<&str> = returned
        .iter()
        .map(|(message, _)| message.queue.as_str())
        .collect();
    for name in names {
        let Some(queue) = queues
            .iter()
            .find(|queue| queue.url().rsplit('/').next() == Some(name))
        else {
            tracing::warn!(
                queue = name,
                "received a message from a queue that this function does not consume"
            );
            continue;
        };
        let mine: Vec<&(ReceivedMessage, i32)> = returned
            .iter()
            .filter(|(message, _)| message.queue == name)
            .collect();
        for chunk in mine.chunks(10) {
            let mut request = queue
                .client()
                .change_message_visibility_batch()
                .queue_url(queue.url());
            for (at, (message, seconds)) in chunk.iter().enumerate() {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(at.to_string())
                    .receipt_handle(&message.receipt_handle)
                    .visibility_timeout(*seconds)
                    .build();
                if let Ok(entry) = entry {
                    request = request.entries(entry);
                }
            }
            if let Err(error) = request.send().await {
                let error = runtime::telemetry::chain(&error);
                tracing::warn!(
                    queue = name,
                    error,
                    "could not shorten the visibility timeout of failed messages"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(groups: &[&str]) -> SqsEvent {
        let record = |(at, group): (usize, &&str)| {
            serde_json::json!({
                "messageId": format!("m{at}"),
                "receiptHandle": format!("r{at}"),
                "body": format!("b{at}"),
                "attributes": {
                    "MessageGroupId": group,
                    "ApproximateReceiveCount": "2",
                    "SentTimestamp": "1500",
                },
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:snapshots.fifo",
                "awsRegion": "us-east-1",
            })
        };
        let records: Vec<_> = groups.iter().enumerate().map(record).collect();
        serde_json::from_value(serde_json::json!({ "Records": records })).unwrap()
    }

    #[test]
    fn a_batch_is_split_into_groups_that_keep_their_order() {
        let split = message_groups(event(&["a", "b", "a", "c", "b"]));
        let shape: Vec<(String, Vec<String>)> = split
            .iter()
            .map(|g| {
                (
                    g.id.clone(),
                    g.messages.iter().map(|d| d.body.clone()).collect(),
                )
            })
            .collect();
        let group = |id: &str, bodies: &[&str]| {
            (
                id.to_owned(),
                bodies.iter().map(ToString::to_string).collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            shape,
            [
                group("a", &["b0", "b2"]),
                group("b", &["b1", "b4"]),
                group("c", &["b3"])
            ]
        );
        let first = &split[0].messages[0];
        assert_eq!(first.queue, "snapshots.fifo");
        assert_eq!(first.receives, 2);
        assert_eq!(first.sent_at, Timestamp::from_millis(1500));
    }

    fn event_received(groups: &[&str], times: u32) -> SqsEvent {
        let mut event = event(groups);
        for message in &mut event.records {
            let count = ("ApproximateReceiveCount".to_owned(), times.to_string());
            message.attributes.extend([count]);
        }
        event
    }

    #[test]
    fn invariant_21_a_batch_received_more_than_twice_is_handled_group_by_group() {
        let names = ["a", "b", "a", "c", "d", "e"];
        for times in 1..=ISOLATE_AFTER_RECEIVES {
            assert_eq!(isolate(event_received(&names, times)).len(), 1);
        }
        let order = |times: u32| -> Vec<String> {
            let parts = isolate(event_received(&names, times));
            let group = |part: &SqsEvent| part.records[0].attributes["MessageGroupId"].clone();
            for part in &parts {
                let bodies: Vec<_> = part.records.iter().map(|r| r.body.as_deref()).collect();
                assert!(bodies.is_sorted(), "a group keeps its order");
                assert!(
                    part.records
                        .iter()
                        .all(|r| r.attributes["MessageGroupId"] == group(part))
                );
            }
            parts.iter().map(group).collect()
        };
        for times in [3, 5, 7, 199] {
            let mut reversed = order(times + 1);
            reversed.reverse();
            assert_eq!(order(times), reversed);
            assert_eq!(reversed.len(), 5);
        }
        // No group stays between two poison messages in every order.
        let orders: BTreeSet<Vec<String>> = (3..60).step_by(2).map(order).collect();
        assert!(orders.len() > 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 128,
            failure_persistence: None,
            ..Default::default()
        })]
        /// Compares with a model: the first failed message of each group and all later ones of the
        /// group are returned, everything else is acknowledged.
        #[test]
        fn the_response_lists_the_first_failure_of_each_group_and_all_after_it(
            shape in proptest::collection::vec(0_usize..4, 0..10),
            failing in proptest::collection::vec(proptest::option::of(0_usize..4), 4),
        ) {
            let names = ["a", "b", "c", "d"];
            let batch: Vec<&str> = shape.iter().map(|at| names[*at]).collect();
            let mut expected = Vec::new();
            let mut results = Vec::new();
            for group in message_groups(event(&batch)) {
                let place = names.iter().position(|name| *name == group.id).unwrap();
                let result = match failing[place] {
                    Some(processed) if processed < group.messages.len() => {
                        expected.extend(group.messages[processed..].iter().map(|m| m.id.clone()));
                        GroupResult::Failed { processed, after_millis: None }
                    }
                    _ => GroupResult::Processed,
                };
                results.push((group, result));
            }
            let entropy = Entropy::new(|| 0);
            // Without queues no request is sent, so the future is ready at once.
            let mut future = std::pin::pin!(respond(results, &[], &entropy));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(response) = future.as_mut().poll(&mut context) else {
                panic!("the future is pending")
            };
            let returned: Vec<String> =
                response.batch_item_failures.into_iter().map(|f| f.item_identifier).collect();
            prop_assert_eq!(returned, expected);
        }
    }
}
