//! One invocation at a time, against a table, queues and a Drive in memory.

use domain::{ConnectionId, Field, FileId, FileRecord, Revision, Snapshot, Value};
use drive_simulator::Edit;
use worker::{Origin, SnapshotMessage};
use worker_testing::World;

use super::{Deps, handle};

const LIVE: &str = "snapshots.fifo";

fn deps(world: &World) -> Deps {
    let queues = world.snapshots();
    Deps {
        store: world.store.clone(),
        drives: world.drives.clone(),
        queues: vec![queues.live, queues.bulk],
        push_wakes: world.queue("push-wakes.fifo"),
        history_days: Some(90),
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
    }
}

fn message(world: &World, file: &FileId, snapshot: Option<Snapshot>) -> SnapshotMessage {
    SnapshotMessage {
        key: World::key(),
        origin: Origin::Live,
        file: file.clone(),
        at: world.clock.now(),
        snapshot,
    }
}

fn send(world: &World, message: &SnapshotMessage) {
    world.send(LIVE, message.file.as_str(), &message.to_body());
}

async fn send_present(world: &World, file: &FileId) {
    let snapshot = world.snapshot(file).await;
    send(world, &message(world, file, Some(snapshot)));
}

/// Handles all queued snapshots within this many seconds. Returns the number of messages that
/// return to the queue.
async fn run_for(world: &World, seconds: i64) -> usize {
    let event = world.deliver(LIVE).await;
    let response = handle(event, world.deadline(seconds), &deps(world)).await;
    response.batch_item_failures.len()
}

async fn run(world: &World) -> usize {
    run_for(world, 15).await
}

async fn connected() -> World {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world
}

fn name(record: &FileRecord) -> Value {
    record.app(&Field::Name)
}

#[tokio::test(start_paused = true)]
async fn a_first_snapshot_makes_the_record() {
    let world = connected().await;
    let file = world.create_file("Plan.md");
    send_present(&world, &file).await;
    assert_eq!(run(&world).await, 0);
    let record = world.record(&file).await;
    assert!(record.is_present());
    assert_eq!(name(&record), Value::text("Plan.md"));
}

#[tokio::test(start_paused = true)]
async fn all_snapshots_of_a_file_are_one_write() {
    let world = connected().await;
    let before = world.synced_file("Plan.md").await;
    for name in ["a", "b", "c"] {
        world.edit_in_drive(&before.file, Edit::Rename(name.to_owned()));
        send_present(&world, &before.file).await;
    }
    // A single refused write returns all of them.
    world.aws_refuses("UpdateItem", 1);
    assert_eq!(run(&world).await, 3);
    assert_eq!(world.record(&before.file).await, before);
    tokio::time::advance(std::time::Duration::from_secs(301)).await;
    assert_eq!(run(&world).await, 0);
    assert_eq!(name(&world.record(&before.file).await), Value::text("c"));
}

#[tokio::test(start_paused = true)]
async fn an_old_or_repeated_snapshot_changes_nothing() {
    let world = connected().await;
    let file = world.create_file("Plan.md");
    let old = world.snapshot(&file).await;
    world.edit_in_drive(&file, Edit::Rename("Plan 2.md".to_owned()));
    send_present(&world, &file).await;
    assert_eq!(run(&world).await, 0);
    let before = world.record(&file).await;
    send(&world, &message(&world, &file, Some(old)));
    send_present(&world, &file).await;
    assert_eq!(run(&world).await, 0);
    assert_eq!(world.record(&file).await, before);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_snapshot_is_parked_and_the_next_one_is_applied() {
    let world = connected().await;
    let file = world.create_file("Plan.md");
    world.send(LIVE, file.as_str(), "not a snapshot");
    send_present(&world, &file).await;
    assert_eq!(run(&world).await, 0);
    assert!(world.record(&file).await.is_present());
    let parked = world.dead_letters_without_connection().await;
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].body, "not a snapshot");
}

#[tokio::test(start_paused = true)]
async fn an_edit_on_both_sides_opens_a_conflict() {
    let world = connected().await;
    let record = world.synced_file("Plan.md").await;
    let record = world.edit_name(&record, "Plan (ours).md").await;
    world.edit_in_drive(&record.file, Edit::Rename("Plan (theirs).md".to_owned()));
    send_present(&world, &record.file).await;
    assert_eq!(run(&world).await, 0);
    let record = world.record(&record.file).await;
    assert!(record.open.contains_key(&Field::Name));
    assert_eq!(name(&record), Value::text("Plan (ours).md"));
}

#[tokio::test(start_paused = true)]
async fn a_reported_removal_is_checked_in_drive_first() {
    let world = connected().await;
    let removed = world.synced_file("Removed.md").await;
    let present = world.synced_file("Present.md").await;
    world.edit_in_drive(&removed.file, Edit::Delete);
    for file in [&removed.file, &present.file] {
        send(&world, &message(&world, file, None));
    }
    assert_eq!(run(&world).await, 0);
    assert!(world.record(&removed.file).await.is_gone());
    assert!(world.record(&present.file).await.is_present());
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_drive_does_not_answer_returns_to_the_queue() {
    let world = connected().await;
    let record = world.synced_file("Plan.md").await;
    world.edit_in_drive(&record.file, Edit::Delete);
    world.drive_refuses("* /*", 99, 503, "backendError");
    send(&world, &message(&world, &record.file, None));
    assert_eq!(run(&world).await, 1);
    assert!(world.record(&record.file).await.is_present());
}

#[tokio::test(start_paused = true)]
async fn rejected_credentials_suspend_the_connection_and_the_snapshot_is_retried() {
    let world = connected().await;
    let record = world.synced_file("Plan.md").await;
    world.drive_refuses("POST /token", 99, 400, "invalid_grant");
    world.drive.invalidate_tokens(true, false);
    tokio::time::advance(std::time::Duration::from_secs(7_200)).await;
    send(&world, &message(&world, &record.file, None));
    assert_eq!(run(&world).await, 1);
    assert!(world.is_suspended().await);
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_returns_its_file_alone_to_the_queue() {
    let world = connected().await;
    let files = ["a", "b"].map(|name| world.create_file(name));
    for file in &files {
        send_present(&world, file).await;
    }
    world.aws_refuses("PutItem", 1);
    assert_eq!(run(&world).await, 1);
    let load = async |file| world.store.load_file(&World::key(), file).await.unwrap();
    let stored = [load(&files[0]).await, load(&files[1]).await];
    assert_eq!(stored.iter().flatten().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_time_everything_returns_to_the_queue() {
    let world = connected().await;
    let file = world.create_file("Plan.md");
    send_present(&world, &file).await;
    assert_eq!(run_for(&world, 0).await, 1);
    let stored = world.store.load_file(&World::key(), &file).await.unwrap();
    assert_eq!(stored.map(|record| record.revision), None::<Revision>);
}

#[tokio::test(start_paused = true)]
async fn snapshots_of_a_deleted_connection_are_dropped() {
    let world = connected().await;
    let file = world.create_file("Plan.md");
    let snapshot = world.snapshot(&file).await;
    let mut message = message(&world, &file, Some(snapshot));
    message.key.connection = ConnectionId::parse("c_02").unwrap();
    send(&world, &message);
    assert_eq!(run(&world).await, 0);
    let stored = world.store.load_file(&message.key, &file).await.unwrap();
    assert_eq!(stored, None);
}
