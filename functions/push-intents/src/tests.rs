//! One invocation at a time, against a table, queues and a Drive in memory.

use std::time::Duration;

use domain::{Field, FileRecord};
use drive_simulator::Edit;
use worker::PushWake;
use worker_testing::World;

use super::{Deps, handle};

const WAKES: &str = "push-wakes.fifo";
const PATCH: &str = "PATCH /drive/v2/files/*";

fn deps(world: &World) -> Deps {
    Deps {
        store: world.store.clone(),
        drives: world.drives.clone(),
        push_wakes: world.queue(WAKES),
        contents: world.contents(),
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
    }
}

/// Handles a wake within this many seconds. Returns the number of messages that return to the
/// queue.
async fn run_for(world: &World, seconds: i64) -> usize {
    let wake = PushWake { key: World::key() };
    // A message that returned to the queue does not delay the next one.
    let group = format!("group-{}", world.entropy.next());
    world.send(WAKES, &group, &wake.to_body());
    let event = world.deliver(WAKES).await;
    let response = handle(event, world.deadline(seconds), &deps(world)).await;
    response.batch_item_failures.len()
}

async fn run(world: &World) -> usize {
    run_for(world, 30).await
}

/// Returns a world with a file that owes Drive a new name.
async fn owing() -> (World, FileRecord) {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let record = world.synced_file("Plan.md").await;
    let record = world.edit_name(&record, "Plan 2.md").await;
    (world, record)
}

fn name_in_drive(world: &World, record: &FileRecord) -> String {
    world.drive.file(record.file.as_str()).unwrap().name
}

#[tokio::test(start_paused = true)]
async fn an_owed_field_is_written_to_drive_and_confirmed() {
    let (world, record) = owing().await;
    assert!(record.intent().is_some());
    assert_eq!(run(&world).await, 0);
    assert_eq!(name_in_drive(&world, &record), "Plan 2.md");
    assert!(world.record(&record.file).await.intent().is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_owed_means_no_call() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.synced_file("Plan.md").await;
    assert_eq!(run(&world).await, 0);
    assert_eq!(world.drive.counters().quota_units, 0);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_wake_is_parked_and_the_next_one_is_processed() {
    let (world, record) = owing().await;
    let wake = PushWake { key: World::key() };
    world.send(WAKES, "group", "not a wake");
    world.send(WAKES, "group", &wake.to_body());
    assert_eq!(run(&world).await, 0);
    assert_eq!(world.dead_letters_without_connection().await.len(), 1);
    assert_eq!(name_in_drive(&world, &record), "Plan 2.md");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_moved_on_in_drive_is_read_again_before_it_is_written() {
    let (world, record) = owing().await;
    world.drive_refuses(PATCH, 1, 412, "conditionNotMet");
    assert_eq!(run(&world).await, 0);
    assert_eq!(name_in_drive(&world, &record), "Plan 2.md");
    assert!(world.record(&record.file).await.intent().is_none());
    let calls = world.drive.counters().calls;
    assert_eq!(calls.get("v2.files.patch"), Some(&2), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn another_name_in_drive_opens_a_conflict_and_nothing_is_written() {
    let (world, record) = owing().await;
    world.edit_in_drive(&record.file, Edit::Rename("Plan B.md".to_owned()));
    assert_eq!(run(&world).await, 0);
    assert_eq!(name_in_drive(&world, &record), "Plan B.md");
    let record = world.record(&record.file).await;
    assert!(record.open.contains_key(&Field::Name));
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_response_was_lost_is_confirmed_and_not_repeated() {
    let (world, record) = owing().await;
    world.drive_is_silent(PATCH);
    run(&world).await;
    let version = world.drive.file(record.file.as_str()).unwrap().version;
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(run(&world).await, 0);
    let now = world.drive.file(record.file.as_str()).unwrap();
    assert_eq!((now.name.as_str(), now.version), ("Plan 2.md", version));
    assert!(world.record(&record.file).await.intent().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_permanently_rejected_write_fails_the_intent_alone() {
    let (world, record) = owing().await;
    let other = world.synced_file("Budget.md").await;
    let other = world.edit_name(&other, "Budget 2.md").await;
    let path = format!("PATCH /drive/v2/files/{}", record.file);
    world.drive_refuses(&path, 9, 403, "insufficientFilePermissions");
    assert_eq!(run(&world).await, 0);
    let failed = world.record(&record.file).await.push.failed;
    assert!(failed.contains_key(&Field::Name), "{failed:?}");
    assert_eq!(name_in_drive(&world, &other), "Budget 2.md");
}

#[tokio::test(start_paused = true)]
async fn rejected_credentials_suspend_the_connection_and_keep_the_intent() {
    let (world, record) = owing().await;
    world.drive.invalidate_tokens(true, false);
    world.drive_refuses("POST /token", 9, 400, "invalid_grant");
    tokio::time::advance(Duration::from_secs(7_200)).await;
    assert_eq!(run(&world).await, 0);
    assert!(world.is_suspended().await);
    assert!(world.record(&record.file).await.intent().is_some());
}

#[tokio::test(start_paused = true)]
async fn without_time_for_a_batch_the_rest_is_left_to_another_wake() {
    let (world, record) = owing().await;
    assert_eq!(run_for(&world, 10).await, 0);
    assert_eq!(name_in_drive(&world, &record), "Plan.md");
    assert_eq!(world.bodies(WAKES).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_push_stays_due_and_counts_no_failure() {
    let (world, record) = owing().await;
    world.drive_refuses("GET /drive/v2/files/*", 1, 403, "dailyLimitExceeded");
    assert_eq!(run(&world).await, 1, "the batch that found out is retried");
    let before = world.record(&record.file).await.push.failures;
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(run(&world).await, 0);
    assert_eq!(name_in_drive(&world, &record), "Plan.md");
    let record = world.record(&record.file).await;
    assert!(record.intent().is_some());
    assert_eq!(record.push.failures, before);
}

#[tokio::test(start_paused = true)]
async fn a_paused_connection_writes_nothing() {
    let (world, record) = owing().await;
    let connection = world.connection().await;
    let paused = store::ConnectionState::Paused;
    world
        .store
        .set_connection_state(&connection, paused)
        .await
        .unwrap();
    assert_eq!(run(&world).await, 0);
    assert_eq!(name_in_drive(&world, &record), "Plan.md");
}
