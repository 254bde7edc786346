//! One batch of the table's stream at a time, against a table and queues in memory.

use domain::{FileRecord, Transition};
use drive_simulator::Edit;
use serde_json::{Value, json};
use worker::ContentWake;
use worker_testing::World;

use super::{Deps, Memory, handle};

const HIGH: &str = "content.fifo";
const BULK: &str = "content-bulk.fifo";

pub(crate) fn deps(world: &World) -> Deps {
    Deps {
        store: world.store.clone(),
        contents: world.contents(),
        live: world.queue("live.fifo"),
        deliver: world.queue("deliver.fifo"),
        endpoints: super::EndpointMemory::default(),
        memory: Memory::default(),
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
    }
}

/// Returns a world whose connection mirrors content, with one file.
async fn mirrored() -> (World, FileRecord) {
    let world = World::new().await;
    world
        .connect(|connection| connection.content.enabled = true)
        .await;
    let record = world.synced_file("Plan.md").await;
    (world, record)
}

/// Handles these changes of the file's item. Returns the number of the first one that is to be
/// delivered again.
async fn run(world: &World, record: &FileRecord, changes: &[(Value, Value)]) -> Option<String> {
    let event = world.stream_event(&record.file, changes);
    let failures = handle(event, &deps(world)).await.batch_item_failures;
    let mut failed = failures.into_iter().map(|failure| failure.item_identifier);
    failed.next().flatten()
}

/// Makes a change of the record. Returns the item before and after it.
pub(crate) async fn change(
    world: &World,
    record: &FileRecord,
    edit: impl FnOnce(&mut FileRecord),
) -> (Value, Value) {
    let before = world.image(&record.file);
    let mut changed = record.clone();
    edit(&mut changed);
    changed.revision = record.revision.next();
    world
        .commit(record.revision, &Transition::unchanged(changed))
        .await;
    (before, world.image(&record.file))
}

#[tokio::test(start_paused = true)]
async fn a_first_sight_wakes_the_bulk_queue() {
    let (world, record) = mirrored().await;
    let created = (Value::Null, world.image(&record.file));
    assert_eq!(run(&world, &record, &[created]).await, None);
    let bodies = world.bodies(BULK).await;
    assert_eq!(bodies.len(), 1);
    assert_eq!(
        ContentWake::from_body(&bodies[0]).unwrap().file,
        record.file
    );
    assert!(world.bodies(HIGH).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn changed_content_wakes_the_other_queue() {
    let (world, record) = mirrored().await;
    let change = change(&world, &record, |record| {
        record.metadata.md5 = Some("00000000000000000000000000000000".to_owned());
        record.metadata.sha256 = Some("0".repeat(64));
    });
    let change = change.await;
    assert_eq!(run(&world, &record, &[change]).await, None);
    assert_eq!(world.bodies(HIGH).await.len(), 1);
    assert!(world.bodies(BULK).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_that_content_does_not_depend_on_wakes_nothing() {
    let (world, record) = mirrored().await;
    world.edit_in_drive(&record.file, Edit::Rename("Plan 2.md".to_owned()));
    let renamed = FileRecord::from_snapshot(&world.snapshot(&record.file).await);
    let change = change(&world, &record, |record| record.fields = renamed.fields).await;
    assert_ne!(change.0, change.1);
    assert_eq!(run(&world, &record, &[change]).await, None);
    assert!(world.bodies(HIGH).await.is_empty());
    assert!(world.bodies(BULK).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_mirrors_no_content_wakes_nothing() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let record = world.synced_file("Plan.md").await;
    let created = (Value::Null, world.image(&record.file));
    assert_eq!(run(&world, &record, &[created]).await, None);
    assert!(world.bodies(BULK).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_record_is_parked_and_the_next_one_is_processed() {
    let (world, record) = mirrored().await;
    let image = world.image(&record.file);
    let mut broken = image.clone();
    for member in broken.as_object_mut().unwrap().values_mut() {
        if member.get("M").is_some() || member.get("B").is_some() {
            *member = json!({"BOOL": true});
        }
    }
    broken["rev"] = json!({"BOOL": true});
    let changes = [(Value::Null, broken), (Value::Null, image)];
    assert_eq!(run(&world, &record, &changes).await, None);
    let parked = world.dead_letters().await;
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].queue, "stream");
    assert_eq!(world.bodies(BULK).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wake_that_can_not_be_sent_is_delivered_again_from_its_record() {
    let (world, record) = mirrored().await;
    let created = (Value::Null, world.image(&record.file));
    world.aws_refuses("SendMessageBatch", 1);
    assert_eq!(run(&world, &record, &[created]).await.as_deref(), Some("1"));
    assert!(world.bodies(BULK).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_of_the_connection_stops_at_its_record() {
    let (world, record) = mirrored().await;
    let created = (Value::Null, world.image(&record.file));
    world.aws_refuses("GetItem", 1);
    let changes = [created.clone(), created];
    assert_eq!(run(&world, &record, &changes).await.as_deref(), Some("1"));
}
