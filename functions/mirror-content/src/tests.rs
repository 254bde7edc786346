//! One invocation at a time, against a table, queues, a bucket and a Drive in memory.

use std::sync::Arc;
use std::time::Duration;

use domain::FileRecord;
use domain::content::{ContentOutcome, ContentState};
use local::aws::{self, Aws};
use objects::Objects;
use serde_json::{Value as Json, json};
use worker::ContentWake;
use worker_testing::World;

use super::{Deps, handle};

const HIGH: &str = "content.fifo";

/// A world, and its bucket.
struct Mirror {
    world: World,
    deps: Deps,
    file: FileRecord,
    _bucket: Aws,
}

impl Mirror {
    /// Returns a world whose connection mirrors content, with one file whose content is owed.
    async fn new() -> Self {
        let world = World::new().await;
        world
            .connect(|connection| connection.content.enabled = true)
            .await;
        let file = world.synced_file("Plan.md").await;
        let clock = world.clock.clone();
        let now = Arc::new(move || clock.now().as_millis());
        let bucket = Aws::open(aws::Options::memory(now)).unwrap();
        let deps = Deps {
            store: world.store.clone(),
            drives: world.drives.clone(),
            objects: Objects::new(bucket.s3_client(), aws::CONTENT_BUCKET),
            contents: world.contents(),
            push_wakes: world.queue("push-wakes.fifo"),
            clock: world.clock.clone(),
            entropy: world.entropy.clone(),
        };
        Self {
            world,
            deps,
            file,
            _bucket: bucket,
        }
    }

    fn wake(&self) {
        let (key, file) = (World::key(), self.file.file.clone());
        let wake = ContentWake { key, file };
        self.world
            .send(HIGH, self.file.file.as_str(), &wake.to_body());
    }

    /// Handles all queued wakes within this many seconds, and deletes those that were processed, as
    /// Lambda does: a message in flight holds back the next wake of its file. Returns the number of
    /// messages that return to the queue.
    async fn run_for(&self, seconds: i64) -> usize {
        let event = self.world.deliver(HIGH).await;
        assert!(!event.records.is_empty(), "no wake is visible");
        let deadline = self.world.deadline(seconds);
        let response = handle(event.clone(), deadline, &self.deps).await;
        let returned = response.batch_item_failures;
        for message in event.records {
            let id = message.message_id.unwrap();
            if returned.iter().all(|failure| failure.item_identifier != id) {
                let handle = message.receipt_handle.unwrap();
                for deleted in self.world.sqs.delete(HIGH, &[handle]).unwrap() {
                    deleted.unwrap();
                }
            }
        }
        returned.len()
    }

    async fn run(&self) -> usize {
        self.wake();
        self.run_for(900).await
    }

    async fn state(&self) -> ContentState {
        let state = self
            .world
            .store
            .load_content(&World::key(), &self.file.file)
            .await;
        state.unwrap()
    }

    async fn is_stored(&self) -> bool {
        matches!(
            self.state().await.outcome,
            Some((_, ContentOutcome::Stored))
        )
    }
}

#[tokio::test(start_paused = true)]
async fn owed_content_is_stored_as_a_version() {
    let mirror = Mirror::new().await;
    assert_eq!(mirror.run().await, 0);
    assert!(mirror.is_stored().await, "{:?}", mirror.state().await);
    let (key, page) = (World::key(), store::PageRequest::first(10));
    let store = &mirror.world.store;
    let versions = store.list_versions(&key, &mirror.file.file, &page);
    let versions = versions.await.unwrap().items;
    assert_eq!(versions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_wake_finds_nothing_to_do() {
    let mirror = Mirror::new().await;
    assert_eq!(mirror.run().await, 0);
    let before = mirror.state().await;
    mirror.world.drive.zero_counters();
    assert_eq!(mirror.run().await, 0);
    assert_eq!(mirror.state().await, before);
    assert_eq!(mirror.world.drive.counters().quota_units, 0);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_wake_is_parked_and_the_next_one_is_processed() {
    let mirror = Mirror::new().await;
    mirror
        .world
        .send(HIGH, mirror.file.file.as_str(), "not a wake");
    assert_eq!(mirror.run().await, 0);
    let parked = mirror.world.dead_letters_without_connection().await;
    assert_eq!(parked.len(), 1);
    assert!(mirror.is_stored().await);
}

#[tokio::test(start_paused = true)]
async fn content_that_can_not_be_had_is_asked_for_when_it_is_due() {
    let mirror = Mirror::new().await;
    mirror.world.drive_refuses("GET *", 3, 503, "backendError");
    assert_eq!(mirror.run().await, 0, "the state has the next attempt");
    let first = mirror.state().await;
    let trouble = first.trouble.clone().unwrap();
    assert_eq!(trouble.reason, "backendError");
    mirror.world.drive.clear_faults();
    mirror.world.drive.zero_counters();
    assert_eq!(mirror.run().await, 0);
    assert_eq!(mirror.state().await, first, "not before it is due");
    assert_eq!(mirror.world.drive.counters().quota_units, 0);
    tokio::time::advance(Duration::from_secs(21)).await;
    assert_eq!(mirror.run().await, 0);
    assert!(mirror.is_stored().await);
    assert_eq!(mirror.state().await.trouble, None);
}

/// Every way in which Drive has been seen not to provide content.
#[tokio::test(start_paused = true)]
async fn no_answer_of_drives_gives_content_up() {
    let media = "GET /drive/v3/files/*?*alt=media*";
    let look = "GET /drive/v3/files/*?*sha256Checksum*";
    let answer = |at: &str, respond: Json| json!({"match": at, "times": 0, "respond": respond});
    let refusal = |at: &str, status: u16, reason: &str| {
        let respond = json!({"status": status, "reason": reason});
        answer(at, respond)
    };
    let page = |at: &str, status: u16| answer(at, json!({"status": status, "html": true}));
    let spoilt = |how: Json| json!({"match": media, "times": 0, "spoil": how});
    for (fault, month) in [
        (refusal(media, 403, "downloadQuotaExceeded"), false),
        (refusal(media, 403, "cannotDownloadFile"), false),
        (refusal(media, 403, "forbidden"), false),
        (refusal(media, 403, "aReasonOfTomorrow"), false),
        (refusal(media, 403, "fileNotDownloadable"), false),
        (refusal(media, 403, "cannotDownloadAbusiveFile"), true),
        (refusal(media, 404, "notFound"), false),
        (refusal(look, 404, "notFound"), false),
        (refusal(media, 403, "insufficientFilePermissions"), false),
        (refusal(media, 400, "badRequest"), false),
        (page(media, 200), false),
        (page(media, 403), false),
        (page(media, 404), false),
        (page(look, 404), false),
        (page(media, 500), false),
        (spoilt(json!({"flip_at": 0})), false),
        (spoilt(json!({"end_after": 1})), false),
        (spoilt(json!({"append_bytes": 1})), false),
    ] {
        let mirror = Mirror::new().await;
        mirror
            .world
            .drive
            .add_fault(serde_json::from_value(fault.clone()).unwrap())
            .unwrap();
        let mut waits = Vec::new();
        for failures in 1..=16 {
            if mirror.run().await > 0 {
                // Pages in place of metadata count as failures of Drive: the breaker has opened.
                assert_eq!(fault, page(look, 404), "only these do");
                tokio::time::advance(Duration::from_secs(120)).await;
                assert_eq!(mirror.run().await, 0, "{fault}");
            }
            let state = mirror.state().await;
            assert!(!mirror.is_stored().await, "{fault}");
            assert_eq!(
                (state.failures, state.trouble.is_some()),
                (failures, true),
                "{fault}"
            );
            let now = mirror.deps.clock.now();
            let wait = state.due_at.unwrap().millis_since(now);
            waits.push(wait);
            let wait = u64::try_from(wait).unwrap();
            tokio::time::advance(Duration::from_millis(wait)).await;
            if month {
                break;
            }
        }
        let day = 24 * 3_600 * 1_000;
        let last = waits.last().copied().unwrap();
        if month {
            assert!(last > 19 * day && last <= 30 * day, "{fault}: {waits:?}");
        } else {
            assert!(waits[0] <= 20_000, "{fault}: {waits:?}");
            assert!(last > day / 2 && last <= day, "{fault}: {waits:?}");
        }
        assert_eq!(mirror.world.dead_letters().await, [], "{fault}");
        mirror.world.drive.clear_faults();
        assert_eq!(mirror.run().await, 0);
        assert!(mirror.is_stored().await, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_content_returns_to_the_queue() {
    let mirror = Mirror::new().await;
    mirror
        .world
        .drive_refuses("GET *", 1, 403, "dailyLimitExceeded");
    assert_eq!(mirror.run().await, 1);
    assert_eq!(mirror.world.dead_letters().await, []);
    assert!(!mirror.world.is_suspended().await);
}

#[tokio::test(start_paused = true)]
async fn rejected_credentials_suspend_the_connection_and_drop_the_wake() {
    let mirror = Mirror::new().await;
    mirror
        .world
        .drive_refuses("POST /token", 99, 400, "invalid_grant");
    mirror.world.drive.invalidate_tokens(true, false);
    tokio::time::advance(Duration::from_secs(7_200)).await;
    assert_eq!(mirror.run().await, 0);
    assert!(mirror.world.is_suspended().await);
    assert!(!mirror.is_stored().await);
}

#[tokio::test(start_paused = true)]
async fn without_time_the_wake_returns_to_the_queue() {
    let mirror = Mirror::new().await;
    mirror.wake();
    assert_eq!(mirror.run_for(0).await, 1);
    assert_eq!(mirror.state().await, ContentState::default());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_mirrors_no_content_calls_nothing() {
    let mirror = Mirror::new().await;
    let mut connection = mirror.world.connection().await;
    connection.content.enabled = false;
    mirror
        .world
        .store
        .save_connection(&connection)
        .await
        .unwrap();
    assert_eq!(mirror.run().await, 0);
    assert_eq!(mirror.state().await, ContentState::default());
    assert_eq!(mirror.world.drive.counters().quota_units, 0);
}
