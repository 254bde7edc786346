//! One wake at a time, against a table, queues and a Drive in memory.

use std::time::Duration;

use domain::operation::{ListedPage, SyncKind};
use domain::{FileId, Jitter, LogId, Operation, OperationState, RemovalLimits, Run};
use objects::Objects;
use store::{Created, DeadLetter, FailedMessage, Log, Written};
use worker::{OperationWake, SnapshotMessage};
use worker_testing::World;

use super::{Deps, handle};

const OPERATIONS: &str = "operations.fifo";
const BULK: &str = "snapshots-bulk.fifo";

async fn deps(world: &World) -> Deps {
    // No test reaches the bucket.
    let nowhere = objects::client(&runtime::aws::config().await);
    Deps {
        store: world.store.clone(),
        drives: world.drives.clone(),
        wakes: world.wakes(),
        contents: world.contents(),
        objects: Objects::new(nowhere, "content"),
        replica: None,
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
    let response = handle(event, world.deadline(seconds), &deps(world).await).await;
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
            walk: None,
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

/// Records a listing whose only page has these files; the page itself is lost if it expired.
async fn listed(world: &World, ids: &[FileId], expired: bool) -> Operation {
    let operation = begin(world, Run::sync(SyncKind::Initial)).await;
    let page = ListedPage {
        files: u64::try_from(ids.len()).unwrap(),
        entries: None,
        next: None,
        incomplete: false,
    };
    let after = operation.on_page(&page, world.clock.now(), Jitter(0.5));
    let written = if expired {
        world.store.advance_operation(&operation, &after).await
    } else {
        let waiting = store::Log {
            position: store::LogPosition::Listing(operation.id.clone()),
            ..Log::new(World::key(), LogId::user(), world.clock.now())
        };
        world.store.create_log(&waiting).await.unwrap();
        world.store.record_page(&operation, &after, ids).await
    };
    match written.unwrap() {
        Written::Done(listed) => listed,
        Written::Stale(current) => panic!("{current:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn regression_an_operation_whose_pages_have_expired_fails() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    world.follow().await;
    let listed = listed(&world, &[], true).await;
    wake(&world, &listed, 60).await;
    let failed = load(&world, &listed).await;
    assert_eq!(failed.state(), OperationState::Failed);
    assert_eq!(
        failed.form().reason.as_deref(),
        Some("what was listed has expired")
    );
}

#[tokio::test(start_paused = true)]
async fn regression_a_first_sync_is_done_after_a_second_look_and_counts_errors() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let stored = world.synced_file("stored.md").await.file;
    let unlisted = world.create_file("unlisted.md");
    let parked = world.create_file("parked.md");
    let message = FailedMessage {
        queue: "snapshots.fifo",
        id: "1",
        body: "{}",
        sent_at: world.clock.now(),
        receives: 1,
    };
    let (key, now) = (World::key(), world.clock.now());
    let letter = DeadLetter::from_message(message, key, Some(parked.clone()), "unreadable", now);
    world.store.record_dead_letter(&letter).await.unwrap();
    let listed = listed(&world, &[stored, parked], false).await;
    let done = run_out(&world, &listed).await;
    let form = done.form();
    assert_eq!(form.state, OperationState::Done, "{done:?}");
    assert_eq!((form.listed, form.verified, form.errors), (2, 2, 1));
    assert_eq!(done.comparison().unwrap().counts.missing_here, 1);
    let looked_up = world.bodies(BULK).await;
    let looked_up = looked_up
        .iter()
        .map(|body| SnapshotMessage::from_body(body).unwrap().file);
    assert_eq!(looked_up.collect::<Vec<_>>(), [unlisted]);
}

#[tokio::test(start_paused = true)]
async fn regression_the_wait_for_arrivals_grows_and_costs_one_query_a_check() {
    let world = World::new().await;
    world.connect(|_| {}).await;
    let missing: Vec<FileId> = (0..200)
        .map(|n| FileId::parse(&format!("f{n}")).unwrap())
        .collect();
    let listed = listed(&world, &missing, false).await;
    let (mut checks, mut waited) = (0, 0);
    while waited < 600 {
        let before = world.aws_calls("Query");
        wake(&world, &listed, 60).await;
        assert!(world.aws_calls("Query") - before <= 2);
        let due_at = load(&world, &listed).await.due_at.unwrap();
        let wait = due_at.millis_since(world.clock.now());
        tokio::time::advance(Duration::from_millis(u64::try_from(wait).unwrap())).await;
        checks += 1;
        waited += wait / 1_000;
    }
    assert!(checks < 60, "{checks}");
}
