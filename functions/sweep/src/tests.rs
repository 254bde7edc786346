//! One sweep at a time, against a table, queues and a Drive in memory.

use std::time::Duration;

use domain::LogId;
use domain::operation::ErasedCounts;
use objects::Objects;
use store::{Connection, ConnectionState, Deletion, Erased, Log, Written};
use worker::{LogWake, Origin, PushWake, SnapshotMessage};
use worker_testing::{DEAD_LETTERS, World};

use super::{Deps, handle};

const LOGS: &str = "log-wakes.fifo";
const PUSHES: &str = "push-wakes.fifo";

pub(crate) async fn deps(world: &World) -> Deps {
    // No test reaches the bucket.
    let nowhere = objects::client(&runtime::aws::config().await);
    Deps {
        store: world.store.clone(),
        drives: world.drives.clone(),
        wakes: world.wakes(),
        snapshots: world.snapshots(),
        contents: world.contents(),
        objects: Objects::new(nowhere, "content"),
        acts: None,
        dead_letters: vec![world.queue(DEAD_LETTERS)],
        webhook_url: None,
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
    }
}

async fn run(world: &World) {
    handle(world.deadline(60), &deps(world).await).await;
}

async fn suspend(world: &World) {
    let now = world.clock.now();
    world
        .store
        .suspend(&World::key(), "revoked", now)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_due_log_is_woken_and_due_again_later() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    run(&world).await;
    let wakes = world.bodies(LOGS).await;
    assert_eq!(wakes.len(), 1);
    assert_eq!(LogWake::from_body(&wakes[0]).unwrap().log, LogId::user());
    assert!(world.log().await.next_poll_at > world.clock.now());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_due_is_left_alone() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let later = world.clock.now().plus_millis(60_000);
    let log = Log::new(World::key(), LogId::user(), later);
    world.store.create_log(&log).await.unwrap();
    run(&world).await;
    assert!(world.bodies(LOGS).await.is_empty());
    tokio::time::advance(Duration::from_secs(61)).await;
    run(&world).await;
    assert_eq!(world.bodies(LOGS).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_owed_field_wakes_the_pushes_of_an_active_connection() {
    let world = World::new().await;
    let connection = world.connect(|_| {}).await;
    let record = world.synced_file("Plan.md").await;
    world.edit_name(&record, "Plan 2.md").await;
    run(&world).await;
    let wakes = world.bodies(PUSHES).await;
    assert_eq!(wakes.len(), 1);
    assert_eq!(PushWake::from_body(&wakes[0]).unwrap().key, World::key());
    let paused = ConnectionState::Paused;
    world
        .store
        .set_connection_state(&connection, paused)
        .await
        .unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    run(&world).await;
    assert!(world.bodies(PUSHES).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_received_too_often_becomes_a_dead_letter() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let file = world.create_file("Plan.md");
    let message = SnapshotMessage {
        key: World::key(),
        origin: worker::Origin::Live,
        file: file.clone(),
        at: world.clock.now(),
        snapshot: Some(world.snapshot(&file).await),
    };
    world.send(DEAD_LETTERS, "a", &message.to_body());
    world.send(DEAD_LETTERS, "b", "not a message");
    run(&world).await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].file.as_ref(), Some(&file));
    assert_eq!(letters[0].body, message.to_body());
    assert_eq!(world.dead_letters_without_connection().await.len(), 1);
    assert_eq!(world.sqs.depth(DEAD_LETTERS).unwrap().total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_can_not_be_stored_stays_in_its_queue() {
    let world = World::new().await;
    world.send(DEAD_LETTERS, "a", "not a message");
    world.aws_refuses("PutItem", 9);
    run(&world).await;
    assert_eq!(world.sqs.depth(DEAD_LETTERS).unwrap().total(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_connection_resumes_once_drive_accepts_its_credentials() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    suspend(&world).await;
    world.drive_refuses("GET /drive/v3/about", 1, 401, "authError");
    world.drive_refuses("GET /drive/v3/about", 1, 401, "authError");
    run(&world).await;
    assert!(world.is_suspended().await);
    assert!(world.bodies(LOGS).await.is_empty());
    world.drive.clear_faults();
    tokio::time::advance(Duration::from_secs(1_200)).await;
    run(&world).await;
    assert!(!world.is_suspended().await);
    assert_eq!(world.bodies(LOGS).await.len(), 1);
    assert_eq!(world.bodies(PUSHES).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_deleted_connection_is_deleted() {
    let world = World::new().await;
    let log = Log::new(World::key(), LogId::user(), world.clock.now());
    world.store.create_log(&log).await.unwrap();
    run(&world).await;
    assert!(world.bodies(LOGS).await.is_empty());
    let found = world
        .store
        .load_log(&World::key(), &LogId::user())
        .await
        .unwrap();
    assert_eq!(found, None);
}

#[tokio::test(start_paused = true)]
async fn a_failed_item_stays_due_and_does_not_stop_the_others() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    let record = world.synced_file("Plan.md").await;
    world.edit_name(&record, "Plan 2.md").await;
    world.aws_refuses("SendMessage", 1);
    run(&world).await;
    // The shards are processed in a random order, so either may have been the first.
    let (logs, pushes) = (world.bodies(LOGS).await, world.bodies(PUSHES).await);
    assert_eq!(logs.len() + pushes.len(), 1);
    if logs.is_empty() {
        assert!(world.log().await.next_poll_at <= world.clock.now());
    }
    // Later, so that the same wake is no repetition.
    tokio::time::advance(Duration::from_secs(600)).await;
    run(&world).await;
    let (logs, pushes) = (world.bodies(LOGS).await, world.bodies(PUSHES).await);
    assert!(!logs.is_empty() && !pushes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn regression_the_owed_files_of_a_deleted_connection_leave_the_index() {
    let world = World::new().await;
    let mut connection = world.connect(|_| {}).await;
    let record = world.synced_file("Plan.md").await;
    world.edit_name(&record, "Plan 2.md").await;
    let now = world.clock.now();
    connection.state = ConnectionState::Deleting;
    connection.deletion = Some(Deletion {
        at: now,
        by: "ada".to_owned(),
        operation: world.entropy.operation(now),
        erased: None,
    });
    save(&world, &mut connection).await;
    run(&world).await;
    assert_eq!(due(&world).await, 1, "it may be restored");
    connection = connection.tombstone(Erased {
        at: now,
        counts: ErasedCounts::new(),
    });
    save(&world, &mut connection).await;
    run(&world).await;
    assert_eq!(due(&world).await, 0);
    assert!(world.bodies(PUSHES).await.is_empty());
    assert!(world.record(&record.file).await.intent().is_some());
}

async fn save(world: &World, connection: &mut Connection) {
    match world.store.save_connection(connection).await.unwrap() {
        Written::Done(saved) => *connection = saved,
        Written::Stale(current) => panic!("{current:?}"),
    }
}

/// Returns the number of due items.
async fn due(world: &World) -> usize {
    let mut due = 0;
    for shard in 0..store::DUE_SHARDS {
        let now = world.clock.now();
        due += world
            .store
            .due(shard, now, None, 100)
            .await
            .unwrap()
            .items
            .len();
    }
    due
}

#[tokio::test(start_paused = true)]
async fn a_comparison_begins_once_in_each_interval_unless_it_is_off() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    let begun = async || {
        let all = world.store.recent_operations(&World::key()).await.unwrap();
        all.iter().filter(|run| run.audit().is_some()).count()
    };
    let day = async || {
        tokio::time::advance(Duration::from_hours(24)).await;
        run(&world).await;
    };
    run(&world).await;
    for _ in 0..7 {
        day().await;
    }
    assert_eq!(begun().await, 1);
    // The one that has begun is not joined by another.
    for _ in 0..14 {
        day().await;
    }
    assert_eq!(begun().await, 1);
    for operation in world.store.recent_operations(&World::key()).await.unwrap() {
        let ended = operation.failed("ended", world.clock.now());
        world
            .store
            .advance_operation(&operation, &ended)
            .await
            .unwrap();
    }
    for _ in 0..7 {
        day().await;
    }
    assert_eq!(begun().await, 2);
    let off = domain::operation::ComparisonInterval { days: 0 };
    let connection = store::Connection {
        comparison_interval: off,
        ..world.connection().await
    };
    world.store.save_connection(&connection).await.unwrap();
    for _ in 0..30 {
        day().await;
    }
    assert_eq!(begun().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_gets_a_channel_where_drive_can_notify() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    let webhook_url = Some("https://drivesync.example/webhooks/drive".to_owned());
    let deps = Deps {
        webhook_url,
        ..deps(&world).await
    };
    handle(world.deadline(60), &deps).await;
    let channel = world.log().await.channel.unwrap();
    let stored = world.store.load_channel(&channel).await.unwrap().unwrap();
    assert_eq!(stored.state, store::ChannelState::Active);
    assert!(stored.resource_id.is_some());
}

#[tokio::test(start_paused = true)]
async fn without_time_nothing_is_begun() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    world.send(DEAD_LETTERS, "a", "not a message");
    handle(world.deadline(0), &deps(&world).await).await;
    assert!(world.bodies(LOGS).await.is_empty());
    assert_eq!(world.sqs.depth(DEAD_LETTERS).unwrap().total(), 1);
}

/// Puts the message of a file's removal into the dead-letter queue.
async fn dead_removal(world: &World) -> SnapshotMessage {
    let record = world.synced_file("Plan.md").await;
    let message = SnapshotMessage {
        key: World::key(),
        origin: Origin::Live,
        file: record.file,
        at: world.clock.now(),
        snapshot: None,
    };
    world.send(DEAD_LETTERS, "a", &message.to_body());
    message
}

#[tokio::test(start_paused = true)]
async fn regression_a_dead_letter_is_sent_again_by_itself_at_growing_intervals() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let message = dead_removal(&world).await;
    run(&world).await;
    assert_eq!(world.bodies("snapshots.fifo").await.len(), 0);
    let mut waits = Vec::new();
    for _ in 0..4 {
        let letter = world.dead_letters().await.remove(0);
        let wait = letter.redrive_at().unwrap().millis_since(letter.parked_at);
        waits.push(wait / 1_000);
        let sent = loop {
            tokio::time::advance(Duration::from_secs(10)).await;
            run(&world).await;
            let bodies = world.bodies("snapshots.fifo").await;
            if let Some(body) = bodies.into_iter().next() {
                break body;
            }
        };
        let late = world.clock.now().millis_since(letter.parked_at) - wait;
        assert!(late >= 0, "sent {late} ms before it was due");
        assert_eq!(SnapshotMessage::from_body(&sent).unwrap(), message);
        // It fails again.
        world.send(DEAD_LETTERS, "a", &sent);
        run(&world).await;
    }
    assert_eq!(waits, [30, 60, 120, 240]);
}

#[tokio::test(start_paused = true)]
async fn regression_dead_letters_of_a_suspended_connection_are_sent_when_it_is_resumed() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    dead_removal(&world).await;
    suspend(&world).await;
    for _ in 0..10 {
        run(&world).await;
        tokio::time::advance(Duration::from_secs(600)).await;
    }
    assert_eq!(world.bodies("snapshots.fifo").await.len(), 0);
    let connection = world.connection().await;
    let active = ConnectionState::Active;
    let resumed = world.store.set_connection_state(&connection, active).await;
    resumed.unwrap();
    let now = world.clock.now();
    world
        .store
        .hasten_redrive(&World::key(), now)
        .await
        .unwrap();
    run(&world).await;
    assert_eq!(world.bodies("snapshots.fifo").await.len(), 1);
    let schedule = world.store.load_redrive_schedule(&World::key()).await;
    assert_eq!(schedule.unwrap(), None, "none waits");
}
