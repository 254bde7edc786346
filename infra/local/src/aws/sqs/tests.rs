//! The conformance scenarios against our server, and what only our server promises: durability, counters, the Rust API.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::conformance::{self, Subject};
use super::*;
use crate::aws::in_process::InProcess;
use crate::aws::{Clock, tokio_clock};

fn subject() -> Subject {
    let clock = tokio_clock(1_800_000_000_000);
    let http = InProcess::new(handler(Sqs::open(None, clock).unwrap()));
    let client = crate::aws::clients::sqs("http://sqs.local", http);
    Subject {
        client,
        elapse: Arc::new(|time| Box::pin(tokio::time::advance(time))),
    }
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => { $(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            conformance::$name(&subject()).await;
        }
    )* };
}

scenarios!(
    several_messages_of_one_group_come_in_one_receive_in_order,
    a_group_is_blocked_while_one_of_its_messages_is_in_flight,
    a_duplicate_send_returns_the_original_id_and_sequence_number,
    deduplication_scoped_to_the_group_lets_another_group_use_the_id,
    content_can_stand_for_the_deduplication_id,
    a_queue_delay_holds_messages_back,
    a_visibility_timeout_gives_the_message_back,
    visibility_zero_gives_the_message_back_at_once,
    a_batch_changes_visibility_entry_by_entry,
    system_attributes_tell_the_message_s_story,
    message_attributes_come_back_with_their_digest,
    only_the_latest_receipt_handle_is_valid_and_only_in_time,
    a_message_received_too_often_goes_to_the_dead_letter_queue,
    a_move_task_brings_dead_letters_back_as_new_messages,
    the_sources_of_a_dead_letter_queue_are_listed,
    a_repeated_receive_attempt_gives_the_same_messages,
    a_batch_is_answered_entry_by_entry,
    oversize_messages_and_batches_are_refused,
    malformed_batches_are_refused_whole,
    queue_attributes_are_counted_and_changed,
    queues_are_made_once_found_listed_and_deleted,
    a_purge_empties_the_queue,
    a_long_poll_ends_when_a_message_arrives_or_becomes_visible,
);

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

/// What a killed process leaves: the database and its log as they are on disk now, copied under the open connection.
fn files_of_killed(path: &Path, to: &Path) {
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
fn after_a_kill_everything_acknowledged_is_there_and_in_flight_messages_are_visible() {
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
    files_of_killed(&path, &copy);
    drop(sqs);

    now.fetch_add(1000, Ordering::SeqCst);
    let sqs = Sqs::open(Some(&copy), clock).unwrap();
    let again = take(&sqs);
    assert_eq!(bodies(&again), ["1", "2"]);
    assert_eq!(again[0].receive_count, 2);
    assert_eq!(again[0].first_received_at_ms, first[1].first_received_at_ms);
    assert_eq!(again[0].message_id, first[1].message_id);
    let duplicate = sqs.send(QUEUE, NewMessage::new("a", "0", "0")).unwrap();
    assert_eq!(
        duplicate.message_id, first[0].message_id,
        "the window is kept"
    );
    let fresh = sqs.send(QUEUE, NewMessage::new("a", "9", "9")).unwrap();
    assert!(fresh.sequence_number > again[1].sequence_number);
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
fn messages_older_than_the_retention_are_gone() {
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
fn a_changed_delay_holds_for_messages_already_there() {
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
fn standard_queues_are_refused_with_a_reason() {
    let sqs = Sqs::open(None, manual_clock().0).unwrap();
    let refused = sqs.create_queue("plain", &Attributes::new()).unwrap_err();
    assert!(
        matches!(refused, SqsError::UnsupportedOperation(_)),
        "{refused}"
    );
    let named = sqs
        .create_queue("plain.fifo", &Attributes::new())
        .unwrap_err();
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
async fn a_waiting_receive_sees_a_message_sent_by_another_task() {
    let sqs = Sqs::open(None, tokio_clock(0)).unwrap();
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
        "the delay, and not the whole wait"
    );
}

/// Every message of random traffic is delivered in its group's order, and never two receives of a group overlap.
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
    let mut held: Vec<(i64, Received)> = Vec::new();
    for step in 0..20_000 {
        let time = now.load(Ordering::SeqCst);
        held.retain(|(until, _)| *until > time);
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
                        !held
                            .iter()
                            .any(|(_, h)| h.group_id == message.group_id
                                && next[group] == done[group])
                    );
                    assert_eq!(message.body, next[group].to_string());
                    next[group] += 1;
                    held.push((time + 5000, message));
                }
            }
            1 if !held.is_empty() => {
                // Deleted from the front, as an ordered consumer does.
                let (_, message) = held.remove(0);
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
