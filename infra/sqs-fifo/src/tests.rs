//! Behaviour beyond SQS's: durability, counters and the Rust API. SQS's own is in
//! `tests/conformance`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::*;

const QUEUE: &str = "q.fifo";

fn manual_clock() -> (Clock, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(1_800_000_000_000));
    let clock = now.clone();
    (Arc::new(move || clock.load(Ordering::SeqCst)), now)
}

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    let fifo = [("FifoQueue", "true")];
    let pairs = fifo.iter().chain(pairs);
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn take(sqs: &Sqs) -> Vec<Received> {
    sqs.take(QUEUE, 10, None, None).unwrap()
}

fn bodies(received: &[Received]) -> Vec<&str> {
    received
        .iter()
        .map(|message| message.body.as_str())
        .collect()
}

/// Copies the database and its log under the open connection, as a killed process would leave them.
fn copy_files(path: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        if Path::new(&name(path)).exists() {
            std::fs::copy(name(path), name(to)).unwrap();
        }
    }
}

fn scratch(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("drivesync-sqs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    for suffix in ["", "-wal", "-shm"] {
        let _absent = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    path
}

#[test]
fn a_killed_process_loses_nothing_and_its_in_flight_messages_are_visible() {
    let (clock, now) = manual_clock();
    let (path, copy) = (scratch("killed.db"), scratch("killed-copy.db"));
    let sqs = Sqs::open(Some(&path), clock.clone()).unwrap();
    sqs.create_queue(QUEUE, &attributes(&[("VisibilityTimeout", "600")]))
        .unwrap();
    let messages = (0..3).map(|n| NewMessage::new("a", n.to_string(), n.to_string()));
    sqs.send_batch(QUEUE, messages.collect()).unwrap();
    let first = take(&sqs);
    sqs.delete(QUEUE, &[first[0].receipt_handle.clone()])
        .unwrap()
        .remove(0)
        .unwrap();
    copy_files(&path, &copy);
    drop(sqs);

    now.fetch_add(1000, Ordering::SeqCst);
    let sqs = Sqs::open(Some(&copy), clock).unwrap();
    let redelivered = take(&sqs);
    assert_eq!(bodies(&redelivered), ["1", "2"]);
    assert_eq!(redelivered[0].receive_count, 2);
    assert_eq!(
        redelivered[0].first_received_at_ms,
        first[1].first_received_at_ms
    );
    assert_eq!(redelivered[0].message_id, first[1].message_id);
    let duplicate = sqs.send(QUEUE, NewMessage::new("a", "0", "0")).unwrap();
    assert_eq!(
        duplicate.message_id, first[0].message_id,
        "the deduplication window survives"
    );
    let fresh = sqs.send(QUEUE, NewMessage::new("a", "9", "9")).unwrap();
    assert!(fresh.sequence_number > redelivered[1].sequence_number);
    let stale = sqs
        .delete(QUEUE, &[first[1].receipt_handle.clone()])
        .unwrap()
        .remove(0);
    assert!(matches!(stale, Err(SqsError::ReceiptHandleExpired(_))));
}

#[test]
fn a_dead_letter_and_its_source_survive_reopening() {
    let (clock, _) = manual_clock();
    let path = scratch("dead.db");
    let policy = format!(
        "{{\"deadLetterTargetArn\":\"{}\",\"maxReceiveCount\":1}}",
        queue_arn("d.fifo")
    );
    {
        let sqs = Sqs::open(Some(&path), clock.clone()).unwrap();
        sqs.create_queue("d.fifo", &attributes(&[])).unwrap();
        let settings = [
            ("RedrivePolicy", policy.as_str()),
            ("VisibilityTimeout", "0"),
        ];
        sqs.create_queue(QUEUE, &attributes(&settings)).unwrap();
        sqs.send(QUEUE, NewMessage::new("a", "1", "body")).unwrap();
        assert_eq!(take(&sqs).len(), 1);
        assert_eq!(take(&sqs).len(), 0);
    }
    let sqs = Sqs::open(Some(&path), clock).unwrap();
    assert_eq!(sqs.depth(QUEUE).unwrap(), Depth::default());
    let dead = sqs.take("d.fifo", 10, None, None).unwrap();
    assert_eq!(bodies(&dead), ["body"]);
    assert_eq!(dead[0].dead_letter_source_arn, Some(queue_arn(QUEUE)));
    assert_eq!(dead[0].receive_count, 2);
}

#[test]
fn messages_older_than_the_retention_period_are_deleted() {
    let (clock, now) = manual_clock();
    let sqs = Sqs::open(None, clock).unwrap();
    sqs.create_queue(QUEUE, &attributes(&[("MessageRetentionPeriod", "60")]))
        .unwrap();
    sqs.send(QUEUE, NewMessage::new("a", "1", "old")).unwrap();
    now.fetch_add(60_000, Ordering::SeqCst);
    sqs.send(QUEUE, NewMessage::new("a", "2", "new")).unwrap();
    assert_eq!(bodies(&take(&sqs)), ["new"]);
    assert_eq!(
        sqs.depth(QUEUE).unwrap(),
        Depth {
            in_flight: 1,
            ..Depth::default()
        }
    );
}

#[test]
fn a_changed_delay_applies_to_messages_already_in_the_queue() {
    let (clock, now) = manual_clock();
    let sqs = Sqs::open(None, clock).unwrap();
    sqs.create_queue(QUEUE, &attributes(&[])).unwrap();
    sqs.send(QUEUE, NewMessage::new("a", "1", "1")).unwrap();
    sqs.set_queue_attributes(
        QUEUE,
        &Attributes::from([("DelaySeconds".into(), "2".into())]),
    )
    .unwrap();
    assert!(take(&sqs).is_empty());
    now.fetch_add(2000, Ordering::SeqCst);
    assert_eq!(take(&sqs).len(), 1);
}

#[test]
fn a_standard_queue_and_its_delays_survive_reopening() {
    let (clock, now) = manual_clock();
    let path = scratch("standard.db");
    {
        let sqs = Sqs::open(Some(&path), clock.clone()).unwrap();
        sqs.create_queue("plain", &Attributes::new()).unwrap();
        for (body, delay) in [("now", None), ("later", Some(60))] {
            let message = NewMessage {
                body: body.to_owned(),
                delay_seconds: delay,
                ..NewMessage::default()
            };
            sqs.send("plain", message).unwrap();
        }
    }
    let sqs = Sqs::open(Some(&path), clock).unwrap();
    let received = |sqs: &Sqs| sqs.take("plain", 10, None, None).unwrap();
    assert_eq!(bodies(&received(&sqs)), ["now"]);
    now.fetch_add(60_000, Ordering::SeqCst);
    let later: Vec<_> = received(&sqs).into_iter().map(|m| m.body).collect();
    assert!(later.contains(&"later".to_owned()), "{later:?}");
    let named = sqs.create_queue("plain.fifo", &Attributes::new());
    let named = named.unwrap_err();
    assert!(
        matches!(named, SqsError::InvalidParameterValue(_)),
        "{named}"
    );
}

#[test]
fn a_queue_is_found_by_any_url_that_ends_in_its_name() {
    let sqs = Sqs::open(None, manual_clock().0).unwrap();
    sqs.create_queue(QUEUE, &attributes(&[])).unwrap();
    for queue in [
        QUEUE,
        "http://127.0.0.1:9/000000000000/q.fifo",
        "https://other/1/q.fifo",
    ] {
        assert_eq!(sqs.find_queue(queue).unwrap(), QUEUE);
    }
    assert!(sqs.find_queue("http://127.0.0.1:9/000000000000/").is_err());
}

#[test]
fn requests_are_counted_as_aws_bills_them() {
    let sqs = Sqs::open(None, manual_clock().0).unwrap();
    sqs.create_queue(QUEUE, &attributes(&[])).unwrap();
    sqs.reset_counters();
    let big = || NewMessage::new("a", "1", "x".repeat(65_537));
    sqs.send_batch(QUEUE, vec![big()]).unwrap();
    sqs.send(QUEUE, NewMessage::new("a", "2", "x")).unwrap();
    let counters = sqs.counters();
    assert_eq!(counters.requests.get("SendMessageBatch"), Some(&1));
    assert_eq!(counters.requests.get("SendMessage"), Some(&1));
    assert_eq!(counters.billed_requests, 3);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receive_returns_a_message_sent_by_another_task() {
    let start = tokio::time::Instant::now();
    let clock = Arc::new(move || i64::try_from(start.elapsed().as_millis()).unwrap());
    let sqs = Sqs::open(None, clock).unwrap();
    sqs.create_queue(QUEUE, &attributes(&[("DelaySeconds", "1")]))
        .unwrap();
    let waiting = tokio::spawn({
        let sqs = sqs.clone();
        async move { sqs.receive(QUEUE, 10, Duration::from_secs(20)).await }
    });
    tokio::task::yield_now().await;
    let before = tokio::time::Instant::now();
    sqs.send(QUEUE, NewMessage::new("a", "1", "1")).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
    assert_eq!(
        before.elapsed(),
        Duration::from_secs(1),
        "the receive ends with the delay, not with its own wait"
    );
}

/// Every message of random traffic is delivered in its group's order, and never two receives of a
/// group overlap.
#[test]
fn random_traffic_keeps_every_group_in_order() {
    let (clock, now) = manual_clock();
    let sqs = Sqs::open(None, clock).unwrap();
    sqs.create_queue(QUEUE, &attributes(&[("VisibilityTimeout", "5")]))
        .unwrap();
    let mut seed = 7_u64;
    let mut random = move |n: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let (mut sent, mut done) = ([0_u64; 5], [0_u64; 5]);
    let mut in_flight: Vec<(i64, Received)> = Vec::new();
    for step in 0..20_000 {
        let time = now.load(Ordering::SeqCst);
        in_flight.retain(|(until, _)| *until > time);
        match random(if step < 15_000 { 4 } else { 3 }) {
            3 => {
                let group = random(5);
                let number = sent[group as usize];
                let id = format!("{group}-{number}");
                sqs.send(
                    QUEUE,
                    NewMessage::new(group.to_string(), id, number.to_string()),
                )
                .unwrap();
                sent[group as usize] += 1;
            }
            2 => {
                let received = sqs
                    .take(QUEUE, 1 + random(10) as usize, None, None)
                    .unwrap();
                let mut next = done;
                for message in received {
                    let group = message.group_id.parse::<usize>().unwrap();
                    assert!(
                        !in_flight
                            .iter()
                            .any(|(_, m)| m.group_id == message.group_id
                                && next[group] == done[group])
                    );
                    assert_eq!(message.body, next[group].to_string());
                    next[group] += 1;
                    in_flight.push((time + 5000, message));
                }
            }
            1 if !in_flight.is_empty() => {
                // An ordered consumer deletes from the front.
                let (_, message) = in_flight.remove(0);
                let group = message.group_id.parse::<usize>().unwrap();
                if message.body == done[group].to_string() {
                    sqs.delete(QUEUE, &[message.receipt_handle])
                        .unwrap()
                        .remove(0)
                        .unwrap();
                    done[group] += 1;
                }
            }
            _ => {
                now.fetch_add(random(500) as i64, Ordering::SeqCst);
            }
        }
    }
    assert!(done.iter().sum::<u64>() > 1000, "{done:?}");
}
