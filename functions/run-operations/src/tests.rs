//! One wake at a time, against a table, queues and a Drive in memory.

use std::time::Duration;

use domain::operation::SyncKind;
use domain::{LogId, Operation, OperationState, RemovalLimits, Run};
use store::Created;
use worker::{OperationWake, SnapshotMessage};
use worker_testing::World;

use super::{Deps, handle};

const OPERATIONS: &str = "operations.fifo";
const BULK: &str = "snapshots-bulk.fifo";

fn deps(world: &World) -> Deps {
    Deps {
        store: world.store.clone(),
        drives: world.drives.clone(),
        wakes: world.wakes(),
        contents: world.contents(),
        snapshots_bulk: world.queue(BULK),
        has_webhook: false,
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
    }
}

async fn begin(world: &World, run: Run) -> Operation {
    let now = world.clock.now();
    let (key, id) = (World::key(), world.entropy.operation(now));
    let operation = Operation::new(key, id, LogId::user(), "ann", now, run);
    let created = world.store.create_operation(&operation).await.unwrap();
    assert_eq!(created, Created::Created);
    operation
}

async fn wake(world: &World, operation: &Operation, seconds: i64) {
    let wake = OperationWake {
        key: operation.key.clone(),
        operation: operation.id.clone(),
    };
    world.send(OPERATIONS, operation.id.as_str(), &wake.to_body());
    let event = world.deliver(OPERATIONS).await;
    let handles = event
        .records
        .iter()
        .filter_map(|m| m.receipt_handle.clone());
    let handles: Vec<String> = handles.collect();
    let response = handle(event, world.deadline(seconds), &deps(world)).await;
    assert!(response.batch_item_failures.is_empty());
    // As Lambda does: a message in flight would hold back the next wake of the operation.
    world.sqs.delete(OPERATIONS, &handles).unwrap();
}

async fn load(world: &World, operation: &Operation) -> Operation {
    let found = world.store.load_operation(&operation.key, &operation.id);
    found.await.unwrap().unwrap()
}

/// Wakes the operation until it has ended or waits for a person, reading the log meanwhile.
async fn run_out(world: &World, operation: &Operation) -> Operation {
    for _ in 0..9 {
        wake(world, operation, 60).await;
        let current = load(world, operation).await;
        if current.has_ended() || current.awaits_confirmation().is_some() {
            return current;
        }
        let log = world.log().await;
        let progress = store::LogProgress {
            complete_listing_began: Some(world.clock.now()),
            next_poll_at: None,
            last_change_at: None,
            lag_millis: None,
        };
        let cursor = log.cursor.clone().unwrap();
        world.store.advance(&log, &cursor, progress).await.unwrap();
        tokio::time::advance(Duration::from_secs(3)).await;
    }
    panic!("{:?}", load(world, operation).await);
}

#[tokio::test(start_paused = true)]
async fn an_audit_of_a_healthy_connection_finds_nothing() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    world.synced_file("Plan.md").await;
    let audit = begin(&world, Run::audit(false)).await;
    let done = run_out(&world, &audit).await;
    assert_eq!(done.state(), OperationState::Done);
    assert_eq!(done.comparison().unwrap().counts.drifted(), 0);
    assert!(done.audit().unwrap().inconsistencies.is_empty());
    assert!(world.bodies(BULK).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_removal_above_the_limit_waits_for_a_person() {
    let world = World::new().await;
    let none = RemovalLimits {
        share_percent_max: 0,
        unasked_max: 0,
    };
    world.connect(|connection| connection.removals = none).await;
    world.follow().await;
    let record = world.synced_file("Plan.md").await;
    world.edit_in_drive(&record.file, drive_simulator::Edit::Delete);
    let audit = begin(&world, Run::audit(false)).await;
    let waiting = run_out(&world, &audit).await;
    assert!(waiting.awaits_confirmation().is_some());
    assert!(world.bodies(BULK).await.is_empty());
    let confirmed = waiting.decide(true, "bob", world.clock.now()).unwrap();
    world
        .store
        .advance_operation(&waiting, &confirmed)
        .await
        .unwrap();
    wake(&world, &audit, 60).await;
    let done = load(&world, &audit).await;
    assert_eq!(done.state(), OperationState::Done);
    let bodies = world.bodies(BULK).await;
    assert_eq!(bodies.len(), 1);
    let lookup = SnapshotMessage::from_body(&bodies[0]).unwrap();
    assert_eq!((lookup.file, lookup.snapshot), (record.file, None));
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_not_due_or_is_driven_by_its_log_is_left_alone() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    let listing = begin(&world, Run::sync(SyncKind::Resync)).await;
    wake(&world, &listing, 60).await;
    assert_eq!(load(&world, &listing).await, listing);
    let audit = begin(&world, Run::audit(true)).await;
    let later = audit.postponed(world.clock.now().plus_millis(60_000));
    let postponed = world.store.advance_operation(&audit, &later).await;
    postponed.unwrap();
    wake(&world, &audit, 60).await;
    assert_eq!(load(&world, &audit).await, later);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_short_of_time_wakes_itself() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    let audit = begin(&world, Run::audit(true)).await;
    wake(&world, &audit, 10).await;
    assert_eq!(load(&world, &audit).await, audit);
    let bodies = world.bodies(OPERATIONS).await;
    assert_eq!(bodies.len(), 1);
    let wake = OperationWake::from_body(&bodies[0]).unwrap();
    assert_eq!(wake.operation, audit.id);
}

#[tokio::test(start_paused = true)]
async fn an_operation_of_a_deleted_connection_fails() {
    let world = World::new().await;
    let audit = begin(&world, Run::audit(true)).await;
    wake(&world, &audit, 60).await;
    let failed = load(&world, &audit).await;
    assert_eq!(
        failed.form().reason.as_deref(),
        Some("the connection was deleted")
    );
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_can_not_continue_stays_due() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    let audit = begin(&world, Run::audit(true)).await;
    let listing = audit.on_self_check(None, world.clock.now());
    world
        .store
        .advance_operation(&audit, &listing)
        .await
        .unwrap();
    world.drive_refuses("GET /drive/v3/files*", 9, 503, "backendError");
    wake(&world, &audit, 60).await;
    assert_eq!(load(&world, &audit).await, listing);
}
