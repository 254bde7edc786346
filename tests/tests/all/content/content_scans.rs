//! Content that is mirrored for another reason than a change of the file.

use std::time::Duration;

use domain::operation::Work;
use http::Method;
use local::aws::Queue;
use objects::ContentHasher;
use serde_json::{Value, json};
use store::Written;

use super::content_wakes::{apply, content, mirrored};
use super::{intact, versions};
use crate::support::{ByHand, by_hand};

/// Returns the content scans of a connection, the newest first.
async fn scans(hand: &ByHand) -> Vec<Value> {
    let all = hand.get("/operations?limit=100").await;
    let all = all["items"].as_array().unwrap().iter();
    all.filter(|operation| operation["kind"] == "mirror")
        .cloned()
        .collect()
}

/// Applies the changes in Drive to the records, and processes the stream.
async fn process_changes(hand: &ByHand) {
    Box::pin(apply(hand)).await;
    Box::pin(hand.pump_stream()).await.unwrap();
}

/// Runs the schedule for two minutes.
async fn run_two_minutes(hand: &ByHand) {
    for _ in 0..2 {
        Box::pin(hand.sweep_and_pump()).await;
        hand.advance_clock(Duration::from_secs(61));
    }
    Box::pin(hand.sweep_and_pump()).await;
}

/// Creates a folder of this name in another one.
async fn folder_in(hand: &ByHand, name: &str, parent: &str) -> String {
    let folder = hand.owner().create(name, true).await;
    hand.owner().move_to(&folder, parent).await;
    folder
}

/// Runs a test with a connection that mirrors one folder. Passes that folder, another one, a folder
/// in the other one, and a file in that.
async fn with_rules(test: impl AsyncFnOnce(&ByHand, [String; 4])) {
    let hand = ByHand::start(2).await;
    let owner = hand.owner();
    let (taken, other) = (
        owner.create("Taken", true).await,
        owner.create("Other", true).await,
    );
    let inner = folder_in(&hand, "Inner", &other).await;
    let file = hand.take();
    content(&hand, &file, "deep below");
    owner.move_to(&file, &inner).await;
    process_changes(&hand).await;
    let settings = json!({
        "content": {"enabled": true},
        "rules": {"include": [{"folder": taken}]},
    });
    let any = [("if-match", "*")];
    let ruled = hand.api(Method::PATCH, "", &any, Some(settings)).await;
    assert_eq!(ruled.status, 200, "{}", ruled.body);
    run_two_minutes(&hand).await;
    assert_eq!(versions(&hand, &file).await, []);
    assert_eq!(scans(&hand).await.len(), 1, "content was turned on");
    // Boxed, since the future is too large for the thread's stack.
    Box::pin(test(&hand, [taken, other, inner, file])).await;
}

#[test]
fn content_of_a_folder_is_mirrored_on_entering_the_scope_and_kept_after_leaving() {
    crate::support::run(with_rules(async |hand, [taken, other, inner, file]| {
        let owner = hand.owner();
        // A rename out of scope starts no scan.
        owner.rename(&inner, "Inside").await;
        process_changes(hand).await;
        assert_eq!(scans(hand).await.len(), 1);

        owner.move_to(&inner, &taken).await;
        process_changes(hand).await;
        let begun = scans(hand).await;
        assert_eq!(begun.len(), 2);
        assert_eq!(begun[0]["state"], "listed", "{}", begun[0]);
        // The scan that is scheduled covers a second folder too.
        let more = folder_in(hand, "More", &other).await;
        process_changes(hand).await;
        owner.move_to(&more, &taken).await;
        process_changes(hand).await;
        assert_eq!(scans(hand).await.len(), 2);
        run_two_minutes(hand).await;
        assert_eq!(scans(hand).await[0]["state"], "done");
        assert_eq!(
            versions(hand, &file).await[0].hash,
            ContentHasher::of(b"deep below").sha256
        );
        intact(hand, &file).await;

        // A move within the scope starts no scan, and leaving the scope removes nothing.
        owner.move_to(&inner, &more).await;
        process_changes(hand).await;
        owner.move_to(&more, &other).await;
        process_changes(hand).await;
        run_two_minutes(hand).await;
        assert_eq!(scans(hand).await.len(), 2);
        intact(hand, &file).await;
        assert_eq!(versions(hand, &file).await.len(), 1);
    }));
}

#[test]
fn regression_a_new_folder_below_an_included_one_starts_no_content_scan() {
    crate::support::run(with_rules(async |hand, [taken, _, inner, file]| {
        let before = scans(hand).await.len();
        let new = folder_in(hand, "New", &taken).await;
        process_changes(hand).await;
        assert_eq!(scans(hand).await.len(), before);
        // What is moved into it later brings its own content.
        hand.owner().move_to(&inner, &new).await;
        process_changes(hand).await;
        run_two_minutes(hand).await;
        assert_eq!(versions(hand, &file).await.len(), 1);
    }));
}

#[test]
fn a_running_content_scan_is_followed_by_another_if_a_folder_enters_the_scope() {
    crate::support::run(with_rules(async |hand, [taken, _, inner, file]| {
        hand.post("/sync", json!({"mode": "mirror"})).await;
        let newest = hand.store().recent_operations(&hand.key).await.unwrap();
        let waits = newest[0].clone();
        assert!(waits.is_pending_scan());
        let connection = hand.store().load_connection(&hand.key).await;
        let facts = connection.unwrap().unwrap().facts(&waits.id);
        let Work::Advance(on_its_way) = waits.next_work(&facts, hand.now()) else {
            panic!("{waits:?}")
        };
        let moved = hand.store().advance_operation(&waits, &on_its_way).await;
        assert!(matches!(moved.unwrap(), Written::Done(_)));
        let before = scans(hand).await.len();
        hand.owner().move_to(&inner, &taken).await;
        process_changes(hand).await;
        assert_eq!(scans(hand).await.len(), before + 1);
        run_two_minutes(hand).await;
        for scan in scans(hand).await {
            assert_eq!(scan["state"], "done", "{scan}");
        }
        assert_eq!(versions(hand, &file).await.len(), 1);
    }));
}

#[test]
fn a_listing_ends_in_a_content_scan_only_if_rules_name_folders() {
    crate::support::run(with_rules(async |hand, [taken, _, inner, file]| {
        hand.post("/sync", json!({"mode": "full"})).await;
        hand.owner().move_to(&inner, &taken).await;
        // The listed files have not arrived yet.
        process_changes(hand).await;
        assert_eq!(scans(hand).await.len(), 1);
        run_two_minutes(hand).await;
        let scans = scans(hand).await;
        assert_eq!(scans.len(), 2);
        assert_eq!(scans[0]["state"], "done", "{}", scans[0]);
        assert_eq!(versions(hand, &file).await.len(), 1);
    }));
    by_hand(2, async |hand| {
        let any = [("if-match", "*")];
        let on = json!({"content": {"enabled": true}});
        hand.api(Method::PATCH, "", &any, Some(on)).await;
        hand.post("/sync", json!({"mode": "full"})).await;
        run_two_minutes(hand).await;
        assert_eq!(
            scans(hand).await.len(),
            1,
            "without rules each file's first sight will do"
        );
    });
}

#[test]
fn a_stalled_listing_does_not_delay_a_content_scan() {
    crate::support::run(with_rules(async |hand, [taken, _, inner, _]| {
        hand.post("/sync", json!({"mode": "full"})).await;
        process_changes(hand).await;
        hand.advance_clock(Duration::from_mins(61));
        hand.owner().move_to(&inner, &taken).await;
        process_changes(hand).await;
        assert_eq!(scans(hand).await.len(), 2);
    }));
}

#[test]
fn content_that_changed_during_a_suspension_is_mirrored_afterwards() {
    mirrored(2, async |hand| {
        let file = hand.take();
        let grant = |revoked: bool| json!({"refresh_token": "user:owner", "revoked": revoked});
        let state = async || hand.get("/status").await["state"].clone();
        content(hand, &file, "while it was suspended");
        apply(hand).await;
        hand.control(Method::POST, "grants", grant(true)).await;
        // Tokens that were issued before are valid for an hour.
        hand.advance_clock(Duration::from_mins(70));
        hand.sync().await;
        hand.pump_only(Queue::LogWakes).await;
        assert_eq!(state().await, "suspended");
        let wanted = ContentHasher::of(b"while it was suspended").sha256;
        hand.pump().await;
        let stored = versions(hand, &file).await;
        assert!(stored.iter().all(|version| version.hash != wanted));
        let before = scans(hand).await.len();

        hand.control(Method::POST, "grants", grant(false)).await;
        for _ in 0..40 {
            run_two_minutes(hand).await;
            if state().await == "active" {
                break;
            }
        }
        run_two_minutes(hand).await;
        assert_eq!(state().await, "active");
        let scans = scans(hand).await;
        assert_eq!(scans.len(), before + 1, "one, however often it was tried");
        assert_eq!(scans[0]["state"], "done", "{}", scans[0]);
        assert_eq!(versions(hand, &file).await[0].hash, wanted);
        intact(hand, &file).await;
    });
}
