//! One invocation at a time, against a table, queues and a Drive in memory.

use domain::rate_limit::TenantLimits;
use domain::{ConnectionKey, LogId};
use drive_simulator::Edit;
use store::{ConnectionState, LogPosition};
use throttle::TenantBudgets;
use worker::{LogWake, SnapshotMessage};
use worker_testing::World;

use super::{Deps, handle};

const WAKES: &str = "log-wakes.fifo";
const LIVE: &str = "snapshots.fifo";
const BULK: &str = "snapshots-bulk.fifo";

fn deps(world: &World) -> Deps {
    Deps {
        store: world.store.clone(),
        drives: world.drives.clone(),
        snapshots: world.snapshots(),
        budgets: TenantBudgets::new(
            world.store.clone(),
            world.clock.clone(),
            world.entropy.clone(),
            TenantLimits::none(),
        ),
        log_wakes: world.queue(WAKES),
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
    }
}

fn wake(world: &World) {
    wake_of(&World::key(), world);
}

fn wake_of(key: &ConnectionKey, world: &World) {
    let log = LogId::user();
    let wake = LogWake {
        key: key.clone(),
        log,
    };
    world.send(WAKES, "group", &wake.to_body());
}

/// Handles all queued wakes within this many seconds. Returns the number of messages that return
/// to the queue.
async fn run_for(world: &World, seconds: i64) -> usize {
    let event = world.deliver(WAKES).await;
    let response = handle(event, world.deadline(seconds), &deps(world)).await;
    response.batch_item_failures.len()
}

async fn run(world: &World) -> usize {
    run_for(world, 60).await
}

async fn queued(world: &World, queue: &str) -> Vec<SnapshotMessage> {
    let bodies = world.bodies(queue).await;
    let read = bodies.iter().map(|body| SnapshotMessage::from_body(body));
    read.collect::<Result<_, _>>().unwrap()
}

/// Returns a world whose connection follows its log.
async fn following() -> World {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    wake(&world);
    world
}

#[tokio::test(start_paused = true)]
async fn changes_are_queued_before_the_cursor_moves() {
    let world = following().await;
    let file = world.create_file("Plan.md");
    let before = world.log().await;
    assert_eq!(run(&world).await, 0);
    let messages = queued(&world, LIVE).await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].file, file);
    assert!(messages[0].snapshot.is_some());
    assert_ne!(world.log().await.cursor, before.cursor);
}

#[tokio::test(start_paused = true)]
async fn the_cursor_stays_if_the_changes_can_not_be_queued() {
    let world = following().await;
    world.create_file("Plan.md");
    let before = world.log().await;
    world.aws_refuses("SendMessageBatch", 1);
    assert_eq!(run(&world).await, 1);
    assert_eq!(world.log().await.cursor, before.cursor);
}

#[tokio::test(start_paused = true)]
async fn a_removed_file_is_queued_without_a_snapshot() {
    let world = following().await;
    let file = world.create_file("Plan.md");
    world.edit_in_drive(&file, Edit::Delete);
    assert_eq!(run(&world).await, 0);
    let messages = queued(&world, LIVE).await;
    assert_eq!(messages.len(), 1);
    assert!(messages[0].snapshot.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_wake_is_parked_and_the_next_one_is_processed() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    world.create_file("Plan.md");
    world.send(WAKES, "group", "not a wake");
    wake(&world);
    assert_eq!(run(&world).await, 0);
    assert_eq!(queued(&world, LIVE).await.len(), 1);
    let parked = world.dead_letters_without_connection().await;
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].body, "not a wake");
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_wake_that_can_not_be_parked_returns_to_the_queue() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    world.send(WAKES, "group", "not a wake");
    wake(&world);
    world.aws_refuses("PutItem", 9);
    assert_eq!(run(&world).await, 2, "order: the wake behind it waits too");
}

#[tokio::test(start_paused = true)]
async fn a_new_log_is_listed_to_the_bulk_queue_and_then_followed() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let files = ["a", "b", "c"].map(|name| world.create_file(name));
    let log = store::Log::new(World::key(), LogId::user(), world.clock.now());
    world.store.create_log(&log).await.unwrap();
    wake(&world);
    assert_eq!(run(&world).await, 0);
    let listed = queued(&world, BULK).await;
    assert!(
        files
            .iter()
            .all(|file| listed.iter().any(|message| message.file == *file))
    );
    assert_eq!(world.log().await.position, LogPosition::Following);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_wake_is_dropped_and_the_log_is_due_when_calls_are_admitted() {
    let world = following().await;
    world.create_file("Plan.md");
    let later = world.clock.now().plus_millis(7_200_000);
    world
        .store
        .postpone_poll(&World::key(), &LogId::user(), later)
        .await
        .unwrap();
    // A daily limit blocks the connection for an hour.
    world.drive_refuses("GET /drive/v3/changes", 1, 403, "dailyLimitExceeded");
    assert_eq!(run(&world).await, 1, "the call that found out is retried");
    tokio::time::advance(std::time::Duration::from_secs(400)).await;
    let log = LogId::user();
    let again = LogWake {
        key: World::key(),
        log,
    };
    world.send(WAKES, "another", &again.to_body());
    assert_eq!(run(&world).await, 0);
    let due = world.log().await.next_poll_at;
    assert!(due > world.clock.now() && due < later, "{due:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_grant_suspends_the_connection_and_keeps_the_cursor() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let before = world.follow().await;
    world.drive_refuses("GET /drive/v3/changes", 9, 401, "authError");
    wake(&world);
    assert_eq!(run(&world).await, 0);
    assert!(world.is_suspended().await);
    assert_eq!(world.log().await.cursor, before.cursor);
}

#[tokio::test(start_paused = true)]
async fn a_lost_cursor_starts_a_listing_and_wakes_the_log_again() {
    let world = following().await;
    world.drive.invalidate_tokens(false, true);
    assert_eq!(run(&world).await, 0);
    let position = world.log().await.position;
    assert!(matches!(position, LogPosition::Listing(_)), "{position:?}");
    assert_eq!(world.bodies(WAKES).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_is_not_found_once_is_kept() {
    for (status, reason) in [(404, "notFound"), (410, "gone")] {
        let world = following().await;
        let before = world.log().await;
        world.drive_refuses("GET /drive/v3/changes", 1, status, reason);
        assert_eq!(run(&world).await, 1, "{status}");
        let after = world.log().await;
        assert_eq!(
            (after.cursor, after.position),
            (before.cursor, before.position)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn without_time_for_a_page_a_listing_goes_on_with_another_wake() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let log = store::Log::new(World::key(), LogId::user(), world.clock.now());
    world.store.create_log(&log).await.unwrap();
    wake(&world);
    assert_eq!(run_for(&world, 10).await, 0);
    assert!(
        queued(&world, BULK)
            .await
            .iter()
            .all(|message| message.file != world.create_file("x"))
    );
    assert!(matches!(
        world.log().await.position,
        LogPosition::Listing(_)
    ));
    assert_eq!(world.bodies(WAKES).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_or_deleted_connection_calls_nothing() {
    let world = World::new().await;
    world
        .connect(|connection| connection.state = ConnectionState::Paused)
        .await;
    world.follow().await;
    wake(&world);
    let mut deleted = World::key();
    deleted.connection = domain::ConnectionId::parse("c_02").unwrap();
    wake_of(&deleted, &world);
    assert_eq!(run(&world).await, 0);
    assert_eq!(world.drive_calls("changes.list"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failing_drive_returns_the_wake_to_the_queue() {
    let world = following().await;
    world.drive_refuses("GET /drive/v3/changes", 9, 503, "backendError");
    assert_eq!(run(&world).await, 1);
    assert!(!world.is_suspended().await);
}

#[tokio::test(start_paused = true)]
async fn regression_a_quick_group_is_acknowledged_before_a_slow_one_is_done() {
    let world = following().await;
    let quick = LogWake {
        key: ConnectionKey {
            connection: domain::ConnectionId::parse("c_02").unwrap(),
            ..World::key()
        },
        log: LogId::user(),
    };
    world.send(WAKES, "another", &quick.to_body());
    world.drive_is_slow("GET /drive/v3/changes", 10_000);
    let event = world.deliver(WAKES).await;
    assert_eq!(event.records.len(), 2);
    let deps = deps(&world);
    let mut handling = Box::pin(handle(event, world.deadline(60), &deps));
    let three_seconds = std::time::Duration::from_secs(3);
    let early = tokio::time::timeout(three_seconds, &mut handling).await;
    assert!(early.is_err(), "the slow one is not done");
    assert_eq!(world.sqs.depth(WAKES).unwrap().total(), 1);
    assert!(handling.await.batch_item_failures.is_empty());
}
