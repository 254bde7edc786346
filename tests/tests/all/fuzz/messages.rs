//! Foreign and mutated messages for every function that reads a queue.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lambda_events::event::sqs::SqsEvent;
use domain::{ConnectionId, ConnectionKey, EndpointId, FileId, LogId, OperationId, TenantId};
use drive_simulator::Edit;
use local::aws::Queue;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use sqs_fifo::queue_arn;
use store::PageRequest;
use worker::{
    ContentWake, DeliveryWake, LiveWake, LogWake, OperationWake, PushWake, SnapshotMessage,
    queue::file_group,
};

use super::mutation::{Mutations, bytes, damage, damaged, mutated, mutations, text};
use super::runner;
use crate::support::{ByHand, run};

/// The body of a message.
#[derive(Debug, Clone)]
enum Body {
    /// One of ours, mutated.
    Mutated(Index, Mutations),
    /// One of ours, damaged.
    Damaged(Index, Vec<(Index, u8)>),
    /// Anything.
    Else(Vec<u8>),
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        4 => (any::<Index>(), mutations()).prop_map(|(which, mutations)| Body::Mutated(which,
            mutations)),
        1 => (any::<Index>(), damage()).prop_map(|(which, damage)| Body::Damaged(which, damage)),
        1 => bytes().prop_map(Body::Else),
    ]
}

/// Attributes, some of which SQS would not send.
fn attributes() -> impl Strategy<Value = Option<(String, Option<String>)>> {
    let names = ["SentTimestamp", "ApproximateReceiveCount", "MessageGroupId"].map(str::to_owned);
    let odd = (select(names.to_vec()), prop::option::of(text()));
    prop::option::weighted(0.2, odd)
}

/// Returns real messages of each queue, as sent by the system.
struct Real(BTreeMap<Queue, Vec<Value>>);

impl Real {
    async fn of(hand: &ByHand) -> Self {
        let files = hand.simulator.random_files("owner", 3);
        for (number, file) in files.iter().enumerate() {
            let edit = Edit::Rename(format!("renamed {number}"));
            hand.simulator.apply("ann", file, edit).unwrap();
        }
        hand.wait_for_wake().await;
        hand.pump_only(Queue::LogWakes).await;
        let snapshots = hand.receive(Queue::Snapshots).await;
        let mut bodies: Vec<Value> = snapshots
            .iter()
            .map(|message| serde_json::from_str(&message.body).unwrap())
            .collect();
        assert!(!bodies.is_empty());
        let mut removed = bodies[0].clone();
        removed["removed"] = json!(true);
        removed.as_object_mut().unwrap().remove("snapshot");
        bodies.push(removed);
        let (log, key) = (LogId::user(), hand.key.clone());
        let push = PushWake { key: key.clone() }.to_body();
        let file = FileId::parse(&files[0]).unwrap();
        let content = ContentWake {
            key: key.clone(),
            file,
        };
        let content: Value = serde_json::from_str(&content.to_body()).unwrap();
        let operation = OperationId::parse("op1").unwrap();
        let run = OperationWake {
            key: key.clone(),
            operation,
        }
        .to_body();
        let live = LiveWake { key: key.clone() }.to_body();
        let deliver = DeliveryWake {
            tenant: key.tenant.clone(),
            endpoint: EndpointId::fresh(1),
            conflict: None,
        };
        let deliver = deliver.to_body();
        let wake = LogWake { key, log }.to_body();
        Self(BTreeMap::from([
            (Queue::LogWakes, vec![serde_json::from_str(&wake).unwrap()]),
            (Queue::PushWakes, vec![serde_json::from_str(&push).unwrap()]),
            (Queue::Operations, vec![serde_json::from_str(&run).unwrap()]),
            (Queue::Live, vec![serde_json::from_str(&live).unwrap()]),
            (
                Queue::Deliver,
                vec![serde_json::from_str(&deliver).unwrap()],
            ),
            (Queue::Snapshots, bodies.clone()),
            (Queue::SnapshotsBulk, bodies),
            (Queue::Content, vec![content.clone()]),
            (Queue::ContentBulk, vec![content]),
        ]))
    }

    fn text(&self, queue: Queue, body: &Body) -> String {
        let real = |which: &Index| which.get(&self.0[&queue]);
        match body {
            Body::Mutated(which, mutations) => mutated(real(which), mutations),
            Body::Damaged(which, damage) => {
                let damaged = damaged(real(which).to_string().as_bytes(), damage);
                String::from_utf8_lossy(&damaged).into_owned()
            }
            Body::Else(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Returns whether a function can parse it: then the message is processed, or retried.
fn readable(queue: Queue, body: &str) -> bool {
    match queue {
        Queue::LogWakes => LogWake::from_body(body).is_ok(),
        Queue::PushWakes => PushWake::from_body(body).is_ok(),
        Queue::Operations => OperationWake::from_body(body).is_ok(),
        Queue::Live => LiveWake::from_body(body).is_ok(),
        Queue::Deliver => DeliveryWake::from_body(body).is_ok(),
        Queue::Snapshots | Queue::SnapshotsBulk => SnapshotMessage::from_body(body).is_ok(),
        Queue::Content | Queue::ContentBulk => ContentWake::from_body(body).is_ok(),
    }
}

fn record(
    queue: Queue,
    id: &str,
    group: &str,
    body: &str,
    odd: Option<&(String, Option<String>)>,
) -> Value {
    let mut record = json!({
        "messageId": id, "receiptHandle": "none-of-sqs", "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1", "SentTimestamp": "1800000000000",
                "MessageGroupId": group,
        },
        "messageAttributes": {}, "eventSource": "aws:sqs",
            "eventSourceARN": queue_arn(queue.name()),
        "awsRegion": "us-east-1",
    });
    if let Some((name, value)) = odd {
        match value {
            Some(value) => record["attributes"][name] = json!(value),
            None => drop(record["attributes"].as_object_mut().unwrap().remove(name)),
        }
    }
    record
}

/// Returns all dead letters, of any tenant, by the message's id.
async fn set_aside(hand: &ByHand) -> Vec<String> {
    let unknown = ConnectionKey {
        tenant: TenantId::parse("_unknown").unwrap(),
        connection: ConnectionId::parse("_unknown").unwrap(),
    };
    let mut all = Vec::new();
    for key in [&unknown, &hand.key] {
        let mut page = PageRequest::first(PageRequest::LIMIT_MAX);
        loop {
            let listed = hand.store().list_dead_letters(key, &page).await.unwrap();
            all.extend(listed.items.into_iter().map(|letter| letter.id));
            match listed.next_cursor {
                None => break,
                next @ Some(_) => page.cursor = next,
            }
        }
    }
    all
}

#[test]
fn any_message_is_handled_or_set_aside_and_none_is_lost() {
    let (hand, real) = run(async {
        let hand = ByHand::start(6).await;
        let real = Real::of(&hand).await;
        (hand, real)
    });
    let file = FileId::parse(&hand.simulator.file_ids()[0]).unwrap();
    let group = file_group(&hand.key, &file);
    let (number, poison) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let queues = select(Queue::ALL.to_vec());
    let case = (queues, vec((body(), attributes(), any::<bool>()), 1..4));
    let outcome = runner(300).run(&case, |(queue, messages)| {
        let mut records = Vec::new();
        let mut unreadable = Vec::new();
        for (body, odd, together) in &messages {
            let id = format!("m{:06}", number.fetch_add(1, Ordering::Relaxed));
            let body = real.text(queue, body);
            if !readable(queue, &body) {
                unreadable.push(id.clone());
            }
            // Poison amid the messages of one file, or alone.
            let group = if *together { &group } else { &id };
            records.push(record(queue, &id, group, &body, odd.as_ref()));
        }
        let event: SqsEvent = serde_json::from_value(json!({ "Records": records })).unwrap();
        let answer = run(hand.handle(queue, event, hand.deadline()));
        let failed: Vec<&str> = answer
            .batch_item_failures
            .iter()
            .map(|failure| failure.item_identifier.as_str())
            .collect();
        for id in unreadable {
            // The messages behind a retried message must be retried too, to keep the order.
            if failed.contains(&id.as_str()) {
                prop_assert!(failed.len() > 1, "{id} can never be read, and comes back");
            } else {
                poison.lock().unwrap().push(id);
            }
        }
        Ok(())
    });
    outcome.unwrap();
    let poison = poison.into_inner().unwrap();
    assert!(poison.len() > 100, "{} could not be read", poison.len());
    let aside = run(set_aside(&hand));
    for id in &poison {
        let found = aside.iter().any(|letter| letter.contains(id.as_str()));
        assert!(found, "{id} was acknowledged, and is nowhere");
    }
    // No connection was suspended by it.
    run(async {
        hand.simulator
            .apply(
                "ann",
                file.as_str(),
                Edit::Rename("after all that".to_owned()),
            )
            .unwrap();
        hand.pump().await;
        hand.post("/sync", json!({"mode": "delta"})).await;
        hand.pump().await;
        hand.file(file.as_str()).await;
    });
}

#[test]
fn a_message_of_the_largest_size_is_set_aside_like_a_short_one() {
    run(async {
        let hand = ByHand::start(1).await;
        for (number, queue) in Queue::ALL.into_iter().enumerate() {
            let id = format!("long{number}");
            // SQS accepts 1 MiB; an item of DynamoDB has at most 400 KB.
            let body = "\u{1f600}".repeat(260_000);
            let record = record(queue, &id, "group", &body, None);
            let event = serde_json::from_value(json!({ "Records": [record] })).unwrap();
            let answer = hand.handle(queue, event, hand.deadline()).await;
            assert!(answer.batch_item_failures.is_empty(), "{queue:?}");
            let aside = set_aside(&hand).await;
            assert!(
                aside.iter().any(|letter| letter.contains(&id)),
                "{queue:?}: {aside:?}"
            );
        }
    });
}
