//! From Drive into the bucket.

use std::time::Duration;

use domain::content::{ContentOrigin, ContentOutcome, ContentRetries, Trouble, Verdict};
use drive_simulator::Fault;
use http::Method;
use local::aws::Queue;
use objects::ContentHasher;
use runtime::Deadline;
use serde_json::{Value, json};

use super::content_wakes::{apply, content, mirror, mirrored};
use super::{bytes_of, generated, id, in_drive, intact, object, record, versions};
use crate::support::{ByHand, by_hand};

const MIB: u64 = 1 << 20;

fn fault(hand: &ByHand, fault: Value) {
    let fault: Fault = serde_json::from_value(fault).unwrap();
    hand.simulator.add_fault(fault).unwrap();
}

fn corrupt_downloads(hand: &ByHand, times: u64, how: Value) {
    let spoil = json!({"match": "GET /drive/v3/files/*?*alt=media*", "times": times, "spoil": how});
    fault(hand, spoil);
}

async fn outcome(hand: &ByHand, file: &str) -> Option<(u32, ContentOutcome)> {
    let state = hand.store().load_content(&hand.key, &id(file)).await;
    state.unwrap().outcome
}

/// Runs the schedule until no message waits for its backoff, and no content that could not be had
/// is due within an hour.
async fn run_until_idle(hand: &ByHand) {
    for _ in 0..40 {
        hand.sweep_and_pump().await;
        let in_flight = |queue: Queue| hand.aws.sqs().depth(queue.name()).unwrap().in_flight;
        if in_flight(Queue::Content) + in_flight(Queue::ContentBulk) == 0
            && !is_due_within(hand, 3_600_000).await
        {
            return;
        }
        hand.advance_clock(Duration::from_secs(1_000));
    }
    panic!("the queues never run empty");
}

/// Returns whether content that could not be had is asked for again within this time.
async fn is_due_within(hand: &ByHand, millis: i64) -> bool {
    let page = store::PageRequest::first(100);
    let troubled = hand.store().list_content_trouble(&hand.key, &page);
    let limit = hand.now().plus_millis(millis);
    for file in troubled.await.unwrap().items {
        let state = hand.store().load_content(&hand.key, &file).await.unwrap();
        if state.due_at.is_some_and(|due| due <= limit) {
            return true;
        }
    }
    false
}

/// Returns the trouble with a file's content.
async fn trouble(hand: &ByHand, file: &str) -> Option<Trouble> {
    let state = hand.store().load_content(&hand.key, &id(file)).await;
    state.unwrap().trouble
}

#[test]
fn drives_content_is_stored_by_its_hash_and_identical_content_once() {
    mirrored(3, async |hand| {
        let (one, other) = (hand.take(), hand.take());
        for file in [&one, &other] {
            content(hand, file, "the same in both");
        }
        apply(hand).await;
        hand.pump().await;
        let mut keys = Vec::new();
        for file in [&one, &other] {
            let stored = versions(hand, file).await;
            let newest = &stored[0];
            assert_eq!(bytes_of(hand, newest).await.as_ref(), b"the same in both");
            assert_eq!(newest.origin, ContentOrigin::Drive);
            assert_eq!(newest.number, record(hand, file).await.content_version);
            keys.push(newest.object.clone());
        }
        assert_eq!(keys[0], keys[1], "stored once");
        let stored = versions(hand, &one).await;
        assert_eq!(object(hand, &stored[0]).await.unwrap().refs, 2);
        content(hand, &one, "changed");
        apply(hand).await;
        hand.pump().await;
        let stored = versions(hand, &one).await;
        assert_eq!(bytes_of(hand, &stored[0]).await.as_ref(), b"changed");
        assert!(stored.len() >= 2, "the version before is kept");
        intact(hand, &one).await;
    });
}

#[test]
fn content_of_any_size_arrives_complete() {
    mirrored(1, async |hand| {
        let sizes = [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 21 * MIB];
        let files: Vec<String> = (1..)
            .zip(sizes)
            .map(|(seed, size)| generated(hand, seed, size))
            .collect();
        apply(hand).await;
        hand.pump().await;
        for (file, size) in files.iter().zip(sizes) {
            let stored = versions(hand, file).await;
            assert_eq!(stored[0].size_bytes, size);
            let drive = ContentHasher::of(&in_drive(hand, file).await);
            assert_eq!(stored[0].hash, drive.sha256);
            intact(hand, file).await;
        }
    });
}

#[test]
fn a_download_out_of_time_continues_after_its_last_part() {
    mirrored(1, async |hand| {
        let file = generated(hand, 7, 40 * MIB);
        apply(hand).await;
        hand.pump_stream().await.unwrap();
        hand.simulator.zero_counters();
        let mut invocations = 0;
        while versions(hand, &file).await.is_empty() {
            hand.wait_until_visible(Queue::ContentBulk).await;
            let received = hand.receive(Queue::ContentBulk).await;
            if received.is_empty() {
                // The invocation ended before it started: its wake is retried.
                hand.advance_clock(Duration::from_secs(1_000));
                continue;
            }
            // Time for a first part, and rarely for a second one.
            let deadline = Deadline(hand.now().plus_millis(45_000 + 20 * invocations));
            hand.deliver(Queue::ContentBulk, &received, deadline).await;
            invocations += 1;
            assert!(invocations < 200, "it never ends");
        }
        assert!(invocations > 1, "it was cut off");
        let stored = versions(hand, &file).await;
        assert_eq!(stored[0].size_bytes, 40 * MIB);
        intact(hand, &file).await;
    });
}

#[test]
fn regression_a_content_wake_without_time_to_start_is_retried() {
    mirrored(2, async |hand| {
        let file = hand.take();
        content(hand, &file, "processed too late");
        apply(hand).await;
        hand.pump_stream().await.unwrap();
        for _ in 0..3 {
            hand.wait_until_visible(Queue::Content).await;
            let received = hand.receive(Queue::Content).await;
            if !received.is_empty() {
                let soon = Deadline(hand.now().plus_millis(10_000));
                hand.deliver(Queue::Content, &received, soon).await;
            }
        }
        run_until_idle(hand).await;
        let stored = versions(hand, &file).await;
        assert_eq!(
            bytes_of(hand, &stored[0]).await.as_ref(),
            b"processed too late"
        );
    });
}

#[test]
fn invariant_28_after_a_crash_at_any_call_content_is_stored_completely_and_once() {
    for at in 0..40 {
        let mut crashed = false;
        mirrored(1, async |hand| {
            let file = generated(hand, 9, 17 * MIB);
            apply(hand).await;
            hand.pump_stream().await.unwrap();
            crashed = hand.crashes(Queue::ContentBulk, at).await;
            run_until_idle(hand).await;
            let stored = versions(hand, &file).await;
            assert_eq!(stored.len(), 1, "call {at}");
            assert_eq!(object(hand, &stored[0]).await.unwrap().refs, 1, "call {at}");
            intact(hand, &file).await;
        });
        if !crashed {
            assert!(at > 5, "few calls were made");
            return;
        }
    }
    panic!("it makes more calls than were tried");
}

#[test]
fn interrupted_downloads_are_resumed_and_wrong_bytes_are_rejected() {
    mirrored(1, async |hand| {
        let cut = generated(hand, 1, 3 * MIB);
        corrupt_downloads(hand, 2, json!({"cut_after": 1_000_000}));
        apply(hand).await;
        run_until_idle(hand).await;
        intact(hand, &cut).await;
        assert_eq!(versions(hand, &cut).await.len(), 1);
        for how in [
            json!({"flip_at": 5}),
            json!({"end_after": 100}),
            json!({"append_bytes": 3}),
        ] {
            let file = generated(hand, 2, 100_000);
            corrupt_downloads(hand, 1, how);
            apply(hand).await;
            run_until_idle(hand).await;
            assert_eq!(versions(hand, &file).await.len(), 1);
            intact(hand, &file).await;
            hand.simulator.clear_faults();
            hand.owner().delete(&file).await;
            apply(hand).await;
        }
    });
}

#[test]
fn regression_content_that_is_always_corrupt_is_asked_for_again_until_it_is_had() {
    mirrored(2, async |hand| {
        let file = hand.take();
        content(hand, &file, "never to be had");
        corrupt_downloads(hand, 0, json!({"flip_at": 0}));
        apply(hand).await;
        run_until_idle(hand).await;
        let path = format!("/files/{file}/content");
        let shown = hand.api(Method::GET, &path, &[], None).await;
        assert_eq!(shown.status, 404);
        let state = &shown.body["content"];
        assert_eq!(state["state"], "unavailable", "{state}");
        assert!(state["reason"].as_str().unwrap().contains("checksum"));
        assert!(state["since"].is_string() && state["next_attempt_at"].is_string());
        assert_eq!(
            hand.get("/status").await["attention"]["content_unavailable"],
            1
        );
        hand.owner().rename(&file, "still here.txt").await;
        apply(hand).await;
        assert_eq!(hand.differences().await, Vec::<String>::new());
        hand.simulator.clear_faults();
        hand.advance_clock(Duration::from_secs(24 * 3_600));
        hand.sweep_and_pump().await;
        let stored = versions(hand, &file).await;
        assert_eq!(
            bytes_of(hand, &stored[0]).await.as_ref(),
            b"never to be had"
        );
        assert_eq!(
            hand.get("/status").await["attention"]["content_unavailable"],
            0
        );
    });
}

#[test]
fn an_upload_that_can_not_continue_is_aborted_without_leaving_parts() {
    mirrored(1, async |hand| {
        let file = generated(hand, 5, 20 * MIB);
        corrupt_downloads(hand, 0, json!({"flip_at": 100}));
        apply(hand).await;
        run_until_idle(hand).await;
        assert!(trouble(hand, &file).await.is_some());
        assert_eq!(hand.aws.open_uploads().unwrap(), 0);
        hand.simulator.clear_faults();
        let other = generated(hand, 6, 20 * MIB);
        apply(hand).await;
        run_until_idle(hand).await;
        intact(hand, &other).await;
        assert_eq!(versions(hand, &other).await.len(), 1);
        assert_eq!(hand.aws.open_uploads().unwrap(), 0);
    });
}

#[test]
fn an_error_page_instead_of_content_is_not_stored() {
    mirrored(2, async |hand| {
        let file = hand.take();
        content(hand, &file, "the real one");
        let page = json!({"match": "GET /drive/v3/files/*?*alt=media*", "times": 1,
            "respond": {"status": 200, "html": true}});
        fault(hand, page);
        apply(hand).await;
        run_until_idle(hand).await;
        let stored = versions(hand, &file).await;
        assert_eq!(bytes_of(hand, &stored[0]).await.as_ref(), b"the real one");
        intact(hand, &file).await;
    });
}

#[test]
fn regression_content_flagged_as_abusive_is_fetched_after_it_was_cleared() {
    mirrored(2, async |hand| {
        let file = hand.take();
        let rule = async |abusive: bool| {
            let rule = json!({"id": file, "abusive": abusive});
            hand.control(Method::POST, "content", rule).await
        };
        rule(true).await;
        content(hand, &file, "no malware");
        apply(hand).await;
        run_until_idle(hand).await;
        let found = trouble(hand, &file).await.unwrap();
        assert_eq!(
            (&*found.reason, found.verdict),
            ("abusive", Verdict::Forbidden)
        );
        hand.simulator.zero_counters();
        for _ in 0..18 {
            hand.advance_clock(Duration::from_secs(24 * 3_600));
            hand.sweep_and_pump().await;
        }
        assert_eq!(hand.calls("files.get"), 0, "it is looked at monthly");
        rule(false).await;
        for _ in 0..13 {
            hand.advance_clock(Duration::from_secs(24 * 3_600));
            hand.sweep_and_pump().await;
        }
        let stored = versions(hand, &file).await;
        assert_eq!(bytes_of(hand, &stored[0]).await.as_ref(), b"no malware");
    });
}

#[test]
fn regression_a_sync_an_audit_and_a_retry_ask_for_content_at_once() {
    mirrored(4, async |hand| {
        let refused = json!({"match": "GET /drive/v3/files/*?*alt=media*", "times": 0,
            "respond": {"status": 403, "reason": "downloadQuotaExceeded"}});
        for (number, mode) in ["delta", "full", "audit", "mirror", "retry"]
            .into_iter()
            .enumerate()
        {
            let file = generated(hand, u64::try_from(number).unwrap() + 50, 1_000);
            fault(hand, refused.clone());
            apply(hand).await;
            for _ in 0..12 {
                hand.sweep_and_pump().await;
                hand.advance_clock(Duration::from_secs(7_200));
            }
            let path = format!("/files/{file}/content");
            let shown = hand.api(Method::GET, &path, &[], None).await.body;
            assert_eq!(
                shown["content"]["reason"], "downloadQuotaExceeded",
                "{mode}: {shown}"
            );
            hand.simulator.clear_faults();
            if mode == "retry" {
                let path = format!("/intents/{file}/retry");
                let answer = hand.api(Method::POST, &path, &[], None).await;
                assert_eq!(answer.status, 200, "{}", answer.body);
            } else {
                let body = Some(json!({"mode": mode}));
                let answer = hand.api(Method::POST, "/sync", &[], body).await;
                assert_eq!(answer.status, 202, "{mode}: {}", answer.body);
            }
            hand.pump().await;
            assert_eq!(versions(hand, &file).await.len(), 1, "{mode}");
        }
    });
}

#[test]
fn regression_content_that_an_earlier_build_gave_up_is_asked_for_again() {
    mirrored(2, async |hand| {
        let file = hand.take();
        let refused = json!({"match": "GET /drive/v3/files/*?*alt=media*", "times": 1,
            "respond": {"status": 403, "reason": "cannotDownloadAbusiveFile"}});
        fault(hand, refused);
        content(hand, &file, "given up");
        apply(hand).await;
        hand.pump().await;
        // What earlier builds stored.
        let (store, number) = (hand.store(), record(hand, &file).await.content_version);
        let of = id(&file);
        let state = store.load_content(&hand.key, &of).await.unwrap();
        let reason = "abusive".to_owned();
        let given_up = state.with_outcome(number, ContentOutcome::Unavailable { reason });
        let saved = store.save_content(&hand.key, &of, &given_up, store::Nonce(7));
        saved.await.unwrap();
        let retries = store.load_content_retries(&hand.key);
        let retries = retries.await.unwrap();
        let unscanned = ContentRetries {
            scanned: 0,
            ..retries
        };
        let saved = store.save_content_retries(&hand.key, &unscanned, store::Nonce(8));
        saved.await.unwrap();
        for _ in 0..3 {
            hand.advance_clock(Duration::from_secs(1_200));
            hand.sweep_and_pump().await;
        }
        let stored = versions(hand, &file).await;
        assert_eq!(bytes_of(hand, &stored[0]).await.as_ref(), b"given up");
    });
}

#[test]
fn invariant_29_a_file_that_changes_during_its_download_is_stored_in_its_new_state() {
    mirrored(1, async |hand| {
        let file = generated(hand, 1, 20 * MIB);
        apply(hand).await;
        hand.pump_stream().await.unwrap();
        // The first download is interrupted, and the file is changed before the next one.
        corrupt_downloads(hand, 20, json!({"cut_after": 9_000_000}));
        hand.pump_only(Queue::ContentBulk).await;
        hand.simulator.clear_faults();
        let file_now = hand
            .simulator
            .replace_generated("owner", &file, 2, 11 * MIB);
        file_now.unwrap();
        apply(hand).await;
        run_until_idle(hand).await;
        let stored = versions(hand, &file).await;
        let drive = ContentHasher::of(&in_drive(hand, &file).await);
        assert_eq!(stored[0].hash, drive.sha256);
        intact(hand, &file).await;
    });
}

#[test]
fn content_over_the_size_limit_is_skipped_with_the_rule_recorded() {
    by_hand(1, async |hand| {
        mirror(hand, json!({"enabled": true, "size_bytes_max": 1000})).await;
        hand.sweep_and_pump().await;
        let large = generated(hand, 1, 1001);
        let small = generated(hand, 2, 1000);
        apply(hand).await;
        hand.pump().await;
        let rule = "size".to_owned();
        assert_eq!(
            outcome(hand, &large).await,
            Some((1, ContentOutcome::Skipped { rule }))
        );
        assert_eq!(versions(hand, &large).await, []);
        assert_eq!(versions(hand, &small).await.len(), 1);
    });
}

#[test]
fn folders_and_shortcuts_are_never_downloaded() {
    mirrored(2, async |hand| {
        let target = hand.take();
        hand.owner().create("a folder", true).await;
        let shortcut = json!({"name": "a shortcut",
            "mimeType": "application/vnd.google-apps.shortcut",
            "shortcutDetails": {"targetId": target}});
        let owner = hand.owner();
        let made = owner
            .done(http::Method::POST, "/drive/v3/files", Some(shortcut))
            .await;
        hand.simulator.zero_counters();
        apply(hand).await;
        hand.pump().await;
        assert_eq!(versions(hand, made["id"].as_str().unwrap()).await, []);
        let calls = hand.simulator.counters().calls;
        assert!(
            calls.keys().all(|method| !method.contains("media")),
            "{calls:?}"
        );
    });
}

async fn document(hand: &ByHand) -> String {
    let kind = "application/vnd.google-apps.document";
    let body = json!({"name": "a document", "mimeType": kind});
    let owner = hand.owner();
    let made = owner.done(http::Method::POST, "/drive/v3/files", Some(body));
    made.await["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_document_is_exported_again_only_when_it_changes() {
    mirrored(1, async |hand| {
        let file = document(hand).await;
        apply(hand).await;
        hand.pump().await;
        let stored = versions(hand, &file).await;
        assert!(matches!(stored[0].origin, ContentOrigin::Export { .. }));
        assert!(stored[0].size_bytes > 0);
        intact(hand, &file).await;
        hand.simulator.zero_counters();
        hand.simulator
            .apply("owner", &file, drive_simulator::Edit::Star(true))
            .unwrap();
        apply(hand).await;
        hand.pump().await;
        assert_eq!(versions(hand, &file).await.len(), stored.len());
        let calls = hand.simulator.counters().calls;
        assert!(!calls.contains_key("files.export"), "{calls:?}");
    });
}

#[test]
fn a_document_too_large_to_export_is_prepared_and_downloaded() {
    mirrored(1, async |hand| {
        let file = document(hand).await;
        let large = json!({"id": file, "export_bytes": 12_000_000});
        hand.control(http::Method::POST, "content", large).await;
        apply(hand).await;
        run_until_idle(hand).await;
        let stored = versions(hand, &file).await;
        assert!(matches!(stored[0].origin, ContentOrigin::Export { .. }));
        assert_eq!(stored[0].size_bytes, 12_000_000);
        intact(hand, &file).await;
    });
}

#[test]
fn regression_a_document_whose_time_is_put_back_is_exported_again() {
    mirrored(1, async |hand| {
        let file = document(hand).await;
        apply(hand).await;
        hand.pump().await;
        assert_eq!(versions(hand, &file).await.len(), 1);
        let longer = json!({"id": file, "export_bytes": 3_000, "moves_version": true});
        hand.control(Method::POST, "content", longer).await;
        apply(hand).await;
        hand.pump().await;
        let stored = versions(hand, &file).await;
        assert_eq!((stored.len(), stored[0].size_bytes), (2, 3_000));
        // A version that moves for another reason makes no new version of the same bytes.
        let same = json!({"id": file, "export_bytes": 3_000, "moves_version": true});
        hand.control(Method::POST, "content", same).await;
        apply(hand).await;
        hand.pump().await;
        assert_eq!(versions(hand, &file).await.len(), 2);
    });
}
