//! What a batch of the stream tells in the event log.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::event::EventLogState;
use domain::operation::SyncKind;
use domain::{Cause, FileRecord, LogId, Operation, OperationId, Rule, Rules, Run, Transition};
use drive_simulator::Edit;
use serde_json::Value;
use store::{ConnectionState, DeadLetter, EventsRead, FailedMessage, Nonce};
use tokio::time::Instant;
use worker_testing::{ItemChange, World};

use crate::tests::{change, deps};
use crate::{Deps, handle};

const LIVE: &str = "live.fifo";
const CONNECTION: &str = "T#acme#C#c_01";

async fn connected() -> (World, FileRecord) {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let record = world.synced_file("Plan.md").await;
    (world, record)
}

/// A change of the item with this key.
fn of_item(pk: &str, sk: &str, old: Value, new: Value) -> ItemChange {
    ItemChange {
        pk: pk.to_owned(),
        sk: sk.to_owned(),
        old,
        new,
    }
}

/// A change of the record of a file.
fn of_file(record: &FileRecord, (old, new): (Value, Value)) -> ItemChange {
    of_item(&format!("T#acme#F#c_01#{}", record.file), "HEAD", old, new)
}

/// Handles these changes. Returns the number of the first one that is to be delivered again.
async fn publish(world: &World, changes: &[ItemChange], deps: &Deps) -> Option<String> {
    let batch = world.stream_batch("arn:aws:dynamodb:x", changes);
    let failures = Box::pin(handle(batch, deps)).await.batch_item_failures;
    let mut failed = failures.into_iter().map(|failure| failure.item_identifier);
    failed.next().flatten()
}

/// Returns the ids of the events of the log.
async fn told(world: &World) -> Vec<String> {
    let key = World::key();
    let read = world.store.read_events(&key, None, 500, world.clock.now());
    match read.await.unwrap() {
        EventsRead::Page { events, .. } => events.iter().map(|(_, event)| event.id()).collect(),
        EventsRead::Expired { .. } => panic!("expired"),
    }
}

/// Renames a file in the record, as a listing or a change of Drive does.
async fn renamed(world: &World, record: &FileRecord, name: &str) -> (Value, Value) {
    world.edit_in_drive(&record.file, Edit::Rename(name.to_owned()));
    let seen = FileRecord::from_snapshot(&world.snapshot(&record.file).await);
    let renamed = change(world, record, |record| {
        record.fields = seen.fields;
        record.version = seen.version;
    });
    renamed.await
}

async fn state(world: &World) -> Option<EventLogState> {
    let read = world.store.event_log_state(&World::key()).await.unwrap();
    read.map(|read| read.state)
}

#[tokio::test(start_paused = true)]
async fn a_change_has_the_same_id_however_often_its_batch_arrives() {
    let (world, record) = connected().await;
    let created = of_file(&record, (Value::Null, world.image(&record.file)));
    let renamed = of_file(&record, renamed(&world, &record, "Plan 2.md").await);
    let batch = [created, renamed];
    for _ in 0..2 {
        assert_eq!(publish(&world, &batch, &deps(&world)).await, None);
    }
    let file = &record.file;
    let once = [
        format!("{file}.1.file:created"),
        format!("{file}.2.file:modified"),
    ];
    assert_eq!(told(&world).await, [once.clone(), once].concat());
    // One wake for each append.
    assert_eq!(world.bodies(LIVE).await.len(), 2);
    assert_eq!(state(&world).await, Some(EventLogState::default()));
}

#[tokio::test(start_paused = true)]
async fn two_publishers_at_once_lose_nothing_and_leave_no_gap() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let mut batches = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let record = world.synced_file(name).await;
        let created = of_file(&record, (Value::Null, world.image(&record.file)));
        let renamed = of_file(&record, renamed(&world, &record, "other").await);
        batches.push([created, renamed]);
    }
    let (one, other) = (deps(&world), deps(&world));
    let publish_all = async |batches: &[[ItemChange; 2]], deps: &Deps| {
        for batch in batches {
            assert_eq!(publish(&world, batch, deps).await, None);
        }
    };
    let (first, second) = batches.split_at(2);
    tokio::join!(publish_all(first, &one), publish_all(second, &other));
    let told = told(&world).await;
    assert_eq!(told.len(), 8);
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), 8);
    let end = world.store.event_log_end(&World::key()).await.unwrap();
    assert_eq!(end.unwrap().number, 4);
}

#[tokio::test(start_paused = true)]
async fn a_listing_tells_its_end_and_none_of_its_files_before() {
    let (world, record) = connected().await;
    let cause = Cause::fresh(7, 7);
    let id = OperationId::parse("op1").unwrap();
    let (now, run) = (world.clock.now(), Run::sync(SyncKind::Resync));
    let mut operation = Operation::new(World::key(), id, LogId::user(), "ada", now, run);
    operation.cause = Some(cause);
    world.store.create_operation(&operation).await.unwrap();
    let item = || world.item(CONNECTION, "OP#op1");
    let begun = of_item(CONNECTION, "OP#op1", Value::Null, item());
    let mut listed = record.clone();
    listed.revision = record.revision.next();
    let nonce = Nonce(world.entropy.next());
    let before = world.image(&record.file);
    world
        .store
        .caused_by(cause)
        .commit(
            &World::key(),
            record.revision,
            &Transition::unchanged(listed),
            nonce,
        )
        .await
        .unwrap();
    let found = of_file(&record, (Value::Null, world.image(&record.file)));
    // The same as an edit of another cause.
    let edited = of_file(&record, (Value::Null, before));
    let batch = [begun.clone(), found.clone(), edited];
    assert_eq!(publish(&world, &batch, &deps(&world)).await, None);
    let file = &record.file;
    let so_far = [
        "op1.listing.sync:started".to_owned(),
        format!("{file}.1.file:created"),
    ];
    assert_eq!(told(&world).await, so_far);
    let failed = operation.failed("cancelled", world.clock.now());
    let old = item();
    world
        .store
        .advance_operation(&operation, &failed)
        .await
        .unwrap();
    let ended = of_item(CONNECTION, "OP#op1", old, item());
    // What is committed for it after its end is reported.
    assert_eq!(publish(&world, &[ended, found], &deps(&world)).await, None);
    let last = [
        "op1.failed.sync:failed".to_owned(),
        format!("{file}.2.file:created"),
    ];
    assert_eq!(told(&world).await, [so_far, last].concat());
}

#[tokio::test(start_paused = true)]
async fn removals_and_deleted_connections_tell_nothing() {
    let (world, record) = connected().await;
    let image = world.image(&record.file);
    let removed = of_file(&record, (image.clone(), Value::Null));
    assert_eq!(publish(&world, &[removed], &deps(&world)).await, None);
    let created = of_file(&record, (Value::Null, image));
    let mut without_events = deps(&world);
    without_events.store = without_events.store.keeping_events_for(0);
    assert_eq!(
        publish(&world, std::slice::from_ref(&created), &without_events).await,
        None
    );
    let connection = world.connection().await;
    let deleting = ConnectionState::Deleting;
    world
        .store
        .set_connection_state(&connection, deleting)
        .await
        .unwrap();
    assert_eq!(publish(&world, &[created], &deps(&world)).await, None);
    assert_eq!(told(&world).await, Vec::<String>::new());
    assert_eq!(state(&world).await, None);
    assert!(world.bodies(LIVE).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_file_out_of_scope_tells_nothing_until_it_comes_into_scope() {
    let world = World::new().await;
    let only = |name: &str| Rule::Name(domain::Glob::parse(name).unwrap());
    world
        .connect(|connection| {
            connection.rules = Rules {
                include: vec![only("*.md")],
                exclude: Vec::new(),
            };
        })
        .await;
    let inside = world.synced_file("in.md").await;
    let outside = world.synced_file("out.txt").await;
    let mut batch = Vec::new();
    for record in [&inside, &outside] {
        batch.push(of_file(record, (Value::Null, world.image(&record.file))));
    }
    batch.push(of_file(&inside, renamed(&world, &inside, "in.txt").await));
    batch.push(of_file(&outside, renamed(&world, &outside, "o.txt").await));
    assert_eq!(publish(&world, &batch, &deps(&world)).await, None);
    let file = &inside.file;
    let expected = [
        format!("{file}.1.file:created"),
        // Readers show it: a reader learns that it has left.
        format!("{file}.2.file:modified"),
    ];
    assert_eq!(told(&world).await, expected);
}

#[tokio::test(start_paused = true)]
async fn other_items_tell_their_own_events() {
    let (world, record) = connected().await;
    let mut batch = Vec::new();
    let connection = || world.item("T#acme", "CONN#c_01");
    let (before, now) = (connection(), world.clock.now());
    world
        .store
        .suspend(&World::key(), "revoked", now)
        .await
        .unwrap();
    batch.push(of_item("T#acme", "CONN#c_01", before, connection()));
    let message = FailedMessage {
        queue: "drive",
        id: "x",
        body: "",
        sent_at: now,
        receives: 1,
    };
    let file = record.file.clone();
    let letter = DeadLetter::from_message(message, World::key(), Some(file), "too odd", now);
    world.store.record_dead_letter(&letter).await.unwrap();
    let sk = format!("PARKED#{}", letter.id);
    let parked = world.item(CONNECTION, &sk);
    batch.push(of_item(CONNECTION, &sk, Value::Null, parked.clone()));
    // Neither is this another dead letter, nor are these of anybody's concern.
    batch.push(of_item(CONNECTION, &sk, parked.clone(), parked));
    batch.push(of_item(CONNECTION, "LOG#user", Value::Null, Value::Null));
    batch.push(of_item(
        "T#_unknown",
        "CONN#_unknown",
        Value::Null,
        Value::Null,
    ));
    assert_eq!(publish(&world, &batch, &deps(&world)).await, None);
    let revision = world.connection().await.revision;
    let expected = [
        format!("{revision}.connection:suspended"),
        format!("{}.{}-1.dead_letter:parked", record.file, letter.id),
    ];
    assert_eq!(told(&world).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_can_not_be_appended_to_owes_a_reset_and_delays_nothing() {
    let (world, record) = connected().await;
    let created = of_file(&record, (Value::Null, world.image(&record.file)));
    world.aws_refuses("Query", 10_000);
    let began = Instant::now();
    assert_eq!(
        publish(&world, std::slice::from_ref(&created), &deps(&world)).await,
        None
    );
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(10), "{took:?}");
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert_eq!(
        state(&world).await,
        Some(EventLogState { reset_owed: true })
    );
    assert!(world.bodies(LIVE).await.is_empty());
    // What comes after is appended, while the reset is still owed.
    world.aws_refuses("Query", 0);
    assert_eq!(publish(&world, &[created], &deps(&world)).await, None);
    assert_eq!(told(&world).await.len(), 1);
    assert_eq!(
        state(&world).await,
        Some(EventLogState { reset_owed: true })
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_which_not_even_a_reset_is_owed_is_delivered_again() {
    let (world, record) = connected().await;
    let renamed = of_file(&record, renamed(&world, &record, "Plan 2.md").await);
    let removed = of_file(&record, (world.image(&record.file), Value::Null));
    for write in ["Query", "PutItem", "UpdateItem"] {
        world.aws_refuses(write, 10_000);
    }
    let failed = publish(&world, &[removed, renamed], &deps(&world)).await;
    assert_eq!(failed.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_restored_table_begins_a_new_epoch() {
    let (world, record) = connected().await;
    let created = of_file(&record, (Value::Null, world.image(&record.file)));
    let end = async || {
        let end = world.store.event_log_end(&World::key()).await.unwrap();
        end.unwrap()
    };
    let mut ends = Vec::new();
    for stream in [
        "arn:aws:dynamodb:x",
        "arn:aws:dynamodb:x",
        "arn:aws:dynamodb:y",
    ] {
        let batch = world.stream_batch(stream, std::slice::from_ref(&created));
        let answer = handle(batch, &deps(&world)).await;
        assert!(answer.batch_item_failures.is_empty());
        ends.push(end().await);
    }
    assert_eq!(ends[0].epoch, ends[1].epoch);
    assert_ne!(ends[1].epoch, ends[2].epoch);
    assert_eq!((ends[2].first, ends[2].number), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_wake_of_live_readers_that_can_not_be_sent_delivers_nothing_again() {
    let (world, record) = connected().await;
    let created = of_file(&record, (Value::Null, world.image(&record.file)));
    world.aws_refuses("SendMessage", 1);
    assert_eq!(publish(&world, &[created], &deps(&world)).await, None);
    assert_eq!(told(&world).await.len(), 1);
    assert!(world.bodies(LIVE).await.is_empty());
}
