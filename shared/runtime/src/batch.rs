//! A FIFO batch: groups in order, and partial failure.
//!
//! The rule of FIFO: once a message of a group fails, all later ones of that group are returned too,
//! untouched, or their order is lost. Other groups go on. What is returned becomes visible again after
//! a short while (the backoff) and not after the queue's whole visibility timeout.

use std::collections::{BTreeMap, BTreeSet};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use domain::Timestamp;

use crate::clock::Entropy;
use crate::queue::{Queue, digest};
use crate::visibility::visibility_seconds;

/// One message as Lambda delivered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// SQS's id of the message: what the batch response names.
    pub id: String,
    /// What deletes it, or changes its visibility.
    pub receipt_handle: String,
    /// The body.
    pub body: String,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// How often it was received, this time included.
    pub receives: u32,
    /// The queue it came from: the last part of its ARN.
    pub queue: String,
}

/// The messages of one group, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The message group's id.
    pub id: String,
    /// Its messages, in order.
    pub deliveries: Vec<Delivery>,
}

/// What became of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of it was dealt with.
    Done,
    /// The first `done` messages were; the next one failed, and it and the rest must come back.
    Failed {
        /// How many were dealt with.
        done: usize,
        /// How long to stay away at least, where the other side said so, in milliseconds.
        after_millis: Option<u64>,
    },
}

/// Sorts a batch into its groups, each in order of arrival, groups in order of their first message.
#[must_use]
pub fn groups(event: SqsEvent) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for message in event.records {
        let id = attribute(&message, "MessageGroupId")
            .unwrap_or_default()
            .to_owned();
        let place = *places.entry(id.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Group {
                id,
                deliveries: Vec::new(),
            });
        }
        if let Some(group) = groups.get_mut(place) {
            group.deliveries.push(delivery(message));
        }
    }
    groups
}

fn attribute<'m>(message: &'m SqsMessage, name: &str) -> Option<&'m str> {
    message.attributes.get(name).map(String::as_str)
}

fn delivery(message: SqsMessage) -> Delivery {
    let number = |name| attribute(&message, name).and_then(|text| text.parse::<i64>().ok());
    let sent_at = Timestamp::from_millis(number("SentTimestamp").unwrap_or(0));
    let receives = number("ApproximateReceiveCount")
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(1);
    let arn = message.event_source_arn.unwrap_or_default();
    Delivery {
        id: message.message_id.unwrap_or_default(),
        receipt_handle: message.receipt_handle.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        sent_at,
        receives,
        queue: arn.rsplit(':').next().unwrap_or_default().to_owned(),
    }
}

/// From this receive on, the groups of a batch are handled apart: twice they were together.
const APART_FROM: u32 = 3;

/// Handles a batch: as a whole, or group by group where one of its messages has come back a second time.
///
/// What ends the process takes the whole batch with it, and nobody knows which message it was. Apart, each group that
/// is dealt with is deleted before the next one is begun, so that it is out of the reach of a later one. The order is
/// by chance, and every second time the other way round: what stood behind the deadly message stands before it then.
/// So beside one such message no other is received more than four times, and of several each finds its order.
pub async fn handle_apart<F>(
    event: SqsEvent,
    queues: &[Queue],
    handle: impl Fn(SqsEvent) -> F,
) -> SqsBatchResponse
where
    F: Future<Output = SqsBatchResponse>,
{
    let mut parts = apart(event);
    let last = parts.pop();
    let mut response = SqsBatchResponse::default();
    for part in parts {
        let records = part.records.clone();
        let answer = handle(part).await;
        let failures = &answer.batch_item_failures;
        let returned: BTreeSet<&str> = failures
            .iter()
            .map(|failure| failure.item_identifier.as_str())
            .collect();
        let done = records.into_iter().map(delivery);
        let done = done.filter(|delivery| !returned.contains(delivery.id.as_str()));
        acknowledge(&done.collect::<Vec<_>>(), queues).await;
        response
            .batch_item_failures
            .extend(answer.batch_item_failures);
    }
    if let Some(last) = last {
        let answer = handle(last).await;
        response
            .batch_item_failures
            .extend(answer.batch_item_failures);
    }
    response
}

/// The batch, or each of its groups by itself, in the order in which they are handled.
fn apart(event: SqsEvent) -> Vec<SqsEvent> {
    let receives = |message: &SqsMessage| {
        let text = attribute(message, "ApproximateReceiveCount");
        text.and_then(|text| text.parse().ok()).unwrap_or(1)
    };
    let round: u32 = event.records.iter().map(receives).max().unwrap_or(1);
    if round < APART_FROM {
        return vec![event];
    }
    // Two rounds have one order: forward, then back.
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

/// Deletes what was dealt with before the batch is over, so that its group is free. What could not be deleted is
/// acknowledged with the batch, or comes again.
pub async fn acknowledge(done: &[Delivery], queues: &[Queue]) {
    for queue in queues {
        let name = queue.url().rsplit('/').next();
        let mine: Vec<&Delivery> = done
            .iter()
            .filter(|delivery| name == Some(delivery.queue.as_str()))
            .collect();
        for chunk in mine.chunks(10) {
            let mut request = queue.client().delete_message_batch().queue_url(queue.url());
            for (at, delivery) in chunk.iter().enumerate() {
                let entry = DeleteMessageBatchRequestEntry::builder()
                    .id(at.to_string())
                    .receipt_handle(&delivery.receipt_handle)
                    .build();
                if let Ok(entry) = entry {
                    request = request.entries(entry);
                }
            }
            if let Err(error) = request.send().await {
                let error = crate::telemetry::chain(&error);
                tracing::warn!(queue = name, error, "could not delete what was dealt with");
            }
        }
    }
}

/// Turns verdicts into the partial batch response, and gives what failed its short visibility.
///
/// `queues` are those that the function consumes; the one whose name a delivery carries is called.
/// Where that call fails, the message comes back after the queue's own timeout: later, not never.
pub async fn respond(
    judged: Vec<(Group, Verdict)>,
    queues: &[Queue],
    entropy: &Entropy,
) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    let mut returned: Vec<(Delivery, i32)> = Vec::new();
    for (group, verdict) in judged {
        let Verdict::Failed { done, after_millis } = verdict else {
            continue;
        };
        let mut back = group.deliveries.into_iter().skip(done).peekable();
        let receives = back.peek().map_or(1, |first| first.receives);
        let seconds = visibility_seconds(receives, after_millis, entropy.jitter());
        for delivery in back {
            response.add_failure(delivery.id.clone());
            returned.push((delivery, seconds));
        }
    }
    hide(returned, queues).await;
    response
}

async fn hide(returned: Vec<(Delivery, i32)>, queues: &[Queue]) {
    let names: BTreeSet<&str> = returned
        .iter()
        .map(|(delivery, _)| delivery.queue.as_str())
        .collect();
    for name in names {
        let Some(queue) = queues
            .iter()
            .find(|queue| queue.url().rsplit('/').next() == Some(name))
        else {
            tracing::warn!(
                queue = name,
                "a delivery came from a queue that this function does not consume"
            );
            continue;
        };
        let mine: Vec<&(Delivery, i32)> = returned
            .iter()
            .filter(|(delivery, _)| delivery.queue == name)
            .collect();
        for chunk in mine.chunks(10) {
            let mut request = queue
                .client()
                .change_message_visibility_batch()
                .queue_url(queue.url());
            for (at, (delivery, seconds)) in chunk.iter().enumerate() {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(at.to_string())
                    .receipt_handle(&delivery.receipt_handle)
                    .visibility_timeout(*seconds)
                    .build();
                if let Ok(entry) = entry {
                    request = request.entries(entry);
                }
            }
            if let Err(error) = request.send().await {
                let error = crate::telemetry::chain(&error);
                tracing::warn!(
                    queue = name,
                    error,
                    "could not shorten the visibility of what failed"
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
                "messageId": format!("m{at}"), "receiptHandle": format!("r{at}"), "body": format!("b{at}"),
                "attributes": {"MessageGroupId": group, "ApproximateReceiveCount": "2", "SentTimestamp": "1500"},
                "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:snapshots.fifo", "awsRegion": "us-east-1"
            })
        };
        let records: Vec<_> = groups.iter().enumerate().map(record).collect();
        serde_json::from_value(serde_json::json!({ "Records": records })).unwrap()
    }

    #[test]
    fn a_batch_is_sorted_into_groups_that_keep_their_order() {
        let sorted = groups(event(&["a", "b", "a", "c", "b"]));
        let shape: Vec<(String, Vec<String>)> = sorted
            .iter()
            .map(|g| {
                (
                    g.id.clone(),
                    g.deliveries.iter().map(|d| d.body.clone()).collect(),
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
        let first = &sorted[0].deliveries[0];
        assert_eq!(first.queue, "snapshots.fifo");
        assert_eq!(first.receives, 2);
        assert_eq!(first.sent_at, Timestamp::from_millis(1500));
    }

    fn received(groups: &[&str], times: u32) -> SqsEvent {
        let mut event = event(groups);
        for message in &mut event.records {
            let count = ("ApproximateReceiveCount".to_owned(), times.to_string());
            message.attributes.extend([count]);
        }
        event
    }

    #[test]
    fn invariant_21_a_batch_that_came_back_twice_is_handled_group_by_group_and_then_backwards() {
        let names = ["a", "b", "a", "c", "d", "e"];
        for times in 1..APART_FROM {
            assert_eq!(apart(received(&names, times)).len(), 1);
        }
        let order = |times: u32| -> Vec<String> {
            let parts = apart(received(&names, times));
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
            let mut back = order(times + 1);
            back.reverse();
            assert_eq!(order(times), back);
            assert_eq!(back.len(), 5);
        }
        // What lies between two deadly ones is not there for ever.
        let orders: BTreeSet<Vec<String>> = (3..60).step_by(2).map(order).collect();
        assert!(orders.len() > 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]
        /// Against a model of ten lines: the first failure of each group and all later ones of it come
        /// back, everything else is acknowledged.
        #[test]
        fn the_response_names_the_first_failure_of_each_group_and_all_after_it(
            shape in proptest::collection::vec(0_usize..4, 0..10),
            failing in proptest::collection::vec(proptest::option::of(0_usize..4), 4),
        ) {
            let names = ["a", "b", "c", "d"];
            let batch: Vec<&str> = shape.iter().map(|at| names[*at]).collect();
            let mut expected = Vec::new();
            let mut judged = Vec::new();
            for group in groups(event(&batch)) {
                let place = names.iter().position(|name| *name == group.id).unwrap();
                let verdict = match failing[place] {
                    Some(done) if done < group.deliveries.len() => {
                        expected.extend(group.deliveries[done..].iter().map(|d| d.id.clone()));
                        Verdict::Failed { done, after_millis: None }
                    }
                    _ => Verdict::Done,
                };
                judged.push((group, verdict));
            }
            let entropy = Entropy::new(|| 0);
            // No queue is named, so nothing is called: the future is ready at once.
            let mut future = std::pin::pin!(respond(judged, &[], &entropy));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(response) = future.as_mut().poll(&mut context) else {
                panic!("waited for something")
            };
            let returned: Vec<String> =
                response.batch_item_failures.into_iter().map(|f| f.item_identifier).collect();
            prop_assert_eq!(returned, expected);
        }
    }
}
